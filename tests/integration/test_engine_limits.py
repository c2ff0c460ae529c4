"""What a GPU machine asks of the engine, by the branches that a CPU can take."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from support import engine_scenarios, lora_scenarios


@pytest.fixture(scope="module")
def folder(pool: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("limits")
    pool.submit(lora_scenarios.make_models, home, ("llama", "qwen2")).result(timeout=120)
    return home


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_that_runs_out_of_memory_is_done_again_with_smaller_passes(
    pool: ProcessPoolExecutor, folder: Path, dtype: str
) -> None:
    small = pool.submit(
        engine_scenarios.train_with_little_memory, folder, f"{dtype}-little", dtype, 300, 300
    ).result(timeout=180)  # fmt: skip
    spec = lora_scenarios.SPEC.replace(dtype=dtype)
    whole = pool.submit(
        lora_scenarios.train_once, folder, "llama", f"{dtype}-whole", spec, micro_batch_tokens=256
    ).result(timeout=180)  # fmt: skip
    assert max(tokens for tokens, _ in small["sizes"]) > 300  # it did run out
    assert all(tokens <= 300 for tokens, _ in small["sizes"][3:])
    assert not any(recomputes for _, recomputes in small["sizes"])
    worst = max(float(np.abs(small["tensors"][n] - whole["tensors"][n]).max()) for n in whole["tensors"])
    assert worst < (1e-5 if dtype == "float32" else 1e-3)
    assert [step.step for step in small["metrics"]] == [step.step for step in whole["metrics"]]
    # the next training of the base begins with what fitted this one
    assert small["next_sizes"] and all(tokens <= 300 for tokens, _ in small["next_sizes"])


def test_rows_that_a_model_cannot_read_are_refused_before_the_first_step(
    pool: ProcessPoolExecutor, folder: Path
) -> None:
    found = pool.submit(engine_scenarios.refused_rows, folder).result(timeout=180)
    assert found["pad"].startswith("trained")  # a pad mark beyond the embedding is never read
    assert "saw the tokens '<new>'" in found["new"] and "vectors for " in found["new"]
    assert "a table of 16 positions" in found["table"] and "train.max_length=16" in found["table"]
    assert found["rotary"].startswith("trained")  # goes on beyond its positions: the plan and the report tell it
    assert all("\n" not in said for said in found.values())


def test_where_halving_ends_activations_are_computed_again(pool: ProcessPoolExecutor, folder: Path) -> None:
    found = pool.submit(
        engine_scenarios.train_with_little_memory, folder, "recomputed", "float32", 10_000, 0
    ).result(timeout=180)  # fmt: skip
    assert found["sizes"][-1][1]
    assert len(found["metrics"]) == 6


def test_a_base_is_gone_before_the_next_one_is_loaded(pool: ProcessPoolExecutor, folder: Path) -> None:
    assert pool.submit(engine_scenarios.base_after_swap, folder).result(timeout=180)


def test_zeros_bucket_is_as_large_as_the_adapter(pool: ProcessPoolExecutor, folder: Path) -> None:
    bucket, adapter = pool.submit(engine_scenarios.buckets, folder).result(timeout=180)
    assert bucket == adapter


def test_layers_that_read_images_get_no_adapter(pool: ProcessPoolExecutor, folder: Path) -> None:
    trained, seeing = pool.submit(engine_scenarios.adapted_layers, folder).result(timeout=180)
    assert seeing
    assert trained and not [name for name in trained if "vision" in name or "multi_modal" in name]
    assert any("down_proj" in name for name in trained)


def test_a_model_that_reads_images_is_served_by_transformers(folder: Path, pool: ProcessPoolExecutor) -> None:
    reason = pool.submit(engine_scenarios.serving_rule, folder, True).result(timeout=180)
    assert reason is not None and "several senses" in reason


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_fused_layer_is_pefts_up_to_rounding(pool: ProcessPoolExecutor, dropout: float) -> None:
    found = pool.submit(engine_scenarios.fused_against_peft, dropout).result(timeout=180)
    assert len(found) == 6
    assert max(found.values()) < 0.02  # bfloat16 keeps 8 bits: 2^-8 = .004 a rounding


@pytest.mark.parametrize(("device", "expected"), [("cuda", {"": "cuda"}), ("cpu", None)])
def test_weights_are_read_straight_onto_the_gpu(
    pool: ProcessPoolExecutor, folder: Path, device: str, expected: dict[str, str] | None
) -> None:
    assert pool.submit(engine_scenarios.how_weights_are_read, folder, device).result(timeout=180) == expected


def test_a_worker_without_the_drivers_folder_trains_from_the_store(pool: ProcessPoolExecutor, folder: Path) -> None:
    rows, loss = pool.submit(engine_scenarios.train_from_the_store, folder).result(timeout=180)
    assert rows == 32
    assert 0 < loss < 20
