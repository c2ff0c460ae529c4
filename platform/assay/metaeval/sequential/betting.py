"""Is one model better than another on these N items? A confidence sequence by betting, without replacement. Pure.

Items are scored one after another in a random order. Against every mean m that all N items could have, somebody bets on
the next item and cannot expect to win if m is right; a mean against which the fortune reaches 1 / alpha is given up.
The true mean is given up in at most alpha of all orders, however often one looks, and after the last item only the
truth is left. Valid for one order of the items drawn at random; nothing is assumed about the scores but their range.

Axes: S sequences, T items seen, M means tested, N items in all.
Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", sections 5 and 6. The
cheap second score is ours: a term whose mean given the past is 0 leaves every bet fair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.estimate import FloatArray

CAP = 0.5
"""Share of the fortune that is at stake at most, so that no item ruins the bettor."""
GRID = 2000
"""Steps of the grid of means. An interval is widened by one step on either side, so the grid costs no coverage."""
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Fortunes:
    """Natural logarithms of both bettors' fortunes after every item; inf where the items seen rule the mean out."""

    above: FloatArray
    """Of the one who bets that the true mean is above m, shape (S, M, T)."""
    below: FloatArray
    """Of the one who bets that it is below, shape (S, M, T)."""

    @property
    def log_e(self) -> FloatArray:
        """Logarithm of the e-value against m, shape (S, M, T): half of one fortune and half of the other."""
        return np.logaddexp(self.above, self.below) - math.log(2)


@dataclass(frozen=True, slots=True)
class IntervalSequence:
    """The means not given up after every item, intersected over time, shape (T,); in the unit of the differences."""

    low: FloatArray
    high: FloatArray


def fortunes(
    x_ST: ArrayLike, means_M: ArrayLike, *, num_items: int, alpha: float, cheap_SN: ArrayLike | None = None
) -> Fortunes:
    """Both fortunes against each mean after each item.

    Args:
        x_ST: scores in [0, 1] in the order drawn, shape (S, T), T <= N.
        means_M: means of all N items to be tested, in [0, 1].
        num_items: N.
        alpha: level for which the bets are sized; any other level may be read off the result.
        cheap_SN: a second score of all N items in the same order, any unit, shape (S, N), known before the first x.
            How much of x it explains is learned from past items alone.

    Raises:
        ValueError: a score outside [0, 1] or missing, more scores than items, or a shape that does not fit.
    """
    x, means = np.atleast_2d(np.asarray(x_ST, dtype=float)), np.asarray(means_M, dtype=float)
    num_sequences, seen = x.shape
    if seen > num_items or not ((x >= 0) & (x <= 1)).all() or not ((means >= 0) & (means <= 1)).all():
        raise ValueError(f"{seen} scores of {num_items} items; expected no more than items, scores and means in [0, 1]")
    cheap = np.zeros((num_sequences, num_items)) if cheap_SN is None else np.atleast_2d(np.asarray(cheap_SN, float))
    if cheap.shape != (num_sequences, num_items) or not np.isfinite(cheap).all():
        raise ValueError(f"cheap scores {cheap.shape}; expected {(num_sequences, num_items)}, none missing")
    help_ = _Help(cheap)
    above_SMT, below_SMT = np.empty((2, num_sequences, means.size, seen))
    above, below = np.zeros((2, num_sequences, means.size))
    total, centre, squares = np.zeros(num_sequences), np.full(num_sequences, 0.5), np.full(num_sequences, 0.25)
    for i in range(seen):
        # what the items left must average if all N average m; a mean that needs more or less than they can is over
        m = np.clip((num_items * means - total[:, None]) / (num_items - i), 0.0, 1.0)
        shift, low, high = help_.at(i)
        z = x[:, i] - shift
        size = np.sqrt(2 * math.log(2 / alpha) / (squares * math.log(i + 2)))[:, None]
        above += np.log1p(_stake(size, m - low[:, None]) * (z[:, None] - m))
        below += np.log1p(_stake(size, high[:, None] - m) * (m - z[:, None]))
        squares += (z - centre) ** 2
        centre += (z - centre) / (i + 2)
        total += x[:, i]
        help_.learn(i, x[:, i])
        rest = num_items * means - total[:, None]
        above[rest < -_TOLERANCE * num_items] = np.inf
        below[rest > num_items - i - 1 + _TOLERANCE * num_items] = np.inf
        above_SMT[:, :, i], below_SMT[:, :, i] = above, below
    return Fortunes(above_SMT, below_SMT)


