"""A method is one file: a loss over pairs with a reference, through all that cuts a step up or interrupts it."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from support import lora_scenarios
from support.dummy_objective import RightOverWrong
from support.lora_scenarios import SPEC, largest_difference

Run = Callable[..., dict[str, Any]]
PAIRS = SPEC.replace(objective=RightOverWrong(), eval_every=2)


@pytest.fixture(scope="module")
def folder(pool: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("objective")
    pool.submit(lora_scenarios.make_models, home, ("llama",)).result(timeout=120)
    return home


@pytest.fixture(scope="module")
def train(pool: ProcessPoolExecutor, folder: Path) -> Run:
    def run(*args: Any, **options: Any) -> dict[str, Any]:
        return pool.submit(lora_scenarios.train_once, folder, "llama", *args, **options).result(timeout=180)

    return run


@pytest.fixture(scope="module")
def whole(train: Run) -> dict[str, Any]:
    return train("whole", PAIRS, micro_batch_size=8)


def test_the_loss_starts_at_the_reference_and_falls(whole: dict[str, Any], folder: Path) -> None:
    first, last = whole["metrics"][0], whole["metrics"][-1]
    assert first.loss == pytest.approx(1.0, abs=1e-5)  # no adapter yet: D = 0, (0 - 1)^2
    assert first.watched["margin"] == pytest.approx(0.0, abs=1e-5)
    assert last.loss < 0.9
    assert last.watched["margin"] > 0.05
    assert last.validation_loss < whole["metrics"][1].validation_loss
    history = pq.read_table(folder / "whole" / "history.parquet").column("hooks_json").to_pylist()
    assert json.loads(history[-1]).keys() == {"objective/margin", "objective/validation_margin"}


@pytest.mark.parametrize(
    "resources",
    [{"micro_batch_size": 1}, {"packing": True, "pack_length": 200}, {"micro_batch_tokens": 16}],
    ids=["one pair a pass", "packed", "passes smaller than a pair"],
)
def test_micro_batches_and_packing_do_not_change_the_adapter(
    train: Run, whole: dict[str, Any], resources: dict[str, Any]
) -> None:
    other = train("-".join(resources), PAIRS, **resources)
    assert other["summary"].packed == ("packing" in resources)
    assert largest_difference(whole, other) < 1e-5
    assert any(np.abs(tensor).max() > 1e-4 for name, tensor in whole["tensors"].items() if "lora_B" in name)


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_stages_agree_and_resume(train: Run, whole: dict[str, Any], folder: Path, stage: int) -> None:
    spec, store = PAIRS.replace(zero_stage=stage), str(folder / "store")
    sharded = train(f"zero{stage}", spec, micro_batch_size=8)
    assert largest_difference(whole, sharded) < 1e-5
    train(f"zero{stage}r-1", spec, store=store, checkpoint_every=2, kill_at=3, micro_batch_size=8)
    resumed = train(f"zero{stage}r-2", spec, store=store, checkpoint_every=2, micro_batch_size=8)
    assert [step.step for step in resumed["metrics"]] == [3, 4, 5, 6]
    assert largest_difference(sharded, resumed) < 1e-6


def test_a_trial_killed_midway_resumes_to_a_bit_identical_adapter(
    train: Run, whole: dict[str, Any], folder: Path
) -> None:
    store = str(folder / "store")
    train("resumed-1", PAIRS, store=store, checkpoint_every=2, kill_at=5, micro_batch_size=8)
    resumed = train("resumed-2", PAIRS, store=store, checkpoint_every=2, micro_batch_size=8)
    assert [step.step for step in resumed["metrics"]] == [5, 6]
    assert resumed["hash"] == whole["hash"]
    histories = [pq.read_table(folder / name / "history.parquet") for name in ("whole", "resumed-2")]
    assert histories[0].equals(histories[1])
