"""Whole optimizer steps against TRL's trainers: losses, gradient norms and the adapter, in float32."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from support import lora_scenarios, trl_scenarios

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="needs trl==1.16.0 (the extra `dev`)"),
]
TOLERANCE = 1e-5
"""Relative."""


@pytest.fixture(scope="module")
def pools() -> Iterator[tuple[ProcessPoolExecutor, ProcessPoolExecutor]]:
    """A process for each side: DeepSpeed and accelerate both claim a process's communication."""
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as ours,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as theirs,
    ):
        yield ours, theirs


@pytest.fixture(scope="module")
def folder(pools: tuple[ProcessPoolExecutor, ProcessPoolExecutor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trl")
    pools[0].submit(lora_scenarios.make_models, home, ("llama",)).result(timeout=120)
    return home


@pytest.mark.parametrize("method", trl_scenarios.OBJECTIVES)
def test_steps_are_those_of_trl(
    pools: tuple[ProcessPoolExecutor, ProcessPoolExecutor], folder: Path, method: str
) -> None:
    ours = pools[0].submit(trl_scenarios.our_steps, folder, method).result(timeout=180)
    theirs = pools[1].submit(trl_scenarios.trl_steps, folder, method, ours["before"]).result(timeout=300)
    assert ours["after"].keys() == theirs["after"].keys()
    moved = np.concatenate([(ours["after"][name] - ours["before"][name]).ravel() for name in ours["after"]])
    apart = np.concatenate([(ours["after"][name] - theirs["after"][name]).ravel() for name in ours["after"]])
    weights = np.concatenate([theirs["after"][name].ravel() for name in ours["after"]])
    figures = {
        "loss": max(abs(a / b - 1) for a, b in zip(ours["losses"], theirs["losses"], strict=True)),
        "gradient norm": max(abs(a / b - 1) for a, b in zip(ours["norms"], theirs["norms"], strict=True)),
        "weights": float(np.linalg.norm(apart) / np.linalg.norm(weights)),
    }
    print(f"{method}: relative differences {figures}")
    assert len(ours["losses"]) == trl_scenarios.STEPS
    assert np.linalg.norm(moved) > 1e-2  # or agreement would mean nothing
    assert max(figures.values()) < TOLERANCE
