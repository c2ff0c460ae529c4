"""How good is the best of k arms, chosen because it looked best? Intervals corrected for the choice. Pure.

The best of many measured arms has, on average, been lucky: its own interval leaves the truth out far too often. Widened
so that the intervals of all k arms hold at once, it holds for whichever is chosen. Source: Sidak 1967; the equal spread
of the arms' runs is the assumption of `spending`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.estimate import Estimate


def winner_interval(scores_KR: ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """Mean of the arm with the highest mean, with an interval that holds although it was picked for that.

    Args:
        scores_KR: independent runs of each arm, shape (K, R), R >= 2, none missing.
        alpha: chance that the interval leaves the picked arm's true mean out, at most.

    Raises:
        ValueError: fewer than 2 runs, or a score is missing.
    """
    scores = np.asarray(scores_KR, dtype=float)
    if scores.ndim != 2 or scores.shape[1] < 2 or not np.isfinite(scores).all():
        raise ValueError(f"scores of shape {scores.shape}; expected 2 runs or more of each arm, none missing")
    arms, runs = scores.shape
    mean = float(scores.mean(axis=1).max())
    variance = float(scores.var(axis=1, ddof=1).mean())
    level = (1 - alpha) ** (1 / arms)
    half = student_quantile((1 + level) / 2, arms * (runs - 1)) * math.sqrt(variance / runs)
    return Estimate(mean, mean - half, mean + half)
