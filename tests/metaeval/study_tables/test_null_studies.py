"""Studies in which no mixture differs, through the report's own findings, and the bare decision: few false names."""

from __future__ import annotations

import pytest

from assay.metaeval.statistics.bootstrap import seeded
from bench.coverage import comparison, null_headline


@pytest.mark.parametrize(("at_zero", "seeds", "s"), [(1, 1, 0.8), (3, 3, 0.3)])
def test_null_studies_name_no_mixture(at_zero: int, seeds: int, s: float) -> None:
    # one run at N = 0 and s = .8: 51 of 100 studies named a better mixture before
    simulate = null_headline(at_zero, seeds, s)
    assert sum(not simulate(seeded("null", str(k))) for k in range(40)) <= 6


@pytest.mark.parametrize(("arm", "base", "most"), [((3, 1), 3, 0.06), ((3, 1), 1, 0.09), ((3, 3), 3, 0.07)])
def test_the_bare_decision_errs_as_seldom_as_it_says(arm: tuple[int, int], base: int, most: float) -> None:
    found = [comparison(seeded("bare", str(k)), arm, base, 0.8) for k in range(300)]
    assert all(one.is_about_runs for one in found)
    # .23 against one run and .08 at 3 x 3 before
    assert sum(one.p < 0.05 for one in found) / 300 <= most


def test_power_is_not_bought_with_silence() -> None:
    # a true difference of about .10 with three draws against three, s = .3: .25 of 1,000, as before
    found = [comparison(seeded("power", str(k)), (3, 1), 3, 0.3, gain=0.62) for k in range(200)]
    assert sum(one.p < 0.05 for one in found) / 200 >= 0.18
