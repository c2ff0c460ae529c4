"""What designs with target rows N share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from assay.mixtures.designs import Instructions
from assay.records import INSTRUCTIONS
from assay.studies.designs.asked import AskedSet, instruction_sets, task_set
from assay.studies.designs.design import DesignBase, check_tasks, no_repeats

if TYPE_CHECKING:
    from assay.studies.spec import Study


class Sampled(DesignBase):
    """A design with N rows of something."""

    sizes: tuple[int, ...] = Field(min_length=1)
    """Target rows N. 0 is the baseline."""
    draws: int = Field(3, ge=1)
    """Independent samples of the N rows; nested: a smaller N is a prefix of a larger one of the same draw."""

    @field_validator("sizes")
    @classmethod
    def _sizes(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if min(sizes) < 0:
            raise ValueError("sizes count rows and cannot be negative")
        return tuple(sorted(no_repeats("sizes", sizes)))

    @property
    def trains_zero(self) -> bool:
        """Where N = 0 is asked for."""
        return 0 in self.sizes


class Targets(Sampled):
    """A design with target tasks."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """Target tasks, one at a time."""

    @field_validator("tasks")
    @classmethod
    def _distinct_tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        return no_repeats("tasks", tasks)

    def check(self, study: Study) -> None:
        """Whether its tasks exist, and the rest of the study fits."""
        super().check(study)
        check_tasks(study, self.tasks)

    def evaluation_sets(self, study: Study) -> tuple[AskedSet, ...]:
        """The tasks' test rows, and those of the instruction set."""
        return (*(task_set(study, task) for task in self.tasks), *instruction_sets(study))

    def datasets(self, study: Study) -> tuple[str, ...]:
        """The instruction set and the tasks."""
        return (study.data.instructions, *self.tasks)


class TargetsAmongInstructions(Targets):
    """A design that adds target rows to instruction rows."""

    instruction_rows: int | None = Field(None, ge=1)
    """Instruction rows in every mixture, one sample for all; None takes the whole train split."""
    validation_rows: int = Field(100, ge=0)
    """Instruction rows for the validation loss."""

    def instructions(self, study: Study) -> Instructions:
        """The instruction rows of every mixture."""
        return Instructions(study.data.instructions, self.instruction_rows, self.validation_rows, self.seed)


def answers(tasks: tuple[str, ...], task: str, size: int) -> tuple[str, ...]:
    """The model without target rows is the first point of every task's curve; the others answer their own task."""
    return (task, INSTRUCTIONS) if size else (*tasks, INSTRUCTIONS)
