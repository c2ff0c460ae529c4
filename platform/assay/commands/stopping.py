"""Ctrl-C and SIGTERM end a command as a limit does: what is finished is kept, and within half a minute it is over.

Spot machines, schedulers and impatient people send these. Everything finished is in the store already, so stopping
means to let go: actors end with Ray, the embedded judge with its process.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from assay.errors import LimitReached

PATIENCE_S = 20.0
"""For engines to let go; then the process ends where it stands. The kernel ends a private Ray with its driver."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Stopped(BaseException):
    """Raised by the handler; no `except Exception` on its way, in whichever library, takes it for a failure."""


@contextmanager
def clean_stop() -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT inside the block into a LimitReached; a second one ends the process at once.

    Raises:
        LimitReached: a signal came; exit code 3, and the message says that the same command continues.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[str] = []
    watchdogs: list[threading.Timer] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if received:
            _leave(received[0])
        received.append(signal.Signals(number).name)
        watchdog = threading.Timer(PATIENCE_S, _leave, received)
        watchdog.daemon = True
        watchdogs.append(watchdog)
        watchdog.start()
        loops = sys.modules.get("assay.stoppable")  # not loaded: no loop of ours runs
        if loops is None or not loops.cancel_main_task():
            raise _Stopped

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except _Stopped:
        pass
    except BaseException:
        if not received:  # else a library's own complaint about being interrupted
            raise
    finally:
        for watchdog in watchdogs:  # who calls this as a library goes on living
            watchdog.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise LimitReached(_message(received[0]))


def stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """The command within `clean_stop`: whatever it kept (replies in the ledger) serves the same command again."""

    @functools.wraps(command)
    def stopped_cleanly(**values: object) -> None:
        with clean_stop():
            command(**values)

    return stopped_cleanly


def _message(name: str) -> str:
    return f"stopped by {name}; what is finished is kept, and the same command continues from here"


def _leave(name: str) -> None:
    """End the process where it stands, with the exit code and the message of a clean stop."""
    with suppress(OSError):  # nobody reads it any more
        os.write(2, f"\nassay: {_message(name)}\n".encode())
    os._exit(LimitReached.exit_code)
