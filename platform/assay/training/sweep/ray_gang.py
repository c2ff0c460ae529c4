"""A trial with several workers: a Tune function that starts Ray Train, and what each of its workers does.

All workers drive the same `LoraTrainer` as a resident trial does, each with its share of every step. The first one
publishes, checkpoints and reports. A worker that dies takes its gang along: Tune starts the trial again, and the new
gang goes on from the newest checkpoint in the store. So it does where one runs out of memory, but the trial itself
begins the next gang, with smaller passes, and counts no attempt. Ray Train keeps nothing.
"""

from __future__ import annotations

import os
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from tempfile import TemporaryDirectory
from typing import Any

import ray
import ray.train
from ray import tune
from ray.train.torch import TorchConfig, TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from assay.errors import InputError, StageError
from assay.hooks import log_event
from assay.training.memory import PassSize, PassTooLarge
from assay.training.sweep.ray_claims import Claim
from assay.training.sweep.ray_trial import JobRows, SweepInputs, is_kept, keep, open_trainer, trial_report
from assay.training.sweep.slots import worker_share

START_TIMEOUT_S = 900
"""For a gang's place in the cluster and the start of its processes: a node may have to be launched first."""
COLLECTIVE_TIMEOUT_S = 1800
_TRAIN_SETTINGS = {
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(START_TIMEOUT_S),
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon a report, an end or a death is seen
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # paths and PYTHONPATH may be relative to the job's folder
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}


def train_with_gang(config: dict[str, Any], inputs: SweepInputs) -> None:
    """Tune's function trainable: one job, trained by `num_workers` workers that Ray Train places and watches.

    Raises:
        StageError: a worker died or raised; the trial is worth another attempt.
    """
    job, resources = inputs.jobs[int(config["job"])], inputs.resources
    began_s = time.monotonic()
    os.environ.update(_TRAIN_SETTINGS)
    with (
        closing(Claim(inputs.store.uri, job.key, inputs.holder)) as claim,
        TemporaryDirectory(prefix="assay-train-") as folder,
    ):
        found = claim.held and is_kept(inputs.store, job)  # by an attempt that died then, or a sweep
        if found or not claim.held:
            nothing = trial_report(job, None)
            tune.report({**nothing, "finished": True, "found": found, "deferred": not claim.held})
            return
        while True:
            try:
                _gang(inputs, int(config["job"]), folder).fit()
                return
            except ray.train.WorkerGroupError as error:
                less = _smaller_passes(error)
                if less is not None:
                    log_event("training", "smaller passes", key=job.key, **asdict(less))
                    inputs = replace(inputs, resources=resources.replace(**asdict(less)))
                    continue
                refused = next((cause for cause in _causes(error) if isinstance(cause, InputError)), None)
                if refused is None:
                    raise StageError(_why(error)) from None
                report = trial_report(job, None, wall_s=time.monotonic() - began_s)
                tune.report({**report, "finished": True, "refused": f"{type(refused).__name__}: {refused}"})
                return


def _gang(inputs: SweepInputs, job: int, folder: str) -> TorchTrainer:
    """The workers of a job, by its number, before they begin."""
    resources = inputs.resources
    return TorchTrainer(
        work,
        train_loop_config={"inputs": [ray.put(inputs)], "job": job},
        torch_config=TorchConfig(
            backend="nccl" if resources.gpus_per_worker else "gloo", timeout_s=COLLECTIVE_TIMEOUT_S
        ),
        scaling_config=ray.train.ScalingConfig(
            num_workers=resources.num_workers,
            use_gpu=bool(resources.gpus_per_worker),
            resources_per_worker=worker_share(resources),
        ),
        run_config=ray.train.RunConfig(
            name=uuid.uuid4().hex,  # else it would take itself for one that goes on
            storage_path=folder,  # nothing is written there but a marker
            callbacks=[TuneReportCallback()],
            failure_config=ray.train.FailureConfig(max_failures=0, max_preemption_failures=0),  # Tune retries
            logging_config=ray.train.LoggingConfig(log_level="CRITICAL"),
        ),
    )


def work(settings: dict[str, Any]) -> None:
    """One worker's part of a training: every worker takes the same steps, and the first one speaks for all."""
    warnings.simplefilter("ignore")
    began_s = time.monotonic()
    inputs: SweepInputs = ray.get(settings["inputs"][0])
    job = inputs.jobs[settings["job"]]
    trainer = open_trainer(inputs, job, JobRows(inputs))
    with closing(trainer):
        step_s = eval_s = 0.0
        last, reported_s, found = None, time.monotonic(), {}

        def report(*, finished: bool) -> None:
            told = trial_report(job, last, step_s=step_s, eval_s=eval_s, wall_s=time.monotonic() - began_s)
            ray.train.report({**told, **found, "finished": finished, "held": trainer.is_held})

        for last in trainer.steps(job.hold_at):
            step_s += last.step_s
            eval_s += last.eval_s
            found |= last.metrics
            is_due = time.monotonic() - reported_s >= inputs.resources.report_every_s
            if trainer.workers.tell(is_due):  # a report waits for all workers, so one clock decides
                report(finished=False)
                reported_s = time.monotonic()
        keep(inputs, job, trainer)
        report(finished=True)


def _smaller_passes(error: ray.train.WorkerGroupError) -> PassSize | None:
    """What to begin again with where a worker ran out of memory; None: it was something else, or nothing is left."""
    return next((cause.less for cause in _causes(error) if isinstance(cause, PassTooLarge)), None)


def _causes(error: ray.train.WorkerGroupError) -> Iterator[BaseException]:
    """What the workers raised, out of Ray's wrapping. Bad input among it stays bad, so it gets no new attempt."""
    for failure in error.worker_failures.values():
        seen: BaseException | None = failure
        while seen is not None:
            yield seen
            seen = getattr(seen, "_base_exc", None) or getattr(seen, "cause", None) or seen.__cause__


def _why(error: ray.train.WorkerGroupError) -> str:
    """One line: which workers failed, and how."""
    reasons = []
    for rank, failure in sorted(error.worker_failures.items()):
        cause = getattr(failure, "_base_exc", failure)
        reasons.append(f"worker {rank}: {type(cause).__name__}: {' '.join(str(cause).split())[:200]}")
    return "; ".join(reasons)
