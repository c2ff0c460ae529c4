"""Several arms with a few runs each, looked at after planned rounds: intervals of all differences at once. Pure.

Each look may spend a part of alpha; the parts add up to alpha, so all intervals of all looks hold at once. A run's
score is its arm's mean, plus its draw's luck (all arms of one draw share it, and it falls out of differences), plus
its own luck, normal and equally large in all arms. The arms together tell how large, so two runs each can be enough.

Axes: K arms, R draws. Source: Lan and DeMets 1983 (spending); Tukey's studentized range for all pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.estimate import FloatArray

_NO_SPREAD = 1e-12


@dataclass(frozen=True, slots=True)
class PairIntervals:
    """Mean of each arm, and half the width of the simultaneous interval around every difference of two."""

    means: FloatArray
    """Shape (K,)."""
    half: float
    """inf where the runs say nothing about their spread."""
    run_sd: float
    """Spread of one run's own luck."""
    dof: int
    draws: int

    def items_share(self, item_variance: float) -> float:
        """Part of a difference's variance that more items would lower, and not more draws; 0 where it is not known."""
        of_runs = 2 * self.run_sd**2 / self.draws if self.dof else 0.0
        return item_variance / (of_runs + item_variance) if of_runs > 0 else 0.0

    def half_with(self, item_variance: float) -> float:
        """Half the width where other items would move the difference as well, with this variance of their own."""
        if not self.dof or not self.run_sd > 0 or not item_variance > 0:
            return self.half
        of_runs = 2 * self.run_sd**2 / self.draws
        return self.half * math.sqrt((of_runs + item_variance) / of_runs)


def spent_shares(num_looks: int, *, power: float = 1.0) -> tuple[float, ...]:
    """The part of alpha that each look may spend, adding up to 1; power 1 is equal parts, 3 keeps most for the end."""
    looks = np.arange(num_looks + 1) / num_looks
    return tuple(float(share) for share in np.diff(looks**power))


def pair_intervals(scores_KR: ArrayLike, *, alpha: float, num_arms: int | None = None) -> PairIntervals:
    """All pairs' intervals at one look.

    Args:
        scores_KR: one score per arm and draw, the same draws in all arms, shape (K, R), none missing.
        alpha: what this look spends.
        num_arms: arms that the family began with, where some were dropped since; None: K.

    Raises:
        ValueError: fewer than 2 arms, or a score is missing.
    """
    scores = np.asarray(scores_KR, dtype=float)
    if scores.ndim != 2 or len(scores) < 2 or not np.isfinite(scores).all():
        raise ValueError(f"scores of shape {scores.shape}; expected 2 arms or more with the same draws, none missing")
    arms, draws = scores.shape
    mean_K, dof = scores.mean(axis=1), (arms - 1) * (draws - 1)
    if dof < 1:
        return PairIntervals(mean_K, math.inf, math.nan, 0, draws)
    rest = scores - mean_K[:, None] - scores.mean(axis=0) + scores.mean()
    run_sd = math.sqrt(float((rest**2).sum()) / dof)
    if run_sd <= _NO_SPREAD * float(np.abs(scores).max()):  # equal scores everywhere tell of no spread, not of none
        return PairIntervals(mean_K, math.inf, run_sd, dof, draws)
    family = max(num_arms or arms, arms)
    half = range_quantile(round(alpha, 12), family, dof) * run_sd / math.sqrt(draws)
    return PairIntervals(mean_K, half, run_sd, dof, draws)


@lru_cache(maxsize=4096)
def range_quantile(alpha: float, arms: int, dof: int) -> float:
    """What the range of `arms` equal means, over the spread of one, exceeds with chance alpha (studentized range)."""
    from scipy.stats import studentized_range, t

    if arms == 2:  # the range of two is sqrt(2) |t|, exactly
        return float(t.ppf(1 - alpha / 2, dof)) * math.sqrt(2)
    return float(studentized_range.ppf(1 - alpha, arms, dof))
