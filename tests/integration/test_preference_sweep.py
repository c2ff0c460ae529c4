"""Preference trainings as a sweep: one reference for all trials, several workers, pairs as they lie in the store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from assay.preference.rows import KIND, PreferenceRow, Prompt, write_rows
from assay.store import Store
from assay.training.references import REFERENCE_KIND
from assay.training.spec import ADAPTER_KIND, TrainingJob, TrainResources, TrainSpec, adapter_key
from support import lora_scenarios
from support.lora_scenarios import tensor_difference

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]  # Ray's own
TESTS = Path(__file__).resolve().parent.parent
WORKERS_PATH = os.pathsep.join([str(TESTS.parent / "platform"), str(TESTS)])
SPEC = TrainSpec(
    batch_size=8, small_below=0, max_length=128, max_steps=3, eval_every=2, early_stopping_patience=None,
    learning_rate=2e-3, warmup_steps=0,
)  # fmt: skip
RESOURCES = TrainResources(threads=1, report_every_s=0.2, max_concurrent=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("preference-sweep")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        executor.submit(lora_scenarios.make_models, home, ("llama",)).result(timeout=120)
    return home


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    import ray

    ray.init(
        address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, namespace="preference-tests",
        object_store_memory=200_000_000, runtime_env={"env_vars": {"PYTHONPATH": WORKERS_PATH, "OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    yield
    ray.shutdown()


def pairs_in(store: Store) -> str:
    rows = [*lora_scenarios.preference_rows(24), *lora_scenarios.preference_rows(6, split="validation", first=90)]
    rows.append(PreferenceRow("tied", Prompt("Which?"), ("one", "two"), (1.0, 1.0)))
    with store.writing(KIND, "toy") as writer:
        write_rows(writer, rows)
    return "toy"


def job_of(folder: Path, store: Store, objective: Any, **changes: Any) -> TrainingJob:
    spec = SPEC.replace(objective=objective, **changes)
    pairs = "toy" if store.exists(KIND, "toy") else pairs_in(store)
    key = adapter_key(spec, base_key="llama", mixture_key=pairs)
    return TrainingJob(key, "llama", str(folder / "llama"), pairs, spec, base_name="toy/llama")


def adapter(store: Store, job: TrainingJob) -> Mapping[str, npt.NDArray[np.float32]]:
    from safetensors.numpy import load

    return load(store.read_bytes(ADAPTER_KIND, job.key, "adapter_model.safetensors"))


def test_trials_share_one_reference(folder: Path, local_ray: None) -> None:
    from assay.training.sweep.ray_sweep import run_sweep

    store = Store(str(folder / "shared"))
    jobs = [job_of(folder, store, method, seed=seed) for method in ("dpo", "ipo", "simpo") for seed in (0, 1)]
    report = run_sweep(store, jobs, RESOURCES)
    assert {job.status for job in report.jobs} == {"trained"}
    assert len(store.keys(REFERENCE_KIND)) == 1
    summary = json.loads(store.read_bytes(ADAPTER_KIND, jobs[0].key, "summary.json"))
    assert (summary["num_train_rows"], summary["num_validation_rows"], summary["left_out"]) == (24, 6, {"tied": 1})
    history = store.read_table(ADAPTER_KIND, jobs[0].key, "history.parquet").to_pylist()
    assert history[0]["loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert "objective/validation_rejected_log_prob" in json.loads(history[-1]["hooks_json"])


@pytest.mark.parametrize(("method", "stage"), [("dpo", 2), ("kto", 2), ("rrhf", 3), ("dpo", 3)])
def test_two_workers_make_the_adapter_of_one(folder: Path, local_ray: None, method: str, stage: int) -> None:
    from assay.training.sweep.ray_sweep import run_sweep

    alone, shared = Store(str(folder / "alone")), Store(str(folder / f"two-{method}-{stage}"))
    one, two = job_of(folder, alone, method), job_of(folder, shared, method, zero_stage=stage)
    run_sweep(alone, [one], RESOURCES)
    run_sweep(shared, [two], RESOURCES.replace(num_workers=2))
    first, second = adapter(alone, one), adapter(shared, two)
    difference = tensor_difference(first, second)
    print(f"{method}, ZeRO {stage}, two workers: largest difference {difference:.1e}")
    assert difference < 1e-5
    assert any(np.abs(tensor).max() > 1e-3 for name, tensor in first.items() if "lora_B" in name)
    figures = [
        [
            json.loads(text)
            for text in store.read_table(ADAPTER_KIND, job.key, "history.parquet")["hooks_json"].to_pylist()
        ]
        for store, job in ((alone, one), (shared, two))
    ]
    for ours, theirs in zip(*figures, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-3)
