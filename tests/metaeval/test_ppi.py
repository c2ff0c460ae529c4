"""Prediction-powered inference."""

from __future__ import annotations

import numpy as np
import pytest

from assay.metaeval.ppi import ppi_mean


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
    for _ in range(600):
        judge = rng.normal(size=1100)
        human = 0.7 + correlation * judge + np.sqrt(1 - correlation**2) * rng.normal(size=1100)
        # a judge on another scale and with an offset, as judges are
        found = ppi_mean(human[:100], 3 * judge[:100] + 5, 3 * judge[100:] + 5)
        covered += found.estimate.low <= 0.7 <= found.estimate.high
        ratios.append(found.width_ratio)
    # 95 % +- 3 standard errors of 600 simulations (2.7 %)
    assert 0.923 <= covered / 600 <= 0.977
    assert np.mean(ratios) <= most
