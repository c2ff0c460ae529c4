"""What an endpoint allows that tells no limit: read off what passed before its answers 429. Pure.

What passed from one exhaustion to the end of the next is the limit: a fixed window's quota by its length, a bucket's
refill; only the first time a bucket's stored credit counts as well, and is found out in the next round. From there the
guess grows like the cube of the time: level near what was measured, ever steeper away from it, so that another limit is
found without a search. Times are seconds of the caller's clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FEW = 20
"""Answers from which a limit may be read off; from fewer, half as many more are allowed for."""
LONG_S = 30.0
"""After so long few answers say it as well."""
LEAST_SHARE = 0.25
"""Of an earlier guess that remains at least, whatever was measured: an outage is no limit."""
GROWTH_S = 100.0
"""So long after it was measured a guess has doubled."""
TRIALS = 4
"""Requests that find out whether an exhausted endpoint that names no time passes any again."""
FIRST_BLOCK_S = 1.0
LONGEST_BLOCK_S = 8.0
"""Of pauses whose length the endpoint did not name."""


@dataclass
class LimitGuess:
    """Requests per minute of one endpoint, as far as its refusals tell."""

    passed_since: float
    """Start of what is being measured."""
    per_min: float | None = None
    """The guess; None before the first exhaustion."""
    trials_left: int | None = None
    """Requests that may go until an answer passes; None: as many as the limits give."""
    _anchor: float = 1.0
    """The limit that was measured last."""
    _passed: int = 0
    _idle_s: float = 0.0
    """Of the time since `passed_since` in which nobody wanted to send."""
    _measure_at: float | None = None
    """When the limit ran out and more may pass."""
    _blind_blocks: int = 0
    """Pauses in a row without a named length and without an answer between them."""
    _sent_before: int = 0
    """Requests under way that were sent before the pause: that they pass proves nothing."""

    def learn(self, per_min: float | None) -> None:
        """Take over another limiter's guess."""
        self.per_min, self._anchor = per_min, per_min or 1.0

    def count(self, passed: int, idle_s: float, *, is_open: bool) -> None:
        """Answers that were no 429, and how long nobody had wanted to send before them; `is_open`: no pause is on."""
        self._idle_s += idle_s
        self._passed += passed
        old = min(passed, self._sent_before)
        self._sent_before -= old
        if passed > old and is_open:
            self._blind_blocks, self.trials_left = 0, None

    def refused(self) -> None:
        """One answer 429 of whatever kind."""
        self._sent_before = max(0, self._sent_before - 1)

    def refused_by_chance(self) -> None:
        """Give way, but by no more than a tenth: were 429s of chance to wear the guess down, no rate would be left."""
        if self.per_min is not None:
            self.per_min = max(0.998 * self.per_min, min(self.per_min, 0.9 * self._anchor))

    def pause_s(self, under_way: int) -> float:
        """How long to send nothing where the endpoint names no time: ever longer while nothing passes."""
        seconds = min(LONGEST_BLOCK_S, FIRST_BLOCK_S * 2.0**self._blind_blocks)
        self._blind_blocks += 1
        self.trials_left, self._sent_before = TRIALS, under_way
        return seconds

    def ran_out(self, until: float) -> None:
        """The limit is used up, and more may pass from then on."""
        if self._measure_at is None:
            self._measure_at = until

    def room(self, under_way: int, *, is_open: bool) -> int | None:
        """Requests that may go now; None where trials set no limit."""
        self._sent_before = min(self._sent_before, under_way)
        if self.trials_left is not None and under_way == 0 and is_open:  # those who tried are gone
            self.trials_left = TRIALS
        return self.trials_left

    def granted(self, num: int) -> None:
        """So many were let go."""
        if self.trials_left is not None:
            self.trials_left -= num

    def measure(self, now: float) -> None:
        """At the end of an exhaustion, read the limit off; a round with few answers goes on to the next one."""
        if self._measure_at is None or now < self._measure_at or self.trials_left is not None:
            return
        seconds = max(1.0, now - self.passed_since - self._idle_s)
        is_precise = self._passed >= FEW or seconds >= LONG_S
        measured = max(1, self._passed if is_precise else self._passed + FEW // 2) * 60.0 / seconds
        self.per_min = self._anchor = max(measured, LEAST_SHARE * (self.per_min or 0.0))
        self._measure_at = None
        if is_precise:
            self._passed, self.passed_since, self._idle_s = 0, now, 0.0

    def grow(self, seconds: float) -> None:
        """After so many seconds without a refusal."""
        if self.per_min is not None:
            since_s = GROWTH_S * math.cbrt(self.per_min / self._anchor - 1.0)
            self.per_min = self._anchor * (1.0 + ((since_s + seconds) / GROWTH_S) ** 3)
