"""The figures of the human benchmark, as typed values and as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from assay.metaeval.statistics.estimate import Estimate

CEILING = "one person against the others"


@dataclass(frozen=True)
class BenchmarkTask:
    """A set of texts with human scores."""

    name: str
    texts: int
    documents: int
    human: str
    """What the human score is."""
    compared_with: str
    """What scorers were given beside the text."""
    has_references: bool
    scored_by_all: int
    """Texts that every scorer has a number for; the others are left out."""

    def as_json(self) -> dict[str, Any]:
        """One object of the report's `tasks`."""
        return {**asdict(self), "left_out": self.texts - self.scored_by_all}


@dataclass(frozen=True)
class SummaryLevels:
    """Agreement on SummEval over all summaries, inside documents, and between systems."""

    spearman: Mapping[str, Any]
    within_documents: Mapping[str, Any]
    """Both as `score_table.report.agreement` gives them."""
    between_systems: Estimate

    def as_json(self) -> dict[str, Any]:
        """The three levels."""
        overall = {"spearman": dict(self.spearman), "within_documents": dict(self.within_documents)}
        return {**overall, "between_systems": self.between_systems.as_json()}


@dataclass(frozen=True)
class ScorerFigures:
    """How one scorer agrees with people."""

    tasks: Mapping[str, Estimate]
    """Task -> Spearman's rho."""
    attributes: Mapping[str, Estimate]
    """TASK.ATTRIBUTE -> rho, of sets with several attributes."""
    cit: Estimate
    cat: Estimate
    cat_task_centred: Estimate
    unscored: Mapping[str, Mapping[str, int]]
    """Task -> reason -> texts."""
    summaries: SummaryLevels | None = None

    @property
    def shown(self) -> tuple[Estimate, ...]:
        """What the figure draws beside the tasks."""
        return self.cit, self.cat, self.cat_task_centred

    def as_json(self) -> dict[str, Any]:
        """One object of the report's `scorers`."""
        found: dict[str, Any] = {
            "tasks": {name: estimate.as_json() for name, estimate in self.tasks.items()},
            "attributes": {name: estimate.as_json() for name, estimate in self.attributes.items()},
            "cit": self.cit.as_json(),
            "cat": self.cat.as_json(),
            "cat_task_centred": self.cat_task_centred.as_json(),
            "unscored": {name: dict(reasons) for name, reasons in self.unscored.items()},
        }
        return found if self.summaries is None else {**found, "sum": self.summaries.as_json()}


@dataclass(frozen=True)
class JudgeRow:
    """A recorded judge, or a scorer on the same texts and attribute."""

    task: str
    attribute: str
    scorer: str
    is_judge: bool
    asked: int
    n: int
    unscored: int
    spearman: Mapping[str, Any]
    within_documents: Mapping[str, Any]
    """Both as `score_table.report.agreement` gives them."""


@dataclass(frozen=True)
class Ceiling:
    """How well people agree with each other on one attribute."""

    task: str
    attribute: str
    annotators: int
    with_the_others: Estimate
    between_pairs: Estimate

    def as_json(self) -> dict[str, Any]:
        """One object of the report's `ceiling`."""
        plain = {"task": self.task, "attribute": self.attribute, "annotators": self.annotators}
        return {**plain, CEILING: self.with_the_others.as_json(), "between pairs": self.between_pairs.as_json()}


@dataclass(frozen=True)
class TaskDifference:
    """Two scorers in one task; None where a scorer is constant there."""

    difference: float | None
    perm_both: float | None
    perm_both_holm: float | None = None
    """Over all pairs of scorers in this task."""


@dataclass(frozen=True)
class ScorerComparison:
    """Two scorers."""

    first: str
    second: str
    difference: Estimate
    """First minus second, in CIT."""
    perm_both: float | None
    tasks: Mapping[str, TaskDifference]
    perm_both_holm: float | None = None
    """Over all pairs of scorers."""

    def as_json(self) -> dict[str, Any]:
        """One object of the report's `comparisons`."""
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.difference.as_json(),
            "perm_both": self.perm_both,
            "tasks": {name: asdict(task) for name, task in self.tasks.items()},
            "perm_both_holm": self.perm_both_holm,
        }


@dataclass(frozen=True)
class BenchmarkReport:
    """Everything that `assay metaeval human` says."""

    tasks: tuple[BenchmarkTask, ...]
    cit_tasks: tuple[str, ...]
    """Those that CIT and CAT rest on."""
    scorers: Mapping[str, ScorerFigures]
    judges: tuple[JudgeRow, ...]
    ceiling: tuple[Ceiling, ...]
    comparisons: tuple[ScorerComparison, ...]
    specs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Scorer -> what it computes."""

    def as_json(self) -> dict[str, Any]:
        """The report as it is written."""
        report = {
            "tasks": [task.as_json() for task in self.tasks],
            "cit_tasks": list(self.cit_tasks),
            "scorers": {name: figures.as_json() for name, figures in self.scorers.items()},
            "judges": [asdict(row) for row in self.judges],
            "ceiling": [row.as_json() for row in self.ceiling],
            "comparisons": [row.as_json() for row in self.comparisons],
        }
        return report if not self.specs else {**report, "specs": dict(self.specs)}
