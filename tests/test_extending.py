"""The page on extending says how many lines an addition touches; here they are counted on one that ships."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "platform"
PACKAGE = ROOT / "assay"
SHIPPED = {
    "scorer": ("scoring/scorers/tone.py", r"tone_scorer"),
    "judge protocol": ("scoring/judges/protocols/faireval.py", r"FairEvalJudge"),
    "design": ("studies/designs/weights.py", r"WeightGrid"),
    "objective": ("training/objectives/slic.py", r"Slic"),
    "transport": ("llm/transports/local.py", r'LocalTransport|open_local_chat|TransportKind\("local"'),
}
"""What is added -> one that ships: its file, and the names by which others know it."""


def touched(own: str, names: str) -> Counter[str]:
    """Lines of other files that name it, by file."""
    found: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if place != own:
            lines = path.read_text(encoding="utf-8").splitlines()
            found[place] += sum(re.search(rf"(?<!\w)(?:{names})(?!\w)", line) is not None for line in lines)
    return +found


@pytest.mark.parametrize("what", sorted(SHIPPED))
def test_an_addition_touches_what_the_page_says(what: str) -> None:
    (row,) = re.findall(rf"^\| {what} \| 1\b[^|]*\| (.*) \|$", (ROOT / "docs" / "extending.md").read_text(), re.M)
    said = Counter({place: int(count) for count, place in re.findall(r"(\d+) in `([a-z_/]+\.py)`", row)})
    assert touched(*SHIPPED[what]) == said
