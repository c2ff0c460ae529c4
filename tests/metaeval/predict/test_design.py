"""Which mixtures are trained next, and which not at all."""

from __future__ import annotations

import math

import numpy as np

from assay.metaeval.predict.design import Limit, hope, next_batch
from assay.metaeval.predict.stacking import Predictions


def predictions(mean: list[float], half: float, sd: float = 0.1) -> Predictions:
    middle = np.array(mean)
    return Predictions(middle, middle - half, middle + half, np.full(middle.size, sd))


def test_the_next_batch_goes_where_most_may_be_gained_and_not_twice_to_one_place() -> None:
    shares = np.array([[0.5, 0.5], [0.5001, 0.4999], [0.9, 0.1], [0.1, 0.9]])
    wide = Predictions(np.array([1.0, 1.0, 0.9, 0.2]), np.zeros(4), np.zeros(4), np.full(4, 0.2))
    assert next_batch(shares, wide, 0.9, 2) == [0, 2]  # the second is the first again
    assert sorted(next_batch(shares, wide, 0.9, 9)) == [0, 1, 2, 3]


def test_the_next_one_is_that_which_may_improve_most_and_losses_are_scores_turned() -> None:
    shares = np.array([[0.5, 0.5], [0.9, 0.1], [0.1, 0.9]])
    wide = Predictions(np.array([1.0, 0.95, 0.2]), np.zeros(3), np.ones(3), np.array([0.01, 0.5, 0.5]))
    assert next_batch(shares, wide, 1.0, 1) == [1]
    assert next_batch(shares, wide.reversed, -0.2, 1) == [2]
    np.testing.assert_array_equal(wide.reversed.low, -wide.high)


def test_a_mixture_that_breaks_the_limit_is_not_trained() -> None:
    shares = np.eye(3)
    wide = predictions([1.0, 0.95, 0.5], 0.2)
    limit = Limit(predictions([0.5, 0.0, 0.0], 0.1, sd=0.05), at_most=0.1)
    assert next_batch(shares, wide, 0.9, 1, limit=limit) == [1]
    assert hope(wide, 0.9, 0.05, noise=math.nan, limit=limit).chance[0] == 0


def test_queued_mixtures_are_cancelled_where_a_run_would_tell_nothing() -> None:
    queued = predictions([0.9, 1.0, 0.1], 0.2)
    assert hope(queued, 1.0, 0.1, noise=math.nan).need_not_be_trained.tolist() == [False, False, True]
    assert hope(queued, 1.0, 0.1, noise=0.2).need_not_be_trained.tolist() == [True, True, True]
