"""Whether a function's time grows with its input's length and no faster, on any machine.

A bound in seconds is another one on a slow machine, and in a process whose heap is large the garbage collector costs
more than a parser does. So both lengths are measured in one process, without the collector, at the least of three runs.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

LONGER = 8
WORSE_THAN_LINEAR = 3 * LONGER
"""A linear function takes `LONGER` times as long, a quadratic one its square."""


def growth(read: Callable[[str], object], piece: str, num_chars: int) -> float:
    """How many times as long it takes for `LONGER` times the text.

    Args:
        read: what is measured.
        piece: repeated to make the texts.
        num_chars: of the longer text.
    """
    long, short = (piece * (size // len(piece)) for size in (num_chars, num_chars // LONGER))
    return _cpu_s(read, long) / max(_cpu_s(read, short), 1e-4)


def _cpu_s(read: Callable[[str], object], text: str) -> float:
    found = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            started = time.process_time()
            read(text)
            found.append(time.process_time() - started)
    finally:
        gc.enable()
    return min(found)
