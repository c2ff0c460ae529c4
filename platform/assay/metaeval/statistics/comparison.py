"""Which mixture wins: paired differences to a named baseline, with what they cost elsewhere.

A mixture (arm) is compared with the baseline on the items that all runs of both have a score for. The interval is
clustered by item and by run (draw, with its training seeds) and studentised, and the minimum detectable effect says
what a test set of this size could have found at all. What a family decides is said by `verdict.decide_family`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.clustered import (
    GIVEN_MODELS,
    ITEMS_ONLY,
    Block,
    ClusteredVariance,
    clustered_variance,
    minimum_detectable_effect,
    score_interval,
    student_interval,
    student_p,
    student_quantile,
    t_test,
)
from assay.metaeval.statistics.estimate import BoolArray, Estimate
from assay.metaeval.statistics.rates import square_and_add, wilson
from assay.metaeval.statistics.verdict import Evidence


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against the baseline on common items."""

    difference: Estimate
    """Mean of the arm minus mean of the baseline, in the scorer's unit."""
    p: float
    mde: float
    """Smallest true difference that this comparison alone finds with a chance of 80 %."""
    mean: float
    """The arm's mean over the common items."""
    baseline_mean: float
    num_items: int
    """Items that every run of both sides has a score for."""
    num_items_left_out: int
    unit: str
    """What the interval speaks about."""
    standard_error: float = math.nan
    dof: float = math.nan
    run_error: float = math.nan
    """The part of the standard error that more runs would lower."""
    num_runs: int = 0
    """Clusters of runs on the smaller side."""
    is_about_runs: bool = False
    """Whether the interval knows how runs differ; only then can an arm be told apart."""

    @property
    def evidence(self) -> Evidence:
        """What a family decides by."""
        return Evidence(
            self.difference.value, self.standard_error, self.dof, self.run_error, self.num_runs, self.is_about_runs
        )


def compare(arm: Block, baseline: Block, *, low: float | None = None, high: float | None = None) -> Comparison:
    """Paired comparison of two sets of runs over the same item axis; NaN where there is no score.

    Args:
        arm: scores of the arm's runs. Its coefficient plays no part.
        baseline: scores of the baseline's runs, same items; runs on both sides count as one cluster.
        low: lower end of the scorer's range, None where it has none.
        high: upper end of the range.
    """
    valid_I = np.asarray(np.isfinite(arm.scores).all(axis=0) & np.isfinite(baseline.scores).all(axis=0), dtype=bool)
    num_items = int(valid_I.sum())
    left_out = int(valid_I.size - num_items)
    if num_items == 0 or not arm.runs or not baseline.runs:
        reason = "no item has a score from every run of both"
        return Comparison(Estimate.undefined(reason), math.nan, math.nan, math.nan, math.nan, 0, left_out, "")
    arm, baseline = _on_items(arm, valid_I, 1.0), _on_items(baseline, valid_I, -1.0)
    mean, baseline_mean = arm.mean, baseline.mean
    variance = clustered_variance([arm, baseline])
    if _is_flat(variance, mean, baseline_mean):
        estimate, p = _without_spread(arm, baseline, low, high)
        flat = Comparison(estimate, p, math.nan, mean, baseline_mean, num_items, left_out, ITEMS_ONLY)
        return _of_given(flat) if variance.is_of_given else flat
    span = high - low if low is not None and high is not None else math.inf
    return _studentised(
        (mean, baseline_mean),
        variance,
        span,
        min(len(set(arm.clusters)), len(set(baseline.clusters))),
        (num_items, left_out),
    )


