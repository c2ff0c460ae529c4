"""Prediction-powered inference: the human mean from few human labels and many judge scores.

The judge's mean over all items, corrected by its mean error on the labelled ones. However bad the judge, the
interval stays valid; the better it is, the narrower. PPI++ weighs the judge by a factor that the data choose, so that a
useless judge costs next to nothing.

Source: Angelopoulos et al. 2023 (PPI, Science) and Angelopoulos, Duchi and Zrnic 2023 (PPI++).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.clustered import student_quantile
from assay.metaeval.estimate import Estimate, FloatArray


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

    @property
    def width_ratio(self) -> float:
        """Width of the interval over that of the human-only one; below 1: the judge helps."""
        human = self.human_only.high - self.human_only.low
        return (self.estimate.high - self.estimate.low) / human if human > 0 else math.nan


def ppi_mean(
    human: ArrayLike, judge_labelled: ArrayLike, judge_unlabelled: ArrayLike, *, judge_weight: float | None = None
) -> PpiMean:
    """Mean human score over the population that both samples come from, 95 % interval.

    Args:
        human: human scores of the labelled items, at least 2.
        judge_labelled: the judge's scores of the same items.
        judge_unlabelled: the judge's scores of further items of the same population.
        judge_weight: None: chosen from the data (PPI++), within 0..1; 1: plain PPI; 0: human scores alone.

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
    human_only = _interval(float(y_n.mean()), float(y_n.var(ddof=1)) / y_n.size, y_n.size, "human only")
    correction = y_n - weight * f_n
    value = float(correction.mean())
    variance = float(correction.var(ddof=1)) / y_n.size
    if f_N.size > 1:
        value += weight * float(f_N.mean())
        variance += weight**2 * float(f_N.var(ddof=1)) / f_N.size
    name = "PPI++" if judge_weight is None else "PPI"
    spread = y_n.std() > 0 and f_n.std() > 0
    correlation = float(np.corrcoef(y_n, f_n)[0, 1]) if spread else math.nan
    return PpiMean(_interval(value, variance, y_n.size, name), human_only, weight, correlation)


def _best_weight(y_n: FloatArray, f_n: FloatArray, f_N: FloatArray) -> float:
    """The weight that minimises the variance; estimated on the labels, so shrunk into 0..1."""
    if f_N.size == 0:
        return 0.0
    spread = float(np.concatenate([f_n, f_N]).var(ddof=1))
    if spread == 0:
        return 0.0
    covariance = float(np.cov(y_n, f_n, ddof=1)[0, 1])
    return min(1.0, max(0.0, covariance / ((1 + y_n.size / f_N.size) * spread)))


def _interval(value: float, variance: float, n: int, method: str) -> Estimate:
    half = student_quantile(0.975, n - 1) * math.sqrt(variance)
    return Estimate(value, value - half, value + half, n, n, method)
