"""Few clusters, grouped answers, ties that arithmetic breaks: what failed before, by simulation with fixed seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from assay.metaeval.statistics.bootstrap import (
    Clusters,
    clusters,
    interval,
    jackknife_variance,
    resample_clusters,
    seeded,
    weighted_mean,
)
from assay.metaeval.statistics.comparability import Rows, cat, cit
from assay.metaeval.statistics.correlation import spearman, spearman_resamples
from assay.metaeval.statistics.estimate import Estimate
from assay.metaeval.statistics.pairwise import grouped_difference_p, perm_both
from bench.coverage import curve_runs, expected_cit


def clustered_mean(rng: np.random.Generator, num_clusters: int) -> Estimate:
    values = (rng.normal(size=(num_clusters, 1)) + rng.normal(size=(num_clusters, 10))).ravel()
    return interval(weighted_mean(values), clusters(np.repeat(np.arange(num_clusters), 10)), rng, resamples=200)


def clustered_rho(rng: np.random.Generator, num_clusters: int) -> Estimate:
    document, own = rng.normal(size=(2, num_clusters, 1))
    x = (document + rng.normal(size=(num_clusters, 8))).ravel()
    y = 0.7 * x + math.sqrt(0.51) * (own + rng.normal(size=(num_clusters, 8))).ravel()
    units = clusters(np.repeat(np.arange(num_clusters), 8))
    return interval(lambda w: spearman_resamples(x, y, w), units, rng, resamples=200, method="bca", scale="fisher")


@pytest.mark.parametrize("num_clusters", [8, 20])
def test_a_mean_and_a_rho_over_few_clusters_are_covered(num_clusters: int) -> None:
    # BCa covered .88 and .94 of the means, .87 and .89 of the correlations
    truth = 6 / math.pi * math.asin(0.35)
    for simulate, value in ((clustered_mean, 0.0), (clustered_rho, truth)):
        found = [simulate(np.random.default_rng(seed), num_clusters) for seed in range(300)]
        assert 0.92 <= np.mean([estimate.low <= value <= estimate.high for estimate in found]) <= 0.99


def test_below_six_clusters_there_is_no_interval_and_it_is_said_why() -> None:
    found = clustered_mean(np.random.default_rng(0), 5)
    assert found.is_defined and math.isnan(found.low)
    assert found.reason == "no interval: 5 clusters, at least 6 are needed"


def test_the_jackknife_of_a_mean_is_the_usual_error_also_within_strata() -> None:
    values = np.random.default_rng(1).normal(size=9)
    left_out = (values.sum() - values) / 8
    variance, dof = jackknife_variance(left_out, Clusters(np.arange(9), np.zeros(9, dtype=np.int64)))
    assert variance == pytest.approx(stats.sem(values) ** 2) and dof == pytest.approx(8)
    # strata of 4 and 5: each by itself, times (n - 1) / n summed squares of what leaving one out does to the whole
    strata = np.array([0] * 4 + [1] * 5)
    variance, dof = jackknife_variance(left_out, Clusters(np.arange(9), strata))
    parts = [(n - 1) / n * np.sum((own - own.mean()) ** 2) for n, own in ((4, left_out[:4]), (5, left_out[4:]))]
    assert variance == pytest.approx(sum(parts))
    assert dof == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 4))


def two_scorers(rng: np.random.Generator, documents: int, texts: int) -> tuple[np.ndarray, ...]:
    """Two equally good scorers whose errors are shared within documents; people's scores; documents."""
    human, first, second = (
        rng.normal(size=(documents, 1)) + 0.5 * rng.normal(size=(documents, texts)) for _ in range(3)
    )
    group = np.repeat(np.arange(documents), texts)
    return (human + first).ravel(), (human + second).ravel(), human.ravel(), group


def test_equal_scorers_are_not_told_apart_where_documents_group_their_answers() -> None:
    # answer by answer, PERM-BOTH called 45 of 100 such pairs different
    grouped = answerwise = students = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        first, second, human, group = two_scorers(rng, 20, 12)
        grouped += perm_both(first, second, human, rng, resamples=200, groups=group) < 0.05
        answerwise += perm_both(first, second, human, rng, resamples=200) < 0.05
        students += grouped_difference_p(first, second, human, group) < 0.05
    assert answerwise >= 30  # what is wrong with answers one by one
    assert grouped <= 11 and students <= 11  # 5 expected, 11 is three standard errors above


def test_groups_of_one_answer_are_answers() -> None:
    first, second, human, _ = two_scorers(np.random.default_rng(0), 30, 1)
    plain = perm_both(first, second, human, np.random.default_rng(1), resamples=300)
    assert perm_both(first, second, human, np.random.default_rng(1), resamples=300, groups=np.arange(30)) == plain


def test_ties_that_arithmetic_breaks_are_ties() -> None:
    # .1 + .2 and .3 differ in the last bit
    assert spearman([0.1 + 0.2, 0.3, 0.5], [1.0, 1.0, 2.0]) == pytest.approx(1.0)
    # centring a task of equal numbers of rows left its ties in a random order: .21 instead of .60 at worst
    rng = np.random.default_rng(3)
    scorer, human = rng.integers(0, 3, 60) / 10, rng.integers(0, 3, 60) / 10
    task = np.repeat(np.arange(3), 20)
    rows = Rows(scorer + task / 3, human + task / 7, task, np.arange(60), ("a", "b", "c"))
    exact = np.concatenate([stats.zscore(part) * part.std() for part in np.split(scorer, 3)])
    other = np.concatenate([stats.zscore(part) * part.std() for part in np.split(human, 3)])
    wanted = stats.spearmanr(np.round(exact, 9), np.round(other, 9)).statistic
    assert cat(rows, rng, resamples=200, task_centred=True).value == pytest.approx(wanted, abs=1e-12)


def test_draws_of_fixed_mixtures_are_not_resampled() -> None:
    # 7 tasks x N of 0, 10 and 50 x 3 draws are 63 clusters in strata of 3: a bootstrap within loses a third of the
    # variance, and one over all sizes covers .997 of truths
    hits, widths = 0, []
    for k in range(150):
        rng = seeded("strata", str(k))
        rows = curve_runs(rng, 7)
        found = cit(rows, rng, resamples=200)
        assert found.method == "jackknife t, 63 clusters"
        hits += found.low <= expected_cit() <= found.high
        widths.append(found.high - found.low)
    assert 135 <= hits <= 149
    assert float(np.mean(widths)) < 0.33


def test_a_stratum_of_one_is_resampled_with_the_others_of_one() -> None:
    units = clusters(np.arange(4), np.array([0, 0, 1, 2]))
    drawn = resample_clusters(units, 200, np.random.default_rng(0))
    assert (drawn[2:].sum(axis=0) == 2).all() and drawn[2].std() > 0
