"""Circuit breaker of one endpoint, pure: after a run of failures it lets one trial request through at a time."""

from __future__ import annotations

from dataclasses import dataclass

from assay.llm.transports.chat import Attempted

THRESHOLD = 12
"""Failures in a row that open the circuit: with every fifth attempt failing, one chance in 2e8 per attempt."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
REFUSALS = 10
"""A request is given up only after so many answers 429 in a row, however long they took."""
BROKEN = frozenset({"server error", "timeout", "connection"})


@dataclass
class Breaker:
    """Counts what an endpoint answers. All times come from one monotonic clock, in seconds."""

    give_up_s: float
    """How long the caller means to be patient: pauses stay well below it."""
    never_answered: bool = True
    """Whether no response of any kind has come yet."""
    _failures: int = 0
    _pause_s: float = FIRST_PAUSE_S
    _open_until: float = 0.0
    _on_trial: bool = False
    _silent_since: float | None = None

    def wait_s(self, now: float) -> float:
        """Seconds to wait before the next request; a 0 while the circuit is open makes the caller the trial."""
        if self._failures < THRESHOLD:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        self._on_trial = True
        self._open_until = now + self._pause_s  # the others wait for the trial's outcome
        return 0.0

    def record(self, exchange: Attempted, now: float) -> None:
        """Note how an attempt ended."""
        if exchange.http_status is not None:
            self.never_answered = False
        if exchange.outcome not in BROKEN and exchange.outcome != "rate limited":
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now
        if exchange.outcome not in BROKEN:
            self._failures, self._pause_s, self._on_trial = 0, FIRST_PAUSE_S, False
            return
        self._failures += 1
        if self._failures == THRESHOLD:
            self._open_until = now + self._limited(self._pause_s)
        elif self._on_trial:  # what was in flight when the circuit opened fails as well, and says nothing new
            self._on_trial = False
            self._pause_s = self._limited(2 * self._pause_s)
            self._open_until = now + self._pause_s

    def silent_s(self, now: float) -> float:
        """Seconds since the endpoint began to give nothing usable; 0 while it does."""
        return 0.0 if self._silent_since is None else now - self._silent_since

    def _limited(self, pause_s: float) -> float:
        return min(pause_s, LONGEST_PAUSE_S, max(0.1, self.give_up_s / 4))


@dataclass
class Refusals:
    """Answers 429 to one request, in a row. The endpoint may serve others meanwhile, so it is not taken for down."""

    give_up_s: float
    _count: int = 0
    _since: float = 0.0

    def stalls(self, exchange: Attempted, now: float) -> bool:
        """Whether this request is to be given up."""
        if exchange.outcome != "rate limited":
            self._count = 0
            return False
        if self._count == 0:
            self._since = now
        self._count += 1
        return self._count >= REFUSALS and now - self._since > self.give_up_s
