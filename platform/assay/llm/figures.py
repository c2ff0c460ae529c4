"""Live figures of a gateway, for progress lines and reports."""

from __future__ import annotations

import time
from dataclasses import dataclass

from assay.llm.requests import Failure, Reply


@dataclass(frozen=True, slots=True)
class GatewayStats:
    """Live figures of one gateway."""

    asked: int
    done: int
    cached: int
    answered: int
    failed: dict[str, int]
    attempts: int
    rate_limited: int
    prompt_tokens: int
    """Of all attempts of this run, useless ones included."""
    completion_tokens: int
    usd: float | None
    """Likewise; None where the model's price is not known."""
    cached_tokens: int
    """Of the prompt tokens, those that the endpoint had cached."""
    calls_per_min: float
    """Answers of the last minute (or since the start, scaled), cached ones left out."""
    limit_per_min: float | None
    """Requests per minute that the endpoint allows; None where it has told none."""
    in_flight: int


class Figures:
    """Counts as replies come in."""

    def __init__(self) -> None:
        self.asked = self.done = self.cached = self.answered = self.attempts = self.rate_limited = self.in_flight = 0
        self.prompt_tokens = self.completion_tokens = self.cached_tokens = 0
        self.usd = 0.0
        self.failed: dict[str, int] = {}
        self._started = time.monotonic()
        self._by_second: dict[int, int] = {}

    def count(self, reply: Reply) -> None:
        """One more request is over."""
        self.done += 1
        self.cached += reply.cached
        if isinstance(reply, Failure):
            self.failed[reply.reason] = self.failed.get(reply.reason, 0) + 1
            return
        self.answered += 1
        if reply.cached:
            return
        second = int(time.monotonic())
        self._by_second[second] = self._by_second.get(second, 0) + 1
        if len(self._by_second) > 120:
            self._by_second = {s: n for s, n in self._by_second.items() if s > second - 61}

    def pay(
        self, usd: float | None, prompt_tokens: int | None, completion_tokens: int | None, cached_tokens: int
    ) -> None:
        """An attempt ended and cost this, whatever it was good for; None where the endpoint told no usage."""
        self.prompt_tokens += prompt_tokens or 0
        self.completion_tokens += completion_tokens or 0
        self.cached_tokens += cached_tokens
        self.usd += usd or 0.0

    def stats(self, *, priced: bool, limit_per_min: float | None) -> GatewayStats:
        """The figures as they are now."""
        return GatewayStats(
            asked=self.asked,
            done=self.done,
            cached=self.cached,
            answered=self.answered,
            failed=dict(self.failed),
            attempts=self.attempts,
            rate_limited=self.rate_limited,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            usd=self.usd if priced else None,
            cached_tokens=self.cached_tokens,
            calls_per_min=self._per_minute(time.monotonic()),
            limit_per_min=limit_per_min,
            in_flight=self.in_flight,
        )

    def _per_minute(self, now: float) -> float:
        span = min(60.0, max(1.0, now - self._started))
        return sum(n for s, n in self._by_second.items() if s >= now - span) * 60.0 / span
