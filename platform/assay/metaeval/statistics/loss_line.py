"""Does a lower test loss mean a better judged model? The correlation over models, and the models off the line.

Axes: M models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.bootstrap import interval, rows_as_clusters
from assay.metaeval.statistics.correlation import spearman_resamples
from assay.metaeval.statistics.estimate import Estimate

OFF_THE_LINE = 2.5
"""Robust standard deviations from the line beyond which a model is named."""
_MAD_TO_SD = 1.482602218505602


@dataclass(frozen=True, slots=True)
class LossLine:
    """Judged score against loss over the models of a study."""

    spearman: Estimate
    """Correlation of score with loss; below 0 where a lower loss goes with a better score."""
    slope: float
    """Score per unit of loss: Theil and Sen's median of slopes, which one odd model cannot turn."""
    intercept: float
    off_the_line: tuple[str, ...]
    """Models whose score is far from the line, farthest first."""


def loss_line(
    models: Sequence[str], loss: ArrayLike, score: ArrayLike, rng: np.random.Generator, *, resamples: int = 2000
) -> LossLine:
    """Fit judged score on loss, one point per model.

    Raises:
        ValueError: fewer than 3 models, or columns of different length.
    """
    loss_M, score_M = np.asarray(loss, dtype=float), np.asarray(score, dtype=float)
    if not len(models) == loss_M.size == score_M.size or len(models) < 3:
        raise ValueError(
            f"{len(models)} models, {loss_M.size} losses, {score_M.size} scores; expected 3 or more of each"
        )
    rho = interval(
        lambda weights_NK: spearman_resamples(score_M, loss_M, weights_NK),
        rows_as_clusters(len(models)),
        rng,
        resamples=resamples,
        method="bca",
        scale="fisher",
    )
    first, second = np.triu_indices(len(models), 1)
    apart = loss_M[first] != loss_M[second]
    slopes = (score_M[first] - score_M[second])[apart] / (loss_M[first] - loss_M[second])[apart]
    slope = float(np.median(slopes)) if slopes.size else 0.0
    intercept = float(np.median(score_M - slope * loss_M))
    residual_M = np.abs(score_M - slope * loss_M - intercept)
    spread = _MAD_TO_SD * float(np.median(residual_M))
    order = sorted(range(len(models)), key=lambda place: (-residual_M[place], models[place]))
    far = tuple(
        models[place] for place in order if residual_M[place] > OFF_THE_LINE * spread and residual_M[place] > 1e-9
    )
    return LossLine(rho, slope, intercept, far)