def interval_sequence(
    differences_T: ArrayLike, *, num_items: int, alpha: float = 0.05, cheap_N: ArrayLike | None = None
) -> IntervalSequence:
    """Interval for the mean difference over all N items after every item; all of them hold at once at 1 - alpha.

    Args:
        differences_T: paired differences in [-1, 1] in the order drawn (cluster means where items share a document).
        num_items: N (clusters, where the differences are of clusters).
        alpha: chance that the truth is ever left out.
        cheap_N: differences of a cheap scorer, of all N items in the same order; None: none.
    """
    x = (np.asarray(differences_T, dtype=float) + 1) / 2
    grid = np.linspace(0, 1, GRID + 1)
    log_e = fortunes(
        x[None], grid, num_items=num_items, alpha=alpha, cheap_SN=None if cheap_N is None else np.asarray(cheap_N)[None]
    ).log_e[0]
    kept = np.maximum.accumulate(log_e, axis=1) < math.log(1 / alpha)
    first, last = kept.argmax(axis=0), GRID - kept[::-1].argmax(axis=0)
    total, seen = np.cumsum(x), np.arange(1, x.size + 1)
    # all of the grid given up: the truth lies between two of its points, and within what the items left can still do
    nothing = ~kept.any(axis=0)
    low = np.where(nothing, total / num_items, np.maximum(first - 1, 0) / GRID)
    high = np.where(nothing, (total + num_items - seen) / num_items, np.minimum(last + 1, GRID) / GRID)
    return IntervalSequence(2 * np.maximum.accumulate(low) - 1, 2 * np.minimum.accumulate(high) - 1)


def _stake(size: FloatArray, most: FloatArray) -> FloatArray:
    """The bet: its planned size, cut so that the worst next score takes `CAP` of the fortune.

    Where the mean leaves no room (m at the end of the range) the worst score changes nothing, and neither may the bet.
    """
    with np.errstate(divide="ignore"):
        cut = np.where(most > _TOLERANCE, CAP / np.maximum(most, _TOLERANCE), 0.0)
    stake: FloatArray = np.minimum(size, cut)
    return stake


class _Help:
    """What a cheap score of all items says about the next one: its deviation from the mean of the items left, scaled.

    The items left are known, so given the past the deviation has mean 0 and known ends.
    """

    def __init__(self, cheap_SN: FloatArray) -> None:
        self._cheap = cheap_SN
        back = cheap_SN[:, ::-1]
        left = np.arange(1, cheap_SN.shape[1] + 1)
        self._mean = (np.cumsum(back, axis=1) / left)[:, ::-1]
        self._low = np.minimum.accumulate(back, axis=1)[:, ::-1]
        self._high = np.maximum.accumulate(back, axis=1)[:, ::-1]
        self._sums = np.zeros((5, len(cheap_SN)))

    def at(self, i: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The shift of item i, and the least and the largest value that the shifted score can take."""
        slope = self._slope()
        mean = self._mean[:, i]
        ends = np.stack([slope * (self._low[:, i] - mean), slope * (self._high[:, i] - mean)])
        return slope * (self._cheap[:, i] - mean), -ends.max(axis=0), 1 - ends.min(axis=0)

    def learn(self, i: int, x_S: FloatArray) -> None:
        """Take in item i."""
        g = self._cheap[:, i]
        self._sums += np.stack([np.ones_like(g), g, x_S, g * g, g * x_S])

    def _slope(self) -> FloatArray:
        n, g, x, gg, gx = self._sums
        spread = gg - g * g / np.maximum(n, 1)
        # shrunk by five items' worth of spread, so that the first few cannot give a wild slope
        usable = (n >= 2) & (spread > _TOLERANCE)
        shrunk = spread * (1 + 5 / np.maximum(n, 1))
        return np.where(usable, (gx - g * x / np.maximum(n, 1)) / np.where(usable, shrunk, 1.0), 0.0)
