"""Does a scorer order pairs as people do? Pairwise accuracy with ties, tie calibration, and tests between two scorers.

Ties count: a scorer with few distinct values must not win by never committing, nor a continuous one lose because it
never ties. Calibration finds the threshold below which the scorer's differences are best read as ties.

Axes: M models (or rows), G groups (items, documents), N rows. Higher scores are better.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.bootstrap import MIN_CLUSTERS
from assay.metaeval.statistics.clustered import one_way_variance, student_p
from assay.metaeval.statistics.correlation import (
    kendall,
    kendall_resamples,
    pearson,
    pearson_resamples,
    spearman,
    spearman_linearised,
    spearman_resamples,
)
from assay.metaeval.statistics.estimate import BoolArray, Estimate, FloatArray, IntArray
from assay.metaeval.statistics.position import mean_interval
from assay.metaeval.statistics.rates import bounded_mean

CorrelationName = Literal["spearman", "pearson", "kendall"]

_PLAIN: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "spearman": spearman,
    "pearson": pearson,
    "kendall": kendall,
}
_RESAMPLED = {"spearman": spearman_resamples, "pearson": pearson_resamples, "kendall": kendall_resamples}


@dataclass(frozen=True)
class TieCalibration:
    """Pairwise accuracy as a function of the difference up to which the scorer's pairs are ties."""

    estimate: Estimate
    """acc_eq at `epsilon` with its interval, epsilon held fixed: over groups, or over rows where there is one group.
    The threshold was chosen on the same pairs, so the value flatters; `cross_fitted` does not."""
    cross_fitted: Estimate
    """acc_eq of pairs whose threshold was chosen on other groups (other rows, where there is one group). Its interval
    ends above where that of `estimate` does: thresholds of fewer groups vary more (.94 to .96 covered, 8 to 60 groups;
    .85 to .92 without)."""
    epsilon: float
    """The smallest threshold with the highest accuracy; 0: no ties beyond the scorer's own."""
    plain_accuracy: float
    """acc_eq with the scorer's own ties only."""
    num_pairs: int
    thresholds: FloatArray
    """Every difference between two scores, ascending, starting at 0."""
    accuracies: FloatArray


def tie_calibration(
    scorer: ArrayLike,
    gold: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    max_pairs: int | None = None,
    rng: np.random.Generator | None = None,
) -> TieCalibration:
    """Accuracy over pairs within groups (mean over groups), at the best tie threshold.

    Args:
        scorer: scores, shape (N,), or (G, M) with one group per row; NaN where missing.
        gold: human scores of the same shape; NaN where missing.
        groups: label per row for shape (N,); None: one group.
        max_pairs: draw this many pairs of rows instead of taking all, in proportion to the groups' pairs (needs `rng`).
        rng: seeded by the caller.

    Raises:
        ValueError: shapes differ, or no group holds two rows with both scores.

    Source: Deutsch et al. 2023, "Ties Matter", algorithm 1, with acc_eq and grouping by item.
    """
    scorer_N, gold_N, group_N = _flat(scorer, gold, groups)
    first, second, weight = _pairs(group_N, max_pairs, rng)
    if first.size == 0:
        raise ValueError("no group holds two rows with both scores")
    gold_order = np.sign(gold_N[first] - gold_N[second])
    pairs = _Pairs(
        first,
        second,
        weight,
        np.abs(scorer_N[first] - scorer_N[second]),
        np.sign(scorer_N[first] - scorer_N[second]) == gold_order,
        gold_order == 0,
    )
    thresholds, accuracies, best = pairs.calibrated()
    epsilon = float(thresholds[best])
    estimate = _accuracy_interval(float(accuracies[best]), pairs.is_right(epsilon), pairs, group_N)
    cross_fitted = _cross_fitted(pairs, group_N)
    cross_fitted = replace(cross_fitted, high=max(cross_fitted.high, estimate.high))
    plain = float(np.sum(weight[pairs.right]))
    return TieCalibration(estimate, cross_fitted, epsilon, plain, int(first.size), thresholds, accuracies)


