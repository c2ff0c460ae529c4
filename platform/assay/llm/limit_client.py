"""The asynchronous side of the limits: who wants to send waits here for a permit."""

from __future__ import annotations

import asyncio
from typing import Protocol

from assay.llm.endpoint import EndpointSpec
from assay.llm.limits import Observation


class Limiter(Protocol):
    """Permits for one endpoint and account."""

    requests_per_min: float | None

    async def acquire(self, tokens: int, *, front: bool = False) -> None:
        """Wait until a request of so many tokens may be sent."""
        ...

    def finish(self, tokens: int, used: int | None, seen: Observation) -> None:
        """The request is over: estimated and used tokens (None: not told), and what the response said."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...


class LocalLimiter:
    """Concurrency alone."""

    def __init__(self, max_concurrency: int) -> None:
        self.requests_per_min: float | None = None
        self._slots = asyncio.Semaphore(max_concurrency)

    async def acquire(self, tokens: int, *, front: bool = False) -> None:
        """Wait for a slot."""
        await self._slots.acquire()

    def finish(self, tokens: int, used: int | None, seen: Observation) -> None:
        """Give the slot back."""
        self._slots.release()

    async def close(self) -> None:
        """Nothing to give back."""


def open_local_limiter(endpoint: EndpointSpec) -> LocalLimiter:
    """The limiter of a lone process."""
    return LocalLimiter(endpoint.max_concurrency)
