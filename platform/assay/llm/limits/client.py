"""The asynchronous side of the limits: who wants to send waits here for a permit.

A client holds the permits of one gateway and exchanges reports for grants, with a `SharedLimits` in this process or
with the actor that the whole cluster shares (`ray_limits`). It never pauses anything but its own endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from assay.llm.endpoint import EndpointSpec
from assay.llm.limits.headers import Observation
from assay.llm.limits.shared import Caps, Grant, Knowledge, Report, SharedLimits

LEASE_S = 3.0
"""A permit that nobody started for so long goes back."""
HEARTBEAT_S = 2.0
"""A client with requests under way reports at least so often; the limiter takes five silences for death."""
REPORT_S = 0.1
"""How long news may wait where nothing else calls for an exchange."""
MAX_WANTS = 256
MAX_SEEN = 32
RETRY_S = 0.25

ReportExchange = Callable[[Report], Awaitable[Grant]]


class Limiter(Protocol):
    """Permits for one endpoint and account."""

    requests_per_min: float | None
    """The limit in force; None where none is known."""

    async def acquire(self, tokens: int, *, front: bool = False) -> None:
        """Wait until a request of so many tokens may be sent; `finish` ends what this begins."""
        ...

    def finish(self, tokens: int, used: int | None, seen: Observation) -> None:
        """The request is over: estimated and used tokens (None: not told), and what the response said."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...


