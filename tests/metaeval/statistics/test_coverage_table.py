"""The table of docs/statistics.md is that of tests/bench/coverage.py and shows what is promised; its quick part."""

from __future__ import annotations

import pytest

from assay.metaeval.statistics.bootstrap import seeded
from bench.coverage import HEAD, PAGE, table

ROWS = list(table())
NO_INTERVAL = (
    "difference, nothing differs: 1:1",
    "win rate at equal length: 5 items",
    "component of variance: draw, 3 x 3",
    "Bradley-Terry strength: 4 items",
    "additive fit: 4 items",
    *(f"{kind} over clusters: {number} clusters" for kind in ("0/1 mean", "rho") for number in (3, 5)),
    "CIT: 2 tasks x 2 runs",
    "CAT: 2 tasks x 2 runs",
)
"""Lines with too little to go by: nothing is said instead of something that does not cover."""
TOO_OFTEN = (
    "win rate: 2 items",
    "PPI++: 5 labels, mean 0.9",
    "PPI++: 10 labels, mean 0.5",
    "Bradley-Terry strength: 12 items",
    "CIT: 2 tasks x 3 runs",
    "CAT: 2 tasks x 3 runs",
    "TFA, nothing gained: N = 0 x 1",
)
"""Lines with so little to go by that they are covered too often."""


def lines() -> dict[str, list[str]]:
    """Cells of the page's table by method and case."""
    text = PAGE.read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text[text.index(HEAD) :].split("\n\n")[0].splitlines()[2:]]
    return {f"{cells[0]}: {cells[1]}": cells for cells in rows}


def test_the_page_has_the_lines_of_the_command() -> None:
    made = {f"{row.method}: {row.case}": row.before for row in ROWS}
    assert {name: cells[2] for name, cells in lines().items()} == made


def test_what_the_page_shows_is_covered() -> None:
    for name, (*_, shown, _, reps) in lines().items():
        if shown == "–" or name.startswith("power"):
            continue
        if name.startswith("one comparison"):
            assert int(reps) == 2000 and float(shown) >= 0.941, name
        elif name.startswith("headline"):
            assert int(reps) == 500 and round((1 - float(shown)) * 500) <= 35, name
        else:
            assert int(reps) == 1000 and 0.915 <= float(shown) <= (1 if name.startswith(TOO_OFTEN) else 0.985), name


@pytest.mark.parametrize("place", range(len(ROWS)))
def test_every_line_can_be_made(place: int) -> None:
    row = ROWS[place]
    found = [row.simulate(seeded("smoke", row.method, row.case, str(k))) for k in range(3)]
    assert all(one is None for one in found) == f"{row.method}: {row.case}".startswith(NO_INTERVAL)


@pytest.mark.parametrize(
    ("method", "case", "before"),
    [
        ("PPI++ by two strata, .95 and .90", "10 labels each", 0.738),
        ("win rate", "10 items, 0.9", 0.638),
        ("PPI++", "10 labels, mean 0.9", 0.602),
        ("additive fit", "12 items", 0.887),
        ("rho over clusters", "8 clusters", 0.812),
    ],
)
def test_lines_that_did_not_cover_do(method: str, case: str, before: float) -> None:
    (row,) = (row for row in ROWS if (row.method, row.case) == (method, case))
    found = [row.simulate(seeded("quick", method, case, str(k))) for k in range(150)]
    # 150 of a true .95 have a standard error of .018
    assert float(row.before) == before < 0.9 <= sum(one is True or one == 1 for one in found) / 150
