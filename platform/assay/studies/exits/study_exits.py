"""The barriers of a study with `exits`: which trainings go on to each, what their stored curves say, and who ends.

Nothing is started here. The pipeline trains what `wanted` names up to its barrier and calls `learn`. All that decides
lies in the store under the trainings' own keys, so a study that was killed comes to the same decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from assay.errors import StageError
from assay.fingerprint import artifact_key, fingerprint
from assay.mixtures.sampling import SUMMARY_FILE, VALIDATION_FILE
from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.store import Store
from assay.studies.deciding.study_rounds import KIND, Decision
from assay.studies.exits.comparisons import Comparison, Curve, Run, Trained, comparisons_of, decide, steps_at
from assay.studies.exits.spec import ExitsSpec
from assay.studies.prepared import PreparedStudy
from assay.training.run_state import HISTORY, SUMMARY
from assay.training.schedule import schedule_of
from assay.training.spec import ADAPTER_KIND, TrainingJob, stopped_adapter_key

EXITS_SCHEMA = 1


@dataclass
class StudyExits:
    """The barriers of one study so far. Its mixtures are in the store."""

    prepared: PreparedStudy
    store: Store
    decisions: list[Decision] = field(default_factory=list)
    _gone: dict[str, set[str]] = field(default_factory=dict)
    """Arms that ended, by the comparison's label."""

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """What is compared.

        Raises:
            ConfigError: nothing is, or a barrier comes too soon.
        """
        plan, jobs = self.prepared.artifacts, self._jobs
        rows = {key: _mixture_rows(self.store, key) for key in sorted({job.mixture_key for job in plan.trainings})}
        trained = []
        for cell, key in plan.cells:
            if cell.is_trained:
                job = jobs[key]
                num_rows, validation = rows[job.mixture_key]
                run = Run(key, cell.draw, cell.training_seed, schedule_of(job.spec, num_rows))
                trained.append(Trained(cell, run, job.base_name, validation))
        return comparisons_of(trained, self.spec, self.prepared.study.baseline)

    @property
    def spec(self) -> ExitsSpec:
        """When, and how far behind is too far."""
        spec = self.prepared.study.exits
        assert spec is not None
        return spec

    @property
    def is_over(self) -> bool:
        """Whether every barrier is behind."""
        return len(self.decisions) == len(self.spec.at)

    @property
    def _part(self) -> float:
        """Of the next barrier."""
        return self.spec.at[len(self.decisions)]

    def wanted(self) -> list[TrainingJob]:
        """Trainings up to the next barrier, of arms that are still there: their curves decide."""
        steps: dict[str, int] = {}
        for comparison in self._open:
            here = steps_at(comparison, self._part)
            steps |= {run.adapter: here[run.adapter] for run in self._running(comparison)}
        jobs = self._jobs
        return [replace(jobs[key], hold_at=step) for key, step in steps.items()]

    def learn(self) -> Decision:
        """Read the curves up to the next barrier, and decide.

        Raises:
            StageError: a training of another length than its mixture and recipe say.
        """
        found: list[dict[str, Any]] = []
        read: set[str] = set()
        for comparison in self._open:
            steps = steps_at(comparison, self._part)
            curves = {run.adapter: read_curve(self.store, run, steps[run.adapter]) for run in self._running(comparison)}
            gone = self._gone.setdefault(comparison.label, set())
            record = decide(comparison, self._part, curves, self.spec, gone)
            record["ended_at"] = {
                arm: {run.adapter: [steps[run.adapter], run.plan.total_steps] for run in comparison.arms[arm]}
                for arm in record["ended"]
            }
            found.append(record)
            gone |= set(record["ended"])
            read |= set(curves)
        content = {"round": len(self.decisions), "at": self._part, "asked": self.spec.identity(), "families": found}
        before = [self.decisions[-1].key] if self.decisions else []
        inputs = {"adapters": sorted(read), "before": before}
        key = artifact_key(KIND, EXITS_SCHEMA, {"exits": fingerprint(content)}, inputs)
        self.decisions.append(Decision(key, content))
        return self.decisions[-1]

    @property
    def record(self) -> dict[str, Any]:
        """All barriers so far, for the study's folder."""
        return {
            "decisions": [one.key for one in self.decisions],
            "barriers": [one.content for one in self.decisions],
            "ended": self.ended,
        }

    @property
    def ended(self) -> dict[str, str]:
        """Trainings that ended, by key -> key under which what they had learnt is kept."""
        steps = {
            key: step
            for one in self.decisions
            for family in one.content["families"]
            for ends in family["ended_at"].values()
            for key, (step, _) in ends.items()
        }
        # one that another run had trained whole before is kept as that
        kept = {key: stopped_adapter_key(key, step) for key, step in steps.items()}
        there = self.store.present(ADAPTER_KIND, kept.values())
        return {key: stopped if stopped in there else key for key, stopped in sorted(kept.items())}

    @cached_property
    def _jobs(self) -> Mapping[str, TrainingJob]:
        return {job.key: job for job in self.prepared.artifacts.trainings}

    @property
    def _open(self) -> list[Comparison]:
        """Comparisons with something left to decide: an arm that may end, and another that it is compared with."""
        found = []
        for comparison in self.comparisons:
            left = set(comparison.arms) - self._gone.get(comparison.label, set())
            if len(left) > 1 and left - comparison.staying:
                found.append(comparison)
        return found

    def _running(self, comparison: Comparison) -> list[Run]:
        gone = self._gone.get(comparison.label, set())
        return [run for arm, runs in comparison.arms.items() if arm not in gone for run in runs]


def read_curve(store: Store, run: Run, step: int) -> Curve:
    """Validation losses of a training up to a barrier, whether it was held there or trained to its end.

    Raises:
        StageError: its steps are not those that were planned.
    """
    whole = store.exists(ADAPTER_KIND, run.adapter)
    key = run.adapter if whole else stopped_adapter_key(run.adapter, step)
    summary = store.read_json(ADAPTER_KIND, key, SUMMARY)
    if summary["planned_steps"] != run.plan.total_steps:
        raise StageError(
            f"exits: adapter {run.adapter} was to take {summary['planned_steps']} steps; expected "
            f"{run.plan.total_steps}, by the rows of its mixture; leave exits out"
        )
    history = store.read_table(ADAPTER_KIND, key, HISTORY).select(["step", "validation_loss"]).to_pylist()
    losses = [row["validation_loss"] for row in history if row["step"] <= step and row["validation_loss"] is not None]
    return Curve(tuple(losses), is_over=whole and summary["steps"] <= step)


def _mixture_rows(store: Store, key: str) -> tuple[int, str]:
    """Training rows of a mixture, and what names its validation rows; empty where it has none."""
    summary = store.read_json(MIXTURE_KIND, key, SUMMARY_FILE)
    table = store.read_table(MIXTURE_KIND, key, VALIDATION_FILE).select(["dataset", "example_id"])
    rows = sorted((row["dataset"], row["example_id"]) for row in table.to_pylist())
    return sum(part["rows"] for part in summary["train"].values()), fingerprint(rows) if rows else ""
