"""Requests and tokens per minute, as a fixed window or a token bucket. Pure: the time is an argument.

A request is taken when both meters have room, and then charged to both; a refused one is charged to neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Meter:
    """One quantity per minute."""

    per_minute: float
    """Units per 60 s."""
    window: Literal["fixed", "bucket"]
    span_s: float
    """Length of a fixed window, or the bucket's capacity in seconds of its rate."""
    used: float = 0.0
    """Fixed window: units taken since `since_s`. Bucket: units missing from a full bucket at `since_s`."""
    since_s: float | None = None
    """Start of the fixed window, or when the bucket was last brought up to date; None before the first request."""

    @property
    def capacity(self) -> float:
        """Units that fit into one window or into a full bucket; at least 1."""
        return max(1.0, self.per_minute * self.span_s / 60.0)

    def advance(self, now_s: float) -> None:
        """Brings the meter to `now_s`."""
        if self.since_s is None:
            self.since_s = now_s
        elif self.window == "fixed":
            windows = int((now_s - self.since_s) / self.span_s)
            if windows > 0:
                self.since_s += windows * self.span_s
                self.used = 0.0
        else:
            self.used = max(0.0, self.used - (now_s - self.since_s) * self.per_minute / 60.0)
            self.since_s = now_s

    def wait_s(self, cost: float, now_s: float) -> float:
        """Seconds until `cost` fits, 0 where it does now; infinite where it never will."""
        self.advance(now_s)
        over = self.used + cost - self.capacity
        if over <= 1e-9:
            return 0.0
        if cost > self.capacity:
            return float("inf")
        return self.reset_s(now_s) if self.window == "fixed" else over * 60.0 / self.per_minute

    def remaining(self) -> int:
        """Units left, as of the last `advance`; a shrunken limit leaves none, not fewer."""
        return max(0, int(self.capacity - self.used + 1e-9))

    def reset_s(self, now_s: float) -> float:
        """Seconds until the meter is as new."""
        if self.window == "fixed":
            return max(0.0, (self.since_s if self.since_s is not None else now_s) + self.span_s - now_s)
        return self.used * 60.0 / self.per_minute

    def change(self, per_minute: float, now_s: float) -> None:
        """Another limit from now on; what was taken stays taken."""
        self.advance(now_s)
        self.per_minute = per_minute


@dataclass
class Limits:
    """Both meters, each of which may be off."""

    requests: Meter | None = None
    tokens: Meter | None = None
    refused: dict[str, int] = field(default_factory=lambda: {"requests": 0, "tokens": 0})

    def wait_for_request(self, now_s: float) -> float:
        """Seconds until a request is free, 0 where one is now."""
        return self.requests.wait_s(1, now_s) if self.requests else 0.0

    def wait_for_tokens(self, tokens: int, now_s: float) -> float:
        """Seconds until `tokens` are free, 0 where they are now; infinite where the limit is below them."""
        return self.tokens.wait_s(tokens, now_s) if self.tokens else 0.0

    def charge(self, tokens: int) -> None:
        """Takes one request of `tokens`; ask both waits first."""
        if self.requests:
            self.requests.used += 1
        if self.tokens:
            self.tokens.used += tokens

    def headers(self, now_s: float) -> list[tuple[bytes, bytes]]:
        """The x-ratelimit headers, as OpenAI spells them."""
        found: list[tuple[bytes, bytes]] = []
        for name, meter in ((b"requests", self.requests), (b"tokens", self.tokens)):
            if meter is None:
                continue
            meter.advance(now_s)
            found.append((b"x-ratelimit-limit-" + name, b"%d" % meter.per_minute))
            found.append((b"x-ratelimit-remaining-" + name, b"%d" % meter.remaining()))
            found.append((b"x-ratelimit-reset-" + name, spell_duration(meter.reset_s(now_s)).encode()))
        return found


def spell_duration(seconds: float) -> str:
    """A duration in the spelling of the x-ratelimit-reset headers: `20ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{f'{rest:.3f}'.rstrip('0').rstrip('.')}s"
