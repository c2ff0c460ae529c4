"""Figures of a prediction, worked by hand, and what is proposed from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from assay.metaeval.predict.account import account, noise_sd, pair_accuracy, rank_ceiling
from assay.metaeval.predict.choice import Bounds, candidates
from assay.metaeval.predict.stacking import Predictions


def predictions(mean: list[float], half: float, sd: float = 0.1) -> Predictions:
    middle = np.array(mean)
    return Predictions(middle, middle - half, middle + half, np.full(middle.size, sd))


def test_account_worked_by_hand() -> None:
    found = account(predictions([1.0, 2.0, 3.0, 4.0], 0.5), np.array([1.2, 2.0, 4.0, 3.6]))
    assert found.coverage == 0.75  # 3 +- .5 misses 4.0
    assert found.pair_accuracy == pytest.approx(5 / 6)
    assert found.rank_correlation == pytest.approx(spearmanr([1, 2, 3, 4], [1.2, 2, 4, 3.6])[0])
    assert found.mean_error == pytest.approx((0.2 + 0 + 1 + 0.4) / 4)
    assert found.mean_width == 1.0


def test_a_predicted_tie_is_half_right_and_a_measured_one_asks_nothing() -> None:
    assert pair_accuracy(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 2.0])) == pytest.approx((0.5 + 1) / 2)


def test_a_constant_side_has_no_rank_correlation() -> None:
    assert math.isnan(account(predictions([1, 1, 1, 1], 1.0), np.arange(4.0)).rank_correlation)


def test_noise_comes_from_mixtures_trained_twice() -> None:
    shares = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.5, 0.5]])
    # squares around means: 2 * .01 + 2 * .04 = .1, with 5 - 3 = 2 degrees of freedom
    assert noise_sd(shares, np.array([1.1, 0.9, 2.2, 1.8, 7.0])) == pytest.approx(math.sqrt(0.05))
    assert math.isnan(noise_sd(shares[1:3], np.array([1.0, 2.0])))


def test_ceiling_falls_with_noise() -> None:
    scores = np.random.default_rng(0).normal(size=200)
    assert rank_ceiling(scores, 0.0) == pytest.approx(1)
    assert 0.8 < rank_ceiling(scores, 0.4) < 0.95
    assert math.isnan(rank_ceiling(scores, math.nan))


def test_candidates_keep_the_bounds_and_hold_the_trained_ones() -> None:
    bounds = Bounds(np.array([0.1, 0.0, 0.0]), np.array([1.0, 0.3, 0.4]))
    trained = np.array([[0.5, 0.2, 0.3], [0.0, 0.5, 0.5]])
    found = candidates(bounds, trained, seed=0)
    assert bounds.keep(found).all() and len(found) > 1000
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_array_equal(found[0], trained[0])
    with pytest.raises(ValueError, match="no mixture keeps"):
        Bounds(np.array([0.0, 0.0]), np.array([0.4, 0.4]))
