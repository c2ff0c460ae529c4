"""One training on the real PEFT and DeepSpeed, on random models of three architectures."""

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
from support.lora_scenarios import SPEC, largest_difference
from support.tiny_causal_models import ARCHITECTURES

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def folder(pool: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("lora")
    pool.submit(lora_scenarios.make_models, home, ARCHITECTURES).result(timeout=120)
    return home


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_micro_batches_and_packing_do_not_change_the_adapter(train: Run, model: str) -> None:
    eight = train(model, f"{model}8", micro_batch_size=8)
    two = train(model, f"{model}2", micro_batch_size=2)
    packed = train(model, f"{model}p", packing=True, pack_length=120)
    assert packed["summary"].packed
    assert largest_difference(eight, two) < 1e-5
    assert largest_difference(eight, packed) < 1e-5
    assert any(np.abs(tensor).max() > 1e-4 for name, tensor in eight["tensors"].items() if "lora_B" in name)
    assert eight["metrics"][-1].loss < eight["metrics"][0].loss


def test_a_trial_is_bit_identical_whether_it_runs_first_or_after_others(train: Run) -> None:
    first = train("llama", "first")
    assert train("llama", "other", SPEC.replace(seed=1, lora_rank=4))["hash"] != first["hash"]
    train("gpt_neox", "another-base")
    assert train("llama", "again")["hash"] == first["hash"]


def test_a_trial_killed_midway_resumes_to_a_bit_identical_adapter(train: Run, folder: Path) -> None:
    spec = SPEC.replace(eval_every=2, weight_decay=0.01)
    whole = train("llama", "whole", spec)
    store = str(folder / "store")
    assert len(train("llama", "resumed-1", spec, store=store, checkpoint_every=2, kill_at=5)["metrics"]) == 5
    resumed = train("llama", "resumed-2", spec, store=store, checkpoint_every=2)
    assert [step.step for step in resumed["metrics"]] == [5, 6]  # the last checkpoint was after step 4
    assert resumed["hash"] == whole["hash"]
    assert resumed["summary"] == whole["summary"]
    histories = [pq.read_table(folder / name / "history.parquet") for name in ("whole", "resumed-2")]
    assert histories[0].equals(histories[1])


def test_a_recording_hook_sees_step_zero_and_a_resumed_trial_keeps_its_curve(train: Run, folder: Path) -> None:
    store = str(folder / "store")
    whole = train("llama", "recorded", records=True)
    train("llama", "recordedkilled-1", records=True, kill_at=5, store=store, checkpoint_every=2)
    resumed = train("llama", "recordedkilled-2", records=True, store=store, checkpoint_every=2)
    curve = json.loads((folder / "recorded" / "recording.json").read_text())
    assert [step for step, _ in curve] == [0, 2, 4, 6]
    assert json.loads((folder / "recordedkilled-2" / "recording.json").read_text()) == curve
    assert resumed["hash"] == whole["hash"]
    assert whole["metrics"][0].eval_s > 0
    histories = [pq.read_table(folder / name / "history.parquet") for name in ("recorded", "recordedkilled-2")]
    assert histories[0].equals(histories[1])
    assert json.loads(histories[0].column("hooks_json")[1].as_py()) == {"recording/seen": 2.0}


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_stages_agree_and_resume(train: Run, folder: Path, stage: int) -> None:
    spec = SPEC.replace(zero_stage=stage)
    whole = train("llama", f"zero{stage}", spec)
    assert largest_difference(whole, train("llama", "zero0")) < 1e-5
    store = str(folder / "store")
    train("llama", f"zero{stage}r-1", spec, store=store, checkpoint_every=2, kill_at=3)
    resumed = train("llama", f"zero{stage}r-2", spec, store=store, checkpoint_every=2)
    assert [step.step for step in resumed["metrics"]] == [3, 4, 5, 6]
    assert largest_difference(whole, resumed) < 1e-6


def test_bfloat16_trains_and_stays_near_float32(train: Run) -> None:
    half = train("llama", "half", SPEC.replace(dtype="bfloat16"))
    full = train("llama", "full")
    assert half["metrics"][-1].loss == pytest.approx(full["metrics"][-1].loss, abs=0.02)
    assert all(tensor.dtype == np.float32 for tensor in half["tensors"].values())


def test_validation_loss_is_the_mean_over_answer_tokens(train: Run, pool: ProcessPoolExecutor, folder: Path) -> None:
    result = train("qwen2", "scored")
    best = min(step.validation_loss for step in result["metrics"] if step.validation_loss is not None)
    assert result["summary"].best_validation_loss == best
    alone = pool.submit(lora_scenarios.reference_loss, folder, "qwen2", "scored").result(timeout=60)
    assert alone == pytest.approx(best, abs=1e-5)  # so the best weights are the ones that were kept


def test_early_stopping_keeps_the_best_weights(train: Run) -> None:
    spec = SPEC.replace(eval_every=1, early_stopping_patience=1, num_epochs=12, learning_rate=0.05, warmup_steps=0)
    result = train("llama", "stopped", spec)
    losses = [step.validation_loss for step in result["metrics"]]
    summary = result["summary"]
    assert summary.stop_reason == "early stopping"
    assert summary.steps < summary.planned_steps
    assert losses[-1] >= min(losses)
    assert losses.index(min(losses)) + 1 == summary.best_step == summary.steps - 1


def test_hooks_see_the_trials_own_model_and_can_stop_it(train: Run, pool: ProcessPoolExecutor, folder: Path) -> None:
    spec = SPEC.replace(restore_best=False)
    result = train("llama", "hooked", spec, stop_at=4)
    assert [dict(step.metrics) for step in result["metrics"]] == [
        {},
        {"counting/num": 2.0, "counting/stop": 0.0},
        {},
        {"counting/num": 2.0, "counting/stop": 1.0},
    ]
    assert result["summary"].stop_reason == "hook"
    prompts = ["### Response:\n", "a longer prompt that is padded\n### Response:\n"]
    alone = pool.submit(lora_scenarios.generate_alone, folder, "llama", "hooked", prompts, 4).result(timeout=60)
    assert result["texts"][-1] == alone


def test_the_adapter_is_a_peft_folder_that_names_no_path(train: Run, folder: Path) -> None:
    train("gpt_neox", "published")
    config = json.loads((folder / "published" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "toy/base"
    assert config["target_modules"] == ["dense", "dense_4h_to_h", "dense_h_to_4h", "query_key_value"]
    assert str(folder) not in "".join(path.read_text() for path in (folder / "published").glob("*.json"))
