"""The quick part of the simulated table of docs/statistics.md: every line of tests/bench/coverage.py can be made."""

from __future__ import annotations

import pytest

from assay.metaeval.statistics.bootstrap import seeded
from bench.coverage import table

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
