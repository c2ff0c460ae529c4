"""Pairwise accuracy, tie calibration and the two tests between scorers, on published examples and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.metaeval.statistics.correlation import pearson, spearman
from assay.metaeval.statistics.pairwise import perm_both, tie_calibration, williams

NA = math.nan


# the three worked examples that Deutsch et al. 2023 publish with their implementation
@pytest.mark.parametrize(
    ("metric", "human", "thresholds", "accuracies", "epsilon"),
    [
        ([0, 2, 6, 8], [1, 2, 3, 4], [0, 2, 4, 6, 8], [6 / 6, 4 / 6, 3 / 6, 1 / 6, 0 / 6], 0),
        ([0, 2, 6, 8], [1, 1, 1, 4], [0, 2, 4, 6, 8], [3 / 6, 3 / 6, 4 / 6, 4 / 6, 3 / 6], 4),
        (
            [[0, 5, 2, 3, 2], [NA, 2, 1, 5, 3], [9, 1, 5, 3, 8], [9, 3, 4, 4, 1], [NA] * 5],
            [[1, 5, 2, 1, 1], [4, 2, 2, 1, 4], [5, 9, 2, 8, 7], [7, 6, NA, 3, 2], [NA] * 5],
            [0, 1, 2, 3, 4, 5, 6, 7, 8],
            [
                0.4666666666666667,
                0.4916666666666668,
                0.38333333333333347,
                0.29166666666666674,
                0.2666666666666667,
                0.2,
                0.15833333333333335,
                0.15833333333333335,
                0.1166666666666667,
            ],
            1,
        ),
    ],
)
def test_tie_calibration_agrees_with_the_reference_on_its_examples(
    metric: list, human: list, thresholds: list[float], accuracies: list[float], epsilon: float
) -> None:
    found = tie_calibration(metric, human)
    assert found.thresholds.tolist() == thresholds
    assert found.accuracies == pytest.approx(accuracies, abs=1e-9)
    assert found.epsilon == epsilon
    assert found.estimate.value == pytest.approx(max(accuracies), abs=1e-9)
    assert found.plain_accuracy == pytest.approx(accuracies[0], abs=1e-9)


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4), st.integers(0, 2)), min_size=4, max_size=25).filter(
        lambda rows: any(rows[i][2] == rows[j][2] for i in range(len(rows)) for j in range(i))
    )
)
def test_calibration_at_its_threshold_is_pairwise_accuracy_with_those_ties(rows: list[tuple[int, int, int]]) -> None:
    scorer, human, groups = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    found = tie_calibration(scorer, human, groups)
    shares = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        pairs = [(i, j) for i in members for j in members if i < j]
        if pairs:
            right = [
                (0 if abs(scorer[i] - scorer[j]) <= found.epsilon else np.sign(scorer[i] - scorer[j]))
                == np.sign(human[i] - human[j])
                for i, j in pairs
            ]
            shares.append(np.mean(right))
    assert found.estimate.value == pytest.approx(np.mean(shares), abs=1e-9)
    assert found.estimate.value >= found.plain_accuracy - 1e-12


def test_drawn_pairs_come_close_to_all_pairs() -> None:
    rng = np.random.default_rng(0)
    human = rng.integers(1, 6, 600).astype(float)
    scorer = human + rng.normal(size=600)
    full = tie_calibration(scorer, human)
    drawn = tie_calibration(scorer, human, max_pairs=40_000, rng=np.random.default_rng(1))
    assert drawn.num_pairs <= 40_000 < full.num_pairs
    assert drawn.plain_accuracy == pytest.approx(full.plain_accuracy, abs=0.01)
    assert drawn.estimate.value == pytest.approx(full.estimate.value, abs=0.01)
    assert full.estimate.low < full.estimate.value < full.estimate.high


def test_williams_gives_the_published_example() -> None:
    # nlp-williams: r12 = .65, r13 = .55, r23 = .3, n = 50 has a one-sided p of .209286
    assert williams(0.65, 0.55, 0.3, 50) / 2 == pytest.approx(0.20928617286753592, abs=1e-9)
    assert williams(0.55, 0.65, 0.3, 50) == pytest.approx(williams(0.65, 0.55, 0.3, 50))
    assert williams(0.6, 0.6, 0.3, 50) == 1.0
    assert math.isnan(williams(0.6, 0.5, 0.3, 3))


def test_williams_agrees_with_the_psych_package() -> None:
    # random matrices of nlpstats' own test, which takes absolute correlations; R's psych gives .5433956
    state = np.random.RandomState(12)
    x, y, z = (state.random_sample((9, 5)).ravel() for _ in range(3))
    sizes = abs(pearson(x, z)), abs(pearson(y, z)), abs(pearson(x, y))
    assert williams(*sizes, 45) == pytest.approx(0.5433956, abs=1e-5)


def test_perm_both_agrees_with_the_reference_implementation() -> None:
    # nlpstats' regression test: Pearson over all cells, PERM-BOTH, p = .5362 from 9,999 swaps
    state = np.random.RandomState(1234)
    x, y, z = (state.random_sample((9, 5)).ravel() for _ in range(3))
    p = perm_both(x, y, z, np.random.default_rng(0), correlation="pearson", resamples=9999)
    assert p == pytest.approx(0.536, abs=0.02)


@pytest.mark.parametrize("correlation", ["spearman", "kendall", "pearson"])
def test_perm_both_finds_the_better_scorer_and_nothing_between_equals(correlation: str) -> None:
    rng = np.random.default_rng(5)
    human = rng.normal(size=150)
    good, bad, other = (human + noise * rng.normal(size=150) for noise in (0.5, 3.0, 0.5))
    args = {"correlation": correlation, "resamples": 400}
    assert perm_both(good, 100 * bad, human, np.random.default_rng(0), **args) < 0.01
    assert perm_both(good, other, human, np.random.default_rng(0), **args) > 0.05
    assert perm_both(good, good, human, np.random.default_rng(0), **args) == 1.0


def test_swapping_every_second_cell_is_what_weights_say() -> None:
    # the weighted ranks of a choice among 2 N values are the ranks of the chosen column
    from assay.metaeval.statistics.correlation import spearman_resamples

    rng = np.random.default_rng(2)
    x, y, human = rng.integers(0, 5, 20), rng.integers(0, 5, 20), rng.normal(size=20)
    keep = np.arange(20) % 2
    value = spearman_resamples(
        np.concatenate([x, y]).astype(float), np.concatenate([human, human]), np.concatenate([keep, 1 - keep])[:, None]
    )
    assert value[0] == pytest.approx(spearman(np.where(keep == 1, x, y), human))


def test_a_threshold_chosen_on_other_groups_does_not_flatter() -> None:
    # a scorer of noise: the best threshold on the same 8 groups of 4 gains what there is not
    truth, own, fitted, covered = [], [], [], 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        gold = rng.integers(0, 3, (8, 4)).astype(float)
        found = tie_calibration(rng.normal(size=gold.shape), gold)
        fresh = rng.integers(0, 3, (400, 4)).astype(float)
        scores = rng.normal(size=fresh.shape)
        own.append(found.estimate.value)
        fitted.append(found.cross_fitted.value)
        gaps = np.abs(scores[:, :, None] - scores[:, None, :])
        order = np.where(gaps <= found.epsilon, 0, np.sign(scores[:, :, None] - scores[:, None, :]))
        right = order == np.sign(fresh[:, :, None] - fresh[:, None, :])
        upper = np.triu_indices(4, 1)
        truth.append(right[:, upper[0], upper[1]].mean())
        covered += found.cross_fitted.low <= truth[-1] <= found.cross_fitted.high
    assert np.mean(own) - np.mean(truth) > 0.03
    assert abs(np.mean(fitted) - np.mean(truth)) < 0.012
    assert covered / 200 >= 0.92


def test_one_group_is_halved_by_rows_and_few_pairs_have_none() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 4, 200).astype(float)
    found = tie_calibration(gold + rng.normal(size=200), gold)
    assert 0 < found.cross_fitted.value < found.estimate.value + 0.02
    assert found.cross_fitted.low < found.cross_fitted.value < found.cross_fitted.high
    few = tie_calibration([1.0, 2.0], [1.0, 2.0])
    assert math.isnan(few.cross_fitted.value) and "too few pairs" in few.cross_fitted.reason
