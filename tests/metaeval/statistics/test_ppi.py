"""Prediction-powered inference."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.metaeval.statistics.ppi import PpiMean, human_means, ppi_mean


def test_plain_ppi_by_hand() -> None:
    # judge mean over the unlabelled 4; rectifier mean(y - f) = (1 + 0 + 2) / 3 = 1
    found = ppi_mean([3, 4, 6], [2, 4, 4], [3, 5], judge_weight=1.0)
    assert found.estimate.value == pytest.approx(5.0)
    # variances: rectifier 1 / 3, judge 2 / 2; half width = t(2, .975) sqrt(4/3)
    assert found.estimate.high - found.estimate.value == pytest.approx(4.302653 * (4 / 3) ** 0.5, rel=1e-6)


def test_weight_zero_is_the_human_mean() -> None:
    found = ppi_mean([3.0, 4.0, 6.0], [2.0, 4.0, 4.0], [3.0, 5.0], judge_weight=0.0)
    assert found.estimate.value == found.human_only.value
    assert found.width_ratio == pytest.approx(1.0)


def test_a_perfect_judge_gives_the_whole_sample() -> None:
    rng = np.random.default_rng(0)
    labelled, rest = rng.normal(size=100), rng.normal(size=10_000)
    found = ppi_mean(labelled, labelled, rest)
    assert found.judge_weight == pytest.approx(1 / 1.01, abs=0.1)
    assert found.width_ratio < 0.2


def test_a_constant_or_absent_judge_changes_nothing() -> None:
    human = np.random.default_rng(1).normal(size=20)
    for rest in (np.full(50, 0.3), np.zeros(0)):
        found = ppi_mean(human, np.full(20, 0.3), rest)
        assert found.judge_weight == 0 and found.estimate.value == pytest.approx(human.mean())


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the same items"):
        ppi_mean([1.0, 2.0], [1.0], [1.0])
    with pytest.raises(ValueError, match="missing scores"):
        ppi_mean([1.0, np.nan], [1.0, 2.0], [1.0])


@pytest.mark.parametrize(("correlation", "most"), [(0.0, 1.03), (0.5, 0.95), (0.8, 0.75)])
def test_interval_is_valid_and_narrower_where_judge_and_human_correlate(correlation: float, most: float) -> None:
    rng = np.random.default_rng(int(100 * correlation))
    covered, ratios = 0, []
    for _ in range(1000):
        judge = rng.normal(size=1100)
        human = 0.7 + correlation * judge + np.sqrt(1 - correlation**2) * rng.normal(size=1100)
        # a judge on another scale and with an offset, as judges are
        found = ppi_mean(human[:100], 3 * judge[:100] + 5, 3 * judge[100:] + 5)
        covered += found.estimate.low <= 0.7 <= found.estimate.high
        ratios.append(found.width_ratio)
    assert 0.93 <= covered / 1000 <= 0.97
    assert np.mean(ratios) <= most


def test_rows_of_one_document_are_one_draw() -> None:
    # every row ten times over: the interval must be that of the distinct rows, nearly, and not of ten times as many
    rng = np.random.default_rng(3)
    judge = rng.normal(size=300)
    human = judge + rng.normal(size=300)
    human[60:] = np.nan
    alone = human_means(human, judge)[""]
    repeated = human_means(np.repeat(human, 10), np.repeat(judge, 10), clusters=np.repeat(np.arange(300), 10).tolist())
    naive = human_means(np.repeat(human, 10), np.repeat(judge, 10))[""]
    assert isinstance(alone, PpiMean) and isinstance(repeated[""], PpiMean) and isinstance(naive, PpiMean)
    width, wide, narrow = (found.estimate.high - found.estimate.low for found in (alone, repeated[""], naive))
    assert wide == pytest.approx(width, rel=0.03)
    assert narrow < 0.4 * width


def test_clusters_of_single_rows_change_nothing() -> None:
    rng = np.random.default_rng(4)
    human, judge, rest = rng.normal(size=40), rng.normal(size=40), rng.normal(size=400)
    plain = ppi_mean(human, judge, rest, judge_weight=0.6)
    # by the usual formula: variance of the corrected labels / n + w^2 variance of the rest / N
    variance = np.var(human - 0.6 * judge, ddof=1) / 40 + 0.36 * np.var(rest, ddof=1) / 400
    assert (plain.estimate.high - plain.estimate.low) / 2 == pytest.approx(2.0226909 * variance**0.5, rel=1e-6)


def test_means_by_arm_and_arms_without_labels() -> None:
    human = [1.0, 2.0, 3.0, np.nan, np.nan, np.nan, 5.0, np.nan]
    judge = [1.0, 2.5, 3.0, 2.0, 2.0, 2.0, 5.0, 4.0]
    found = human_means(human, judge, by=["a"] * 6 + ["b"] * 2)
    assert set(found) == {"", "a", "b"}
    assert isinstance(found["a"], PpiMean) and found["a"].estimate.n == 3
    assert found["b"] == "1 rows with human and judge score, at least 2 are needed"


def test_few_labels_near_an_end_are_covered_and_stay_on_the_scale() -> None:
    # Student's interval covered .24, .60 and .86 of these with 5, 10 and 20 labels
    for count in (5, 10, 20):
        hits = []
        for seed in range(300):
            rng = np.random.default_rng(seed)
            human = (rng.random(count + 300) < 0.9).astype(float)
            judge = np.where(rng.random(human.size) < 0.85, human, 1 - human)
            found = ppi_mean(human[:count], judge[:count], judge[count:]).estimate
            assert 0 <= found.low < found.high <= 1
            hits.append(found.low <= 0.9 <= found.high)
        assert np.mean(hits) >= 0.91


def test_labels_that_are_all_alike_have_no_interval_without_a_width() -> None:
    found = ppi_mean([4.0] * 8, [3.0] * 8, [3.0] * 20)
    assert found.estimate.value == pytest.approx(4.0) and math.isnan(found.estimate.low)
    assert found.estimate.reason == "no interval: no spread" and math.isnan(found.width_ratio)
