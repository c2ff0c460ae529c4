"""How well scores were predicted, on mixtures that chose nothing: rank, pairs, error, intervals, ceiling. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from assay.metaeval.predict.stacking import Predictions
from assay.metaeval.statistics.bootstrap import interval, rows_as_clusters, seeded
from assay.metaeval.statistics.correlation import spearman, spearman_resamples
from assay.metaeval.statistics.estimate import Estimate, FloatArray

_CEILING_DRAWS = 200
_LEAST = 3


@dataclass(frozen=True, slots=True)
class Account:
    """Figures of m mixtures whose scores were measured."""

    num_mixtures: int
    rank_correlation: float
    """Spearman between predicted and measured; NaN where one side is constant."""
    pair_accuracy: float
    """Share of pairs of mixtures that are ordered as measured."""
    mean_error: float
    """Mean absolute error, in the score's unit."""
    coverage: float
    """Share of measured scores inside their interval; nan where there are no intervals."""
    mean_width: float
    """Mean width of the intervals, in the score's unit."""


def account(predictions: Predictions, scores_m: FloatArray) -> Account:
    """Predictions beside what was measured."""
    inside = (predictions.low <= scores_m) & (scores_m <= predictions.high)
    return Account(
        num_mixtures=len(scores_m),
        rank_correlation=spearman(predictions.mean, scores_m),
        pair_accuracy=pair_accuracy(predictions.mean, scores_m),
        mean_error=float(np.abs(predictions.mean - scores_m).mean()),
        coverage=float(inside.mean()),
        mean_width=float((predictions.high - predictions.low).mean()),
    )


def rank_agreement(proxy_m: FloatArray, measured_m: FloatArray) -> Estimate:
    """Spearman's rho between a proxy and what was measured, with an interval over mixtures.

    Undefined with its reason where one side is constant or there are fewer than three mixtures.
    """
    if proxy_m.size < _LEAST:
        return Estimate.undefined(f"{proxy_m.size} mixtures, at least {_LEAST} are needed", proxy_m.size, proxy_m.size)

    def statistic(weights_NK: FloatArray) -> FloatArray:
        return spearman_resamples(proxy_m, measured_m, weights_NK)

    return interval(statistic, rows_as_clusters(proxy_m.size), seeded("proxy"), method="bca", scale="fisher")


def pair_accuracy(predicted: FloatArray, measured: FloatArray) -> float:
    """Share of pairs with different measured scores that the predictions order alike; a predicted tie is half right."""
    first, second = np.triu_indices(len(measured), 1)
    truth, guess = np.sign(measured[first] - measured[second]), np.sign(predicted[first] - predicted[second])
    told = truth != 0
    return float(((truth * guess)[told] + 1).mean() / 2) if told.any() else math.nan


def noise_sd(shares_nK: FloatArray, scores_n: FloatArray) -> float:
    """Spread of one run around its mixture's mean, from mixtures trained more than once; nan without any."""
    _, mixture = np.unique(np.round(shares_nK, 9), axis=0, return_inverse=True)
    counts = np.bincount(mixture)
    means = np.bincount(mixture, weights=scores_n) / counts
    dof = len(scores_n) - counts.size
    return math.sqrt(float(((scores_n - means[mixture]) ** 2).sum()) / dof) if dof > 0 else math.nan


def rank_ceiling(scores_m: FloatArray, noise: float, *, seed: int = 0) -> float:
    """Rank correlation that a predictor who knows every true score would reach, since measured ones are noisy.

    True scores are taken to lie like the measured ones, drawn together by what noise adds to their spread.
    """
    spread = float(scores_m.std())
    if not noise >= 0 or spread == 0:
        return math.nan
    truth = scores_m.mean() + (scores_m - scores_m.mean()) * math.sqrt(max(0.0, 1 - (noise / spread) ** 2))
    rng = np.random.default_rng(seed)
    again = [spearman(truth, truth + rng.normal(0, noise, truth.size)) for _ in range(_CEILING_DRAWS)]
    return float(np.mean(again))
