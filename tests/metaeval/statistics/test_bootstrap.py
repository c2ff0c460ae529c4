"""Resampling weights and the intervals made from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from assay.metaeval.statistics.bootstrap import (
    bca,
    clusters,
    draw_counts,
    from_resamples,
    interval,
    leave_one_out,
    percentile,
    resample,
    rows_as_clusters,
    seeded,
    weighted_mean,
)
from assay.metaeval.statistics.correlation import spearman_resamples


def test_every_resample_draws_as_many_units_as_there_are() -> None:
    counts = draw_counts(37, 50, np.random.default_rng(0))
    assert counts.shape == (37, 50)
    assert np.all(counts.sum(axis=0) == 37)
    # each count is binomial(37, 1/37): variance 36/37
    assert draw_counts(37, 20_000, np.random.default_rng(0)).var() == pytest.approx(36 / 37, rel=0.02)


def test_rows_of_a_cluster_are_drawn_together() -> None:
    units = clusters(["a", "b", "a", "c"])
    weights = resample(units, 30, np.random.default_rng(1))
    assert np.array_equal(weights[0], weights[2])
    assert np.all(weights[[0, 1, 3]].sum(axis=0) == 3)


def test_strata_keep_their_number_of_clusters() -> None:
    units = clusters([0, 1, 2, 3, 4], ["x", "x", "x", "y", "y"])
    weights = resample(units, 40, np.random.default_rng(1))
    assert np.all(weights[:3].sum(axis=0) == 3) and np.all(weights[3:].sum(axis=0) == 2)


def test_jackknife_leaves_one_cluster_out_at_a_time() -> None:
    weights = leave_one_out(clusters(["a", "b", "a"]))
    assert weights.tolist() == [[0, 1], [1, 0], [0, 1]]


def test_the_same_seed_gives_the_same_interval_and_names_seed_apart() -> None:
    values = np.random.default_rng(0).normal(size=80)
    first, second, third = (
        interval(weighted_mean(values), rows_as_clusters(80), seeded(*names), resamples=500)
        for names in (("k", "a"), ("k", "a"), ("ka", ""))
    )
    assert first == second
    assert first.low != third.low


def test_few_clusters_get_students_t_and_say_so() -> None:
    values = np.random.default_rng(0).normal(size=60)
    few = interval(weighted_mean(values), clusters(np.arange(60) % 16), seeded("a"))
    many = interval(weighted_mean(values), rows_as_clusters(60), seeded("a"))
    assert few.method == "jackknife t, 16 clusters" and few.num_clusters == 16 and few.n == 60
    assert many.method == "percentile, 60 clusters"


@pytest.mark.parametrize("method", ["BCa", "percentile"])
def test_intervals_are_scipys_from_the_same_resamples(method: str) -> None:
    values = np.random.default_rng(7).exponential(size=40)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=3000, method=method, rng=np.random.default_rng(2))
    boot = theirs.bootstrap_distribution
    jackknife = weighted_mean(values)(leave_one_out(rows_as_clusters(40)))
    low, high = bca(float(values.mean()), boot, jackknife) if method == "BCa" else percentile(boot)
    assert low == pytest.approx(theirs.confidence_interval.low, rel=1e-9)
    assert high == pytest.approx(theirs.confidence_interval.high, rel=1e-9)


def test_spearman_interval_agrees_with_scipys_bootstrap() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=120)
    y = x + rng.normal(size=120)
    ours = interval(
        lambda weights: spearman_resamples(x, y, weights), rows_as_clusters(120), seeded("s"), resamples=4000
    )
    theirs = stats.bootstrap(
        (x, y),
        lambda a, b: stats.spearmanr(a, b).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=2000,
        rng=np.random.default_rng(3),
    )
    tolerance = 0.15 * theirs.standard_error
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)


def test_undefined_resamples_are_counted_and_too_many_leave_no_interval() -> None:
    boot = np.array([0.1, 0.2, math.nan, 0.3])
    estimate = from_resamples(0.2, boot, 60)
    assert "25.0%" in estimate.reason and estimate.low >= 0.1
    estimate = from_resamples(0.2, np.array([math.nan, math.nan, 0.2]), 60)
    assert estimate.value == 0.2 and math.isnan(estimate.low) and "no interval" in estimate.reason
    assert "one cluster" in from_resamples(0.2, boot, 1).reason


def test_a_statistic_without_a_value_is_undefined() -> None:
    estimate = interval(
        lambda weights: spearman_resamples(np.ones(5), np.arange(5.0), weights), rows_as_clusters(5), seeded("a")
    )
    assert not estimate.is_defined and "constant" in estimate.reason
    assert estimate.as_json()["value"] is None
