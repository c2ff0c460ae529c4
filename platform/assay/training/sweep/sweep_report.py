"""How a sweep of trainings went, job by job. Pure; no Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from assay.errors import InputError, StageError
from assay.training.spec import TrainingJob

CAUSES_SHOWN = 3
Status = Literal["found", "trained", "held", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class JobReport:
    """How one job went."""

    key: str
    status: Status
    """"found" in the store, at first or when another study had published it; "held" at the step that the job names, or
    "stopped" by the sweep's scheduler, and published under a key of its own."""
    wall_s: float = 0.0
    """From the worker's taking it up to its publication, last attempt."""
    step_s: float = 0.0
    """Of those, seconds in optimizer steps."""
    eval_s: float = 0.0
    """Of those, seconds in evaluation hooks."""
    steps: int = 0
    attempts: int = 0
    loss: float = math.nan
    error: str | None = None
    is_bad_input: bool = False
    """Whether it failed by what the user can mend: such a job is not tried again."""


@dataclass(frozen=True, slots=True)
class SweepReport:
    """How a sweep went. Times are measurements and belong into side tables."""

    jobs: tuple[JobReport, ...]
    """In the order asked for."""
    wall_s: float
    slots: int
    """Trials at a time."""
    first_step_s: float
    """From the start until a worker reported for the first time: process start, imports, base model."""

    @property
    def step_s(self) -> float:
        """Pure optimizer seconds over all jobs."""
        return sum(job.step_s for job in self.jobs)

    @property
    def eval_s(self) -> float:
        """Seconds in evaluation hooks over all jobs."""
        return sum(job.eval_s for job in self.jobs)

    @property
    def trial_s(self) -> float:
        """Seconds of all trials together."""
        return sum(job.wall_s for job in self.jobs)

    @property
    def failed(self) -> tuple[JobReport, ...]:
        """Jobs that failed for good."""
        return tuple(job for job in self.jobs if job.status == "failed")


class SweepFailed(StageError):
    """Trials failed for good; what finished is in the store.

    Where bad input is all that failed, the exit code is that of bad input.
    """

    def __init__(self, message: str, report: SweepReport) -> None:
        super().__init__(message)
        self.report = report
        if all(job.is_bad_input for job in report.failed):
            self.exit_code = InputError.exit_code


def gave_up_line(report: SweepReport, num_wanted: int) -> str:
    """One line: the first trainings failed alike, so the others were not trained."""
    first = report.failed[0]
    return (
        f"training: the first {len(report.failed)} trainings all failed alike, so {num_wanted - len(report.jobs)} of "
        f"{num_wanted} were not trained: {first.error} (after {first.attempts} attempt(s)); fix it and run the same "
        "command again"
    )


def failure_line(report: SweepReport, jobs: Mapping[str, TrainingJob]) -> str:
    """One line: how many jobs failed, and why the first ones did."""
    shown = []
    for job in report.failed[:CAUSES_SHOWN]:
        labels = " ".join(f"{name}={value}" for name, value in jobs[job.key].labels.items())
        shown.append(f"{labels or job.key} after {job.attempts} attempt(s): {job.error}")
    more = len(report.failed) - len(shown)
    return (
        f"training: {len(report.failed)} of {len(report.jobs)} adapters failed, the others are stored: "
        + " | ".join(shown)
        + (f" | and {more} more" if more else "")
    )
