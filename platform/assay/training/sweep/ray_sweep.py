"""All wanted adapters, trained as Ray Tune trials on resident workers.

The store remembers what is finished: those jobs are not started, and a sweep that was killed goes on where it was.
Tune schedules, retries and stops; it writes nothing that is kept. No paths, rows or models travel in a trial's
configuration, only a job's number, so ten thousand jobs are as light as ten.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any, Literal

import ray
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.stopper import CombinedStopper

from assay.cluster.ray_nodes import beside_the_driver, capacity
from assay.errors import ConfigError, LimitReached
from assay.hooks import Progress, SilentProgress
from assay.store import Store
from assay.training.encoding import encoding_key
from assay.training.spec import ADAPTER_KIND, TrainingJob, TrainResources, longest_first
from assay.training.sweep.first_failures import FirstFailures
from assay.training.sweep.ray_claims import prepare_claims, taken_elsewhere
from assay.training.sweep.ray_gang import train_with_gang
from assay.training.sweep.ray_trial import (
    Encoder,
    EncodingId,
    LoadExamples,
    LoadRows,
    MakeHooks,
    ResidentTrial,
    SweepInputs,
    is_kept,
    named_rows,
    read_dataset_examples,
    read_mixture_rows,
)
from assay.training.sweep.ray_watch import STAGE, InDriver, SweepWatch
from assay.training.sweep.slots import slots_of, trial_share
from assay.training.sweep.sweep_report import JobReport, SweepFailed, SweepReport, failure_line, gave_up_line

# Tune copies these into every trial's runtime_env, which Ray writes to its logs. Workers have the credentials of the
# node that they run on: a private Ray's are the driver's, a cluster's are its role or its own environment.
class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
    {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}
)

MOST_ENCODERS = 8
"""Processes that tokenize, a few hundred MB each."""
OTHERS_EVERY_S = 0.5
"""Between two looks at what other studies train."""
_TUNE_SETTINGS = {
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a hook's metric is not there before its first evaluation
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints a table and every failure, even at verbosity 0
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a CSV, a JSON and a TensorBoard file for every trial
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # the state of all trials, rewritten every few seconds
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


class MetricStopper(tune.Stopper):
    """A Tune stopper that ends a trial where a hook's metric becomes 1: "ifs/infused" for the rule on IFS curves.

    What it ends is published under `stopped_adapter_key`; a rule that is part of the training's identity stops by the
    hook itself, under the training's own key.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this trial ends at this report."""
        return result.get(self.metric) == 1.0

    def stop_all(self) -> bool:
        """Never: each trial has its own curve."""
        return False


class GiveUp(InDriver, tune.Stopper):
    """Ends the sweep where its first trainings all failed alike, or where its caller wants it."""

    def __init__(self, first_failures: FirstFailures, stop: Callable[[], bool] | None) -> None:
        self._first_failures, self._stop = first_failures, stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never: a trial that runs has not failed."""
        return False

    def stop_all(self) -> bool:
        """Whether the other trainings are not worth a start."""
        return self._first_failures.are_alike or (self._stop is not None and self._stop())


@dataclass(frozen=True)
class Readers:
    """How a sweep reads what it trains on."""

    rows: LoadRows = read_mixture_rows
    """Rows of a job's mixture; runs in the workers."""
    examples: LoadExamples = read_dataset_examples
    """A dataset; runs in a worker, once per base model."""


@dataclass(frozen=True)
class Cuts:
    """What may end trials early. A trial that ends so is published under `stopped_adapter_key`, and stays missing."""

    scheduler: Any = None
    """A Ray Tune scheduler over `metric` by `step`."""
    stopper: Any = None
    """A Ray Tune stopper, which sees every report of a trial."""
    metric: str = "validation_loss"
    """What the scheduler goes by: "validation_loss", "loss", or "HOOK/NAME" of an evaluation hook."""
    mode: Literal["min", "max"] = "min"
    """Whether less or more of it is better."""
    stop: Callable[[], bool] | None = None
    """Whether all trials are to end now, as on an interruption; asked in the driver, some times a second."""


