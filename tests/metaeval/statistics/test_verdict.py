"""Four words by hand, and what an undecided comparison would take."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.metaeval.statistics.clustered import minimum_detectable_effect, student_quantile
from assay.metaeval.statistics.verdict import Evidence, decide_family, draws_needed, verdict

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
    assert "no number of draws" in found.why and "more items" in found.why


def test_what_an_undecided_one_would_take_is_true_at_the_edges() -> None:
    runs_alone = Evidence(0.01, 0.3, 4, run_error=0.3, num_runs=3)
    # 3 x .09 / n under a margin of .0005: over 8 million draws, and no item is to blame
    found = verdict(runs_alone, margin=0.0005)
    assert draws_needed(runs_alone, 0.0005) is None
    assert "more than 10,000 draws a side" in found.why and "items" not in found.why
    # all the error is the items': more draws are no help
    assert "more draws are no help" in verdict(Evidence(0.01, 0.03, 50, run_error=0.0, num_runs=3), margin=0.02).why
    # nothing is known about runs: nothing is said about them
    given = verdict(Evidence(0.01, 0.03, 50), margin=0.02)
    assert given.word == "undecided" and "draws" not in given.why
    # .005 x (1.96 + .84) = .014 is below the margin: nothing more is needed to find it
    found = verdict(Evidence(0.0099, 0.0062, 1e6, run_error=0.006, num_runs=3), margin=0.02)
    assert found.word == "undecided" and "would be found" in found.why


def test_a_family_decides_by_holm_and_items_only_is_no_member() -> None:
    # t of 3, 2.2 and 1: p .0028, .0287, .318; steps .05/3, .05/2 (fails), .05/2
    family = [Evidence(value, 1.0, 1e9) for value in (2.2, 3.0, 1.0)]
    family.append(Evidence(9.0, 1.0, 1e9, is_about_runs=False))
    second, first, third, outside = decide_family(family)
    assert [one.verdict.word for one in (second, first, third, outside)] == ["undecided", "better"] + ["undecided"] * 2
    assert (first.alpha, second.alpha, third.alpha) == pytest.approx((0.05 / 3, 0.025, 0.025))
    assert first.p_holm == pytest.approx(3 * first.p) and first.family_size == 3
    assert second.low < 0 < first.low and math.isnan(outside.p_holm) and outside.family_size == 0


@given(st.floats(-1, 1), st.floats(1e-4, 1), st.floats(1, 200), st.floats(1e-4, 0.05), st.floats(0, 0.1))
def test_a_side_is_named_exactly_where_the_interval_leaves_zero_out(
    difference: float, error: float, dof: float, alpha: float, margin: float
) -> None:
    half = student_quantile(1 - alpha / 2, dof) * error
    found = verdict(Evidence(difference, error, dof, error, 3, alpha=alpha), margin=margin)
    assert (found.word in ("better", "worse")) == (abs(difference) >= half)
    alone = decide_family([Evidence(difference, error, dof, error, 3)])[0]
    assert alone.mde == pytest.approx(minimum_detectable_effect(error, dof))
    assert (alone.verdict.word in ("better", "worse")) == (alone.low >= 0 or alone.high <= 0)
