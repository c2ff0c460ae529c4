"""What a design expands to: cells, each one condition of a study. Plain values, whatever the design."""

from __future__ import annotations

from dataclasses import dataclass

from assay.mixtures.spec import MixtureSpec
from assay.preference.sources import PairsAsked
from assay.training.spec import TrainSpec

STOPPED = "stopped"
"""Series of the trainings that the stopping rule ends."""
INSTRUCTIONS_ONLY = "instructions only"
"""What a mixture without target rows is called."""


@dataclass(frozen=True)
class Tuned:
    """The instruction tuning that a cell starts from."""

    mixture: MixtureSpec
    train: TrainSpec
    is_stacked: bool
    """The instruction adapter stays an adapter, served together with the new one; else it is written into the base."""


@dataclass(frozen=True)
class Cell:
    """One condition of a study."""

    base_model: str
    """The study's name of the model that is trained."""
    task: str
    """Target task (of `hold_out`: the category)."""
    num_target: int
    draw: int
    training_seed: int
    mixture: MixtureSpec
    train: TrainSpec
    condition: str
    """What the design calls the mixture, whether or not a rule ends its training."""
    series: str = ""
    """Condition beside N; empty where the design varies none."""
    evaluates: tuple[str, ...] = ()
    """Evaluation sets that this cell's model answers."""
    start: Tuned | None = None
    """What is trained before; None: nothing."""
    listed_under: str = ""
    """Base model under whose name the tables list this cell; empty: `base_model`."""
    owns_zero: bool = False
    """Whether N = 0 belongs to the cell's task alone, as the mixture without a category does."""
    repeats: str = ""
    """Series in which the same weights stand already, up to rounding: shown, and not counted again."""
    stops: bool | None = None
    """In a study of IFS: whether the stopping rule ends this training. None: nothing is evaluated inside it."""
    pairs: PairsAsked | None = None
    """Preferences that are trained on instead of the mixture, whose validation rows are their prompts."""

    given: str = ""
    """Name of the model that is compared as it is; empty: the cell has a base model and what is trained into it."""

    @property
    def is_trained(self) -> bool:
        """Whether the cell has training rows; one without is its starting point, as it is."""
        return self.pairs is not None or bool(self.mixture.train)

    @property
    def arm(self) -> str:
        """What the leaderboard calls this cell's mixture."""
        if not self.stops:
            return self.condition
        return f"{self.condition} {STOPPED}" if self.num_target else f"{self.condition}, {STOPPED}"

    @property
    def label(self) -> str:
        """What people call this cell."""
        return f"{self.base_model} {self.arm} draw {self.draw} seed {self.training_seed}"


@dataclass(frozen=True)
class Condition:
    """A cell without its seeds and its base model."""

    task: str
    num_target: int
    draw: int
    mixture: MixtureSpec
    name: str
    """What reports call it, equal for all its draws."""
    evaluates: tuple[str, ...]
    series: str = ""
    is_curriculum: bool = False
    owns_zero: bool = False


def with_rows(task: str, size: int, series: str = "") -> str:
    """What a mixture with target rows is called."""
    return f"{task} N={size} {series}".rstrip()