@dataclass(frozen=True)
class _Pairs:
    """Pairs of rows, axis P, and how a scorer stands to gold on each."""

    first: IntArray
    second: IntArray
    weight: FloatArray
    difference: FloatArray
    """Of the scorer's two scores, without sign."""
    right: BoolArray
    """Whether the scorer orders the pair as gold does."""
    right_as_tie: BoolArray
    """Whether gold ties it."""

    def take(self, kept: BoolArray) -> _Pairs:
        return _Pairs(
            self.first[kept],
            self.second[kept],
            self.weight[kept],
            self.difference[kept],
            self.right[kept],
            self.right_as_tie[kept],
        )

    def calibrated(self) -> tuple[FloatArray, FloatArray, int]:
        """Thresholds from 0 on, the accuracy at each, and the place of the first of the highest."""
        plain = float(np.sum(self.weight[self.right]))
        thresholds, place = np.unique(self.difference, return_inverse=True)
        gains = self.weight * (self.right_as_tie.astype(float) - self.right)
        accuracies = plain + np.cumsum(np.bincount(place, weights=gains, minlength=thresholds.size))
        if thresholds[0] != 0:
            thresholds, accuracies = np.insert(thresholds, 0, 0.0), np.insert(accuracies, 0, plain)
        # sums in another order differ in the last digits
        best = int(np.flatnonzero(accuracies >= accuracies.max() - 1e-12)[0])
        return thresholds, np.asarray(accuracies, dtype=float), best

    def is_right(self, epsilon: float | FloatArray) -> BoolArray:
        """Whether each pair is right where differences up to epsilon are ties."""
        return np.asarray(np.where(self.difference <= epsilon, self.right_as_tie, self.right), dtype=bool)


_FOLDS = 10


def _cross_fitted(pairs: _Pairs, group_N: IntArray) -> Estimate:
    """Accuracy of each fold's pairs at the threshold of the others'; one group is halved by rows, pairs within halves.

    Folds are drawn by a fixed seed.
    """
    rng = np.random.default_rng(0)
    groups = np.unique(group_N[pairs.first])
    if groups.size > 1:
        fold_G = np.zeros(int(groups.max()) + 1, dtype=np.int64)
        fold_G[groups] = rng.permutation(groups.size) % min(_FOLDS, groups.size)
        fold_P = fold_G[group_N[pairs.first]]
    else:
        half_N = rng.permutation(group_N.size) % 2
        within = half_N[pairs.first] == half_N[pairs.second]
        if not within.any():
            return Estimate.undefined("too few pairs to choose a threshold on others", int(group_N.size))
        pairs = pairs.take(within)
        pairs = replace(pairs, weight=pairs.weight / pairs.weight.sum())
        fold_P = half_N[pairs.first]
    epsilon_P = np.zeros(fold_P.size)
    for fold in np.unique(fold_P):
        others = pairs.take(fold_P != fold)
        if not others.first.size:
            return Estimate.undefined("too few pairs to choose a threshold on others", int(group_N.size))
        thresholds, _, best = others.calibrated()
        epsilon_P[fold_P == fold] = thresholds[best]
    is_right = pairs.is_right(epsilon_P)
    return _accuracy_interval(float(np.sum(pairs.weight * is_right)), is_right, pairs, group_N)


def williams(r_first: float, r_second: float, r_between: float, n: int) -> float:
    """Two-sided p that two scorers correlate equally with the same human scores.

    Args:
        r_first: correlation of the first scorer with the human scores.
        r_second: correlation of the second scorer with them.
        r_between: correlation between the two scorers.
        n: rows.

    Returns:
        NaN for fewer than 4 rows or an undefined correlation.

    Source: Williams 1959, in the form of Steiger 1980; signed correlations.
    """
    if n < 4 or any(math.isnan(r) for r in (r_first, r_second, r_between)):
        return math.nan
    from scipy.special import stdtr

    difference = r_first - r_second
    if difference == 0:
        return 1.0
    determinant = 1 - r_first**2 - r_second**2 - r_between**2 + 2 * r_first * r_second * r_between
    mean = (r_first + r_second) / 2
    denominator = 2 * (n - 1) / (n - 3) * determinant + mean**2 * (1 - r_between) ** 3
    if denominator <= 0:
        return math.nan
    t = difference * math.sqrt((n - 1) * (1 + r_between) / denominator)
    return float(2 * stdtr(n - 3, -abs(t)))


