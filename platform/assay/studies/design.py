"""What a study compares: its design, a frozen value that says which conditions there are; `cells.py` expands it.

`target` (the default): all instruction rows and N rows of one target task. `sources`: the same, with the N rows human,
synthetic, randomly labelled, or synthetic first and then human. `hold_out`: all instruction categories but one, and N
rows of that one. `transfer`: N target rows alone, from a base model or an instruction-tuned one. `weights`: mixtures by
weights of their components. Source: Faysse et al. 2023 (arXiv 2310.14103), sections 3, B.1 and C.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from assay.config import Config
from assay.tasks.catalog import INSTRUCTION_CATEGORIES, get_task
from assay.training.spec import TrainSpec

T = TypeVar("T")

Source = Literal["H", "S", "R", "S+H"]
"""Where the N target rows come from: human annotators; a strong LLM; the LLM's inputs with labels at random; or first
some rows of the LLM's and then N human ones."""
Start = Literal["base", "merged", "stacked", "instruct"]
"""What N target rows are trained into: the base model; our instruction adapter, written into the base or served beside
the new one; or another model, tuned by somebody else."""


class Sampled(Config):
    """What all designs with N share."""

    sizes: tuple[int, ...] = Field(min_length=1)
    """Target rows N. 0 is the baseline."""
    draws: int = Field(3, ge=1)
    """Independent samples of the N rows; nested: a smaller N is a prefix of a larger one of the same draw."""
    seed: int = 0
    """Shifts all draws; a study repeated with another seed draws other rows."""
    max_tokens: int | None = Field(None, ge=1)
    """Training and validation rows whose JSON line has more words than this are left out before any is drawn (the
    paper: 512 tokens); None keeps them all."""

    @field_validator("sizes")
    @classmethod
    def _sizes(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if min(sizes) < 0:
            raise ValueError("sizes count rows and cannot be negative")
        return tuple(sorted(no_repeats("sizes", sizes)))

    def draw_seed(self, draw: int) -> int:
        """Seed of a draw's sample."""
        return self.seed * 1000 + draw


class Targets(Sampled):
    """A design with target tasks."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """Target tasks, one at a time."""

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        for task in tasks:
            get_task(task)
        return no_repeats("tasks", tasks)


class TargetGrid(Targets):
    """S1: all instruction rows, and N rows of one target task, drawn several times."""

    design: Literal["target"] = "target"
    instruction_rows: int | None = Field(None, ge=1)
    """Instruction rows in every mixture, one sample for all; None takes the whole train split."""
    validation_rows: int = Field(100, ge=0)
    """Instruction rows for the validation loss."""
    target_validation_rows: int | None = Field(None, ge=0)
    """Rows of the target task's validation split for the validation loss, where N > 0 (in `compat`, at every N). None
    is the mode's rule: none in `strict`; in `compat` the 125 of the published study, or as many as there are."""


class SourceGrid(Targets):
    """S1 with the N target rows from several sources. A point N of S+H has `synthetic_first` rows of S before them."""

    design: Literal["sources"] = "sources"
    sources: tuple[Source, ...] = Field(("H", "S", "R", "S+H"), min_length=1)
    """Which are compared; N = 0 is one mixture for all of them."""
    synthetic: Mapping[str, str] = Field(default_factory=dict)
    """Target task -> dataset of its synthetic rows; default: `<task>_synthetic`."""
    random: Mapping[str, str] = Field(default_factory=dict)
    """Target task -> dataset of its randomly labelled rows; default: `<task>_random`."""
    synthetic_first: int = Field(100, ge=1)
    """Synthetic rows of S+H, mixed with the instruction rows; the human rows come after them all."""
    instruction_rows: int | None = Field(None, ge=1)
    """Instruction rows in every mixture, one sample for all; None takes the whole train split."""
    validation_rows: int = Field(100, ge=0)
    """Instruction rows for the validation loss."""
    held_out: tuple[str, ...] = ()
    """Further datasets whose validation and test rows no training row may repeat."""

    def dataset(self, task: str, source: Source) -> str:
        """Name of the dataset that a source's rows come from."""
        if source == "H":
            return task
        if source == "R":
            return self.random.get(task, f"{task}_random")
        return self.synthetic.get(task, f"{task}_synthetic")

    @field_validator("sources")
    @classmethod
    def _distinct(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        return no_repeats("sources", sources)


class HoldOutGrid(Sampled):
    """The synthetic study: all instruction categories but one, and N rows of that one. Evaluated on that category."""

    design: Literal["hold_out"] = "hold_out"
    categories: tuple[str, ...] = Field(INSTRUCTION_CATEGORIES, min_length=1)
    """Categories that are held out, one at a time."""
    instruction_rows: int | None = Field(None, ge=1)
    """Rows of the other categories in every mixture; None takes them all."""
    validation_rows: int = Field(100, ge=0)
    """Rows of the other categories for the validation loss."""
    alone: bool = False
    """Whether a model is trained on each category alone too, by at most 1,300 rows: the arm "<category> only"."""

    @field_validator("categories")
    @classmethod
    def _known(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(categories) - set(INSTRUCTION_CATEGORIES))
        if unknown:
            raise ValueError(f"saw {unknown[0]!r}; expected some of {', '.join(INSTRUCTION_CATEGORIES)}")
        return no_repeats("categories", categories)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What is evaluated: the categories."""
        return self.categories


class TransferGrid(Targets):
    """S2: N target rows alone, from several starting points. N = 0 is the starting point itself, untrained."""

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


class WeightGrid(Config):
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
    draws: int = Field(1, ge=1)
    """Independent samples of the rows."""
    seed: int = 0
    """Shifts all draws."""
    validation_rows: int = Field(100, ge=0)
    """Instruction rows for the validation loss."""
    max_tokens: int | None = Field(None, ge=1)
    """Training and validation rows whose JSON line has more words than this are left out before any is drawn (the
    paper: 512 tokens); None keeps them all."""

    @model_validator(mode="after")
    def _known_components(self) -> WeightGrid:
        for task in no_repeats("tasks", self.tasks):
            get_task(task)
        for point in self.points:
            unknown = sorted(set(point) - {"instructions", *self.tasks})
            if unknown:
                raise ValueError(f"points: saw {unknown[0]!r}; expected instructions, {', '.join(self.tasks)}")
            if min(point.values(), default=0.0) < 0 or sum(point.values()) <= 0:
                raise ValueError(f"points: saw {dict(point)}; expected weights of at least 0, one of them above")
        return self

    def draw_seed(self, draw: int) -> int:
        """Seed of a draw's sample."""
        return self.seed * 1000 + draw


def no_repeats(what: str, values: tuple[T, ...]) -> tuple[T, ...]:
    """The values, refused where one stands twice."""
    if len(set(values)) != len(values):
        raise ValueError(f"{what}: saw a repeated entry in {list(values)}")
    return values


def _which(value: Any) -> str:
    named = value.get("design", "target") if isinstance(value, Mapping) else getattr(value, "design", "target")
    return f"@{named}"


Design = Annotated[
    Annotated[TargetGrid, Tag("@target")]
    | Annotated[SourceGrid, Tag("@sources")]
    | Annotated[HoldOutGrid, Tag("@hold_out")]
    | Annotated[TransferGrid, Tag("@transfer")]
    | Annotated[WeightGrid, Tag("@weights")],
    Discriminator(_which),
]
"""The field `grid` of a study, told apart by its `design`."""
