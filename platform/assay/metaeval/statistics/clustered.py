"""Means over runs x items, and smooth functions of them, with a variance clustered on both sides.

A training study is small on one side (three or four draws) and large on the other (hundreds of items), and
every run answers the same items. The variance of a mean over such a table has three parts,

    run variance / R  +  item variance / I  +  residual variance / (R I),

which are estimated from the run means, the item means and the doubly centred residuals, and studentised with
Satterthwaite's degrees of freedom, because a percentile bootstrap over three runs covers far too seldom. With one
run per block there is no spread between runs: the interval then speaks about items alone, and says so.

Axes: R runs, I items. Missing cells are NaN and are left out, never filled.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.metaeval.statistics.estimate import Estimate, FloatArray, IntArray

CONFIDENCE = 0.95
POWER = 0.8
"""Chance of being found that the minimum detectable effect stands for."""


@dataclass(frozen=True)
class Block:
    """One table of scores whose mean enters a statistic with a (linearised) coefficient."""

    scores: FloatArray
    """Shape (runs, items); NaN where there is no score."""
    runs: Sequence[Hashable]
    """Identity of each run; a run that occurs in several blocks is one cluster."""
    items: Sequence[Hashable]
    """Identity of each item; shared items make a difference paired."""
    coefficient: float = 1.0
    """Derivative of the statistic with respect to this block's mean."""

    @property
    def mean(self) -> float:
        """Mean over all cells that have a score; NaN where none has."""
        return float(np.nanmean(self.scores)) if np.isfinite(self.scores).any() else math.nan


@dataclass(frozen=True)
class ClusteredVariance:
    """Variance of a statistic and how well it is known."""

    variance: float
    dof: float
    num_runs: int
    num_items: int
    has_run_spread: bool
    """False where no stratum holds two runs: the variance is that of items alone."""

    @property
    def standard_error(self) -> float:
        """Square root of the variance."""
        return math.sqrt(self.variance)

    @property
    def unit(self) -> str:
        """What the interval speaks about."""
        if self.has_run_spread:
            return "items and runs"
        return "items only (one run)" if self.num_runs else "clusters"


def common_items(first: Block, second: Block) -> tuple[Block, Block]:
    """Both blocks on the items that every run of either has a score for, in the order of the second."""
    places = {item: place for place, item in enumerate(first.items)}
    pairs = [(places[item], place) for place, item in enumerate(second.items) if item in places]
    kept = [
        (here, there)
        for here, there in pairs
        if np.isfinite(first.scores[:, here]).all() and np.isfinite(second.scores[:, there]).all()
    ]
    items = [second.items[there] for _, there in kept]
    return (
        replace(first, scores=first.scores[:, [here for here, _ in kept]], items=items),
        replace(second, scores=second.scores[:, [there for _, there in kept]], items=items),
    )


def clustered_variance(blocks: Sequence[Block]) -> ClusteredVariance:
    """Variance of sum(coefficient x mean) over blocks, clustered by run and by item.

    Runs are compared within strata: runs that occur in the same blocks. Balanced and complete blocks give the
    textbook two-way components; with gaps, the ratio estimator's linearisation.

    Source: two-way clustering as in Cameron, Gelbach and Miller 2011, with the intersection taken from residuals
    (their form loses 1/R of the item variance, a third at three runs); degrees of freedom after Satterthwaite 1946.
    """
    run_sums: dict[Hashable, float] = {}
    run_blocks: dict[Hashable, list[int]] = {}
    item_sums: dict[Hashable, float] = {}
    residual = 0.0
    for number, block in enumerate(blocks):
        seen = np.isfinite(block.scores)
        count = int(seen.sum())
        if count == 0:
            continue
        centred = np.where(seen, block.scores - block.mean, 0.0)
        scale = block.coefficient / count
        for run, total in zip(block.runs, centred.sum(axis=1) * scale, strict=True):
            run_sums[run] = run_sums.get(run, 0.0) + float(total)
            run_blocks.setdefault(run, []).append(number)
        for item, total in zip(block.items, centred.sum(axis=0) * scale, strict=True):
            item_sums[item] = item_sums.get(item, 0.0) + float(total)
        residual += block.coefficient**2 * _residual_variance(centred, seen) / count

    strata: dict[tuple[int, ...], list[float]] = {}
    for run, total in run_sums.items():
        strata.setdefault(tuple(run_blocks[run]), []).append(total)
    run_parts = [(_sum_variance(np.array(sums)), len(sums) - 1) for sums in strata.values() if len(sums) > 1]
    num_items = len(item_sums)
    run_variance = sum(part for part, _ in run_parts)
    item_variance = _sum_variance(np.array(list(item_sums.values()))) if num_items > 1 else 0.0
    # each side's sums already hold the residual once; the floor keeps sampling noise from making it negative
    variance = max(run_variance + item_variance - residual, run_variance, item_variance)
    spread = sum(part**2 / dof for part, dof in run_parts)
    if num_items > 1:
        spread += item_variance**2 / (num_items - 1)
    dof = variance**2 / spread if spread > 0 else math.inf
    return ClusteredVariance(variance, dof, len(run_sums), num_items, bool(run_parts))


