"""Design `transfer`: N target rows alone, from a base model or an instruction-tuned one.

Source: S2 of Faysse et al. 2023 (arXiv 2310.14103).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from assay.mixtures.designs import Instructions, instructions_alone, target_alone
from assay.mixtures.spec import MixtureSpec
from assay.studies.designs.cell import Cell, Tuned, with_rows
from assay.studies.designs.design import by_rules_of, no_repeats, stackable
from assay.studies.designs.sampled import Targets, answers
from assay.training.spec import TrainSpec

if TYPE_CHECKING:
    from assay.studies.spec import Study

Start = Literal["base", "merged", "stacked", "instruct"]
"""What N target rows are trained into: the base model; our instruction adapter, written into the base or served beside
the new one; or another model, tuned by somebody else."""
START_LABELS: Mapping[Start, str] = {
    "base": "base",
    "merged": "our IFT, merged",
    "stacked": "our IFT, stacked",
    "instruct": "other IFT",
}


class TransferGrid(Targets):
    """S2: N target rows alone, from several starting points. N = 0 is the starting point itself, untrained."""

    has_series: ClassVar[bool] = True

    design: Literal["transfer"] = "transfer"
    starts: tuple[Start, ...] = Field(("base", "merged"), min_length=1)
    """Starting points. "merged" and "stacked" train into the same sum of weights; they differ in how it is served."""
    instruct_models: Mapping[str, str] = Field(default_factory=dict)
    """Base model -> the tuned model of its family, for "instruct"."""
    instruction_rows: int | None = Field(None, ge=1)
    """Instruction rows that our instruction adapter is trained on; None takes the whole train split."""
    instruction_train: TrainSpec | None = None
    """Recipe of the instruction adapter; None: the study's `train`."""
    instruction_seed: int = Field(0, ge=0)
    """Training seed of the instruction adapter: there is one of it per base model."""
    instruction_validation_rows: int = Field(100, ge=0)
    """Instruction rows for its validation loss."""
    validation_rows: int = Field(100, ge=0)
    """Further target rows of the train split for the validation loss."""

    @model_validator(mode="after")
    def _instruct_models_named(self) -> TransferGrid:
        if ("instruct" in self.starts) != bool(self.instruct_models):
            raise ValueError("starts has 'instruct' exactly where instruct_models names a model for it")
        no_repeats("starts", self.starts)
        return self

    @property
    def trains_zero(self) -> bool:
        """N = 0 is the starting point as it is."""
        return False

    @property
    def has_both(self) -> bool:
        """Whether the same sum of weights is served in two ways."""
        return {"merged", "stacked"} <= {*self.starts}

    def check(self, study: Study) -> None:
        """A tuned model for each base, and nothing evaluated inside trainings."""
        super().check(study)
        unpaired = sorted(set(study.base_models) ^ set(self.instruct_models))
        if "instruct" in self.starts and unpaired:
            raise ValueError(f"grid.instruct_models: expected a model for each of base_models; {unpaired} differ")
        if "stacked" in self.starts and any(recipe.method == "full" for recipe in self.recipes(study.train)):
            raise ValueError("grid.starts: 'stacked' serves two adapters; expected 'merged' with train.method 'full'")
        if "stacked" in self.starts:
            stackable("grid.instruction_train", self.recipes(study.train))
        if study.ifs is not None:
            raise ValueError("ifs is for studies that train once; a transfer study trains in two steps")

    def all_models(self, base_models: Sequence[str]) -> tuple[str, ...]:
        """The bases, and the tuned models that somebody else made."""
        return tuple(dict.fromkeys((*base_models, *self.instruct_models.values())))

    def recipes(self, train: TrainSpec) -> tuple[TrainSpec, ...]:
        """The study's, and that of the instruction adapter."""
        return (train,) if self.instruction_train is None else (train, self.instruction_train)

    def notes(self) -> tuple[str, ...]:
        """That a sum of weights served in two ways is counted once."""
        if not self.has_both:
            return ()
        merged, stacked = START_LABELS["merged"], START_LABELS["stacked"]
        note = (
            f'"{stacked}" has the same sum of weights as "{merged}", served in another way. Its runs are shown in '
            "curves and tables, but are no further evidence: CIT, CAT, TFA, similarity of scorers, means over runs, "
            "ranks and Holm's families leave them out."
        )
        return (note,)

    def cells(self, study: Study) -> Iterable[Cell]:
        """Base model, start, task, N, draw, seed."""
        by_draw = {draw: study.seeds_of_draw(draw) for draw in range(self.draws)}
        recipes = {seed: study.train.replace(seed=seed) for seeds in by_draw.values() for seed in seeds}
        tuned_on, tuning = self._tuning(study)
        mixtures = self._mixtures(study)
        for base_model in study.base_models:
            for start in self.starts:
                tuned = Tuned(tuned_on, tuning, start == "stacked") if start in ("merged", "stacked") else None
                series = START_LABELS[start]
                for (task, size, draw), mixture in mixtures.items():
                    for seed in by_draw[draw] if size else by_draw[0][:1]:
                        yield Cell(
                            self.instruct_models[base_model] if start == "instruct" else base_model,
                            task,
                            size,
                            draw,
                            seed,
                            mixture,
                            recipes[seed],
                            with_rows(task, size, series) if size else f"{series}, untrained",
                            series,
                            answers(self.tasks, task, size),
                            tuned,
                            base_model,
                            repeats=START_LABELS["merged"] if start == "stacked" and self.has_both else "",
                        )

    def _tuning(self, study: Study) -> tuple[MixtureSpec, TrainSpec]:
        """What our instruction adapter is trained on, and how."""
        instructions = Instructions(
            study.data.instructions, self.instruction_rows, self.instruction_validation_rows, self.seed
        )
        mixture = instructions_alone(instructions, mode=study.mode, held_out=self.tasks)
        return by_rules_of(study, mixture), (self.instruction_train or study.train).replace(seed=self.instruction_seed)

    def _mixtures(self, study: Study) -> dict[tuple[str, int, int], MixtureSpec]:
        """Mixture by task, N and draw."""
        return {key: by_rules_of(study, mixture) for key, mixture in self._target_mixtures(study)}

    def _target_mixtures(self, study: Study) -> Iterator[tuple[tuple[str, int, int], MixtureSpec]]:
        for task in self.tasks:
            for size in self.sizes:
                for draw in range(self.draws):
                    mixture = target_alone(
                        task,
                        size,
                        self.draw_seed(draw),
                        mode=study.mode,
                        validation_count=self.validation_rows,
                        held_out=self.tasks if size else (),
                    )
                    yield (task, size, draw), mixture
