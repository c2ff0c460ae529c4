"""Design `target` (the default): all instruction rows and N rows of one target task, drawn several times.

Source: S1 of Faysse et al. 2023 (arXiv 2310.14103).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from assay.mixtures.designs import with_target
from assay.records import INSTRUCTIONS, Mode
from assay.studies.designs.cell import INSTRUCTIONS_ONLY, Cell, Condition, with_rows
from assay.studies.designs.design import check_tasks, with_seeds
from assay.studies.designs.sampled import TargetsAmongInstructions, answers

if TYPE_CHECKING:
    from assay.studies.spec import Study


class TargetGrid(TargetsAmongInstructions):
    """S1: all instruction rows, and N rows of one target task, drawn several times."""

    validated_by: ClassVar[str] = "set grid.target_validation_rows"

    design: Literal["target"] = "target"
    target_validation_rows: int | None = Field(None, ge=0)
    """Rows of the target task's validation split for the validation loss, where N > 0 (in `compat`, at every N). None
    is the mode's rule: none in `strict`; in `compat` the 125 of the published study, or as many as there are."""
    rows_from: Mapping[str, str] = Field(default_factory=dict)
    """Target task -> dataset that its N training rows come from, such as one that the study derives; others: the task's
    own. Test rows are always the task's. What is said of a task that is not compared counts for nothing."""

    def check(self, study: Study) -> None:
        """Whether its tasks exist, and the rest of the study fits."""
        super().check(study)
        check_tasks(study, self.rows_from)

    def datasets(self, study: Study) -> tuple[str, ...]:
        """The instruction set, the tasks, and what rows of some come from."""
        return (*super().datasets(study), *self._used_rows.values())

    def validated(self, study: Study) -> tuple[str, ...]:
        """Those that the N rows come from, where N > 0."""
        return tuple(self.rows_from.get(task, task) for task in self.tasks) if self.target_validation_rows else ()

    @property
    def _used_rows(self) -> dict[str, str]:
        return {task: dataset for task, dataset in self.rows_from.items() if task in self.tasks}

    def cells(self, study: Study) -> Iterable[Cell]:
        """Task, N, draw."""
        return with_seeds(study, self._conditions(study))

    def identity_in(self, mode: Mode) -> dict[str, Any]:
        """Says nothing of the design's name: studies had keys before there were others."""
        plain = super().identity_in(mode)
        del plain["design"]
        del plain["rows_from"]
        if self._used_rows:
            plain["rows_from"] = self._used_rows
        if mode == "strict":
            plain["target_validation_rows"] = plain["target_validation_rows"] or 0
        return plain

    def _conditions(self, study: Study) -> Iterator[Condition]:
        instructions = self.instructions(study)
        validation = self.target_validation_rows
        if validation is None and study.mode == "strict":
            validation = 0
        # N = 0 validates on the task's rows, so it is the task's
        owns_zero = study.mode == "compat" and validation != 0
        for task in self.tasks:
            at_zero = f"{INSTRUCTIONS_ONLY}, {task} for validation" if owns_zero else INSTRUCTIONS_ONLY
            for size in self.sizes:
                evaluates = (task, INSTRUCTIONS) if owns_zero else answers(self.tasks, task, size)
                name = with_rows(task, size) if size else at_zero
                for draw in range(self.draws):
                    mixture = with_target(
                        instructions,
                        self.rows_from.get(task, task),
                        size,
                        self.draw_seed(draw),
                        mode=study.mode,
                        # the rows of all tasks, else the N = 0 mixtures of two tasks would differ
                        held_out=self.tasks,
                        validation_count=validation,
                    )
                    yield Condition(task, size, draw, mixture, name, evaluates, owns_zero=owns_zero)