def run_sweep(
    store: Store,
    jobs: Sequence[TrainingJob],
    resources: TrainResources,
    progress: Progress | None = None,
    *,
    readers: Readers = Readers(),
    make_hooks: MakeHooks | None = None,
    on_done: Callable[[TrainingJob], None] | None = None,
    cuts: Cuts = Cuts(),
) -> SweepReport:
    """Train what is missing of `jobs` and publish each adapter as it is finished.

    Ray is started locally if it is not running.

    Args:
        store: where adapters go; workers write to it themselves.
        jobs: wanted adapters; equal keys are trained once. One with `hold_at` is trained to that step.
        resources: what trials run on, how many at a time, retries.
        progress: gets the stage "training", one unit per job.
        readers: how mixtures and datasets are read.
        make_hooks: evaluations inside a job's trial; runs in the workers.
        on_done: called in the driver as each job is published, those found included and those held left out.
        cuts: what may end trials early.

    Raises:
        ConfigError: a scheduler together with several workers.
        ResourceError: a trial asks for more than the cluster can ever have.
        SweepFailed: (a StageError) jobs failed after their retries; the others have finished, or the first ones failed
            alike and the others were not trained.
        LimitReached: the sweep was interrupted.
    """
    began_s = time.monotonic()
    progress = progress or SilentProgress()
    distinct = {job.key: job for job in jobs}
    found = _found(store, list(distinct.values()))
    progress.start(STAGE, len(distinct), done=len(found), unit="trials")
    reports = {key: JobReport(key, "found") for key in found}
    for key in found:
        if on_done is not None:
            on_done(distinct[key])
    missing = longest_first([job for key, job in distinct.items() if key not in found])
    slots, first_step_s, gave_up = 0, 0.0, False
    if missing:
        _check_cuts(resources, cuts)
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False)
        slots = min(slots_of(resources, capacity()), len(missing))
        prepare_claims(store.uri)
        inputs = _inputs(store, missing, resources, readers, make_hooks)
        watch = SweepWatch(progress, on_done, began_s, FirstFailures(slots))
        _fit_and_share(inputs, slots, watch, cuts)
        reports |= watch.reports
        first_step_s, gave_up = watch.first_step_s, watch.first_failures.are_alike
    done = tuple(reports[job.key] for job in jobs if job.key in reports)
    report = SweepReport(done, time.monotonic() - began_s, slots, first_step_s)
    if len(reports) < len(distinct):
        if gave_up:
            raise SweepFailed(gave_up_line(report, len(distinct)), report)
        raise LimitReached(
            f"training: stopped with {len(distinct) - len(reports)} of {len(distinct)} adapters missing; the same "
            "command continues it"
        )
    progress.finish(STAGE, f"{len(distinct) - len(report.failed)} adapters")
    if report.failed:
        raise SweepFailed(failure_line(report, distinct), report)
    return report


def _fit_and_share(inputs: SweepInputs, slots: int, watch: SweepWatch, cuts: Cuts) -> None:
    """Train all jobs; those that another study of the cluster trains just then are looked at again when it is done."""
    store, ready, waiting = inputs.store, list(inputs.jobs), []
    while ready or waiting:
        if ready:
            seen = len(watch.reports)
            _fit(replace(inputs, jobs=ready), slots, watch, cuts)
            deferred = watch.take_deferred()
            if len(watch.reports) - seen + len(deferred) < len(ready):
                return  # interrupted, or given up
            waiting += deferred
        for job in [job for job in waiting if is_kept(store, job)]:
            watch.found_elsewhere(job)
            waiting.remove(job)
        taken = taken_elsewhere(store.uri, [job.key for job in waiting])
        ready = [job for job in waiting if job.key not in taken]
        waiting = [job for job in waiting if job.key in taken]
        if waiting and not ready:
            time.sleep(OTHERS_EVERY_S)


