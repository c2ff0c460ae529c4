"""What a study asks its models, as far as its fields say it: evaluation sets before any input is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from assay.records import INSTRUCTIONS, TEST

if TYPE_CHECKING:
    from assay.studies.spec import Study

Purpose = Literal["target", "forgetting", "tuning"]
"""What a set is asked for: to see what was learnt, or what was lost, or to choose what is reported on other rows."""


@dataclass(frozen=True)
class AskedSet:
    """Rows that models answer: the first rows of a dataset's test split, or of another one."""

    name: str
    """Task name, "instructions", or an instruction category."""
    dataset: str
    """The study's name of the dataset."""
    rows: int | None
    """None: all. Of a category at most so many, since how many it has is known only once its rows are tagged."""
    max_new_tokens: int
    field: str
    """The study's field that says how many rows, for messages."""
    purpose: Purpose = "target"
    weight: float = 1.0
    """Weight in the objective of a mixture study."""
    category: str = ""
    """Only rows of this instruction category; empty: of any."""
    per_category: int = 0
    """The first so many rows of each instruction category instead of the first `rows`; 0: not so."""
    split: str = TEST
    """Split that the rows are of."""


def task_set(study: Study, task: str) -> AskedSet:
    """Test rows of a target task."""
    spec = study.evaluation
    tokens = spec.max_new_tokens.get(task, study.registry.tasks.get(task).max_new_tokens)
    return AskedSet(task, task, spec.target_rows, tokens, "evaluation.target_rows")


def instruction_sets(study: Study) -> tuple[AskedSet, ...]:
    """Test rows of the instruction set, for forgetting; none where the study leaves that question out."""
    spec = study.evaluation
    if not spec.instruction_rows:
        return ()
    tokens = spec.instruction_max_new_tokens
    field = "evaluation.instruction_rows"
    asked = AskedSet(INSTRUCTIONS, study.data.instructions, spec.instruction_rows, tokens, field, "forgetting")
    return (asked,)


def own_sets(study: Study) -> tuple[AskedSet, ...]:
    """Those of `evaluation.sets`, of designs that let the study say what is asked."""
    return tuple(
        AskedSet(
            name,
            part.dataset or name,
            part.rows,
            part.max_new_tokens or _new_tokens(study, part.dataset or name),
            f"evaluation.sets.{name}.rows",
            part.purpose,
            weight=part.weight,
        )
        for name, part in sorted(study.evaluation.sets.items())
    )


def _new_tokens(study: Study, dataset: str) -> int:
    """As the task of the dataset's rows says; of an instruction set, and of rows of no task, as the study says."""
    source = study.data.sources.get(dataset)
    task, tasks = source.task if source is not None and source.task else dataset, study.registry.tasks
    limit = study.evaluation.instruction_max_new_tokens
    if task in tasks.names and task != INSTRUCTIONS:
        limit = tasks.get(task).max_new_tokens
    return study.evaluation.max_new_tokens.get(task, limit)
