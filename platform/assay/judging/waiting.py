"""What a run that does not move waits for, from two looks at its gateway's figures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from assay.hooks import Progress

if TYPE_CHECKING:
    from assay.llm.figures import GatewayStats

LOOK_EVERY_S = 3.0


def waiting_for(before: GatewayStats, now: GatewayStats) -> str | None:
    """What is waited for, in words; None where calls ended in between, or none is under way.

    Args:
        before: figures when a call ended last.
        now: figures of this moment.
    """
    if now.done != before.done or now.asked == now.done:
        return None
    useless = _useless(now) - _useless(before)
    refused = now.rate_limited - before.rate_limited
    if useless > 0:
        return f"the endpoint, {useless:,} attempts without a usable reply"
    if refused > 0:
        return f"the endpoint's limit, {refused:,} times told to wait (429)"
    if now.in_flight:
        return f"{now.in_flight:,} replies under way"
    if now.limit_per_min is not None:
        return f"the limit of {now.limit_per_min:,.0f} requests per minute, or that of tokens"
    return "a permit to send: the limit, or another job that asks the same"


@asynccontextmanager
async def telling_what_waits(progress: Progress, stage: str, stats: Callable[[], GatewayStats]) -> AsyncIterator[None]:
    """While it is entered: a word every few seconds in which no call ends, so that a blocked run does not look dead."""
    teller = asyncio.create_task(_tell(progress, stage, stats))
    try:
        yield
    finally:
        teller.cancel()
        await asyncio.gather(teller, return_exceptions=True)


async def _tell(progress: Progress, stage: str, stats: Callable[[], GatewayStats]) -> None:
    before = stats()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now = stats()
        if now.done != before.done:
            before = now
        elif (reason := waiting_for(before, now)) is not None:
            progress.advance(stage, 0, calls=calls_text(now), waiting_for=reason)


def calls_text(stats: GatewayStats) -> str:
    """Calls that are over, of those asked for so far: a protocol's later steps come as its earlier ones end."""
    return f"{stats.done:,}/{stats.asked:,}"


def _useless(stats: GatewayStats) -> int:
    """Attempts that ended without a reply and without a 429, or were such before a reply came."""
    return stats.attempts - stats.in_flight - stats.rate_limited - (stats.done - stats.cached)
