"""Prediction-powered inference: the human mean from few human labels and many judge scores.

The judge's mean over all items, corrected by its mean error on the labelled ones. However bad the judge, the
interval stays valid; the better it is, the narrower. PPI++ weighs the judge by a factor that the data choose, so that a
useless judge costs next to nothing.

Source: Angelopoulos et al. 2023 (PPI, Science) and Angelopoulos, Duchi and Zrnic 2023 (PPI++).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.clustered import student_quantile, wilson_ends
from assay.metaeval.statistics.estimate import Estimate, FloatArray, IntArray
from assay.metaeval.statistics.rates import Z


@dataclass(frozen=True, slots=True)
class PpiMean:
    """A human mean with and without the judge's help."""

    estimate: Estimate
    human_only: Estimate
    """The same mean from the labelled items alone."""
    judge_weight: float
    """0: the judge is ignored; 1: plain PPI."""
    correlation: float
    """Pearson between judge and human on the labelled items; NaN where one is constant."""
    variance: float
    """Of the estimate's value, over clusters; 0 where the labels show no spread."""
    is_bounded: bool
    """Whether all labels lie within 0..1, so that the interval is a score interval."""

    @property
    def width_ratio(self) -> float:
        """Width of the interval over that of the human-only one; below 1: the judge helps."""
        human = self.human_only.high - self.human_only.low
        return (self.estimate.high - self.estimate.low) / human if human > 0 else math.nan


def ppi_mean(
    human: ArrayLike,
    judge_labelled: ArrayLike,
    judge_unlabelled: ArrayLike,
    *,
    judge_weight: float | None = None,
    clusters: tuple[ArrayLike, ArrayLike] | None = None,
) -> PpiMean:
    """Mean human score over the population that both samples come from, 95 % interval.

    Args:
        human: human scores of the labelled items, at least 2.
        judge_labelled: the judge's scores of the same items.
        judge_unlabelled: the judge's scores of further items of the same population.
        judge_weight: None: chosen from the data (PPI++), within 0..1; 1: plain PPI; 0: human scores alone.
        clusters: label of the document (or answer) of each labelled and of each unlabelled item, where items of one are
            no independent draws; None: all are.

    Raises:
        ValueError: fewer than 2 labels, lengths that differ, or a missing score.
    """
    y_n, f_n = np.asarray(human, dtype=float), np.asarray(judge_labelled, dtype=float)
    f_N = np.asarray(judge_unlabelled, dtype=float)
    if y_n.ndim != 1 or y_n.shape != f_n.shape or y_n.size < 2:
        raise ValueError(f"{y_n.shape} human and {f_n.shape} judge scores; expected the same items, 2 or more")
    if not all(np.isfinite(column).all() for column in (y_n, f_n, f_N)):
        raise ValueError("missing scores: leave these items out on both sides")
    weight = _best_weight(y_n, f_n, f_N) if judge_weight is None else judge_weight
    if f_N.size == 0:
        weight = 0.0
    spread = y_n.std() > 0 and f_n.std() > 0
    correlation = float(np.corrcoef(y_n, f_n)[0, 1]) if spread else math.nan
    of_labelled, of_unlabelled = (
        (np.arange(y_n.size), y_n.size + np.arange(f_N.size))
        if clusters is None
        else (np.asarray(clusters[0]), np.asarray(clusters[1]))
    )
    labels, of_row = np.unique(np.concatenate([of_labelled, of_unlabelled]), return_inverse=True)
    units, num_units = (of_row[: y_n.size], of_row[y_n.size :]), labels.size

    is_bounded = bool(y_n.min() >= 0 and y_n.max() <= 1)

    def estimate(factor: float, method: str) -> tuple[Estimate, float]:
        correction = y_n - factor * f_n
        value = float(correction.mean()) + (factor * float(f_N.mean()) if f_N.size else 0.0)
        variance = _variance([(correction, 1.0), (f_N, factor)], units, num_units)
        num_clusters = np.unique(units[0]).size
        if is_bounded:
            human = _variance([(y_n, 1.0)], units[:1], num_units)
            return _score_interval(value, variance, human, num_clusters, y_n, method), variance
        return _interval(value, variance, num_clusters, y_n.size, method), variance

    helped, variance = estimate(weight, "PPI++" if judge_weight is None else "PPI")
    alone, _ = estimate(0.0, "human only")
    return PpiMean(helped, alone, weight, correlation, variance, is_bounded)


