"""What every design says of itself. Code outside of this package asks it, and never which design it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar

from pydantic import Field

from assay.config import Config, Later
from assay.errors import ConfigError
from assay.mixtures.spec import MixtureSpec
from assay.records import Mode
from assay.studies.designs.asked import AskedSet
from assay.studies.designs.cell import Cell, Condition
from assay.studies.designs.searched import SearchedSpace
from assay.studies.given.model import GivenModel, Ranking
from assay.training.spec import TrainSpec

if TYPE_CHECKING:
    from assay.studies.designs.preference import PreferenceGrid
    from assay.studies.spec import Study

T = TypeVar("T")

PAPER_SETTINGS: Mapping[str, str] = MappingProxyType(
    {"scorer_similarity_runs": "table 3, the CAT setting", "scorer_similarity_in_tasks": "table 4, the CIT setting"}
)
"""Where the paper shows what a figure of a study with target tasks shows."""


class DesignBase(Config, ABC):
    """A design: which conditions a study compares, and what follows from that."""

    paper_places: ClassVar[Mapping[str, str]] = PAPER_SETTINGS
    """Figure -> the paper's figure or table that its numbers stand for."""
    has_series: ClassVar[bool] = False
    """Whether curves of one task differ in something beside N: in source or starting point."""
    counts_targets: ClassVar[bool] = True
    """Whether N counts target rows, so that CIT and CAT leave out runs with many of them."""
    asks_own_sets: ClassVar[bool] = False
    """Whether `evaluation.sets` says what is asked and `goal` what is best; else the design says it itself."""
    validated_by: ClassVar[str] = ""
    """Which fields make validation rows of what is asked, for messages."""
    crosses_categories: ClassVar[bool] = False
    """Whether models may answer rows of all instruction categories, `evaluation.cross_category_rows`."""

    design: str
    draws: int = Field(1, ge=1)
    """Independent samples of the rows."""
    seed: int = 0
    """Shifts all draws; a study repeated with another seed draws other rows."""
    max_tokens: Annotated[int | None, Later(None)] = Field(None, ge=1)
    """Training and validation rows whose JSON line has more words than this are left out before any is drawn (the
    paper: 512 tokens); None keeps them all."""

    @abstractmethod
    def cells(self, study: Study) -> Iterable[Cell]:
        """Every condition, base model and seed, in a fixed order; what a study of IFS does to them comes later."""

    @abstractmethod
    def evaluation_sets(self, study: Study) -> tuple[AskedSet, ...]:
        """What the models answer; names differ."""

    @abstractmethod
    def datasets(self, study: Study) -> tuple[str, ...]:
        """Names of the datasets that mixtures and evaluation sets read."""

    @property
    @abstractmethod
    def trains_zero(self) -> bool:
        """Whether cells of N = 0 are trainings, with training seeds of their own."""

    @property
    def asks_judge(self) -> bool:
        """Whether the design itself asks the study's judge, beside the scorer of that name."""
        return False

    @property
    def default_baseline(self) -> str | None:
        """Arm that the leaderboard compares with where the study names none; None: N = 0 of the arm's own series."""
        return None

    def validated(self, study: Study) -> tuple[str, ...] | None:
        """Datasets that have rows in the validation losses by which arms can be compared.

        None: the arms of the design share no such rows.
        """
        return None

    @property
    def shares_tokens(self) -> bool:
        """Whether mixtures share tokens, as a base's own tokenizer counts them."""
        return False

    @property
    def searched(self) -> SearchedSpace | None:
        """What `assay search` may vary; None: the design has no weights."""
        return None

    @property
    def arm_of_component(self) -> Mapping[str, str]:
        """Arm that is trained on one component alone, by component; empty where mixtures have no shares."""
        return {}

    @property
    def given(self) -> tuple[GivenModel, ...]:
        """Models that are compared as they are; empty in designs that train."""
        return ()

    @property
    def ranking(self) -> Ranking | None:
        """How the judge ranks all models over the prompts that they share; None: it does not."""
        return None

    @property
    def test_losses(self) -> Mapping[str, float]:
        """Test loss of some models that are compared as they are, to be held against their judged score."""
        return {}

    @property
    def preferences(self) -> PreferenceGrid | None:
        """What it says of pairs and methods that learn from them; None: it has none."""
        return None

    @property
    def named_objectives(self) -> tuple[str, ...]:
        """Training methods that it names itself, beside the study's recipe."""
        return ()

    def check(self, study: Study) -> None:
        """Whether the rest of the study fits the design.

        Raises:
            ValueError: it does not.
        """
        if not self.asks_own_sets:
            for field, value in (("evaluation.sets", study.evaluation.sets), ("goal", study.goal)):
                if value:
                    raise ValueError(
                        f"{field} is for the designs mixture and models; the design {self.design} says it itself"
                    )
        if study.evaluation.cross_category_rows and not self.crosses_categories:
            raise ValueError("evaluation.cross_category_rows is for the design hold_out; use instruction_rows")

    def all_models(self, base_models: Sequence[str]) -> tuple[str, ...]:
        """Every model that something is trained into."""
        return tuple(base_models)

    def recipes(self, train: TrainSpec) -> tuple[TrainSpec, ...]:
        """How models are trained, seeds left aside."""
        return (train,)

    def notes(self) -> tuple[str, ...]:
        """What a reader must know before the first number."""
        return ()

    def with_points(self, points: Sequence[Mapping[str, float]]) -> Self:
        """The design with these weights of its components, beside the points that it always has.

        Raises:
            ConfigError: it has no weights.
        """
        raise ConfigError(f"grid: the design {self.design!r} has no weights; expected weights or mixture")

    def arm_of(self, point: Mapping[str, float]) -> str:
        """What reports call the mixture of these weights in a study that has it.

        Raises:
            ConfigError: the design has no weights.
        """
        raise ConfigError(f"grid: the design {self.design!r} has no weights; expected weights or mixture")

    def identity_in(self, mode: Mode) -> dict[str, Any]:
        """`identity` in a study of this mode."""
        return self.identity()

    def draw_seed(self, draw: int) -> int:
        """Seed of a draw's sample."""
        return self.seed * 1000 + draw


