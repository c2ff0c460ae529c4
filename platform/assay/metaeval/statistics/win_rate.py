"""Win rate of a model against a fixed baseline, raw and with length held equal. Pure NumPy.

Preferences are shares in [0, 1]: 1 where the judge prefers the model, 0 where it prefers the baseline, 1/2 for a
tie or for orders that disagree, None where there is no verdict. Sources: AlpacaFarm (Dubois et al. 2023, arXiv
2305.14387) and length-controlled AlpacaEval (Dubois et al. 2024, arXiv 2404.04475).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.estimate import FloatArray
from assay.metaeval.statistics.logistic import fit_logistic, likelihood, sigmoid
from assay.metaeval.statistics.rates import bounded_mean

_FAR = 60.0
"""Log odds that no data tell from infinite ones."""


@dataclass(frozen=True, slots=True)
class WinRate:
    """A win rate over items."""

    rate: float
    """In [0, 1], ties half; NaN where no item has a verdict."""
    standard_error: float
    """Of `rate`, over items; NaN below two items."""
    num_items: int
    """Items with a verdict."""
    num_missing: int
    low: float = math.nan
    """Of the 95 % interval, within [0, 1]: Wilson's, or the profile likelihood's at equal length."""
    high: float = math.nan
    reason: str = ""
    """Why there is no rate; empty where there is one."""


MIN_EACH_SIDE = 3
"""Items that must be at most, and at least, as long as the baseline's: what equal length means is read off them."""


def win_rate(preferences: Sequence[float | None]) -> WinRate:
    """Mean preference for the model. Missing verdicts are left out and counted.

    Raises:
        ValueError: a preference lies outside of [0, 1].
    """
    values = np.array([value for value in preferences if value is not None], dtype=float)
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise ValueError("preferences must lie in [0, 1]")
    if not values.size:
        return WinRate(math.nan, math.nan, 0, len(preferences))
    error = float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else math.nan
    found = bounded_mean(values)
    return WinRate(found.value, error, int(values.size), len(preferences) - int(values.size), found.low, found.high)


def length_controlled_win_rate(
    preferences: Sequence[float | None],
    model_lengths: Sequence[float],
    baseline_lengths: Sequence[float],
    *,
    difficulty: Sequence[float] | None = None,
    ridge: float = 1e-3,
) -> WinRate:
    """The win rate that a logistic model predicts were every answer as long as the baseline's.

    preference ~ sigmoid(theta + phi * tanh((length - baseline length) / sd) [+ psi * difficulty]), fitted by
    penalised maximum likelihood (fractions are fractional successes); the length term is then set to zero. The
    published form shares psi and the difficulties over all models of its leaderboard; give `difficulty` to do so.

    Args:
        preferences: as in the module's docstring.
        model_lengths: length of the model's answers, in any unit (characters, tokens), same order.
        baseline_lengths: of the baseline's answers.
        difficulty: a number per item, larger where models tend to lose; None leaves the term out.
        ridge: penalty on the slopes, per item; keeps the fit finite where length separates wins from losses.

    Returns:
        The rate with a delta-method standard error from the sandwich covariance of the fit, and the interval of the
        penalised profile likelihood, which holds where every item is won too. NaN with its reason where the lengths do
        not overlap: a rate at equal length would be a guess far from all that was seen.

    Raises:
        ValueError: lengths of unequal count, or a preference outside of [0, 1].
    """
    if not len(preferences) == len(model_lengths) == len(baseline_lengths):
        raise ValueError(f"{len(preferences)} preferences, {len(model_lengths)} and {len(baseline_lengths)} lengths")
    raw = win_rate(preferences)
    if raw.num_items < 3:
        return WinRate(math.nan, math.nan, raw.num_items, raw.num_missing, reason="fewer than 3 verdicts")
    kept = np.array([value is not None for value in preferences])
    wanted = np.array([value for value in preferences if value is not None], dtype=float)
    difference = np.asarray(model_lengths, dtype=float)[kept] - np.asarray(baseline_lengths, dtype=float)[kept]
    shorter, longer = int((difference <= 0).sum()), int((difference >= 0).sum())
    if min(shorter, longer) < MIN_EACH_SIDE:
        reason = (
            f"lengths do not overlap: of {difference.size} answers {shorter} are at most as long as the baseline's and "
            f"{longer} at least; {MIN_EACH_SIDE} of each are needed to know what equal length does"
        )
        return WinRate(math.nan, math.nan, raw.num_items, raw.num_missing, reason=reason)
    spread = float(difference.std())
    columns = [np.ones_like(difference), np.tanh(difference / spread) if spread > 0 else np.zeros_like(difference)]
    if difficulty is not None:
        columns.append(np.asarray(difficulty, dtype=float)[kept])
    design = np.stack(columns, axis=1)
    penalty = np.full(design.shape[1], ridge * wanted.size)
    penalty[0] /= 1000  # the intercept carries a thousandth of the slopes' penalty
    weights, covariance = fit_logistic(design, wanted, penalty)
    equal = design.copy()
    equal[:, 1] = 0.0
    predicted = sigmoid(equal @ weights)
    gradient = ((predicted * (1 - predicted))[:, None] * equal).mean(axis=0)
    variance = float(gradient @ covariance @ gradient) + float(predicted.var()) / predicted.size
    low, high = _profile_ends(design, equal, wanted, penalty[1:], weights)
    return WinRate(float(predicted.mean()), math.sqrt(max(variance, 0.0)), raw.num_items, raw.num_missing, low, high)


def _profile_ends(
    design: FloatArray, equal: FloatArray, wanted: FloatArray, penalty: FloatArray, weights: FloatArray
) -> tuple[float, float]:
    """Rates at equal length whose intercept the likelihood ratio does not refuse, all else fitted anew."""

    def penalised(both: FloatArray) -> float:
        return likelihood(design @ both, wanted) - float(penalty @ both[1:] ** 2) / 2

    def lost(intercept: float) -> tuple[float, float]:
        """Twice the loss of penalised log-likelihood, and the rate, with this intercept."""
        slopes, _ = fit_logistic(design[:, 1:], wanted, penalty, intercept)
        both = np.concatenate([[intercept], slopes])
        return 2 * (best - penalised(both)), float(sigmoid(equal @ both).mean())

    # Student's quantile for chi-squared's root: with 20 items that is the difference of .90 and .93 covered
    refused = student_quantile(0.975, max(1, wanted.size - design.shape[1])) ** 2
    best = penalised(weights)
    ends = []
    for direction in (-1.0, 1.0):
        inside, outside = float(weights[0]), float(weights[0]) + direction
        while lost(outside)[0] < refused and abs(outside) < _FAR:
            outside += direction * max(1.0, abs(outside - inside))
        if abs(outside) >= _FAR:  # nothing is refused on this side: all won, or all lost
            ends.append(0.0 if direction < 0 else 1.0)
            continue
        for _ in range(40):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if lost(middle)[0] < refused else (inside, middle)
        ends.append(lost(outside)[1])
    return ends[0], ends[1]
