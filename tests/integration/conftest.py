"""What the engine tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from support import lora_scenarios


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """A process of the module's own: DeepSpeed's communication stays for a process's lifetime."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def train(pool: ProcessPoolExecutor, folder: Path) -> Callable[..., dict[str, Any]]:
    """`lora_scenarios.train_once` in that process, with the models in the module's own `folder`."""

    def run(*args: Any, **options: Any) -> dict[str, Any]:
        return pool.submit(lora_scenarios.train_once, folder, *args, **options).result(timeout=180)

    return run