class LimitClient:
    """The permits of one gateway. Belongs to one event loop."""

    def __init__(self, exchange: ReportExchange, *, exchange_now: Callable[[Report], Grant] | None = None) -> None:
        """Talk to a limiter.

        Args:
            exchange: asks the limiter; may fail while it restarts, and is then asked again.
            exchange_now: the same without waiting, where the limiter lives in this process.
        """
        self.worker = secrets.token_hex(6)
        self.requests_per_min: float | None = None
        self._exchange = exchange
        self._exchange_now = exchange_now
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._permits: deque[tuple[float, int]] = deque()  # (start, tokens), by start
        self._running = 0
        self._idle = 0  # slots kept for the next request, where no rate asks for a permit each
        self._idle_since = 0.0
        self._unused: list[int] = []
        self._token_debt = 0
        self._seen: deque[Observation] = deque(maxlen=MAX_SEEN)
        self._latest: Observation | None = None  # unreported
        self._limits: tuple[float | None, float | None] | None = None
        self._passed = 0
        self._reported_held = 0
        self._known = Knowledge()
        self._blocked_until = 0.0
        self._metered = True
        self._slots_bind = False
        self._max_held = 1
        self._next_poll = 0.0
        self._last_exchange = 0.0
        self._asking = False
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    async def acquire(self, tokens: int, *, front: bool = False) -> None:
        """Wait until a request of so many tokens may be sent.

        Args:
            tokens: estimated cost, prompt and reply.
            front: go before those that have not been sent yet; for requests that were, and must be again.
        """
        if self._idle and not self._waiting and time.monotonic() >= self._blocked_until:
            self._idle -= 1
            self._running += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (tokens, future)
        if front:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        if self._pump is None:
            self._pump = asyncio.create_task(self._run())
        self._wake.set()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # the permit came in the same moment
                self._running -= 1
                self._unused.append(tokens)
                self._wake.set()
            raise

    def finish(self, tokens: int, used: int | None, seen: Observation) -> None:
        """The request is over: book its tokens and what its response said."""
        if used is not None:
            self._token_debt += used - tokens
        now = time.monotonic()
        if seen.rate_limited:
            self._seen.append(seen)
            self._next_poll = now
            self._wake.set()  # whether the endpoint must rest is for the limiter to say, at once
        else:
            self._passed += used != 0  # any outcome but a 429 was let through, also a useless one; 0: never sent
            self._latest = seen
            limits = (seen.requests_per_min, seen.tokens_per_min)
            if limits != self._limits or not self._known.probed:  # news: the limiter should know at once
                self._limits = limits
                self._next_poll = now
        if self._passes_on(now):
            if not self._hand_over():
                self._running -= 1
                self._idle += 1
                self._idle_since = now
            return
        self._running -= 1
        if self._slots_bind:
            self._next_poll = now
        self._wake.set()

    async def close(self) -> None:
        """Give everything back."""
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
        self._unused.extend(tokens for _, tokens in self._permits)
        self._permits.clear()
        self._idle = 0
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._exchange(self._report(wants=False)), 1.0)

    @property
    def _held(self) -> int:
        return self._running + len(self._permits) + self._idle

    def _passes_on(self, now: float) -> bool:
        """Without a rate to keep to, a slot goes straight to the next request, or waits here for it."""
        free = self._known.probed and not self._metered and now >= self._blocked_until
        return free and self._held <= self._max_held

    def _hand_over(self) -> bool:
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return True
        return False

    async def _run(self) -> None:
        while True:
            now = time.monotonic()
            self._start_due(now)
            self._drop_stale(now)
            if self._idle and now - self._idle_since > HEARTBEAT_S:
                self._idle = 0
            pause = self._exchange_if_due(now)
            if self._permits and self._waiting:
                pause = min(pause, max(self._permits[0][0], self._blocked_until) - now)
            self._wake.clear()
            if pause > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
            else:
                await asyncio.sleep(0)

    def _start_due(self, now: float) -> None:
        if now < self._blocked_until:
            return
        while self._permits and self._permits[0][0] <= now + 0.001:
            while self._waiting and self._waiting[0][1].done():
                self._waiting.popleft()
            if not self._waiting:
                return
            _, reserved = self._permits.popleft()
            tokens, future = self._waiting.popleft()
            self._token_debt += tokens - reserved  # a retry may have overtaken whom the permit was meant for
            self._running += 1
            future.set_result(None)

    def _drop_stale(self, now: float) -> None:
        while self._permits and now - self._permits[0][0] > LEASE_S:
            self._unused.append(self._permits.popleft()[1])

    def _exchange_if_due(self, now: float) -> float:
        """Start an exchange if one is due; seconds until the next one may be."""
        if self._asking:
            return HEARTBEAT_S
        missing = len(self._waiting) > len(self._permits)
        if missing:
            due = self._next_poll
        elif any(seen.rate_limited for seen in self._seen):
            due = now
        elif self._has_news():
            due = self._last_exchange + REPORT_S
        else:
            due = self._last_exchange + (HEARTBEAT_S if self._running or self._idle else 60.0)
        if now < due:
            return due - now
        report = self._report(wants=True)
        if self._exchange_now is not None:
            self._accept(report, self._exchange_now(report))
            return 0.0 if self._permits and self._waiting else self._next_poll - now
        self._asking = True
        asyncio.create_task(self._ask(report)).add_done_callback(lambda _: self._wake.set())
        return HEARTBEAT_S

    def _has_news(self) -> bool:
        held_else = self._held != self._reported_held
        return bool(self._seen or self._unused or self._token_debt or self._latest or held_else)

    async def _ask(self, report: Report) -> None:
        try:
            self._accept(report, await self._exchange(report))
        except Exception:  # the limiter is being restarted: say it again, and send nothing meanwhile
            self._unused.extend(report.unused)
            self._token_debt += report.token_debt
            self._passed += report.passed
            self._seen.extendleft(reversed(report.seen))
            self._next_poll = self._last_exchange = time.monotonic() + RETRY_S
        finally:
            self._asking = False

    def _report(self, *, wants: bool) -> Report:
        missing = [
            tokens for tokens, future in list(self._waiting)[: MAX_WANTS + len(self._permits)] if not future.done()
        ]
        seen = list(self._seen)
        if self._latest is not None:
            seen.append(self._latest)
        blocked_for_s = max(0.0, self._blocked_until - time.monotonic())
        report = Report(
            worker=self.worker,
            wants=tuple(missing[len(self._permits) :]) if wants else (),
            held=self._held,
            unused=tuple(self._unused),
            token_debt=self._token_debt,
            passed=self._passed,
            seen=tuple(seen),
            known=dataclasses.replace(self._known, blocked_for_s=blocked_for_s),
        )
        self._unused, self._token_debt, self._passed, self._latest = [], 0, 0, None
        self._reported_held = report.held
        self._seen.clear()
        return report

    def _accept(self, report: Report, grant: Grant) -> None:
        now = time.monotonic()
        self._last_exchange = now
        for delay, tokens in zip(grant.delays_s, report.wants, strict=False):
            self._permits.append((now + delay, tokens))
        self._next_poll = now + grant.poll_s
        self._reported_held += len(grant.delays_s)
        self._metered, self._max_held, self._slots_bind = grant.metered, grant.max_held, grant.slots_bind
        if self._metered:
            self._idle = 0
        else:
            self._idle = max(0, min(self._idle, self._max_held - self._running - len(self._permits)))
        self._known = grant.known
        self._blocked_until = max(self._blocked_until, now + grant.known.blocked_for_s)
        self.requests_per_min = grant.requests_per_min


def open_local_limiter(endpoint: EndpointSpec) -> LimitClient:
    """A limiter that only this process uses."""
    limits = SharedLimits(caps_of(endpoint), time.monotonic())

    def exchange_now(report: Report) -> Grant:
        return limits.exchange(report, time.monotonic())

    async def exchange(report: Report) -> Grant:
        return exchange_now(report)

    return LimitClient(exchange, exchange_now=exchange_now)


def caps_of(endpoint: EndpointSpec) -> Caps:
    """The limits that a user set."""
    return Caps(endpoint.requests_per_min, endpoint.tokens_per_min, endpoint.max_concurrency)
