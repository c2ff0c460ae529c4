"""A training with several workers, through Ray Train and DeepSpeed's ZeRO: the adapter that one worker makes."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from assay.store import Store
from assay.training.spec import ADAPTER_KIND, CHECKPOINT_KIND, TrainingJob, TrainResources, TrainSpec, adapter_key
from support import lora_scenarios
from support.lora_scenarios import tensor_difference
from support.sweep_faults import FaultyHooks, LittleMemory
from support.tiny_causal_models import store_toy_mixture

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
TESTS = Path(__file__).resolve().parent.parent
WORKERS_PATH = os.pathsep.join([str(TESTS.parent / "platform"), str(TESTS)])
SPEC = TrainSpec(batch_size=16, small_below=0, max_length=128, eval_every=2, num_epochs=2, early_stopping_patience=None)
ROWS = 48
TOLERANCE = 1e-5
"""Of an adapter's elements, in float32: sums over workers are added in another order."""
MORE = pytest.mark.study
"""Stages and sizes of gangs beyond those of `test-all`: each is under two minutes, all together are not."""
RESOURCES = TrainResources(threads=1, max_retries=1, report_every_s=0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("gang")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        executor.submit(lora_scenarios.make_models, home, ("llama", "gpt_neox")).result(timeout=120)
    return home


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    import ray

    ray.init(
        address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, namespace="gang-tests",
        object_store_memory=200_000_000, runtime_env={"env_vars": {"PYTHONPATH": WORKERS_PATH, "OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    yield
    ray.shutdown()


def job_of(folder: Path, store: Store, spec: TrainSpec, model: str = "llama", fault: str = "") -> TrainingJob:
    if not store.exists("mixture", "toy"):
        store_toy_mixture(store, "toy", ROWS)
    key = adapter_key(spec, base_key=model, mixture_key="toy")
    labels = {"fault": fault} if fault else {}
    return TrainingJob(key, model, str(folder / model), "toy", spec, base_name=f"toy/{model}", labels=labels)


def adapter(store: Store, job: TrainingJob) -> Mapping[str, npt.NDArray[np.float32]]:
    from safetensors.numpy import load

    return load(store.read_bytes(ADAPTER_KIND, job.key, "adapter_model.safetensors"))


def losses(store: Store, job: TrainingJob, column: str = "loss") -> list[float]:
    return store.read_table(ADAPTER_KIND, job.key, "history.parquet").column(column).drop_null().to_pylist()


def compare_with_one_worker(folder: Path, spec: TrainSpec, num_workers: int, model: str = "llama") -> None:
    from assay.training.sweep.ray_sweep import run_sweep

    alone, shared = (
        Store(str(folder / f"alone-{model}")),
        Store(str(folder / f"{num_workers}-{model}-{spec.zero_stage}")),
    )
    one = job_of(folder, alone, spec.replace(zero_stage=0), model)
    run_sweep(alone, [one], RESOURCES)
    several = job_of(folder, shared, spec, model)
    report = run_sweep(shared, [several], RESOURCES.replace(num_workers=num_workers))
    (job,) = report.jobs
    assert (job.status, job.steps, job.attempts) == ("trained", 6, 1)
    assert 0 < job.step_s < job.wall_s
    first, second = adapter(alone, one), adapter(shared, several)
    assert any(np.abs(tensor).max() > 1e-4 for name, tensor in first.items() if "lora_B" in name)
    difference = tensor_difference(first, second)
    print(f"{model}, ZeRO {spec.zero_stage}, {num_workers} workers: largest difference {difference:.1e}")
    assert difference < TOLERANCE
    for column in ("loss", "validation_loss", "grad_norm"):
        assert losses(shared, several, column) == pytest.approx(losses(alone, one, column), abs=1e-5)
    config, other = (
        json.loads(store.read_bytes(ADAPTER_KIND, key, "adapter_config.json"))
        for store, key in ((alone, one.key), (shared, several.key))
    )
    assert config == other
    assert not shared.keys(CHECKPOINT_KIND)


@pytest.mark.slow
def test_two_workers_make_the_adapter_of_one(folder: Path, local_ray: None) -> None:
    compare_with_one_worker(folder, SPEC.replace(zero_stage=2), 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "num_workers", "model"),
    [
        pytest.param(0, 2, "llama", marks=MORE),
        (2, 4, "llama"),
        pytest.param(3, 2, "llama", marks=MORE),
        (3, 2, "gpt_neox"),
        pytest.param(3, 4, "llama", marks=MORE),
    ],
)
def test_every_stage_makes_the_adapter_of_one_worker(
    folder: Path, local_ray: None, stage: int, num_workers: int, model: str
) -> None:
    compare_with_one_worker(folder, SPEC.replace(zero_stage=stage), num_workers, model)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("stage", [pytest.param(2, marks=MORE), 3])
def test_a_worker_killed_mid_step_goes_on_from_the_last_checkpoint(folder: Path, local_ray: None, stage: int) -> None:
    from assay.training.sweep.ray_sweep import run_sweep

    spec = SPEC.replace(zero_stage=stage, num_epochs=40)  # 120 steps
    killed, whole = Store(str(folder / f"killed-{stage}")), Store(str(folder / f"whole-{stage}"))
    job = job_of(folder, killed, spec)
    resources = RESOURCES.replace(num_workers=2, checkpoint_every=4)
    seen: list[int] = []
    watcher = threading.Thread(target=kill_a_worker, args=(killed, job.key, seen))
    watcher.start()
    report = run_sweep(killed, [job], resources)
    watcher.join()
    (result,) = report.jobs
    assert (result.status, result.steps, result.attempts) == ("trained", 120, 2)
    assert 0 < seen[0] < 120
    assert not killed.keys(CHECKPOINT_KIND)
    assert killed.read_table(ADAPTER_KIND, job.key, "history.parquet").column("step").to_pylist() == [*range(1, 121)]

    other = job_of(folder, whole, spec)
    run_sweep(whole, [other], resources.replace(checkpoint_every=None))
    difference = tensor_difference(adapter(killed, job), adapter(whole, other))
    print(f"ZeRO {stage}: killed after the checkpoint of step {seen[0]}; difference to the whole run {difference:.1e}")
    assert difference < TOLERANCE


def kill_a_worker(store: Store, key: str, seen: list[int]) -> None:
    """SIGKILL of one of this Ray's training workers, once there is a checkpoint."""
    import psutil

    until = time.monotonic() + 300
    while not store.keys(CHECKPOINT_KIND):
        assert time.monotonic() < until
        time.sleep(0.05)
    workers = [
        child
        for child in psutil.Process(os.getpid()).children(recursive=True)
        if "RayTrainWorker" in " ".join(child.cmdline())
    ]
    seen.append(max(int(store.manifest(CHECKPOINT_KIND, name)["spec"]["step"]) for name in store.keys(CHECKPOINT_KIND)))
    workers[-1].send_signal(signal.SIGKILL)


@pytest.mark.parametrize("stage", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_gang_of_which_one_worker_runs_out_of_memory_goes_on_with_smaller_passes(
    folder: Path, local_ray: None, stage: int
) -> None:
    from assay.training.sweep.ray_sweep import run_sweep

    spec, resources = SPEC.replace(zero_stage=stage), RESOURCES.replace(num_workers=2, checkpoint_every=1)
    little, small = Store(str(folder / f"little-{stage}")), Store(str(folder / f"small-{stage}"))
    notes = folder / f"passes-{stage}"
    notes.mkdir()
    job = job_of(folder, little, spec)
    hooks = LittleMemory(notes, most_tokens=200, after=2)
    report = run_sweep(little, [job], resources.replace(micro_batch_tokens=256), make_hooks=hooks)
    (result,) = report.jobs
    assert (result.status, result.steps, result.attempts) == ("trained", 6, 1)
    first, second = sorted(notes.iterdir(), key=lambda note: note.stat().st_mtime_ns)
    before, after = ([int(tokens) for tokens in note.read_text().split()] for note in (first, second))
    assert before[-1] > 200 >= max(after)
    assert not little.keys(CHECKPOINT_KIND)
    assert little.read_table(ADAPTER_KIND, job.key, "history.parquet").column("step").to_pylist() == [*range(1, 7)]

    other = job_of(folder, small, spec)
    run_sweep(small, [other], resources.replace(micro_batch_tokens=128))
    assert tensor_difference(adapter(little, job), adapter(small, other)) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("stage", [pytest.param(2, marks=MORE), 3])
def test_a_hook_runs_once_and_bad_input_is_not_tried_again(folder: Path, local_ray: None, stage: int) -> None:
    from assay.training.sweep.ray_sweep import SweepFailed, run_sweep

    store = Store(str(folder / f"hooked-{stage}"))
    good = job_of(folder, store, SPEC.replace(zero_stage=stage), fault="counts")
    bad = job_of(folder, store, SPEC.replace(zero_stage=stage, target_modules=("no_such_module",)))
    hooks = FaultyHooks(folder / f"hooks-{stage}")
    hooks.folder.mkdir()
    with pytest.raises(SweepFailed, match="target_modules: saw no_such_module") as caught:
        run_sweep(store, [good, bad], RESOURCES.replace(num_workers=2, max_retries=2), make_hooks=hooks)
    reports = {job.key: job for job in caught.value.report.jobs}
    assert (reports[bad.key].attempts, reports[good.key].attempts) == (1, 1)
    calls = (hooks.folder / f"marker-{good.key}").read_text().split()
    assert calls == ["2", "4", "6"]  # one process, not two
    table = store.read_table(ADAPTER_KIND, good.key, "history.parquet")
    found = [json.loads(text) for text in table.column("hooks_json").to_pylist()]
    assert [entry.get("faulty/length", -1) >= 0 for entry in found] == [False, True] * 3
