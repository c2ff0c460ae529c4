"""From verdicts on pairs of answers to one number for each answer: the share of its comparisons that it won. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class OrderedVerdicts(NamedTuple):
    """The better of two answers in both orders: 1 the first, 2 the second, 0 a tie; None where there is no verdict."""

    original: int | None
    swapped: int | None

    @property
    def first_share(self) -> float:
        """The first answer's share, ties half; NaN unless both orders have a verdict, or a place would count."""
        credit = {1: 1.0, 2: 0.0, 0: 0.5}
        if self.original is None or self.swapped is None:
            return math.nan
        return (credit[self.original] + credit[self.swapped]) / 2


def every_two(num: int) -> list[tuple[int, int]]:
    """Places of all pairs of `num` answers, the smaller one first."""
    return list(itertools.combinations(range(num), 2))


def win_shares(num: int, verdicts: Mapping[tuple[int, int], OrderedVerdicts]) -> list[float]:
    """Share, in [0, 1], of each answer's comparisons that it won, ties half; NaN for one that has no verdict.

    Args:
        num: answers.
        verdicts: by the places of two answers, the smaller one first; all or some pairs.
    """
    won: list[list[float]] = [[] for _ in range(num)]
    for (first, second), verdict in verdicts.items():
        share = verdict.first_share
        if not math.isnan(share):
            won[first].append(share)
            won[second].append(1 - share)
    return [_mean(shares) for shares in won]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
