"""Where a learning curve changes its slope: the end of learning the format, the start of learning the task.

The curve is a score against log2(1 + N), N target rows in the mixture: a continuous broken line with one knot, fitted
by least squares to the mean at each N. The knot's interval comes from resampled runs within each N (residuals widened
by sqrt(m / (m - 1)), as m is 3 or 4); where the best knot, or an end of its interval, is the first or last that there
may be, it is a bound and no interval. A curve without two phases has a knot anywhere: `p` says whether the broken line
fits better than chance makes it beside the best straight or smoothly saturating curve, by simulation from that curve
with normal noise, its variance estimated anew in each (so that it holds with two runs at every N).

Axes: L values of N, R runs, K resamples, Q candidate knots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.bootstrap import percentile
from assay.metaeval.statistics.estimate import Estimate, FloatArray

MIN_LEVELS = 4
"""A broken line has four parameters; fewer values of N cannot place its knot."""
_NUM_KNOTS = 65
_NUM_SMOOTH = 12


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """The knot of a broken line, in target rows, and the slopes beside it."""

    knot: Estimate
    """N at which the slope changes."""
    slope_before: float
    """Score per doubling of 1 + N, left of the knot."""
    slope_after: float
    p: float
    """Chance that a straight or smoothly saturating curve with the same noise fits as much worse than a broken line."""

    @property
    def shape(self) -> str:
        """Which side is steep, by direction: "early gain" (as in learning a format), "late gain" (a task), or a loss.

        Falling and then flat is no gain.
        """
        if not self.knot.is_defined:
            return ""
        side = "early" if abs(self.slope_before) > abs(self.slope_after) else "late"
        steep = self.slope_before if side == "early" else self.slope_after
        return f"{side} {'gain' if steep > 0 else 'loss'}"


def change_point(
    num_target_R: ArrayLike, score_R: ArrayLike, rng: np.random.Generator, *, resamples: int = 2000
) -> ChangePoint:
    """The knot of a learning curve from one score per run.

    Args:
        num_target_R: target rows in the mixture of each run.
        score_R: mean score of each run; no gaps.
        rng: seeded by the caller.
        resamples: for the interval and for the test.
    """
    levels_L, level_R = np.unique(np.asarray(num_target_R, dtype=float), return_inverse=True)
    scores_R = np.asarray(score_R, dtype=float)
    counts_L = np.bincount(level_R, minlength=levels_L.size)
    if levels_L.size < MIN_LEVELS:
        return _undefined(f"{levels_L.size} values of N, at least {MIN_LEVELS} are needed", scores_R.size)
    means_L = np.bincount(level_R, weights=scores_R, minlength=levels_L.size) / np.maximum(counts_L, 1)
    if np.all(means_L == means_L[0]):
        return _undefined("constant curve", scores_R.size)
    deviations_R = _widened(scores_R - means_L[level_R], counts_L[level_R])
    repeats = int((counts_L - 1).clip(0).sum())
    x_L = np.log2(1 + levels_L)
    # the knot lies between the second and the last but one point, so that both slopes rest on two points
    knots_Q = np.union1d(np.linspace(x_L[1], x_L[-2], _NUM_KNOTS), x_L[1:-1])
    fits = _Fits(x_L, counts_L.astype(float), knots_Q)
    place, gain = fits.best(means_L[:, None])
    knot = float(2.0 ** knots_Q[place[0]] - 1)
    before, after = fits.slopes(means_L, int(place[0]))
    if repeats == 0:
        reason = "one run at every N: no interval"
        return ChangePoint(
            Estimate(knot, math.nan, math.nan, scores_R.size, scores_R.size, "", reason), before, after, math.nan
        )
    noise_LK = _resampled_noise(deviations_R, level_R, counts_L, resamples, rng)
    places_K, _ = fits.best(means_L[:, None] + noise_LK)
    first, last = percentile(places_K.astype(float))
    # the knot lies anywhere between two candidates, so the interval reaches to the next one on each side
    low = float(2.0 ** knots_Q[max(0, math.floor(first) - 1)] - 1)
    high = float(2.0 ** knots_Q[min(knots_Q.size - 1, math.ceil(last) + 1)] - 1)
    within = float(np.sum((scores_R - means_L[level_R]) ** 2)) / repeats
    p = _p_of_two_phases(fits, means_L, float(gain[0]), within, repeats, resamples, rng)
    edges = float(2.0 ** knots_Q[0] - 1), float(2.0 ** knots_Q[-1] - 1)
    if low <= edges[0] or high >= edges[1]:
        bound = f"at or below {max(high, knot):.0f}" if low <= edges[0] else f"at or above {min(low, knot):.0f}"
        if low <= edges[0] and high >= edges[1]:
            bound = f"anywhere between {edges[0]:.0f} and {edges[1]:.0f}"
        reason = f"no interval: the knot lies {bound}"
        return ChangePoint(
            Estimate(knot, math.nan, math.nan, scores_R.size, scores_R.size, "", reason), before, after, p
        )
    estimate = Estimate(knot, min(low, knot), max(high, knot), scores_R.size, scores_R.size, "resampled runs within N")
    return ChangePoint(estimate, before, after, p)


def _p_of_two_phases(
    fits: _Fits,
    means_L: FloatArray,
    gain: float,
    within: float,
    repeats: int,
    resamples: int,
    rng: np.random.Generator,
) -> float:
    """Share of curves simulated from the best smooth one whose gain over it, by their own noise, is as large."""
    if within <= 0:
        return math.nan
    shape = (means_L.size, resamples)
    noise_LK = math.sqrt(within) * rng.normal(size=shape) / np.sqrt(fits.weights_L)[:, None]
    _, gains_K = fits.best(fits.smooth(means_L)[:, None] + noise_LK)
    within_K = within * rng.chisquare(repeats, resamples) / repeats
    return float((1 + np.sum(gains_K / within_K >= gain / within)) / (1 + resamples))


class _Fits:
    """Least-squares fits of a broken line for every candidate knot, as matrices made once."""

    def __init__(self, x_L: FloatArray, weights_L: FloatArray, knots_Q: FloatArray) -> None:
        self.weights_L = weights_L
        line_L2 = np.stack([np.ones_like(x_L), x_L], axis=1)
        # 1 - exp(-x / t): from a steep start to nearly a straight line
        scales = (x_L[-1] - x_L[0]) * np.geomspace(0.05, 4.0, _NUM_SMOOTH)
        curves = [np.column_stack([np.ones_like(x_L), 1 - np.exp(-(x_L - x_L[0]) / scale)]) for scale in scales]
        self.smooth_SLL = np.stack([self._hat(curve) for curve in (line_L2, *curves)])
        self.designs = [np.column_stack([line_L2, np.clip(x_L - knot, 0, None)]) for knot in knots_Q]
        self.hats_QLL = np.stack([self._hat(design) for design in self.designs])

    def best(self, means_LK: FloatArray) -> tuple[np.ndarray, FloatArray]:
        """Best knot of every column, and how much it lowers the squared error of the best smooth curve."""
        smooth_K = self._errors(self.smooth_SLL, means_LK).min(axis=0)
        errors_QK = self._errors(self.hats_QLL, means_LK)
        place_K = np.argmin(np.round(errors_QK, 14), axis=0)
        return place_K, smooth_K - errors_QK.min(axis=0)

    def smooth(self, means_L: FloatArray) -> FloatArray:
        """The straight or saturating curve that fits best."""
        best = int(np.argmin(self._errors(self.smooth_SLL, means_L[:, None])[:, 0]))
        return np.asarray(self.smooth_SLL[best] @ means_L, dtype=float)

    def _errors(self, hats_QLL: FloatArray, means_LK: FloatArray) -> FloatArray:
        """Weighted squared error of every fit to every column, shape (Q, K)."""
        errors_QK = np.empty((len(hats_QLL), means_LK.shape[1]))
        for number, hat in enumerate(hats_QLL):
            residual = means_LK - np.einsum("ij,jk->ik", hat, means_LK)
            errors_QK[number] = np.einsum("l,lk->k", self.weights_L, residual**2)
        return errors_QK

    def slopes(self, means_L: FloatArray, place: int) -> tuple[float, float]:
        root = np.sqrt(self.weights_L)
        beta = np.linalg.lstsq(self.designs[place] * root[:, None], means_L * root, rcond=None)[0]
        return float(beta[1]), float(beta[1] + beta[2])

    def _hat(self, design: FloatArray) -> FloatArray:
        root = np.sqrt(self.weights_L)
        scaled = design * root[:, None]
        return np.asarray(design @ np.linalg.pinv(scaled) * root[None, :], dtype=float)


def _resampled_noise(
    deviations_R: FloatArray, level_R: np.ndarray, counts_L: np.ndarray, resamples: int, rng: np.random.Generator
) -> FloatArray:
    """Mean of redrawn deviations at every N; an N with one run draws from all deviations."""
    noise_LK = np.empty((counts_L.size, resamples))
    pool = deviations_R[counts_L[level_R] > 1]
    for level, count in enumerate(counts_L):
        source = deviations_R[level_R == level] if count > 1 else pool
        noise_LK[level] = source[rng.integers(0, source.size, size=(resamples, count))].mean(axis=1)
    return noise_LK


def _widened(deviations_R: FloatArray, counts_R: np.ndarray) -> FloatArray:
    return np.asarray(deviations_R * np.sqrt(counts_R / np.maximum(counts_R - 1, 1)), dtype=float)


def _undefined(reason: str, n: int) -> ChangePoint:
    return ChangePoint(Estimate.undefined(reason, n), math.nan, math.nan, math.nan)
