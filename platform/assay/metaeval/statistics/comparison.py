"""Which mixture wins: paired differences to a named baseline, with what they cost elsewhere.

A mixture (arm) is compared with the baseline on the items that all runs of both have a score for. The interval is
clustered by item and by run (training seed and draw) and studentised, p-values of a family are adjusted by Holm,
and the minimum detectable effect says what a test set of this size could have found at all.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.clustered import (
    Block,
    clustered_variance,
    minimum_detectable_effect,
    student_interval,
    student_p,
)
from assay.metaeval.statistics.estimate import Estimate, FloatArray
from assay.metaeval.statistics.rates import sign_test, wilson


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against the baseline on common items."""

    difference: Estimate
    """Mean of the arm minus mean of the baseline, in the scorer's unit."""
    p: float
    mde: float
    """Smallest true difference that this comparison finds with a chance of 80 %."""
    mean: float
    """The arm's mean over the common items."""
    baseline_mean: float
    num_items: int
    """Items that every run of both sides has a score for."""
    num_items_left_out: int
    unit: str
    """What the interval speaks about."""


def compare(
    arm_RI: FloatArray,
    baseline_BI: FloatArray,
    runs: Sequence[Hashable],
    baseline_runs: Sequence[Hashable],
    *,
    low: float | None = None,
    high: float | None = None,
) -> Comparison:
    """Paired comparison of two sets of runs over the same item axis; NaN where there is no score.

    Args:
        arm_RI: scores of the arm's runs.
        baseline_BI: scores of the baseline's runs, same items.
        runs: identity of the arm's runs; shared ones count as one cluster.
        baseline_runs: identity of the baseline's runs.
        low: lower end of the scorer's range, None where it has none.
        high: upper end of the range.
    """
    valid_I = np.isfinite(arm_RI).all(axis=0) & np.isfinite(baseline_BI).all(axis=0)
    num_items = int(valid_I.sum())
    left_out = int(valid_I.size - num_items)
    if num_items == 0 or not runs or not baseline_runs:
        reason = "no item has a score from every run of both"
        return Comparison(Estimate.undefined(reason), math.nan, math.nan, math.nan, math.nan, 0, left_out, "")
    items = np.flatnonzero(valid_I).tolist()
    arm = Block(arm_RI[:, valid_I], runs, items)
    baseline = Block(baseline_BI[:, valid_I], baseline_runs, items, -1.0)
    mean, baseline_mean = arm.mean, baseline.mean
    value = mean - baseline_mean
    variance = clustered_variance([arm, baseline])
    if variance.variance <= (1e-12 * max(1.0, abs(mean), abs(baseline_mean))) ** 2:
        estimate, p = _without_spread(arm, baseline, low, high)
        return Comparison(estimate, p, math.nan, mean, baseline_mean, num_items, left_out, variance.unit)
    span = high - low if low is not None and high is not None else math.inf
    estimate = student_interval(value, variance, n=num_items, low=-span, high=span)
    mde = minimum_detectable_effect(variance.standard_error, variance.dof)
    return Comparison(
        estimate, student_p(value, variance), mde, mean, baseline_mean, num_items, left_out, variance.unit
    )


def mean_estimate(block: Block, *, low: float | None = None, high: float | None = None) -> tuple[Estimate, str]:
    """Mean over runs and items with its clustered interval, and the unit that the interval speaks about.

    Scores that are all at one end of a 0..1 range show no spread; Wilson's interval over the items stands in.
    """
    count = int(np.isfinite(block.scores).sum())
    if count == 0:
        return Estimate.undefined("no scored answer"), ""
    variance = clustered_variance([block])
    value = block.mean
    if variance.variance <= (1e-12 * max(1.0, abs(value))) ** 2:
        num_items = int(np.isfinite(block.scores).any(axis=0).sum())
        if (low, high) == (0.0, 1.0) and value in (0.0, 1.0):
            rate = wilson(value * num_items, num_items)
            return Estimate(value, rate.low, rate.high, count, num_items, "Wilson over items"), "items only"
        return Estimate(value, math.nan, math.nan, count, num_items, "", "no interval: no spread"), ""
    ends = (-math.inf if low is None else low, math.inf if high is None else high)
    return student_interval(value, variance, n=count, low=ends[0], high=ends[1]), variance.unit


def pareto_front(gain: ArrayLike, loss: ArrayLike) -> np.ndarray:
    """Which arms no other arm beats: at least as much gain for at most as much loss, and one of them strictly.

    Args:
        gain: higher is better; NaN is on no front.
        loss: lower is better.
    """
    gain_A, loss_A = np.asarray(gain, dtype=float), np.asarray(loss, dtype=float)
    known = np.isfinite(gain_A) & np.isfinite(loss_A)
    front = np.zeros(gain_A.size, dtype=bool)
    best_loss, best_gain = math.inf, -math.inf
    # by falling gain, and within equal gain by rising loss: a point is beaten by something before it or not at all
    for place in sorted(np.flatnonzero(known), key=lambda at: (-gain_A[at], loss_A[at])):
        equal = gain_A[place] == best_gain and loss_A[place] == best_loss
        if loss_A[place] < best_loss or equal:
            front[place] = True
            best_loss, best_gain = float(loss_A[place]), float(gain_A[place])
    return front


def _without_spread(arm: Block, baseline: Block, low: float | None, high: float | None) -> tuple[Estimate, float]:
    """Interval and p where neither side varies: all answers of each side have one score."""
    value = arm.mean - baseline.mean
    num_items = arm.scores.shape[1]
    p = sign_test(num_items, 0) if value else 1.0
    ends = {0.0, 1.0}
    if (low, high) != (0.0, 1.0) or not {arm.mean, baseline.mean} <= ends:
        return Estimate(value, math.nan, math.nan, num_items, num_items, "", "no interval: no spread"), p
    first, second = wilson(arm.mean * num_items, num_items), wilson(baseline.mean * num_items, num_items)
    # Newcombe's hybrid of the two score intervals
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - down, value + up, num_items, num_items, "Wilson over items (Newcombe)"), p
