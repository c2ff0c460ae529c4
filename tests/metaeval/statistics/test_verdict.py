"""Four words by hand, and what an undecided comparison would take."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.verdict import Evidence, draws_needed, verdict

SURE = Evidence(difference=0.1, standard_error=0.01, dof=100, run_error=0.01, num_runs=3)


def test_an_interval_without_zero_is_better_or_worse() -> None:
    assert verdict(SURE, margin=0.02).word == "better"
    assert verdict(replace(SURE, difference=-0.1), margin=0.02).word == "worse"


def test_equivalent_needs_both_one_sided_tests() -> None:
    # t(.95, 100) = 1.660: .001 + 1.66 x .01 = .0176 lies within .02, .005 + .0166 = .0216 does not
    assert verdict(replace(SURE, difference=0.001), margin=0.02).word == "equivalent"
    assert verdict(replace(SURE, difference=0.005), margin=0.02).word == "undecided"
    assert verdict(replace(SURE, difference=0.001), margin=0.0).word == "undecided"


def test_items_alone_decide_nothing() -> None:
    found = verdict(replace(SURE, is_about_runs=False), margin=0.02)
    assert found.word == "undecided" and "items only" in found.why
    assert verdict(replace(SURE, difference=0.0, standard_error=0.0), margin=0.02).word == "undecided"


def test_the_level_of_the_family_decides() -> None:
    # 2.5 standard errors: p = .014 alone, not enough at .05 / 20
    close = replace(SURE, difference=0.025)
    assert verdict(close, margin=0.02).word == "better"
    assert verdict(replace(close, alpha=0.05 / 20), margin=0.02).word == "undecided"


def test_a_row_beyond_its_mde_is_not_undecided_without_a_word() -> None:
    # dof 2: t(.975) = 4.30, t(.8) = 1.06; an MDE of 5.36 errors is below a step of Holm at 4.30 x 2.3
    found = verdict(Evidence(0.06, 0.01, 2, 0.01, 3, alpha=0.02), margin=0.02)
    assert found.word == "undecided" and "could find" in found.why


def test_draws_needed_find_the_margin_and_one_fewer_does_not() -> None:
    evidence = Evidence(0.01, 0.03, 4, run_error=0.0299, num_runs=3)
    needed = draws_needed(evidence, 0.02)
    assert needed is not None and needed > 3

    def mde(draws: int) -> float:
        run = 0.0299**2 * 3 / draws
        variance = run + 0.03**2 - 0.0299**2
        dof = 2 * (draws - 1) * (variance / run) ** 2
        return (student_quantile(0.975, dof) + student_quantile(0.8, dof)) * variance**0.5

    assert mde(needed) <= 0.02 < mde(needed - 1)


def test_no_draws_find_what_the_items_hide() -> None:
    found = verdict(Evidence(0.01, 0.03, 50, run_error=0.001, num_runs=3), margin=0.02)
    assert found.draws_needed is None and "more items" in found.why


@given(st.floats(-1, 1), st.floats(1e-4, 1), st.floats(1, 200), st.floats(1e-4, 0.05), st.floats(0, 0.1))
def test_a_side_is_named_exactly_where_the_interval_leaves_zero_out(
    difference: float, error: float, dof: float, alpha: float, margin: float
) -> None:
    half = student_quantile(1 - alpha / 2, dof) * error
    found = verdict(Evidence(difference, error, dof, error, 3, alpha=alpha), margin=margin)
    assert (found.word in ("better", "worse")) == (abs(difference) >= half)
    assert found.mde == pytest.approx(half + student_quantile(0.8, dof) * error)