def mean_estimate(
    blocks: Block | Sequence[Block], *, low: float | None = None, high: float | None = None
) -> tuple[Estimate, str]:
    """Mean over runs and items with its clustered interval, and the unit that the interval speaks about.

    On a scale with two ends the interval is a score interval; without one it is Student's.

    Args:
        blocks: the runs of one mixture, or of several that are fixed: what differs between them is no spread of runs.
        low: lower end of the scale, None where it has none.
        high: upper end.
    """
    blocks = [blocks] if isinstance(blocks, Block) else blocks
    sizes = [int(np.isfinite(block.scores).sum()) for block in blocks]
    count = sum(sizes)
    if count == 0:
        return Estimate.undefined("no scored answer"), ""
    weighed = [replace(block, coefficient=size / count) for block, size in zip(blocks, sizes, strict=True) if size]
    variance = clustered_variance(weighed)
    value = sum(block.coefficient * block.mean for block in weighed)
    is_flat = _is_flat(variance, value, 0.0)
    is_bounded = low is not None and high is not None and low <= value <= high
    at_end = value in (low, high)
    if is_flat and not (is_bounded and at_end):
        return Estimate(value, math.nan, math.nan, count, variance.num_items, "", "no interval: no spread"), ""
    if is_bounded and low is not None and high is not None:
        estimate = score_interval(weighed, variance, low=low, high=high)
        return estimate, ITEMS_ONLY if is_flat else variance.unit
    ends = (-math.inf if low is None else low, math.inf if high is None else high)
    return student_interval(value, variance, n=count, low=ends[0], high=ends[1]), variance.unit


@dataclass(frozen=True)
class Pair:
    """An arm and the baseline on one evaluation set; coefficients of the blocks play no part."""

    weight: float
    """Of the set; weights of all sets add up to 1."""
    arm: Block
    baseline: Block


def compare_weighted(pairs: Sequence[Pair], *, low: float | None = None, high: float | None = None) -> Comparison:
    """Arm minus baseline in the weighted mean of the sets' means, paired by item within each set.

    The sets' items differ and their runs are the same: a run that is good on one set tends to be good on another, which
    the clustered variance counts in full, since a run is one cluster over all blocks.

    Args:
        pairs: one per set, with NaN where there is no score: items that some run has no score for are left out.
        low: lower end of the scorer's range, None where it has none.
        high: upper end.
    """
    kept, num_items, left_out = [], 0, 0
    for pair in pairs:
        both = np.concatenate([pair.arm.scores, pair.baseline.scores])
        valid_I = np.asarray(np.isfinite(both).all(axis=0))
        found = int(valid_I.sum())
        left_out += int(valid_I.size) - found
        num_items += found
        if not found or not pair.arm.runs or not pair.baseline.runs:
            reason = "a set has no item with a score from every run of both"
            return Comparison(Estimate.undefined(reason), math.nan, math.nan, math.nan, math.nan, 0, left_out, "")
        kept.append(
            Pair(
                pair.weight, _on_items(pair.arm, valid_I, pair.weight), _on_items(pair.baseline, valid_I, -pair.weight)
            )
        )
    blocks = [block for pair in kept for block in (pair.arm, pair.baseline)]
    mean = sum(pair.weight * pair.arm.mean for pair in kept)
    baseline_mean = sum(pair.weight * pair.baseline.mean for pair in kept)
    value = mean - baseline_mean
    variance = clustered_variance(blocks)
    clusters = [min(len(set(pair.arm.clusters)), len(set(pair.baseline.clusters))) for pair in kept]
    if _is_flat(variance, mean, baseline_mean):
        # what an exchange of the runs gives: runs without spread are no proof that runs have none
        p = min(1.0, 2 / math.comb(2 * min(clusters), min(clusters))) if value else 1.0
        estimate = Estimate(value, math.nan, math.nan, num_items, num_items, "", "no interval: no spread")
        if variance.is_of_given and (low, high) == (0.0, 1.0):
            estimate = _all_or_nothing(kept, value, num_items)
        flat = Comparison(estimate, p, math.nan, mean, baseline_mean, num_items, left_out, ITEMS_ONLY)
        return _of_given(flat) if variance.is_of_given else flat
    span = high - low if low is not None and high is not None else math.inf
    return _studentised((mean, baseline_mean), variance, span, min(clusters), (num_items, left_out))


def weighted_mean(
    blocks: Sequence[tuple[float, Block]], *, low: float | None = None, high: float | None = None
) -> Estimate:
    """The weighted mean of the sets' means with Student's interval, clipped to the scale.

    Args:
        blocks: weight of the set and its scores; weights add up to 1.
        low: lower end of the scorer's range, None where it has none.
        high: upper end.
    """
    counts = [int(np.isfinite(block.scores).sum()) for _, block in blocks]
    if not blocks or not all(counts):
        return Estimate.undefined("a set has no scored answer")
    variance = clustered_variance([replace(block, coefficient=weight) for weight, block in blocks])
    value = sum(weight * block.mean for weight, block in blocks)
    if _is_flat(variance, value, 0.0):
        return Estimate(value, math.nan, math.nan, sum(counts), variance.num_items, "", "no interval: no spread")
    ends = (-math.inf if low is None else low, math.inf if high is None else high)
    return student_interval(value, variance, n=sum(counts), low=ends[0], high=ends[1])


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