def perm_both(
    first: ArrayLike,
    second: ArrayLike,
    human: ArrayLike,
    rng: np.random.Generator,
    *,
    correlation: CorrelationName = "spearman",
    resamples: int = 2000,
    groups: ArrayLike | None = None,
) -> float:
    """Two-sided p that two scorers correlate equally with the human scores: PERM-BOTH.

    Both scorers are standardised, then their scores are swapped answer by answer (each system and each input on its
    own), or group by group, and the difference of the correlations is taken anew. (1 + hits) / (1 + resamples).

    Args:
        first: scores of the first scorer, shape (N,), no gaps.
        second: scores of the second scorer, same answers.
        human: human scores, same answers.
        rng: seeded by the caller.
        correlation: which coefficient; Kendall up to 3,000 rows.
        resamples: swaps to draw.
        groups: label per answer of what its answers share (a document): swapped whole; None: answers are independent.

    Source: Deutsch, Dror and Roth 2021, "A Statistical Analysis of Summarization Evaluation Metrics".
    """
    observed, swapped_K = perm_both_draws(
        first, second, human, rng, correlation=correlation, resamples=resamples, groups=groups
    )
    return permutation_p(observed, swapped_K)


def perm_both_draws(
    first: ArrayLike,
    second: ArrayLike,
    human: ArrayLike,
    rng: np.random.Generator,
    *,
    correlation: CorrelationName = "spearman",
    resamples: int = 2000,
    groups: ArrayLike | None = None,
) -> tuple[float, FloatArray]:
    """The difference of the two correlations, and what it is in each of PERM-BOTH's swaps, shape (K,).

    Differences of several tasks may be averaged swap by swap, since tasks are swapped apart. Arguments: `perm_both`.
    """
    x_N, y_N, human_N = (np.asarray(column, dtype=float) for column in (first, second, human))
    if not x_N.shape == y_N.shape == human_N.shape or x_N.ndim != 1:
        raise ValueError(f"{x_N.shape}, {y_N.shape} and {human_N.shape} must all be (N,)")
    plain = _PLAIN[correlation]
    observed = plain(x_N, human_N) - plain(y_N, human_N)
    if math.isnan(observed):
        return math.nan, np.full(resamples, math.nan)
    # a swapped column is a choice of N out of the 2 N standardised values: whole-number weights again
    both = np.concatenate([(x_N - x_N.mean()) / x_N.std(), (y_N - y_N.mean()) / y_N.std()])
    gold = np.concatenate([human_N, human_N])
    group_N = np.arange(x_N.size) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    num_groups = int(group_N.max()) + 1
    swapped_K = np.empty(resamples)
    block = max(1, min(resamples, 8_000_000 // both.size))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        keep_NK = rng.integers(0, 2, size=(num_groups, count)).astype(float)[group_N]
        swapped_x = _RESAMPLED[correlation](both, gold, np.concatenate([keep_NK, 1 - keep_NK]))
        swapped_y = _RESAMPLED[correlation](both, gold, np.concatenate([1 - keep_NK, keep_NK]))
        swapped_K[start : start + count] = swapped_x - swapped_y
    return observed, swapped_K


def permutation_p(observed: float, swapped_K: FloatArray) -> float:
    """Two-sided p of a difference among its swaps: (1 + hits) / (1 + K); NaN where there is no difference."""
    if math.isnan(observed):
        return math.nan
    hits = int(np.sum(np.abs(swapped_K) >= abs(observed) - 1e-12))
    return (1 + hits) / (1 + swapped_K.size)


def grouped_difference_p(x: ArrayLike, y: ArrayLike, human: ArrayLike, groups: ArrayLike) -> float:
    """Two-sided p that two scorers correlate equally (Spearman) with the human scores, by groups of answers.

    What Williams' test asks, where answers of one group are not independent: Student's t of the difference with the
    variance of its influence function over groups. NaN for fewer than 6 groups or a constant column.
    """
    human_N, group_N = np.asarray(human, dtype=float), np.unique(np.asarray(groups), return_inverse=True)[1]
    if int(group_N.max(initial=-1)) + 1 < MIN_CLUSTERS:
        return math.nan
    try:
        first, second = spearman_linearised(x, human_N), spearman_linearised(y, human_N)
    except ValueError:
        return math.nan
    return student_p(first.value - second.value, one_way_variance(first.influence - second.influence, group_N))


def _accuracy_interval(value: float, is_right: BoolArray, pairs: _Pairs, group_N: IntArray) -> Estimate:
    """Interval over groups; with one group, over rows by the projection of the U-statistic."""
    first, second, weight = pairs.first, pairs.second, pairs.weight
    num_groups = int(np.unique(group_N[first]).size)
    if num_groups > 1:
        sums = np.bincount(group_N[first], weight * is_right) * num_groups
        shares = np.clip(sums[np.unique(group_N[first])], 0.0, 1.0)
        return replace(bounded_mean(shares), value=value, n=int(group_N.size))
    met_N = np.bincount(first, minlength=group_N.size) + np.bincount(second, minlength=group_N.size)
    right_N = np.bincount(first, is_right, group_N.size) + np.bincount(second, is_right, group_N.size)
    share_N = right_N[met_N > 0] / met_N[met_N > 0]
    if share_N.size < MIN_CLUSTERS:
        return Estimate(value, math.nan, math.nan, int(group_N.size), int(share_N.size), "", "too few rows")
    spread = mean_interval(2 * share_N)
    half = (spread.high - spread.low) / 2
    if not half > 0 or not 0 < value < 1:
        return Estimate(value, math.nan, math.nan, int(group_N.size), int(share_N.size), "", "no interval: no spread")
    # on the logit scale, so that no end lies beyond 0 or 1
    step = half / (value * (1 - value))
    low, high = (1 / (1 + (1 - value) / value * math.exp(sign * step)) for sign in (1, -1))
    return Estimate(value, low, high, int(group_N.size), int(share_N.size), "linearised, rows")


def _flat(scorer: ArrayLike, gold: ArrayLike, groups: ArrayLike | None) -> tuple[FloatArray, FloatArray, IntArray]:
    """Rows with both scores, sorted by group, and the group's number of each."""
    scorer_a, gold_a = np.asarray(scorer, dtype=float), np.asarray(gold, dtype=float)
    if scorer_a.shape != gold_a.shape or scorer_a.ndim not in (1, 2):
        raise ValueError(f"scorer {scorer_a.shape} and gold {gold_a.shape} must both be (N,) or (G, M)")
    if scorer_a.ndim == 2:
        labels = np.repeat(np.arange(scorer_a.shape[0]), scorer_a.shape[1])
    elif groups is None:
        labels = np.zeros(scorer_a.size, dtype=np.int64)
    else:
        labels = np.unique(np.asarray(groups), return_inverse=True)[1]
    scorer_N, gold_N = scorer_a.reshape(-1), gold_a.reshape(-1)
    kept = np.flatnonzero(np.isfinite(scorer_N) & np.isfinite(gold_N))
    kept = kept[np.argsort(labels[kept], kind="stable")]
    group_N = np.unique(labels[kept], return_inverse=True)[1].astype(np.int64)
    return scorer_N[kept], gold_N[kept], group_N


def _pairs(
    group_N: IntArray, max_pairs: int | None, rng: np.random.Generator | None
) -> tuple[IntArray, IntArray, FloatArray]:
    """Places of both rows of every pair within a group, and its weight (1 / pairs of the group / groups)."""
    sizes = np.bincount(group_N)
    starts = np.cumsum(sizes) - sizes
    counts = sizes * (sizes - 1) // 2
    num_groups = int(np.sum(counts > 0))
    total = int(counts.sum())
    if max_pairs is not None and total > max_pairs:
        if rng is None:
            raise ValueError("drawing pairs needs a generator")
        return _drawn_pairs(sizes, starts, counts, max_pairs, rng)
    firsts, seconds, weights = [], [], []
    for size, start, count in zip(sizes.tolist(), starts.tolist(), counts.tolist(), strict=True):
        if count:
            first, second = np.triu_indices(size, 1)
            firsts.append(first + start)
            seconds.append(second + start)
            weights.append(np.full(count, 1 / (count * num_groups)))
    if not firsts:
        none = np.zeros(0, dtype=np.int64)
        return none, none, np.zeros(0)
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(weights)


def _drawn_pairs(
    sizes: IntArray, starts: IntArray, counts: IntArray, max_pairs: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray, FloatArray]:
    shares = np.maximum(1, max_pairs * counts // counts.sum()) * (counts > 0)
    group = np.repeat(np.arange(sizes.size), shares)
    first = rng.integers(0, sizes[group])
    second = rng.integers(0, sizes[group] - 1)
    second += second >= first
    weight = 1 / (shares[group] * np.sum(counts > 0))
    return starts[group] + first, starts[group] + second, weight
