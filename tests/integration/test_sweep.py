"""The sweep on real Ray Tune, DeepSpeed and PEFT, with random models of three architectures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from assay.errors import ConfigError, InputError, ResourceError
from assay.store import Store
from assay.training.spec import ADAPTER_KIND, TrainingJob, TrainResources, TrainSpec, adapter_key, stopped_adapter_key
from support import lora_scenarios
from support.sweep_faults import FaultyHooks, climbing_hooks
from support.tiny_causal_models import ARCHITECTURES, store_toy_mixture

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
TESTS = Path(__file__).resolve().parent.parent
WORKERS_PATH = os.pathsep.join([str(TESTS.parent / "platform"), str(TESTS)])
SPEC = TrainSpec(batch_size=16, small_below=0, max_length=128)
RESOURCES = TrainResources(threads=1, max_retries=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("sweep")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        executor.submit(lora_scenarios.make_models, home, ARCHITECTURES).result(timeout=120)
    return home


@pytest.fixture(scope="module")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import ray

    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, namespace="sweep-tests",
        object_store_memory=200_000_000, runtime_env={"env_vars": {"PYTHONPATH": WORKERS_PATH, "OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    yield
    ray.shutdown()


class Seen:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.total = self.done = self.found = 0
        self.losses: list[object] = []

    def start(self, stage: str, total: int, *, done: int = 0, unit: str = "") -> None:
        self.total, self.found = total, done

    def advance(self, stage: str, count: int = 1, **info: object) -> None:
        self.done += count
        self.losses.append(info.get("loss"))

    def finish(self, stage: str, note: str = "") -> None:
        pass


def job_of(folder: Path, store: Store, model: str, rows: int, spec: TrainSpec = SPEC, fault: str = "") -> TrainingJob:
    mixture = f"toy-{rows}"
    if not store.exists("mixture", mixture):
        store_toy_mixture(store, mixture, rows)
    key = adapter_key(spec, base_key=model, mixture_key=mixture)
    labels = {"model": model, "fault": fault} if fault else {"model": model}
    return TrainingJob(
        key, model, str(folder / model), mixture, spec, base_name=f"toy/{model}", num_rows=rows, labels=labels
    )


def test_a_sweep_trains_what_is_missing_retries_what_failed_and_names_what_failed_for_good(
    folder: Path, local_ray: None, capfd: pytest.CaptureFixture[str]
) -> None:
    from assay.training.sweep.ray_sweep import SweepFailed, run_sweep

    store = Store(str(folder / "store"))
    good = [job_of(folder, store, model, rows) for model in ARCHITECTURES for rows in (40, 64)]
    once = job_of(folder, store, "llama", 50, fault="once")
    always = job_of(folder, store, "llama", 51, fault="always")
    refused = job_of(folder, store, "gpt_neox", 52, SPEC.replace(target_modules=("q_proj",)))
    seen, published = Seen(), []
    with pytest.raises(SweepFailed) as caught:
        run_sweep(
            store, [*good, once, always, refused, good[0]], RESOURCES, seen,
            make_hooks=FaultyHooks(folder), on_done=lambda job: published.append(job.key),
        )  # fmt: skip
    reports = {report.key: report for report in caught.value.report.jobs}

    assert sorted(published) == sorted(job.key for job in [*good, once])
    assert store.keys(ADAPTER_KIND) == set(published)
    assert [reports[job.key].attempts for job in (good[0], once, always, refused)] == [1, 2, 2, 1]
    assert reports[always.key].status == reports[refused.key].status == "failed"
    assert "2 of 10 adapters failed" in str(caught.value)
    assert "fault always at step 2" in str(caught.value)
    assert "target_modules: saw q_proj" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (seen.total, seen.done, seen.found) == (9, 9, 0)
    assert any(isinstance(loss, float) and loss > 0 for loss in seen.losses)
    assert all(0 < reports[job.key].step_s < reports[job.key].wall_s for job in good)

    config = json.loads(store.read_bytes(ADAPTER_KIND, good[0].key, "adapter_config.json"))
    assert config["base_model_name_or_path"] == "toy/llama"
    assert store.read_table(ADAPTER_KIND, good[0].key, "history.parquet").num_rows == reports[good[0].key].steps
    assert capfd.readouterr().out == ""  # Tune prints no tables

    again, published = Seen(), []
    report = run_sweep(store, [*good, once], RESOURCES, again, on_done=lambda job: published.append(job.key))
    assert {job.status for job in report.jobs} == {"found"}
    assert (again.total, again.found, again.done) == (7, 7, 0)
    assert len(published) == 7


@pytest.mark.slow
def test_a_sweep_whose_first_trainings_fail_alike_does_not_pay_for_the_others(folder: Path, local_ray: None) -> None:
    from assay.training.sweep.ray_sweep import SweepFailed, run_sweep

    store, markers = Store(str(folder / "alike")), folder / "begun"
    markers.mkdir()
    jobs = [job_of(folder, store, "llama", 30 + number, fault="always") for number in range(12)]
    with pytest.raises(SweepFailed, match="fault always at step 2") as caught:
        run_sweep(store, jobs, RESOURCES, make_hooks=FaultyHooks(markers))
    failed = caught.value.report.failed
    assert 3 <= len(failed) <= 4  # two run at a time: another may end before the sweep does
    assert f"the first {len(failed)} trainings all failed alike, so {12 - len(failed)} of 12" in str(caught.value)
    assert caught.value.exit_code == 1
    assert len(list(markers.iterdir())) <= 6  # jobs that were begun
    assert not store.keys(ADAPTER_KIND) & {job.key for job in jobs}  # one may be cut short, under a key of its own

    refused = [
        job_of(folder, store, "gpt_neox", rows, SPEC.replace(target_modules=("q_proj",))) for rows in range(40, 52)
    ]
    with pytest.raises(SweepFailed, match="ConfigError: target_modules: saw q_proj") as caught:
        run_sweep(store, refused, RESOURCES)
    assert caught.value.exit_code == 2  # as a training alone would say
    assert len(caught.value.report.failed) < 12


@pytest.mark.slow
def test_what_a_scheduler_cuts_short_is_published_under_a_key_of_its_own(folder: Path, local_ray: None) -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    from assay.training.sweep.ray_sweep import Cuts, run_sweep

    class StopAtFirstReport(AsyncHyperBandScheduler):
        def on_trial_result(self, tune_controller: object, trial: object, result: object) -> str:
            return "STOP"

    store = Store(str(folder / "stopped"))
    job = job_of(folder, store, "llama", 64, SPEC.replace(num_epochs=100, early_stopping_patience=None))
    resources = RESOURCES.replace(report_every_s=0.2)
    report = run_sweep(store, [job], resources, cuts=Cuts(scheduler=StopAtFirstReport(time_attr="step")))
    (result,) = report.jobs
    assert result.status == "stopped"
    assert 0 < result.steps < 400
    assert store.keys(ADAPTER_KIND) == {stopped_adapter_key(job.key, result.steps)}


@pytest.mark.slow
def test_a_training_that_is_held_goes_on_to_the_adapter_that_it_would_have_been(folder: Path, local_ray: None) -> None:
    from assay.training.sweep.ray_sweep import run_sweep

    whole, store = Store(str(folder / "never-held")), Store(str(folder / "held"))
    spec = SPEC.replace(num_epochs=4, eval_every=2, early_stopping_patience=None)
    job = job_of(folder, whole, "llama", 48, spec)  # 12 steps
    job_of(folder, store, "llama", 48, spec)
    run_sweep(whole, [job], RESOURCES)

    held = replace(job, hold_at=4)
    (report,) = run_sweep(store, [held], RESOURCES).jobs
    stopped = stopped_adapter_key(job.key, 4)
    assert (report.status, report.steps) == ("held", 4)
    assert store.keys(ADAPTER_KIND) == {stopped}
    summary = store.read_json(ADAPTER_KIND, stopped, "summary.json")
    assert (summary["steps"], summary["planned_steps"], summary["stop_reason"]) == (4, 12, "cut short")
    (report,) = run_sweep(store, [held], RESOURCES).jobs
    assert report.status == "found"

    (report,) = run_sweep(store, [replace(job, hold_at=8)], RESOURCES).jobs
    assert (report.status, report.steps) == ("held", 8)
    # its checkpoints are of steps 4 and 8: a later one than asked for would be another model
    weights = store.read_bytes(ADAPTER_KIND, stopped, "adapter_model.safetensors")
    store.delete(ADAPTER_KIND, stopped)
    (report,) = run_sweep(store, [held], RESOURCES).jobs
    assert report.status == "held"
    assert store.read_bytes(ADAPTER_KIND, stopped, "adapter_model.safetensors") == weights
    (report,) = run_sweep(store, [replace(job, hold_at=2)], RESOURCES).jobs
    assert (report.status, report.steps) == ("held", 2)
    (report,) = run_sweep(store, [job], RESOURCES).jobs
    assert (report.status, report.steps) == ("trained", 12)
    assert store.keys("checkpoint") == set()
    for name in ("adapter_model.safetensors", "summary.json", "history.parquet"):
        assert store.read_bytes(ADAPTER_KIND, job.key, name) == whole.read_bytes(ADAPTER_KIND, job.key, name)
    history = store.read_table(ADAPTER_KIND, stopped_adapter_key(job.key, 8), "history.parquet").to_pylist()
    assert history == store.read_table(ADAPTER_KIND, job.key, "history.parquet").to_pylist()[:8]
    (report,) = run_sweep(store, [held], RESOURCES).jobs
    assert report.status == "found"


@pytest.mark.slow
def test_stoppers_and_schedulers_go_by_a_hooks_metric_at_its_own_step(folder: Path, local_ray: None) -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    from assay.training.sweep.ray_sweep import Cuts, MetricStopper, run_sweep

    class StopAtHalf(AsyncHyperBandScheduler):
        def on_trial_result(self, tune_controller: object, trial: object, result: dict[str, float]) -> str:
            return "STOP" if result.get(self._metric, 0.0) >= 0.6 else "CONTINUE"

    store = Store(str(folder / "by-metric"))
    spec = SPEC.replace(num_epochs=20, early_stopping_patience=None)
    job = job_of(folder, store, "llama", 64, spec)
    stopper = MetricStopper("climbing/infused")
    (result,) = run_sweep(store, [job], RESOURCES, make_hooks=climbing_hooks, cuts=Cuts(stopper=stopper)).jobs
    assert (result.status, result.steps) == ("stopped", 4)
    assert store.keys(ADAPTER_KIND) == {stopped_adapter_key(job.key, 4)}
    scheduler = StopAtHalf(time_attr="step")
    (result,) = run_sweep(
        store, [job], RESOURCES, make_hooks=climbing_hooks, cuts=Cuts(scheduler, metric="climbing/score", mode="max")
    ).jobs
    assert (result.status, result.steps) == ("stopped", 6)
    assert result.eval_s > 0


def test_what_the_cluster_can_never_give_is_refused_at_once(folder: Path, local_ray: None) -> None:
    from assay.training.sweep.ray_sweep import Cuts, run_sweep

    store = Store(str(folder / "store"))
    job = job_of(folder, store, "llama", 30)
    with pytest.raises(ResourceError, match="GPU"):
        run_sweep(store, [job], RESOURCES.replace(gpus_per_worker=1))
    with pytest.raises(InputError):
        run_sweep(store, [job], RESOURCES.replace(cpus_per_worker=64))
    with pytest.raises(ResourceError, match=r"expected 4 for a trial \(4 worker"):
        run_sweep(store, [job], RESOURCES.replace(num_workers=4))
    with pytest.raises(ConfigError, match="num_workers=2 and a scheduler"):
        run_sweep(store, [job], RESOURCES.replace(num_workers=2), cuts=Cuts(scheduler=object()))


DRIVER = """
    import sys
    from pathlib import Path
    import ray
    from assay.store import Store
    from assay.training.sweep.ray_sweep import run_sweep
    from test_sweep import RESOURCES, SPEC, job_of

    folder = Path(sys.argv[1])
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000)
    store = Store(str(folder / "killed"))
    jobs = [job_of(folder, store, "llama", 60 + n, SPEC.replace(num_epochs=40)) for n in range(8)]
    report = run_sweep(store, jobs, RESOURCES, on_done=lambda job: print("done", job.key, flush=True))
    print("trained", sum(job.status == "trained" for job in report.jobs), flush=True)
"""


@pytest.mark.slow
@pytest.mark.chaos
def test_a_killed_driver_leaves_no_workers_and_the_rerun_trains_what_is_missing(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS / 'integration'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), str(folder)]
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline().startswith("done")
    workers = _descendants(driver.pid)
    assert workers
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    deadline = time.monotonic() + 60
    while any(_runs(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not [pid for pid in workers if _runs(pid)]
    finished = len(Store(str(folder / "killed")).keys(ADAPTER_KIND))
    assert 1 <= finished < 8
    rerun = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    assert f"trained {8 - finished}" in rerun.stdout


def _descendants(pid: int) -> list[int]:
    """Processes that could go on training; Ray's two node agents notice a dead node after a minute by themselves."""
    import psutil

    children = psutil.Process(pid).children(recursive=True)
    return [child.pid for child in children if "Agent" not in " ".join(child.cmdline())]


def _runs(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
