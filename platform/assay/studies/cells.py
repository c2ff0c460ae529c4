"""From a study to its cells: base model x mixture x training seed, a pure expansion that touches nothing.

Cells are what the user asked for; trainings are what identity leaves of them. In strict mode the N = 0 cells of
all tasks and draws name one mixture, so the 224 cells of IFTEval's S1 are 197 trainings: found by comparing
mixtures, not by treating zero apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from assay.mixtures.spec import ComponentSpec, MixtureSpec
from assay.studies.spec import MixtureGrid, Study
from assay.training.spec import TrainSpec

INSTRUCTION_DRAW = 1_000_003
"""Draw that samples the instruction rows: the same rows in every mixture, unrelated to the draws of target rows."""


@dataclass(frozen=True)
class Cell:
    """One condition of a study."""

    base_model: str
    task: str
    num_target: int
    draw: int
    training_seed: int
    mixture: MixtureSpec
    train: TrainSpec

    @property
    def arm(self) -> str:
        """What the leaderboard calls this cell's mixture."""
        return arm_label(self.task, self.num_target)

    @property
    def label(self) -> str:
        """What people call this cell."""
        return f"{self.base_model} {self.arm} draw {self.draw} seed {self.training_seed}"


def arm_label(task: str, num_target: int) -> str:
    """Name of a mixture among those that are compared."""
    return f"{task} N={num_target}" if num_target else "instructions only"


def expand(study: Study) -> list[Cell]:
    """All cells of a study in a fixed order: base model, task, N, draw, training seed."""
    recipes = {seed: study.train.replace(seed=seed) for seed in {*study.training_seeds, *study.seeds_at_zero}}
    mixtures = list(_mixtures(study))
    return [
        Cell(base_model, task, size, draw, seed, mixture, recipes[seed])
        for base_model in study.base_models
        for task, size, draw, mixture in mixtures
        for seed in (study.training_seeds if size else study.seeds_at_zero)
    ]


def _mixtures(study: Study) -> Iterator[tuple[str, int, int, MixtureSpec]]:
    for task in study.grid.tasks:
        for size in study.grid.sizes:
            for draw in range(study.grid.draws):
                yield task, size, draw, mixture_for(study, task, size, draw)


def mixture_for(study: Study, task: str, size: int, draw: int) -> MixtureSpec:
    """The mixture of one (task, N, draw)."""
    grid, instructions = study.grid, study.data.instructions
    seed = _draw_seed(grid, draw)
    validates_target = size > 0 or study.mode == "compat"
    return MixtureSpec(
        mode=study.mode,
        train=(
            _component(instructions, "train", grid.instruction_rows, INSTRUCTION_DRAW + grid.seed),
            _component(task, "train", size, seed),
        ),
        validation=(
            _component(instructions, "validation", grid.validation_rows, INSTRUCTION_DRAW + grid.seed),
            _component(task, "validation", grid.target_validation_rows if validates_target else 0, seed),
        ),
        # the rows of every task are held out from every mixture, else the N = 0 mixtures of two tasks would differ
        held_out=grid.tasks,
    )


def _component(dataset: str, split: str, count: int | None, draw: int) -> ComponentSpec:
    return ComponentSpec(name=dataset, dataset=dataset, split=split, count=count, draw=draw)


def _draw_seed(grid: MixtureGrid, draw: int) -> int:
    return grid.seed * 1000 + draw
