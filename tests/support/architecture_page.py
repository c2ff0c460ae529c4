"""Writes the page of architectures out of what `architecture_probe` found.

    python tests/support/architecture_page.py > platform/docs/architectures.md
    python tests/support/architecture_page.py FOLDER    # first takes over the findings of a probe in this folder

`architectures.json` keeps one line for each model type: the engine that served it, or why it was not served, trained
or made.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

FOUND = Path(__file__).with_name("architectures.json")
HEAD = """# Architectures

Every type of causal language model that transformers 5.19 knows, made tiny with random weights: an adapter of rank 4 is
trained on it for two steps (`target_modules: auto`, dropout 0.05, float32, one CPU), and asked through transformers.
"vLLM" was asked through vLLM too, which wrote the same tokens. What is refused is refused before anything is trained.
What fails or is not served ends the preflight of a study, before its sweep, with the words that stand here. What was
not made says nothing about a model of real size.
`tests/integration/test_architectures.py` does it for eight types in `make test`, and for all under the mark `study`.
Made by `tests/support/architecture_page.py`.

"""


def outcome(found: dict[str, Any]) -> tuple[str, str]:
    """What became of a type, and the reason where it is not plain vLLM."""
    if reason := found.get("built"):
        return "not made", reason
    if reason := found.get("trained"):
        return ("refused" if reason.startswith(("ConfigError", "InputError", "DataError")) else "fails"), reason
    if reason := found.get("served"):
        return "not served", reason
    label = found.get("engine", "")
    if label.startswith("hf: "):
        return "transformers", label.removeprefix("hf: ")
    same = found["answers"] == found["reference"]
    return "vLLM", "" if same else "tokens differ from transformers' after some steps"


def _plain(reason: str) -> str:
    """Without the folder that the probe ran in."""
    return re.sub(r"(base model )/\S*/", r"\1", reason)


def read(folder: Path) -> dict[str, list[str]]:
    """Findings of a probe's folder, by type."""
    merged: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*-*.json")):
        kind, _, run = path.stem.rpartition("-")
        merged.setdefault(kind, {}).update(json.loads(path.read_text()))
        assert run in ("train_and_ask_reference", "ask_by_rule")
    return {
        kind: [said, _plain(reason), _targets(found)]
        for kind, found in sorted(merged.items())
        for said, reason in [outcome(found)]
    }


def page(found: dict[str, list[str]]) -> str:
    """The page's text."""
    counts = Counter(said for said, *_ in found.values())
    summed = ", ".join(f"{said} {count}" for said, count in counts.most_common())
    lines = [
        HEAD + f"Of {len(found)} types: {summed}.\n",
        "| type | served by | why, or what | layers |",
        "|---|---|---|---|",
    ]
    for kind, (said, reason, targets) in sorted(found.items()):
        lines.append(f"| {kind} | {said} | {_cell(reason)} | {targets} |")
    return "\n".join(lines) + "\n"


def _targets(found: dict[str, Any]) -> str:
    targets = found.get("targets", "")
    return targets if isinstance(targets, str) else ", ".join(targets)


def _cell(text: str) -> str:
    plain = re.sub(r"/\S*/", "", text).replace("|", "/").replace("<", "‹").replace(">", "›")
    return plain[:160]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        FOUND.write_text(json.dumps(read(Path(sys.argv[1])), indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(page(json.loads(FOUND.read_text(encoding="utf-8"))), end="")