def one_way_variance(influence_N: FloatArray, cluster_N: IntArray) -> ClusteredVariance:
    """Variance of a statistic whose error is the mean of these influence values, independent between clusters."""
    _, places = np.unique(cluster_N, return_inverse=True)
    sums_G = np.bincount(places, influence_N) / influence_N.size
    if sums_G.size < 2:
        return ClusteredVariance(0.0, math.inf, 0, int(sums_G.size), False)
    return ClusteredVariance(_sum_variance(sums_G), sums_G.size - 1, 0, int(sums_G.size), False)


def student_interval(
    value: float, variance: ClusteredVariance, *, n: int = 0, low: float = -math.inf, high: float = math.inf
) -> Estimate:
    """95 % interval from Student's t with the variance's degrees of freedom, clipped to [low, high]."""
    half = student_quantile(0.5 + CONFIDENCE / 2, variance.dof) * variance.standard_error
    return Estimate(
        value,
        max(low, value - half),
        min(high, value + half),
        n,
        min(variance.num_items, variance.num_runs) if variance.has_run_spread else variance.num_items,
        f"studentised, {variance.unit}",
    )


def student_p(value: float, variance: ClusteredVariance) -> float:
    """Two-sided p of a zero effect."""
    from scipy.special import stdtr

    if variance.variance == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stdtr(min(variance.dof, 1e9), -abs(value) / variance.standard_error))


def minimum_detectable_effect(standard_error: float, dof: float = math.inf) -> float:
    """Smallest true difference that a two-sided test at 5 % finds with a chance of 80 %."""
    return (student_quantile(0.5 + CONFIDENCE / 2, dof) + student_quantile(POWER, dof)) * standard_error


def student_quantile(probability: float, dof: float) -> float:
    """Quantile of Student's t; the normal one for infinite degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(min(dof, 1e9), probability))


def _sum_variance(sums_G: FloatArray) -> float:
    """Variance of the total of G independent sums."""
    count = sums_G.size
    return float(count / (count - 1) * np.sum((sums_G - sums_G.mean()) ** 2))


def _residual_variance(centred_RI: FloatArray, seen_RI: np.ndarray) -> float:
    """Mean square of what neither the run nor the item explains; 0 where there is one run or one item."""
    num_runs = int(seen_RI.any(axis=1).sum())
    num_items = int(seen_RI.any(axis=0).sum())
    dof = int(seen_RI.sum()) - num_runs - num_items + 1
    if num_runs < 2 or num_items < 2 or dof < 1:
        return 0.0
    run_means = centred_RI.sum(axis=1) / np.maximum(seen_RI.sum(axis=1), 1)
    item_means = centred_RI.sum(axis=0) / np.maximum(seen_RI.sum(axis=0), 1)
    residual = np.where(seen_RI, centred_RI - run_means[:, None] - item_means[None, :], 0.0)
    return float(np.sum(residual**2) / dof)
