"""What the driver sees of the trials of a sweep: live progress, a report for each job, and events for the log."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from assay.cluster.ray_metrics import count, show
from assay.hooks import Progress, log_event
from assay.training.spec import TrainingJob
from assay.training.sweep.first_failures import FirstFailures
from assay.training.sweep.sweep_report import JobReport, Status

STAGE = "training"
_EXCEPTION_LINE = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\b")


class InDriver:
    """What Tune calls in the driver. It writes its settings to a file that nobody reads: there is nothing in it there.

    A terminal's bars and a lock cannot be pickled.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SweepWatch(InDriver, tune.Callback):
    """Sees every trial in the driver: live progress, reports, and jobs as they are done."""

    def __init__(
        self,
        progress: Progress,
        on_done: Callable[[TrainingJob], None] | None,
        began_s: float,
        first_failures: FirstFailures,
    ) -> None:
        self._progress, self._on_done, self._began_s = progress, on_done, began_s
        self.first_failures = first_failures
        self.jobs: Sequence[TrainingJob] = ()
        """Of the Tune run that is watched; trials name them by number."""
        self._losses: dict[str, float] = {}
        self.reports: dict[str, JobReport] = {}
        self._deferred: list[TrainingJob] = []
        self.first_step_s = 0.0

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial reports; its worker has been at it for a while."""
        self.first_step_s = self.first_step_s or time.monotonic() - self._began_s
        self._losses[trial.trial_id] = result["loss"]
        self._progress.advance(
            STAGE, 0, loss=result["loss"], step=result["step"], steps=result["total_steps"], running=len(self._losses)
        )

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial ended by itself, or was stopped by the scheduler."""
        self._losses.pop(trial.trial_id, None)
        job, result = self.jobs[trial.config["job"]], trial.last_result
        if result.get("deferred"):
            self._deferred.append(job)
            return
        refused = result.get("refused")
        self.reports[job.key] = JobReport(
            key=job.key,
            status=_status(result),
            wall_s=float(result.get("wall_s", 0.0)),
            step_s=float(result.get("step_s", 0.0)),
            eval_s=float(result.get("eval_s", 0.0)),
            steps=int(result.get("step", 0)),
            attempts=int(trial.num_failures) + 1,
            loss=float(result.get("loss", math.nan)),
            error=refused,
            is_bad_input=bool(refused),
        )
        report = self.reports[job.key]
        if refused:
            self.first_failures.failed(refused)
        else:
            self.first_failures.succeeded()
        log_event(
            STAGE, report.status, cell=_cell(job), key=job.key, seconds=round(report.wall_s, 3), steps=report.steps,
            attempts=report.attempts, error=refused,
        )  # fmt: skip
        self._tell(report.status)
        if self._on_done is not None and report.status in ("found", "trained"):
            self._on_done(job)
        self._progress.advance(STAGE, 1, loss=result.get("loss"), running=len(self._losses))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial failed for good."""
        self._losses.pop(trial.trial_id, None)
        job = self.jobs[trial.config["job"]]
        attempts = int(trial.num_failures)
        cause = _cause(trial.error_file)
        self.reports[job.key] = JobReport(job.key, "failed", attempts=attempts, error=cause)
        self.first_failures.failed(cause)
        log_event(STAGE, "failed", cell=_cell(job), key=job.key, attempts=attempts, error=cause)
        self._tell("failed")
        self._progress.advance(STAGE, 1, running=len(self._losses))

    def take_deferred(self) -> list[TrainingJob]:
        """Jobs that another study of the cluster was training when their turn came."""
        deferred, self._deferred = self._deferred, []
        return deferred

    def found_elsewhere(self, job: TrainingJob) -> None:
        """Another study has published this adapter."""
        self.reports[job.key] = JobReport(job.key, "found")
        if self._on_done is not None:
            self._on_done(job)
        self._progress.advance(STAGE, 1)

    def _tell(self, status: str) -> None:
        count("assay_trials_ended", status=status)
        show("assay_trials_running", len(self._losses))


def _status(result: Mapping[str, Any]) -> Status:
    """How the trial ended, by its last report."""
    if result.get("refused"):
        return "failed"
    if not result.get("finished"):
        return "stopped"
    if result.get("found"):
        return "found"
    return "held" if result.get("held") else "trained"


def _cell(job: TrainingJob) -> str:
    """What people call the training's cell."""
    return " ".join(str(value) for value in job.labels.values()) or job.key


def _cause(error_file: str | None) -> str:
    """The line of Tune's error file that says why the last attempt failed: the exception itself, without frames."""
    if error_file is None or not Path(error_file).is_file():
        return "no reason was recorded"
    last_attempt = Path(error_file).read_text(encoding="utf-8", errors="replace").rpartition("Failure # ")[2]
    lines = [line.strip() for line in last_attempt.splitlines()[1:] if line.strip()]
    named = [line for line in lines if _EXCEPTION_LINE.match(line)]
    return (named or lines or ["no reason was recorded"])[-1 if named else 0][:500]
