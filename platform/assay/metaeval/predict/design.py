"""Which mixtures to train in the next batch, and which need not be trained any more. Pure.

Batch by batch, where a run may still improve on the best: noisy expected improvement under a limit on a second score.

Axes: m candidates, K components. Source: Gardner et al. 2014 and Letham et al. 2019 (improvement times the chance to
keep the limit; against the best predicted, not the best measured, so that noise is no achievement).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.metaeval.predict.stacking import Predictions
from assay.metaeval.statistics.estimate import BoolArray, FloatArray

LEAST_CHANCE = 0.01
"""A candidate with less chance to be the best need not be trained."""
_DRAWS = 4000
_NEAR = 0.1
"""Distance in shares within which two mixtures of one batch tell much the same."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A second score that may not go beyond a value."""

    predictions: Predictions
    at_most: float

    @property
    def chance(self) -> FloatArray:
        """Of each candidate to keep it."""
        from scipy.stats import norm

        kept: FloatArray = norm.cdf((self.at_most - self.predictions.mean) / self.predictions.sd)
        return kept


def next_batch(
    shares_mK: FloatArray, predictions: Predictions, best: float, count: int, *, limit: Limit | None = None
) -> list[int]:
    """Places of the candidates to train next, the most promising first; higher scores are better.

    Args:
        shares_mK: the candidates.
        predictions: of their scores.
        best: predicted score of the best mixture that was trained and keeps the limit.
        count: how many.
        limit: on a second score; None: there is none.
    """
    from scipy.stats import norm

    z = (predictions.mean - best) / predictions.sd
    worth = predictions.sd * (z * norm.cdf(z) + norm.pdf(z))
    if limit is not None:
        worth = worth * limit.chance
    places: list[int] = []
    for _ in range(min(count, len(shares_mK))):
        place = int(worth.argmax())
        places.append(place)
        near = np.linalg.norm(shares_mK - shares_mK[place], axis=1) / _NEAR
        worth = worth * (1 - np.exp(-(near**2) / 2))  # its neighbours tell what it tells
        worth[place] = -np.inf
    return places


@dataclass(frozen=True, slots=True)
class Hope:
    """What further runs could still show."""

    chance: FloatArray
    """Of each candidate to be the best, shape (m,)."""
    is_known: BoolArray
    """Whether its score is known as well as a run would tell it."""

    @property
    def need_not_be_trained(self) -> BoolArray:
        """Candidates whose run a batch's end may cancel."""
        cancelled: BoolArray = self.is_known | (self.chance < LEAST_CHANCE)
        return cancelled


def hope(
    queued: Predictions, best: float, best_sd: float, *, noise: float, limit: Limit | None = None, seed: int = 0
) -> Hope:
    """What the candidates that wait could still show; higher scores are better.

    Args:
        queued: their predictions.
        best: predicted score of the best mixture so far.
        best_sd: its spread.
        noise: spread of one run around its mixture's mean; nan: not known, so nothing is known well enough.
        limit: candidates that break it are not the best, whatever their score.
        seed: of the draws behind the chance to be the best.
    """
    known = (queued.high - queued.low) < 2 * 1.96 * noise if noise >= 0 else np.zeros(len(queued.mean), dtype=bool)
    rng = np.random.default_rng(seed)
    draws = queued.mean + queued.sd * rng.normal(size=(_DRAWS, queued.mean.size))
    if limit is not None:
        draws = np.where(rng.random(draws.shape) < limit.chance, draws, -np.inf)
    rival = np.maximum(draws.max(axis=1), best + best_sd * rng.normal(size=_DRAWS))
    return Hope((draws >= rival[:, None]).mean(axis=0), np.asarray(known))
