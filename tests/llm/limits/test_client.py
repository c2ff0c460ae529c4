"""The client side of the limits: permits reach those who wait, and come back from those who do not want them."""

from __future__ import annotations

import asyncio
import time

import pytest

from assay.llm.endpoint import EndpointSpec
from assay.llm.limits.client import LimitClient, open_local_limiter
from assay.llm.limits.headers import Observation
from assay.llm.limits.shared import Caps, Grant, Report, SharedLimits

FREE = Observation()


def limiter(**changes: object) -> LimitClient:
    return open_local_limiter(EndpointSpec(base_url="http://127.0.0.1:1/v1", **changes))  # type: ignore[arg-type]


async def probed(client: LimitClient, seen: Observation = FREE) -> None:
    await client.acquire(1)
    client.finish(1, 1, seen)


async def test_concurrency_is_never_passed_and_always_used() -> None:
    client = limiter(max_concurrency=5)
    await probed(client)
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        await client.acquire(10)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        client.finish(10, 10, FREE)

    await asyncio.gather(*(work() for _ in range(50)))
    assert most == 5
    await client.close()


async def test_requests_leave_at_the_told_rate() -> None:
    client = limiter()
    await probed(client, Observation(requests_per_min=3000.0))
    times = []

    async def work() -> None:
        await client.acquire(1)
        times.append(time.monotonic())
        client.finish(1, 1, FREE)

    await asyncio.gather(*(work() for _ in range(60)))
    await client.close()
    # 50 a second, little credit in advance: 59 gaps take about 1.2 s
    assert 0.6 <= times[-1] - times[0] <= 3.0
    assert client.requests_per_min == 3000.0


async def test_cancelled_waiters_cost_nothing() -> None:
    client = limiter(max_concurrency=1)
    await client.acquire(1)
    waiting = [asyncio.create_task(client.acquire(1)) for _ in range(5)]
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    client.finish(1, 1, FREE)
    await asyncio.wait_for(client.acquire(1), 5)
    await client.close()


async def test_a_retry_goes_first() -> None:
    client = limiter(max_concurrency=1)
    await client.acquire(1)
    order: list[str] = []

    async def work(name: str, front: bool) -> None:
        await client.acquire(1, front=front)
        order.append(name)
        client.finish(1, 1, FREE)

    tasks = [asyncio.create_task(work("new", False)), asyncio.create_task(work("retry", True))]
    await asyncio.sleep(0.05)
    client.finish(1, 1, FREE)
    await asyncio.gather(*tasks)
    assert order == ["retry", "new"]
    await client.close()


async def test_a_limiter_that_fails_is_asked_again_and_loses_no_news() -> None:
    limits = SharedLimits(Caps(None, None, 4), time.monotonic())
    failures = 3
    debts: list[int] = []

    async def exchange(report: Report) -> Grant:
        nonlocal failures
        if failures and report.passed:
            failures -= 1
            raise ConnectionError("its actor died")
        debts.append(report.token_debt)
        return limits.exchange(report, time.monotonic())

    client = LimitClient(exchange)
    await client.acquire(10)
    client.finish(10, 17, FREE)
    await asyncio.wait_for(client.acquire(10), 10)
    client.finish(10, 10, FREE)
    await client.close()
    assert failures == 0
    assert sum(debts) == 7


async def test_closing_gives_everything_back() -> None:
    limits = SharedLimits(Caps(6000, None, 50), time.monotonic(), probed=True)

    async def exchange(report: Report) -> Grant:
        return limits.exchange(report, time.monotonic())

    client = LimitClient(exchange)
    waiting = [asyncio.create_task(client.acquire(1)) for _ in range(30)]
    await asyncio.sleep(0.2)
    for task in waiting:
        if not task.done():
            task.cancel()
    done = sum(1 for task in waiting if task.done() and not task.cancelled())
    for _ in range(done):
        client.finish(1, 1, FREE)
    await asyncio.gather(*waiting, return_exceptions=True)
    await client.close()
    assert limits.workers[client.worker].held == 0


@pytest.mark.parametrize("retry_after_s", [0.3])
async def test_a_429_holds_back_everybody_behind_it(retry_after_s: float) -> None:
    client = limiter()
    await probed(client, Observation(requests_per_min=60000.0))
    await client.acquire(1)
    client.finish(1, None, Observation(True, retry_after_s, 60000.0, remaining_requests=0.0))
    started = time.monotonic()
    await client.acquire(1)
    assert time.monotonic() - started >= retry_after_s - 0.01
    client.finish(1, 1, FREE)
    await client.close()
