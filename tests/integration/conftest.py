"""What the engine tests share."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """A process of the module's own: DeepSpeed's communication stays for a process's lifetime."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        yield executor
