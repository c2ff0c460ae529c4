"""Design `hold_out`: all instruction categories but one, and N rows of that one.

Source: the synthetic study of Faysse et al. 2023 (arXiv 2310.14103), section B.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from assay.config import Later
from assay.metaeval.study_tables.frame import ALONE
from assay.mixtures.designs import CATEGORY_CAP, Instructions, category_alone, without_category
from assay.records import INSTRUCTIONS
from assay.studies.designs.asked import AskedSet
from assay.studies.designs.cell import Cell, Condition, with_rows
from assay.studies.designs.design import no_repeats, with_seeds
from assay.studies.designs.sampled import Sampled
from assay.tasks.catalog import INSTRUCTION_CATEGORIES

if TYPE_CHECKING:
    from assay.studies.spec import Study


class HoldOutGrid(Sampled):
    """The synthetic study: all instruction categories but one, and N rows of that one. Evaluated on that category."""

    crosses_categories: ClassVar[bool] = True
    paper_places: ClassVar[Mapping[str, str]] = {
        "scorer_similarity": "figure 1",
        "set_means": "table 2",
        "means_with_intervals": "table 2, and the right of its table 1",
    }

    design: Literal["hold_out"] = "hold_out"
    categories: tuple[str, ...] = Field(INSTRUCTION_CATEGORIES, min_length=1)
    """Categories that are held out, one at a time."""
    instruction_rows: int | None = Field(None, ge=1)
    """Rows of the other categories in every mixture; None takes them all."""
    validation_rows: int = Field(100, ge=0)
    """Rows of the other categories for the validation loss."""
    alone: Annotated[bool, Later(False)] = False
    """Whether a model is trained on each category alone too, by at most 1,300 rows: the arm "<category> only"."""

    @field_validator("categories")
    @classmethod
    def _known(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(categories) - set(INSTRUCTION_CATEGORIES))
        if unknown:
            raise ValueError(f"saw {unknown[0]!r}; expected some of {', '.join(INSTRUCTION_CATEGORIES)}")
        return no_repeats("categories", categories)

    def datasets(self, study: Study) -> tuple[str, ...]:
        """The instruction set."""
        return (study.data.instructions,)

    def evaluation_sets(self, study: Study) -> tuple[AskedSet, ...]:
        """The categories, and rows of all twelve where the study asks for them."""
        spec, dataset = study.evaluation, study.data.instructions
        tokens = spec.instruction_max_new_tokens
        sets = [
            AskedSet(name, dataset, spec.target_rows, tokens, "evaluation.target_rows", category=name)
            for name in self.categories
        ]
        if spec.cross_category_rows:
            rows, field = spec.cross_category_rows, "evaluation.cross_category_rows"
            sets.append(AskedSet(INSTRUCTIONS, dataset, None, tokens, field, "forgetting", per_category=rows))
        return tuple(sets)

    def cells(self, study: Study) -> Iterable[Cell]:
        """Category, N, draw."""
        return with_seeds(study, self._conditions(study))

    def _conditions(self, study: Study) -> Iterator[Condition]:
        instructions = Instructions(study.data.instructions, self.instruction_rows, self.validation_rows, self.seed)
        is_crossed = study.evaluation.cross_category_rows > 0
        for category in self.categories:
            evaluates = (category, INSTRUCTIONS) if is_crossed else (category,)
            for size in self.sizes:
                name = with_rows(category, size) if size else f"without {category}"
                for draw in range(self.draws):
                    mixture = without_category(instructions, category, size, self.draw_seed(draw), mode=study.mode)
                    yield Condition(category, size, draw, mixture, name, evaluates, owns_zero=True)
            for draw in range(self.draws if self.alone else 0):
                mixture = category_alone(study.data.instructions, category, self.draw_seed(draw), mode=study.mode)
                yield Condition(category, CATEGORY_CAP, draw, mixture, f"{category} {ALONE}", evaluates, ALONE)