def human_means(
    human: ArrayLike, judge: ArrayLike, clusters: Sequence[Hashable] | None = None, by: Sequence[str] | None = None
) -> dict[str, PpiMean | str]:
    """Human mean over all rows, and over the rows of each arm, from the rows that people scored.

    Valid where the scored rows are a random sample of the rows (`assay label export` draws such a one).

    Args:
        human: scores by people, NaN where there are none; shape (N,).
        judge: the judge's scores of the same rows, NaN where unscored: such rows are left out.
        clusters: what rows of one document share; None: rows are independent.
        by: arm of each row (a model, a mixture); None: all rows together only.

    Returns:
        By arm, all rows under "": the mean, or why there is none.
    """
    y_N, f_N = np.asarray(human, dtype=float), np.asarray(judge, dtype=float)
    cluster_N = np.arange(y_N.size) if clusters is None else _codes(clusters)
    arms: dict[str, FloatArray] = {"": np.ones(y_N.size, dtype=bool)}
    if by is not None:
        labels = np.asarray([str(label) for label in by])
        arms |= {str(label): labels == label for label in np.unique(labels)}
    found: dict[str, PpiMean | str] = {}
    for name, in_arm in arms.items():
        labelled = in_arm & np.isfinite(y_N) & np.isfinite(f_N)
        rest = in_arm & ~np.isfinite(y_N) & np.isfinite(f_N)
        if labelled.sum() < 2 or np.unique(cluster_N[labelled]).size < 2:
            found[name] = f"{int(labelled.sum())} rows with human and judge score, at least 2 are needed"
            continue
        found[name] = ppi_mean(y_N[labelled], f_N[labelled], f_N[rest], clusters=(cluster_N[labelled], cluster_N[rest]))
    return found


def _best_weight(y_n: FloatArray, f_n: FloatArray, f_N: FloatArray) -> float:
    """The weight that minimises the variance; estimated on the labels, so shrunk into 0..1."""
    if f_N.size == 0:
        return 0.0
    spread = float(np.concatenate([f_n, f_N]).var(ddof=1))
    if spread == 0:
        return 0.0
    covariance = float(np.cov(y_n, f_n, ddof=1)[0, 1])
    return min(1.0, max(0.0, covariance / ((1 + y_n.size / f_N.size) * spread)))


def _variance(parts: Sequence[tuple[FloatArray, float]], units: Sequence[IntArray], num_units: int) -> float:
    """Variance of a weighted sum of means, by clusters; equal to the usual formula where every item is its own."""
    sums_G = np.zeros(num_units)
    for (values, factor), of_row in zip(parts, units, strict=True):
        if values.size > 1 and factor:
            own = np.unique(of_row).size
            scale = factor / values.size * math.sqrt(own / (own - 1) if own > 1 else 1.0)
            np.add.at(sums_G, of_row, scale * (values - values.mean()))
    return float(np.sum(sums_G**2))


def _codes(labels: Sequence[Hashable]) -> IntArray:
    places: dict[Hashable, int] = {}
    return np.array([places.setdefault(label, len(places)) for label in labels], dtype=np.int64)


def _score_interval(
    value: float, variance: float, human_variance: float, num_clusters: int, y_n: FloatArray, method: str
) -> Estimate:
    """Wilson's interval with as many labels as the judge's help makes of them: no width 0, nothing beyond 0 and 1.

    What the judge takes off the variance was fitted to few labels, so its share is shrunk as an adjusted R squared.
    """
    count = y_n.size
    kept = 1.0
    if human_variance > 0 and num_clusters > 3:
        kept = min(1.0, 1 - (1 - min(1.0, variance / human_variance)) * (num_clusters - 3) / (num_clusters - 1))
    share = min(1.0, max(0.0, float(y_n.mean()) if kept >= 1 else value))
    of_answers = share * (1 - share)
    worth = float(num_clusters)
    if human_variance > 0:
        own = float(y_n.mean())
        worth = (
            min(float(count), own * (1 - own) / human_variance)
            if np.isin(y_n, (0.0, 1.0)).all()
            else (own * (1 - own) / human_variance)
        )
    # a share at the end of the scale shows no spread: then the labels count as they are
    worth = max(worth / max(kept, 1e-9), 1.0) if of_answers > 0 or human_variance > 0 else float(num_clusters)
    z = student_quantile(0.975, max(1, num_clusters - 1)) if not np.isin(y_n, (0.0, 1.0)).all() or kept < 1 else Z
    low, high = wilson_ends(share, worth, z)
    return Estimate(share, low, high, count, num_clusters, f"{method}, score interval")


def _interval(value: float, variance: float, num_clusters: int, n: int, method: str) -> Estimate:
    if variance <= (1e-12 * max(1.0, abs(value))) ** 2:
        return Estimate(value, math.nan, math.nan, n, num_clusters, "", "no interval: no spread")
    half = student_quantile(0.975, num_clusters - 1) * math.sqrt(variance)
    return Estimate(value, value - half, value + half, n, num_clusters, method)
