"""Event loops that a stop signal ends gently: the main task is cancelled, and lets go of what it holds.

An exception raised by a signal handler can land in any callback of a loop, where asyncio or a transport swallows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")
_running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []


def run_stoppable(main: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run` for work that `cancel_main_task` may end.

    Raises:
        CancelledError: it did.
    """

    async def stoppable() -> Result:
        task = asyncio.current_task()
        assert task is not None
        entry = (asyncio.get_running_loop(), task)
        _running.append(entry)
        try:
            return await main
        finally:
            _running.remove(entry)

    return asyncio.run(stoppable())


async def settled(works: Iterable[Coroutine[Any, Any, Result]], settle: Callable[[], Awaitable[None]]) -> list[Result]:
    """Results in order, all works at once. Whatever ends them early, `settle` is awaited before the rest is dropped.

    `asyncio.gather` would cancel what is in flight together with its caller, and lose replies that are paid for.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    if not tasks:
        return []
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        return [task.result() for task in tasks]
    except BaseException:
        await settle()
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def cancel_main_task() -> bool:
    """Cancel what `run_stoppable` runs, from a signal handler; False where nothing runs."""
    if not _running:
        return False
    loop, task = _running[-1]
    loop.call_soon_threadsafe(task.cancel)
    return True
