"""What would decide an open difference: more draws, more items or more judge repeats, by share of its variance. Pure.

A difference's variance has parts that fall with different spending: that of draws by one over their number, that of
items by one over theirs until all are seen, that of a judge's repeats by one over theirs. An interval of half width h
tells a difference d from 0 once the variance is (d / h) squared of what it is. More of one thing alone lowers its own
part only; what is left of the others may be too much already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a difference's variance, and what lowers it."""

    what: str
    """"draws", "items" or "judge repeats"."""
    share: float
    """Of the variance, in 0..1."""
    count: int
    """There are now, of each arm."""
    price: float | None = None
    """Dollars of one more, for both arms; None: not known."""
    most: int | None = None
    """There can be; then the part is gone. None: any number."""


@dataclass(frozen=True, slots=True)
class Way:
    """How one kind of spending would decide."""

    what: str
    more: int
    """Of each arm, about."""
    price: float | None
    """Dollars; None: not known."""


def ways(parts: Sequence[Part], *, difference: float, half: float) -> list[Way]:
    """The kinds of spending that would each decide alone, the cheapest first; without prices the order given.

    Args:
        parts: of the variance, their shares adding up to 1.
        difference: as measured; taken to be the true one.
        half: half width of its interval.
    """
    if difference == 0 or not math.isfinite(half):
        return []
    left = (difference / half) ** 2
    found = []
    for part in parts:
        more = more_of(part, left)
        if more is not None:
            found.append(Way(part.what, more, None if part.price is None else more * part.price))
    if any(way.price is None for way in found):
        return found
    return sorted(found, key=lambda way: way.price or 0.0)


def more_of(part: Part, left: float) -> int | None:
    """How many more of one thing alone leave this share of the whole variance; None: no number would."""
    own = left - (1 - part.share)
    if part.share <= 0 or own < 0 or (own == 0 and part.most is None):
        return None
    if part.most is None:
        return max(1, _up(part.count * part.share / own) - part.count)
    # drawn without replacement: the part goes by 1/n - 1/N
    wanted = own / part.share * (1 / part.count - 1 / part.most) + 1 / part.most
    return min(max(1, _up(1 / wanted) - part.count), part.most - part.count)


def per_dollar(parts: Sequence[Part]) -> str | None:
    """What lowers the variance most for the next dollar; None where a price is not known or nothing costs anything."""
    known = [part for part in parts if part.share > 0 and (part.most is None or part.count < part.most)]
    if not known or any(part.price is None for part in known):
        return None
    free = [part for part in known if not part.price]
    if free:
        return free[0].what if len(free) < len(known) else None
    # the slope of share * count / n at n = count
    return max(known, key=lambda part: part.share / (part.count * (part.price or 1.0))).what


def _up(value: float) -> int:
    """The next whole number; one that is whole but for rounding is itself."""
    return math.ceil(value - 1e-9)