def with_seeds(study: Study, conditions: Iterable[Condition], bases: Sequence[str] = ()) -> Iterator[Cell]:
    """Cells of conditions that are trained once each, from a base model as it is: these ones, or all of the study's."""
    grid = study.grid
    by_draw = {draw: study.seeds_of_draw(draw) for draw in range(grid.draws)}
    seeds = {seed for part in (*by_draw.values(), study.seeds_at_zero) for seed in part}
    recipes = {(seed, False): study.train.replace(seed=seed) for seed in seeds}
    recipes |= {(seed, True): study.train.replace(seed=seed, order="given") for seed in seeds}
    checked = [(part, by_rules_of(study, part.mixture)) for part in conditions]
    for base_model in bases or study.base_models:
        for part, mixture in checked:
            for seed in by_draw[part.draw] if part.num_target else study.seeds_at_zero:
                yield Cell(
                    base_model,
                    part.task,
                    part.num_target,
                    part.draw,
                    seed,
                    mixture,
                    recipes[seed, part.is_curriculum],
                    part.name,
                    part.series,
                    part.evaluates,
                    owns_zero=part.owns_zero,
                )


def by_rules_of(study: Study, mixture: MixtureSpec) -> MixtureSpec:
    """The mixture with the study's own rules for leaks and long rows, if it has any."""
    if study.leaks is not None:
        mixture = mixture.replace(leaks=study.leaks)
    if study.grid.max_tokens is not None and mixture.train:
        mixture = mixture.replace(max_tokens=study.grid.max_tokens)
    return mixture


def check_tasks(study: Study, tasks: Iterable[str]) -> None:
    """Refuse names of tasks that nobody defined.

    Raises:
        ConfigError: names the task and those there are.
    """
    for task in tasks:
        study.registry.tasks.get(task)


def stackable(field: str, recipes: Iterable[TrainSpec]) -> None:
    """Raise ValueError where adapters that are served as one would lie on different layers."""
    if len({recipe.target_modules for recipe in recipes}) > 1:
        raise ValueError(f"{field}.target_modules: 'stacked' serves two adapters; expected train's own layers")


def no_repeats(what: str, values: tuple[T, ...]) -> tuple[T, ...]:
    """The values, refused where one stands twice."""
    if len(set(values)) != len(values):
        raise ValueError(f"{what}: saw a repeated entry in {list(values)}")
    return values
