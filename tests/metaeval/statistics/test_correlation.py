"""Correlations against SciPy and by hand, and their influence functions against the bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from assay.metaeval.statistics.bootstrap import draw_counts
from assay.metaeval.statistics.correlation import (
    kendall,
    kendall_linearised,
    kendall_resamples,
    midranks,
    pearson,
    pearson_linearised,
    pearson_resamples,
    spearman,
    spearman_linearised,
    spearman_resamples,
)
from bench.slices import Slice, spearman_slices

SCIPY = {spearman: stats.spearmanr, pearson: stats.pearsonr, kendall: stats.kendalltau}
RESAMPLED = {spearman: spearman_resamples, pearson: pearson_resamples, kendall: kendall_resamples}


def columns(kind: str, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=n)
    y = x + rng.normal(size=n)
    if kind == "tied":
        x, y = np.round(x), np.round(2 * y)
    if kind == "mixed":
        x = np.round(x)
    return x, y


def test_spearman_by_hand_with_a_tie() -> None:
    # ranks of x: 1, 2.5, 2.5, 4; of y: 1, 2, 3, 4; centred: (-1.5, 0, 0, 1.5) and (-1.5, -.5, .5, 1.5)
    # cross = 2.25 + 2.25 = 4.5; squares 4.5 and 5; 4.5 / sqrt(22.5)
    assert spearman([1, 2, 2, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(22.5))


def test_kendall_tau_b_by_hand() -> None:
    # pairs of x = 1, 2, 2, 3 against y = 1, 3, 2, 2: concordant (1,2) (1,3) (1,4); discordant (2,4); tied in x (2,3);
    # tied in y (3,4). tau_b = (3 - 1) / sqrt((6 - 1) (6 - 1))
    assert kendall([1, 2, 2, 3], [1, 3, 2, 2]) == pytest.approx(2 / 5)


@pytest.mark.parametrize("kind", ["continuous", "mixed", "tied"])
@pytest.mark.parametrize("function", list(SCIPY))
def test_plain_correlation_equals_scipy(function, kind: str) -> None:
    x, y = columns(kind)
    assert function(x, y) == pytest.approx(SCIPY[function](x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("kind", ["continuous", "mixed", "tied"])
@pytest.mark.parametrize("function", list(SCIPY))
def test_weighted_correlation_equals_scipy_on_the_resampled_rows(function, kind: str) -> None:
    x, y = columns(kind)
    weights = draw_counts(x.size, 20, np.random.default_rng(0))
    values = RESAMPLED[function](x, y, weights)
    for column in range(20):
        rows = np.repeat(np.arange(x.size), weights[:, column].astype(int))
        assert values[column] == pytest.approx(SCIPY[function](x[rows], y[rows]).statistic, abs=1e-12)


def test_weights_of_one_give_the_plain_value_for_every_column() -> None:
    x, y = columns("mixed")
    both = np.stack([x, -y])
    values = spearman_resamples(both, y, np.ones((x.size, 1)))
    assert values[:, 0] == pytest.approx([spearman(x, y), -1.0])


def test_two_way_weights_of_any_size_are_repeats() -> None:
    x, y = columns("tied", 30)
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 4, (30, 1)) * rng.integers(0, 3, (30, 1))
    rows = np.repeat(np.arange(30), weights[:, 0])
    assert spearman_resamples(x, y, weights)[0] == pytest.approx(stats.spearmanr(x[rows], y[rows]).statistic)


@pytest.mark.parametrize("dtype", [np.int16, np.int64, float])
def test_discrete_scores_go_through_their_contingency_table(dtype: type) -> None:
    rng = np.random.default_rng(11)
    human = rng.integers(1, 6, 400).astype(float)
    scorers = np.stack([np.clip(human + rng.integers(-1, 2, 400), 1, 5), rng.normal(size=400)])
    weights = draw_counts(400, 15, rng).astype(dtype)
    values = spearman_resamples(scorers, human, weights)
    for column in range(15):
        rows = np.repeat(np.arange(400), weights[:, column].astype(int))
        for number in range(2):
            theirs = stats.spearmanr(scorers[number][rows], human[rows]).statistic
            assert values[number, column] == pytest.approx(theirs, abs=1e-12)


def test_slices_pair_their_scorers_and_do_not_depend_on_threads() -> None:
    rng = np.random.default_rng(12)
    human = rng.normal(size=300)
    scorers = np.stack([human + rng.normal(size=300), human + rng.normal(size=300), human])
    slices = [Slice("a", scorers, human), Slice("b", np.round(scorers), np.round(human))]
    one, two = (spearman_slices(slices, "k", resamples=1500, threads=threads) for threads in (1, 2))
    assert all(np.array_equal(first, second) for first, second in zip(one, two, strict=True))
    assert one[0][2] == pytest.approx(np.ones(1500))
    plain = spearman_linearised(scorers[0], human)
    assert one[0][0].std() == pytest.approx(plain.influence.std() / math.sqrt(300), rel=0.1)


@pytest.mark.parametrize("function", list(SCIPY))
def test_a_constant_column_has_no_correlation(function) -> None:
    x = np.arange(5.0)
    assert math.isnan(function(np.full(5, 0.1), x))
    assert math.isnan(function(x, np.full(5, 0.1)))
    weights = np.array([[1, 3], [1, 0], [1, 0], [1, 0], [1, 0]], dtype=float)
    values = RESAMPLED[function](x, x, weights)
    assert values[0] == pytest.approx(1.0) and math.isnan(values[1])


@pytest.mark.parametrize("function", list(SCIPY))
def test_gaps_and_unequal_columns_are_refused(function) -> None:
    with pytest.raises(ValueError, match="missing scores"):
        function([1.0, math.nan, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="must both be"):
        function([1.0, 2.0], [1.0, 2.0, 3.0])


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=40))
def test_midranks_are_scipys(values: list[int]) -> None:
    assert midranks(values) == pytest.approx(stats.rankdata(values))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=25))
def test_spearman_sees_only_the_order(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    value = spearman(x, y)
    if math.isnan(value):
        assert len(set(x)) == 1 or len(set(y)) == 1
        return
    assert -1 <= value <= 1
    assert spearman(x**3, y) == pytest.approx(value)
    assert spearman(-x, y) == pytest.approx(-value)
    assert spearman(y, x) == pytest.approx(value)


@pytest.mark.parametrize("kind", ["continuous", "mixed", "tied"])
def test_influence_gives_the_standard_error_of_the_bootstrap(kind: str) -> None:
    x, y = columns(kind, 800)
    weights = draw_counts(800, 600, np.random.default_rng(2))
    rng = np.random.default_rng(4)
    for linearised, resampled in (
        (spearman_linearised(x, y), spearman_resamples(x, y, weights)),
        (pearson_linearised(x, y), pearson_resamples(x, y, weights)),
        (kendall_linearised(x, y, rng), kendall_resamples(x, y, weights)),
    ):
        error = linearised.influence.std() / math.sqrt(800)
        # 600 resamples give a standard deviation to about 1 / sqrt(1200) = 3 %
        assert resampled.std() == pytest.approx(error, rel=0.1)
        assert linearised.influence.mean() == pytest.approx(0, abs=1e-12)


def test_kendall_influence_from_drawn_rows_is_close_to_that_from_all() -> None:
    x, y = columns("mixed", 3000)
    rng = np.random.default_rng(5)
    few, full = kendall_linearised(x, y, rng, others=500), kendall_linearised(x, y, rng)
    assert few.value == full.value
    assert few.influence.std() == pytest.approx(full.influence.std(), rel=0.05)
