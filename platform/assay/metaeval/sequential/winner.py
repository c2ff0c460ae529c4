"""How good is the best of k arms, chosen because it looked best? Intervals corrected for the choice. Pure.

The best of many measured arms has, on average, been lucky: its own interval leaves the truth out far too often. Luck
has two parts. That of a draw is shared by all arms and chooses none of them; that of a run does choose, so its part of
the interval holds for all k arms at once. The assumption is that of `spending`: normal luck, equally large in all arms.

Axes: K arms, R draws. Source: Sidak 1967; Bonferroni over the two parts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.estimate import Estimate


def winner_interval(
    scores_KR: ArrayLike, *, alpha: float = 0.05, num_arms: int | None = None, item_variance: float = 0.0
) -> Estimate:
    """Mean of the arm with the highest mean, with an interval that holds although it was picked for that.

    Args:
        scores_KR: one score per arm and draw, the same draws in all arms, shape (K, R), none missing.
        alpha: chance that the interval leaves the picked arm's true mean out, at most.
        num_arms: arms that it was picked from, where some were dropped since; None: K.
        item_variance: that other items would give its mean; 0 where all of interest are scored.

    Returns:
        Without ends (-inf, inf) where there is one arm or one draw.

    Raises:
        ValueError: a score is missing, or there is none.
    """
    scores = np.asarray(scores_KR, dtype=float)
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"scores of shape {scores.shape}; expected arms with the same draws, none missing")
    arms, draws = scores.shape
    mean = float(scores.mean(axis=1).max())
    if arms < 2 or draws < 2:
        return Estimate(mean, -math.inf, math.inf)
    of_draw = scores.mean(axis=0)
    rest = scores - scores.mean(axis=1, keepdims=True) - of_draw + scores.mean()
    own_dof = (arms - 1) * (draws - 1)
    own_variance = float((rest**2).sum()) / own_dof * (1 - 1 / arms)
    shared = student_quantile(1 - alpha / 4, draws - 1) * math.sqrt(float(of_draw.var(ddof=1)) / draws)
    level = (1 - alpha / 2) ** (1 / max(num_arms or arms, arms))
    own = student_quantile((1 + level) / 2, own_dof) * math.sqrt(own_variance / draws + item_variance)
    return Estimate(mean, mean - shared - own, mean + shared + own)
