"""Design `weights`: mixtures by weights of the instruction set and target tasks, each of the same total."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from assay.metaeval.study_tables.frame import MANY
from assay.mixtures.designs import INSTRUCTION_DRAW, Instructions
from assay.mixtures.shares import largest_remainder
from assay.mixtures.spec import ComponentSpec, MixtureSpec
from assay.records import INSTRUCTIONS
from assay.studies.designs.asked import AskedSet, instruction_sets, task_set
from assay.studies.designs.cell import INSTRUCTIONS_ONLY, Cell, Condition
from assay.studies.designs.design import DesignBase, check_tasks, no_repeats, with_seeds
from assay.studies.designs.searched import SearchedSpace

if TYPE_CHECKING:
    from assay.studies.spec import Study


LEAST_WEIGHT = 0.01
"""Smallest weight that a search tries, of a largest of 1; weights are searched on a logarithmic scale."""


class WeightGrid(DesignBase):
    """Mixtures by weights: every point shares the same total of training rows among its components."""

    design: Literal["weights"] = "weights"
    tasks: tuple[str, ...] = Field(min_length=1)
    """Target tasks; each is a component beside the instruction set, and every mixture answers all of them."""
    total: int = Field(ge=1)
    """Training rows (or tokens, see `share_of`) of every mixture."""
    share_of: Literal["rows", "tokens"] = "rows"
    """What `total` counts and weights share. Tokens are words here, counted when the mixture is drawn."""
    points: tuple[Mapping[str, float], ...] = ()
    """Weight by component ("instructions" or a task); a component that is not named has none. The mixture of
    instruction rows alone is always there, as the baseline."""
    temperature: float = Field(1.0, gt=0)
    """Shares go by weight ** (1 / temperature)."""
    validation_rows: int = Field(100, ge=0)
    """Instruction rows for the validation loss."""

    @model_validator(mode="after")
    def _known_components(self) -> WeightGrid:
        no_repeats("tasks", self.tasks)
        for point in self.points:
            unknown = sorted(set(point) - set(self.components))
            if unknown:
                raise ValueError(f"points: saw {unknown[0]!r}; expected instructions, {', '.join(self.tasks)}")
            if min(point.values(), default=0.0) < 0 or sum(point.values()) <= 0:
                raise ValueError(f"points: saw {dict(point)}; expected weights of at least 0, one of them above")
        return self

    def check(self, study: Study) -> None:
        """Whether its tasks exist, and the rest of the study fits."""
        super().check(study)
        check_tasks(study, self.tasks)

    @property
    def trains_zero(self) -> bool:
        """The mixture of instruction rows alone."""
        return True

    @property
    def components(self) -> tuple[str, ...]:
        """The instruction set and the tasks."""
        return ("instructions", *self.tasks)

    @property
    def searched(self) -> SearchedSpace:
        """A weight of each component."""
        return SearchedSpace(self.components, self.components, LEAST_WEIGHT, 1.0, True, dict)

    def with_points(self, points: Sequence[Mapping[str, float]]) -> Self:
        """The same with these points."""
        return self.replace(points=tuple(points))

    def arm_of(self, point: Mapping[str, float]) -> str:
        """Its counts; of instruction rows alone, the baseline's name."""
        counts = self._counts(point)
        return self._series(counts) or INSTRUCTIONS_ONLY

    def _counts(self, weights: Mapping[str, float]) -> dict[str, int]:
        powers = [weights.get(name, 0.0) ** (1 / self.temperature) for name in self.components]
        counts = largest_remainder([power / sum(powers) for power in powers], self.total)
        return dict(zip(self.components, counts, strict=True))

    def _series(self, counts: Mapping[str, int]) -> str:
        label = ", ".join(f"{name} {count}" for name, count in counts.items())
        return "" if counts["instructions"] == self.total else f"{label} {self.share_of}"

    def datasets(self, study: Study) -> tuple[str, ...]:
        """The instruction set and the tasks."""
        return (study.data.instructions, *self.tasks)

    def evaluation_sets(self, study: Study) -> tuple[AskedSet, ...]:
        """The tasks' test rows, and those of the instruction set."""
        return (*(task_set(study, task) for task in self.tasks), *instruction_sets(study))

    def cells(self, study: Study) -> Iterable[Cell]:
        return with_seeds(study, self._conditions(study))

    def _conditions(self, study: Study) -> Iterator[Condition]:
        seen: set[str] = set()
        for weights in ({"instructions": 1.0}, *self.points):
            counts = self._counts(weights)
            series = self._series(counts)
            if series in seen:
                continue
            seen.add(series)
            targets = self.total - counts["instructions"]
            for draw in range(self.draws):
                mixture = self._mixture(study, counts, self.draw_seed(draw))
                name = series or INSTRUCTIONS_ONLY
                yield Condition(MANY, targets, draw, mixture, name, (*self.tasks, INSTRUCTIONS), series)

    def _mixture(self, study: Study, counts: Mapping[str, int], seed: int) -> MixtureSpec:
        parts = {"instructions": (study.data.instructions, INSTRUCTION_DRAW + self.seed)}
        parts |= {task: (task, seed) for task in self.tasks}
        is_rows = self.share_of == "rows"
        validation = Instructions(study.data.instructions, None, self.validation_rows, self.seed).part("validation")
        return MixtureSpec(
            train=tuple(
                ComponentSpec(
                    name=name,
                    dataset=dataset,
                    draw=draw,
                    count=counts[name] if is_rows else None,
                    weight=None if is_rows else counts[name],
                )
                for name, (dataset, draw) in parts.items()
                if counts[name]
            ),
            validation=(validation,),
            mode=study.mode,
            held_out=self.tasks,
            total=None if is_rows else self.total,
            share_of=self.share_of,
        )
