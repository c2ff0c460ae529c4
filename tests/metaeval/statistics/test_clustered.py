"""Two-way clustered variance by hand, against textbook formulas, and the leaderboard and TFA built on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from assay.metaeval.statistics.clustered import (
    ITEMS_ONLY,
    Block,
    clustered_variance,
    minimum_detectable_effect,
    one_way_variance,
    student_interval,
)
from assay.metaeval.statistics.comparability import tfa
from assay.metaeval.statistics.comparison import compare, mean_estimate, pareto_front


def _block(scores: np.ndarray, runs: Sequence[str]) -> Block:
    return Block(scores, list(runs), list(range(scores.shape[1])))


def test_one_run_is_the_interval_of_a_mean_over_items() -> None:
    scores = np.random.default_rng(0).normal(size=(1, 30))
    block = Block(scores, ["r"], range(30))
    variance = clustered_variance([block])
    assert variance.variance == pytest.approx(scores.var(ddof=1) / 30)
    assert variance.dof == pytest.approx(29) and variance.unit == ITEMS_ONLY
    estimate = student_interval(block.mean, variance)
    theirs = stats.t.interval(0.95, 29, loc=scores.mean(), scale=stats.sem(scores[0]))
    assert (estimate.low, estimate.high) == (pytest.approx(theirs[0]), pytest.approx(theirs[1]))


def test_two_way_components_by_hand() -> None:
    # runs (0, 0), (2, 6): run means 0 and 4, item means 1 and 3, mean 2
    # run part: 2/1 x ((0-2)/2)^2 x 2 = 4; item part: 2/1 x ((1-2)/2)^2 x 2 = 1
    # residuals: 0 - 0 - 1 + 2 = 1, ... = +-1, squares 4, dof 1, over 4 cells: 1
    variance = clustered_variance([Block(np.array([[0.0, 0.0], [2.0, 6.0]]), "ab", "xy")])
    assert variance.variance == pytest.approx(4 + 1 - 1)
    # Satterthwaite: 16 / (4^2 / 1 + 1^2 / 1)
    assert variance.dof == pytest.approx(16 / 17)


def test_a_paired_difference_forgets_item_difficulty() -> None:
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 5, 40)
    first, second = hard + rng.normal(size=(1, 40)) + 1, hard + rng.normal(size=(1, 40))
    found = compare(_block(first, ["a"]), _block(second, ["b"]))
    theirs = stats.ttest_rel(first[0], second[0])
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.difference.low == pytest.approx(theirs.confidence_interval().low)
    assert found.mde == pytest.approx(minimum_detectable_effect(float(stats.sem(first[0] - second[0])), 39))


def test_a_run_on_both_sides_is_one_cluster() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(3, 20)) + rng.normal(0, 3, size=(3, 1))
    same = compare(_block(scores, "abc"), _block(scores, "abc"))
    assert same.difference.value == 0 and same.p == 1.0


def test_only_items_that_every_run_has_are_compared() -> None:
    first = np.array([[1.0, 2.0, math.nan, 4.0]])
    second = np.array([[0.0, math.nan, 5.0, 2.0]])
    found = compare(_block(first, ["a"]), _block(second, ["b"]))
    assert found.num_items == 2 and found.num_items_left_out == 2
    assert found.difference.value == pytest.approx((1 - 0 + 4 - 2) / 2)
    nothing = compare(_block(np.full((1, 3), math.nan), ["a"]), _block(np.ones((1, 3)), ["b"]))
    assert not nothing.difference.is_defined and "no item" in nothing.difference.reason


def test_answers_without_spread_fall_back_to_wilson() -> None:
    always, never = np.ones((2, 25)), np.zeros((2, 25))
    found = compare(_block(always, "ab"), _block(never, "cd"), low=0.0, high=1.0)
    # Wilson of 0 of 25: z^2 / (25 + z^2) = .13319; Newcombe: 1 - sqrt(2) x .13319
    assert found.difference.low == pytest.approx(1 - math.sqrt(2) * 0.133188, abs=1e-4)
    # exchanging two runs with two: 2 / 6, as equal runs are no proof that runs do not vary
    assert found.p == pytest.approx(1 / 3) and not found.is_about_runs
    estimate, unit = mean_estimate(Block(never, "ab", range(25)), low=0.0, high=1.0)
    assert (estimate.low, estimate.high) == (0.0, pytest.approx(0.133188, abs=1e-4)) and unit == ITEMS_ONLY
    estimate, _ = mean_estimate(Block(np.full((2, 3), 0.5), "ab", range(3)), low=0.0, high=1.0)
    assert estimate.value == 0.5 and math.isnan(estimate.low) and "no spread" in estimate.reason


def test_one_way_variance_of_single_rows_is_that_of_a_mean() -> None:
    values = np.random.default_rng(3).normal(size=50)
    centred = values - values.mean()
    assert one_way_variance(centred, np.arange(50)).variance == pytest.approx(values.var(ddof=1) / 50)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(0.1, 5))
def test_intervals_follow_shift_and_scale(seed: int, shift: float, scale: float) -> None:
    scores = np.random.default_rng(seed).normal(size=(3, 8))
    plain, _ = mean_estimate(Block(scores, "abc", range(8)))
    moved, _ = mean_estimate(Block(scale * scores + shift, "abc", range(8)))
    assert moved.low == pytest.approx(scale * plain.low + shift, rel=1e-6, abs=1e-6)
    assert moved.high == pytest.approx(scale * plain.high + shift, rel=1e-6, abs=1e-6)


def test_missing_cells_keep_the_mean_of_what_is_there() -> None:
    scores = np.array([[1.0, 2.0, math.nan], [3.0, math.nan, 5.0]])
    estimate, _ = mean_estimate(Block(scores, "ab", range(3)))
    assert estimate.value == pytest.approx(11 / 4) and estimate.n == 4


def test_tfa_by_hand() -> None:
    first = {"a": Block(np.full((1, 2), 0.2), ["r0"], "xy"), "b": Block(np.full((1, 2), 0.5), ["r0"], "uv")}
    last = {"a": Block(np.full((1, 2), 0.6), ["r1"], "xy"), "b": Block(np.full((1, 2), 0.75), ["r2"], "uv")}
    # (.4 / .2 + .25 / .5) / 2 and (.4 + .25) / 2
    assert tfa(first, last, relative=True).value == pytest.approx(1.25)
    assert tfa(first, last, relative=False).value == pytest.approx(0.325)


def test_relative_tfa_is_undefined_without_a_start_above_zero() -> None:
    first = {"a": Block(np.zeros((1, 2)), ["r0"], "xy")}
    last = {"a": Block(np.ones((1, 2)), ["r1"], "xy")}
    estimate = tfa(first, last, relative=True)
    assert not estimate.is_defined and estimate.reason == "mean at N = 0 is not above 0 in a (0)"
    assert tfa(first, last, relative=False).value == 1.0
    assert not tfa({}, {}, relative=False).is_defined


def test_pareto_front_by_hand() -> None:
    gain = [3.0, 2.0, 2.0, 1.0, 3.0, math.nan, 0.5]
    loss = [0.5, 0.2, 0.3, 0.0, 0.5, 0.0, 0.0]
    assert pareto_front(gain, loss).tolist() == [True, True, False, True, True, False, False]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20))
def test_nothing_on_the_front_is_beaten_and_everything_off_it_is(points: list[tuple[int, int]]) -> None:
    front = pareto_front([gain for gain, _ in points], [loss for _, loss in points])
    for (gain, loss), on_front in zip(points, front, strict=True):
        beaten = any((g >= gain and x <= loss) and (g > gain or x < loss) for g, x in points)
        assert on_front == (not beaten)


def test_a_relative_change_stays_above_minus_one_and_needs_a_start() -> None:
    rng = np.random.default_rng(0)
    start = (rng.random((3, 100)) < 0.2).astype(float)
    end = (rng.random((3, 100)) < 0.02).astype(float)
    found = tfa({"a": _block(start, "xyz")}, {"a": _block(end, "uvw")}, relative=True)
    # Student's interval of the ratio itself reached below -1
    assert -1 < found.low < found.value < found.high < 0
    rare = np.zeros((3, 100))
    rare[0, 0] = 1.0
    unsure = tfa({"a": _block(rare, "xyz")}, {"a": _block(end, "uvw")}, relative=True)
    assert not unsure.is_defined and unsure.reason == "mean at N = 0 is not told from 0 in a"
