"""Design `sources`: the N target rows human, synthetic, randomly labelled, or synthetic first and then human.

Source: Faysse et al. 2023 (arXiv 2310.14103), section 5 and appendix C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from assay.mixtures.designs import synthetic_then_human, with_target
from assay.mixtures.spec import MixtureSpec
from assay.studies.designs.cell import INSTRUCTIONS_ONLY, Cell, Condition, with_rows
from assay.studies.designs.design import no_repeats, with_seeds
from assay.studies.designs.sampled import TargetsAmongInstructions, answers

if TYPE_CHECKING:
    from assay.studies.spec import Study

Source = Literal["H", "S", "R", "S+H"]
"""Where the N target rows come from: human annotators; a strong LLM; the LLM's inputs with labels at random; or first
some rows of the LLM's and then N human ones."""


class SourceGrid(TargetsAmongInstructions):
    """S1 with the N target rows from several sources. A point N of S+H has `synthetic_first` rows of S before them."""

    has_series: ClassVar[bool] = True

    design: Literal["sources"] = "sources"
    sources: tuple[Source, ...] = Field(("H", "S", "R", "S+H"), min_length=1)
    """Which are compared; N = 0 is one mixture for all of them."""
    synthetic: Mapping[str, str] = Field(default_factory=dict)
    """Target task -> dataset of its synthetic rows; default: `<task>_synthetic`."""
    random: Mapping[str, str] = Field(default_factory=dict)
    """Target task -> dataset of its randomly labelled rows; default: `<task>_random`."""
    synthetic_first: int = Field(100, ge=1)
    """Synthetic rows of S+H, mixed with the instruction rows; the human rows come after them all."""
    held_out: tuple[str, ...] = ()
    """Further datasets whose validation and test rows no training row may repeat."""

    @field_validator("sources")
    @classmethod
    def _distinct(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        return no_repeats("sources", sources)

    def dataset(self, task: str, source: Source) -> str:
        """Name of the dataset that a source's rows come from."""
        if source == "H":
            return task
        if source == "R":
            return self.random.get(task, f"{task}_random")
        return self.synthetic.get(task, f"{task}_synthetic")

    def datasets(self, study: Study) -> tuple[str, ...]:
        """The instruction set, the tasks, and what the sources' rows come from."""
        drawn = [self.dataset(task, source) for task in self.tasks for source in self.sources if source != "S+H"]
        if "S+H" in self.sources:
            drawn += [self.dataset(task, "S") for task in self.tasks]
        return (*super().datasets(study), *dict.fromkeys(drawn), *self.held_out)

    def cells(self, study: Study) -> Iterable[Cell]:
        """Task, source, N, draw."""
        return with_seeds(study, self._conditions(study))

    def _conditions(self, study: Study) -> Iterator[Condition]:
        for task in self.tasks:
            for source in self.sources:
                for size in self.sizes:
                    evaluates = answers(self.tasks, task, size)
                    series = source if size else ""
                    name = with_rows(task, size, source) if size else INSTRUCTIONS_ONLY
                    for draw in range(self.draws):
                        mixture = self._mixture(study, task, source, size, draw)
                        is_curriculum = mixture.order == "curriculum"
                        yield Condition(task, size, draw, mixture, name, evaluates, series, is_curriculum)

    def _mixture(self, study: Study, task: str, source: Source, size: int, draw: int) -> MixtureSpec:
        instructions, seed = self.instructions(study), self.draw_seed(draw)
        held_out = (*self.tasks, *self.held_out)
        if source == "S+H" and size:
            return synthetic_then_human(
                instructions,
                self.dataset(task, "S"),
                task,
                size,
                seed,
                num_synthetic=self.synthetic_first,
                mode=study.mode,
                held_out=held_out,
            )
        name = task if source == "S+H" else self.dataset(task, source)
        mixture = with_target(instructions, name, size, seed, mode="strict", held_out=held_out, validation_count=0)
        return mixture.replace(mode=study.mode)