def _of_given(flat: Comparison) -> Comparison:
    """Two given models, one right on every item and one wrong on every one: decided by the interval over items."""
    found = flat.difference
    if not flat.difference.value or math.isnan(found.low) or math.isnan(found.high):
        return replace(flat, unit=GIVEN_MODELS, is_about_runs=True)
    nearer = min(found.high - found.value, found.value - found.low, key=lambda half: (half <= 0, half))
    error = nearer / student_quantile(0.975, math.inf)
    return replace(
        flat,
        standard_error=error,
        dof=math.inf,
        p=t_test(found.value, error, math.inf),
        unit=GIVEN_MODELS,
        is_about_runs=True,
    )


def _all_or_nothing(pairs: Sequence[Pair], value: float, num_items: int) -> Estimate:
    """Interval of a weighted difference whose sides have one score, 0 or 1, for all answers of a set."""
    sides = [(sign * pair.weight, block) for pair in pairs for sign, block in ((1.0, pair.arm), (-1.0, pair.baseline))]
    if any(block.mean not in (0.0, 1.0) for _, block in sides):
        return Estimate(value, math.nan, math.nan, num_items, num_items, "", "no interval: no spread")
    counts = [(weight, block.mean, block.scores.shape[1]) for weight, block in sides]
    low, high = square_and_add([(weight, wilson(mean * count, count)) for weight, mean, count in counts])
    return Estimate(value, low, high, num_items, num_items, "Wilson over items (Newcombe)")


def _without_spread(arm: Block, baseline: Block, low: float | None, high: float | None) -> tuple[Estimate, float]:
    """Interval and p where neither side varies: all answers of each side have one score.

    Runs without spread are no proof that runs have none: p is that of an exchange of the runs, 2 / (n + m over n).
    """
    value = arm.mean - baseline.mean
    num_items = arm.scores.shape[1]
    first_runs, second_runs = len(set(arm.clusters)), len(set(baseline.clusters))
    p = min(1.0, 2 / math.comb(first_runs + second_runs, first_runs)) if value else 1.0
    ends = {0.0, 1.0}
    if (low, high) != (0.0, 1.0) or not {arm.mean, baseline.mean} <= ends:
        return Estimate(value, math.nan, math.nan, num_items, num_items, "", "no interval: no spread"), p
    first, second = wilson(arm.mean * num_items, num_items), wilson(baseline.mean * num_items, num_items)
    low_end, high_end = square_and_add([(1.0, first), (-1.0, second)])
    return Estimate(value, low_end, high_end, num_items, num_items, "Wilson over items (Newcombe)"), p


def _studentised(
    means: tuple[float, float], variance: ClusteredVariance, span: float, num_clusters: int, items: tuple[int, int]
) -> Comparison:
    """Arm minus baseline by Student's t.

    Args:
        means: of the arm and of the baseline.
        variance: of their difference.
        span: length of the scorer's scale, which no difference exceeds.
        num_clusters: clusters of runs on the smaller side.
        items: compared, and left out.
    """
    value = means[0] - means[1]
    return Comparison(
        student_interval(value, variance, n=items[0], low=-span, high=span),
        student_p(value, variance),
        minimum_detectable_effect(variance.standard_error, variance.dof),
        *means,
        *items,
        variance.unit,
        variance.standard_error,
        variance.dof,
        math.nan if variance.is_of_given else math.sqrt(variance.run_variance),
        num_clusters,
        variance.has_run_spread or variance.is_of_given,
    )


def _is_flat(variance: ClusteredVariance, first: float, second: float) -> bool:
    return bool(variance.variance <= (1e-12 * max(1.0, abs(first), abs(second))) ** 2)


def _on_items(block: Block, valid_I: BoolArray, coefficient: float) -> Block:
    items = [item for item, is_valid in zip(block.items, valid_I, strict=True) if is_valid]
    return replace(block, scores=block.scores[:, valid_I], items=items, coefficient=coefficient)
