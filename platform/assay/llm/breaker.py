"""Circuit breaker of one endpoint, pure: after a run of failures it lets one request through at a time."""

from __future__ import annotations

from dataclasses import dataclass

from assay.llm.chat_transport import Exchange

THRESHOLD = 12
"""Failures in a row that open the circuit: with every fifth attempt failing, one chance in 2e8 per attempt."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
BROKEN = frozenset({"server error", "timeout", "connection"})


@dataclass
class Breaker:
    """Counts what an endpoint answers. All times come from one monotonic clock, in seconds."""

    give_up_s: float
    never_answered: bool = True
    _failures: int = 0
    _pause_s: float = FIRST_PAUSE_S
    _open_until: float = 0.0
    _silent_since: float | None = None

    def wait_s(self, now: float) -> float:
        """Seconds to wait before the next request; calling at 0 while open takes the one trial request."""
        if self._failures < THRESHOLD:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        self._open_until = now + self._pause_s  # the caller is the trial; the others wait for its outcome
        return 0.0

    def record(self, exchange: Exchange, now: float) -> None:
        """Note how an attempt ended."""
        if exchange.http_status is not None:
            self.never_answered = False
        if exchange.outcome in BROKEN or exchange.outcome == "rate limited":
            if self._silent_since is None:
                self._silent_since = now
        else:
            self._silent_since = None
        if exchange.outcome not in BROKEN:
            self._failures, self._pause_s, self._open_until = 0, FIRST_PAUSE_S, 0.0
            return
        self._failures += 1
        if self._failures == THRESHOLD:
            self._open_until = now + self._pause_s
        elif self._failures > THRESHOLD and now >= self._open_until - self._pause_s:
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
            self._open_until = now + self._pause_s

    def silent_s(self, now: float) -> float:
        """Seconds since the endpoint began to give nothing usable; 0 while it does."""
        return 0.0 if self._silent_since is None else now - self._silent_since