def _inputs(
    store: Store,
    jobs: Sequence[TrainingJob],
    resources: TrainResources,
    readers: Readers,
    make_hooks: MakeHooks | None,
) -> SweepInputs:
    """Start the tokenizing of the rows that mixtures name.

    On CPUs workers wait for what they use and nobody for the rest, as tokenizing takes what they leave while they
    import their engines. Where trainings have GPUs all of it is done, side by side, before the first of them is held.
    """
    wanted: dict[EncodingId, TrainingJob] = {}
    mixtures: dict[str, tuple[str, ...]] = {}
    for job in jobs:
        if job.mixture_key not in mixtures:
            mixtures[job.mixture_key] = job.dataset_keys or _datasets_of(readers.rows, store, job)
        for dataset in mixtures[job.mixture_key]:
            wanted.setdefault((job.base_key, dataset, encoding_key(job.spec)), job)
    plain = {job.mixture_key for job in jobs if not job.spec.objective.learns_from_pairs}
    named = named_rows(store, plain) if readers.rows is read_mixture_rows else None
    count = num_encoders(len(wanted), resources, os.cpu_count())
    encoders = [Encoder.options(**beside_the_driver()).remote() for _ in range(count)]
    encodings: dict[EncodingId, Any] = {}
    for number, (encoding, job) in enumerate(wanted.items()):
        ids = None if named is None else named.get(encoding[1], set())
        encoder = encoders[number % len(encoders)]
        encodings[encoding] = encoder.encode.remote(store, encoding[1], job, readers.examples, ids)
    if resources.gpus_per_worker:
        ray.wait(list(encodings.values()), num_returns=len(encodings), fetch_local=False)
    return SweepInputs(store, list(jobs), encodings, resources, readers.rows, make_hooks, holder=uuid.uuid4().hex)


def num_encoders(datasets: int, resources: TrainResources, cpus: int | None) -> int:
    """Processes that tokenize: one beside workers that import their engines on the same CPUs, else as many as help."""
    if not resources.gpus_per_worker:
        return 1
    return max(1, min(datasets, MOST_ENCODERS, cpus or 1))


def _datasets_of(load_rows: LoadRows, store: Store, job: TrainingJob) -> tuple[str, ...]:
    train, validation = load_rows(store, job)
    return tuple(sorted({row.dataset for row in (*train, *validation)}))


def _fit(inputs: SweepInputs, slots: int, watch: SweepWatch, cuts: Cuts) -> None:
    resources, watch.jobs = inputs.resources, inputs.jobs
    is_gang = resources.num_workers > 1
    trainable = tune.with_parameters(train_with_gang if is_gang else ResidentTrial, inputs=inputs)
    with TemporaryDirectory(prefix="assay-tune-") as folder, _quiet_tune(slots):
        tune.Tuner(
            tune.with_resources(trainable, trial_share(resources)),
            param_space={"job": tune.grid_search(list(range(len(inputs.jobs))))},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=slots,
                reuse_actors=not is_gang,
                scheduler=cuts.scheduler,
                metric=cuts.metric if cuts.scheduler is not None else None,
                mode=cuts.mode if cuts.scheduler is not None else None,
                trial_name_creator=lambda trial: f"job-{trial.trial_id}",
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=folder,
                verbose=0,
                stop=CombinedStopper(*filter(None, [cuts.stopper]), GiveUp(watch.first_failures, cuts.stop)),
                callbacks=[watch],
                failure_config=tune.FailureConfig(max_failures=resources.max_retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        ).fit()


def _found(store: Store, jobs: Sequence[TrainingJob]) -> list[str]:
    there = store.present(ADAPTER_KIND, [key for job in jobs for key in job.kept_under])
    return [job.key for job in jobs if there.intersection(job.kept_under)]


def _check_cuts(resources: TrainResources, cuts: Cuts) -> None:
    if (cuts.scheduler or cuts.stopper) is not None and resources.num_workers > 1:
        raise ConfigError(
            f"training resources: saw num_workers={resources.num_workers} and a scheduler that cuts trials short; "
            "expected one worker there, whose adapter is kept as it stands; set num_workers: 1, or no scheduler"
        )


@contextmanager
def _quiet_tune(slots: int) -> Iterator[None]:
    """Tune without its own files, tables and stack traces: failures are told by the report."""
    settings = {**_TUNE_SETTINGS, "TUNE_MAX_PENDING_TRIALS_PG": str(slots + 1)}
    before = {name: os.environ.get(name) for name in settings}
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.tune.execution.tune_controller", "ray.air")]
    levels = [logger.level for logger in loggers]
    os.environ.update(settings)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
