"""All weights of a small base: trained as torch alone trains them, resumed to the bit, in a study to its report."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.store import Store
from support import lora_scenarios
from support.lora_scenarios import SPEC, largest_difference, tensor_difference
from support.tiny_study import PATIENCE_S, artifact_files, assay, run_tiny, table

Run = Callable[..., dict[str, Any]]
FULL = SPEC.replace(method="full", learning_rate=1e-3)
STUDY = {
    "name": "whole",
    "train.method": "full",
    "train.learning_rate": "0.001",
    "grid.tasks": "[toy_sentiment]",
    "grid.draws": "1",
    "training_seeds_at_zero": "[0]",
    "resources.training.checkpoint_every": "2",
}
"""Two trainings, two models, and an engine for each."""


@pytest.fixture(scope="module")
def folder(pool: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("full")
    pool.submit(lora_scenarios.make_models, home, ("llama",)).result(timeout=120)
    return home


@pytest.mark.slow
def test_all_weights_are_what_torch_alone_trains(train: Run, pool: ProcessPoolExecutor, folder: Path) -> None:
    spec = FULL.replace(restore_best=False)
    trained = train("llama", "whole", spec)
    found = pool.submit(lora_scenarios.plain_full_training, folder, "llama", "whole", spec).result(timeout=180)
    assert tensor_difference(found["plain"], found["written"]) < 2e-5
    assert tensor_difference(found["base"], found["written"]) > 1e-3
    assert trained["summary"].num_parameters == sum(value.size for value in trained["tensors"].values())


@pytest.mark.slow
def test_the_base_stays_as_it_was_and_passes_do_not_matter(train: Run) -> None:
    before = train("llama", "adapter")
    whole = train("llama", "eight", FULL, micro_batch_size=8)
    assert largest_difference(whole, train("llama", "two", FULL, micro_batch_size=2)) < 1e-5
    recomputed = train("llama", "recomputed", FULL, micro_batch_size=8, gradient_checkpointing=True)
    assert largest_difference(whole, recomputed) < 1e-5
    assert train("llama", "again")["hash"] == before["hash"]


@pytest.mark.slow
def test_a_training_killed_midway_resumes_to_the_same_bits(train: Run, folder: Path) -> None:
    spec = FULL.replace(eval_every=2)
    whole = train("llama", "fullwhole", spec)
    store = str(folder / "store")
    assert len(train("llama", "fullresumed-1", spec, store=store, checkpoint_every=2, kill_at=5)["metrics"]) == 5
    resumed = train("llama", "fullresumed-2", spec, store=store, checkpoint_every=2)
    assert [step.step for step in resumed["metrics"]] == [5, 6]
    assert resumed["hash"] == whole["hash"]


@pytest.mark.slow
def test_bfloat16_stays_near_float32_and_is_stored_as_it_is_served(train: Run, folder: Path) -> None:
    from safetensors import safe_open

    half = train("llama", "half", FULL.replace(dtype="bfloat16"))
    full = train("llama", "full", FULL)
    assert half["metrics"][-1].loss == pytest.approx(full["metrics"][-1].loss, abs=0.05)
    with safe_open(folder / "half" / "model.safetensors", "pt") as file:
        assert {str(file.get_slice(name).get_dtype()) for name in file.keys()} == {"BF16"}  # noqa: SIM118


@pytest.mark.slow
@pytest.mark.timeout(3 * PATIENCE_S)
def test_a_study_trains_whole_models_to_its_report_and_goes_on_where_it_was(tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    assert run_tiny(storage, "--until", "train", changes=STUDY).code == 0
    trained = artifact_files(storage, ["adapter"])
    ended = run_tiny(storage, changes=STUDY)
    assert ended.code == 0, ended.err
    assert {name: trained[name] for name in trained} == artifact_files(storage, ["adapter"])
    runs = {row["predictions_key"]: row for row in table(storage, "run_scores", "whole")}
    assert len(runs) == 4  # of each model its task and the instructions
    store = Store(str(storage))
    keys = {row["adapter_key"] for row in runs.values()}
    assert len(keys) == 2
    for key in keys:
        assert (store.local_dir("adapter", str(key)) / "model.safetensors").is_file()
        assert json.loads(store.read_bytes("adapter", str(key), "summary.json"))["target_modules"] == "all weights"
    scores = {row["mean"] for row in table(storage, "run_scores", "whole") if row["mean"] is not None}
    assert scores and all(np.isfinite(score) for score in scores)
    assert (storage / "studies" / "whole" / "report.html").is_file()

    out = tmp_path / "out"
    arm = next(str(row["arm"]) for row in runs.values() if row["num_target"])
    exported = assay("export", "whole", "--arm", arm, "--out", str(out), "--storage", str(storage))
    assert exported.code == 0, exported.err
    assert "whole weights of tiny" in exported.out
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert AutoModelForCausalLM.from_pretrained(out).config.use_cache
    assert AutoTokenizer.from_pretrained(out).eos_token
    assert not (out / "summary.json").exists()
    assert "All weights, trained" in (out / "README.md").read_text()
