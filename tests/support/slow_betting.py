"""The betting sequence once more: in fractions, one mean at a time, written from the formulas. Slow."""

from __future__ import annotations

import math
from fractions import Fraction

NEVER = None
"""In the place of a fortune: the items rule the mean out."""


def slow_fortunes(
    scores: list[Fraction], mean: Fraction, num_items: int, alpha: float
) -> list[tuple[Fraction | None, Fraction | None]]:
    """Fortunes of the bettor above and the one below after each item; NEVER where that side rules the mean out."""
    above: Fraction | None = Fraction(1)
    below: Fraction | None = Fraction(1)
    history: list[tuple[Fraction | None, Fraction | None]] = []
    for i in range(1, len(scores) + 1):
        past = scores[: i - 1]
        m = (num_items * mean - sum(past)) / (num_items - i + 1)
        bet = Fraction(math.sqrt(2 * math.log(2 / alpha) / (float(variance(past)) * i * math.log(i + 1))))
        x = scores[i - 1]
        if above is not NEVER and 0 <= m <= 1:
            stake = min(bet, Fraction(1, 2) / m) if m > 0 else Fraction(0)
            above *= 1 + stake * (x - m)
        if below is not NEVER and 0 <= m <= 1:
            stake = min(bet, Fraction(1, 2) / (1 - m)) if m < 1 else Fraction(0)
            below *= 1 - stake * (x - m)
        missing = num_items * mean - sum(scores[:i])
        if missing < 0:
            above = NEVER
        if missing > num_items - i:
            below = NEVER
        history.append((above, below))
    return history


def variance(past: list[Fraction]) -> Fraction:
    """(1/4 + sum of squared surprises) / (number of past items + 1); a surprise is against the mean before it."""
    total = Fraction(1, 4)
    for j, x in enumerate(past):
        total += (x - (Fraction(1, 2) + sum(past[:j])) / (j + 1)) ** 2
    return total / (len(past) + 1)
