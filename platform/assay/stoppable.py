"""Event loops that a stop signal ends gently: the main task is cancelled, and lets go of what it holds.

An exception raised by a signal handler can land in any callback of a loop, where asyncio or a transport swallows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
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


def cancel_main_task() -> bool:
    """Cancel what `run_stoppable` runs, from a signal handler; False where nothing runs."""
    if not _running:
        return False
    loop, task = _running[-1]
    loop.call_soon_threadsafe(task.cancel)
    return True
