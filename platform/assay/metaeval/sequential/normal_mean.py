"""Is the mean of a few runs above 0? The sequential t test and its interval, valid at every look. Pure.

Runs are assumed normal with a spread that nobody knows, and independent; the answer does not depend on their unit. The
alternative is an effect of some size in standard deviations, drawn around 0. Few runs: with two or three nothing can be
decided, whatever they show; `spending` decides sooner where the looks are planned and arms share one spread.

Source: Lai 1976; Wang and Ramdas 2023, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown
variance" (the Gaussian mixture over the effect, right-Haar over the spread).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.estimate import Estimate

PRIOR_RUNS = 0.25
"""Weight of "no effect", in runs: effects of about 1 / sqrt(.25) = 2 standard deviations of one run are expected."""


def t_interval(values_R: ArrayLike, *, alpha: float = 0.05, prior_runs: float = PRIOR_RUNS) -> Estimate:
    """The mean with the interval of all means whose e-value is below 1 / alpha at this look.

    Intervals of all looks hold at once at 1 - alpha. Without ends (-inf, inf) while there are too few runs.
    """
    x = _finite(values_R)
    n, mean = x.size, float(x.mean())
    share = 1 - math.exp(-2 / n * (math.log(1 / alpha) + 0.5 * math.log((n + prior_runs) / prior_runs)))
    room = n / (n + prior_runs) - share
    half = math.inf if room <= 0 or n < 2 else math.sqrt(float(x.var()) * share / room)
    return Estimate(mean, mean - half, mean + half)


def _finite(values_R: ArrayLike) -> np.ndarray:
    x = np.asarray(values_R, dtype=float)
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"runs of shape {x.shape}; expected one or more in a row, none missing")
    return x
