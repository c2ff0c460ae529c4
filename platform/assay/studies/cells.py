"""From a study to its cells: base model x condition x training seed, a pure expansion that touches nothing.

Cells are what the user asked for; trainings are what identity leaves of them. In strict mode the N = 0 cells of
all tasks and draws name one mixture, so IFTEval's S1 is 7 x 7 x 4 trainings and those of N = 0: found by comparing
mixtures, not by treating zero apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from assay.metaeval.study_tables.frame import ALONE
from assay.mixtures.designs import (
    CATEGORY_CAP,
    INSTRUCTION_DRAW,
    Instructions,
    category_alone,
    instructions_alone,
    synthetic_then_human,
    target_alone,
    with_target,
    without_category,
)
from assay.mixtures.shares import largest_remainder
from assay.mixtures.spec import ComponentSpec, MixtureSpec
from assay.records import INSTRUCTIONS
from assay.studies.design import (
    HoldOutGrid,
    Source,
    SourceGrid,
    Start,
    TargetGrid,
    TransferGrid,
    WeightGrid,
)
from assay.studies.spec import Study
from assay.training.spec import TrainSpec

MANY = "*"
"""Task of a mixture that has rows of several target tasks."""
START_LABELS: dict[Start, str] = {
    "base": "base",
    "merged": "our IFT, merged",
    "stacked": "our IFT, stacked",
    "instruct": "other IFT",
}


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
    label_at_zero: str = "instructions only"
    repeats: str = ""
    """Series in which the same weights stand already, up to rounding: shown, and not counted again."""
    stops: bool | None = None
    """In a study of IFS: whether the stopping rule ends this training. None: nothing is evaluated inside it."""

    @property
    def is_trained(self) -> bool:
        """Whether the cell has training rows; one without is its starting point, as it is."""
        return bool(self.mixture.train)

    @property
    def arm(self) -> str:
        """What the leaderboard calls this cell's mixture."""
        if self.num_target == 0:
            return self.label_at_zero
        if self.series == ALONE:
            return f"{self.task} {ALONE}"
        name = f"{self.task} N={self.num_target}"
        return name if not self.series else self.series if self.task == MANY else f"{name} {self.series}"

    @property
    def label(self) -> str:
        """What people call this cell."""
        return f"{self.base_model} {self.arm} draw {self.draw} seed {self.training_seed}"


@dataclass(frozen=True)
class _Condition:
    """A cell without its seeds and, mostly, without its base model."""

    task: str
    num_target: int
    draw: int
    mixture: MixtureSpec
    evaluates: tuple[str, ...]
    series: str = ""
    is_curriculum: bool = False
    owns_zero: bool = False
    label_at_zero: str = "instructions only"


def expand(study: Study) -> list[Cell]:
    """All cells of a study in a fixed order: base model, task, series, N, draw, training seed."""
    if isinstance(study.grid, TransferGrid):
        return list(_transfer(study, study.grid))
    by_draw = {draw: study.seeds_of_draw(draw) for draw in range(study.grid.draws)}
    seeds = {seed for part in (*by_draw.values(), study.seeds_at_zero) for seed in part}
    recipes = {(seed, False): study.train.replace(seed=seed) for seed in seeds}
    recipes |= {(seed, True): study.train.replace(seed=seed, order="given") for seed in seeds}
    conditions = [replace(part, mixture=_checked(study, part.mixture)) for part in _conditions(study)]
    cells = [
        Cell(
            base_model,
            part.task,
            part.num_target,
            part.draw,
            seed,
            part.mixture,
            recipes[seed, part.is_curriculum],
            part.series,
            part.evaluates,
            owns_zero=part.owns_zero,
            label_at_zero=part.label_at_zero,
        )
        for base_model in study.base_models
        for part in conditions
        for seed in (by_draw[part.draw] if part.num_target else study.seeds_at_zero)
    ]
    if study.ifs is None:
        return cells
    return [variant for cell in cells for variant in (_in_full(cell), _stopped(cell))]


STOPPED = "stopped"
"""Series of the trainings that the stopping rule ends."""


def _in_full(cell: Cell) -> Cell:
    return replace(cell, stops=False)


def _stopped(cell: Cell) -> Cell:
    series = f"{cell.series} {STOPPED}".strip()
    return replace(cell, stops=True, series=series, label_at_zero=f"{cell.label_at_zero}, {STOPPED}")


def _conditions(study: Study) -> Iterator[_Condition]:
    grid = study.grid
    if isinstance(grid, TargetGrid):
        return _target(study, grid)
    if isinstance(grid, SourceGrid):
        return _sources(study, grid)
    if isinstance(grid, HoldOutGrid):
        return _hold_out(study, grid)
    assert isinstance(grid, WeightGrid)
    return _weights(study, grid)


def _answers(tasks: tuple[str, ...], task: str, size: int) -> tuple[str, ...]:
    """The model without target rows is the first point of every task's curve; the others answer their own task."""
    return (task, INSTRUCTIONS) if size else (*tasks, INSTRUCTIONS)


def _target(study: Study, grid: TargetGrid) -> Iterator[_Condition]:
    instructions = _instructions(study, grid)
    validation = grid.target_validation_rows
    if validation is None and study.mode == "strict":
        validation = 0
    owns_zero = study.mode == "compat" and validation != 0  # N = 0 validates on the task's rows, so it is the task's
    for task in grid.tasks:
        for size in grid.sizes:
            for draw in range(grid.draws):
                mixture = with_target(
                    instructions,
                    task,
                    size,
                    grid.draw_seed(draw),
                    mode=study.mode,
                    # the rows of all tasks, else the N = 0 mixtures of two tasks would differ
                    held_out=grid.tasks,
                    validation_count=validation,
                )
                if owns_zero:
                    label = f"instructions only, {task} for validation"
                    answers = (task, INSTRUCTIONS)
                    yield _Condition(task, size, draw, mixture, answers, owns_zero=True, label_at_zero=label)
                else:
                    yield _Condition(task, size, draw, mixture, _answers(grid.tasks, task, size))


def _sources(study: Study, grid: SourceGrid) -> Iterator[_Condition]:
    instructions = _instructions(study, grid)
    held_out = (*grid.tasks, *grid.held_out)
    for task in grid.tasks:
        for source in grid.sources:
            for size in grid.sizes:
                for draw in range(grid.draws):
                    mixture = _source_mixture(study, grid, instructions, held_out, task, source, size, draw)
                    series = source if size else ""
                    is_curriculum = mixture.order == "curriculum"
                    evaluates = _answers(grid.tasks, task, size)
                    yield _Condition(task, size, draw, mixture, evaluates, series, is_curriculum)


def _source_mixture(
    study: Study,
    grid: SourceGrid,
    instructions: Instructions,
    held_out: tuple[str, ...],
    task: str,
    source: Source,
    size: int,
    draw: int,
) -> MixtureSpec:
    seed = grid.draw_seed(draw)
    if source == "S+H" and size:
        return synthetic_then_human(
            instructions,
            grid.dataset(task, "S"),
            task,
            size,
            seed,
            num_synthetic=grid.synthetic_first,
            mode=study.mode,
            held_out=held_out,
        )
    name = task if source == "S+H" else grid.dataset(task, source)
    return with_target(instructions, name, size, seed, mode="strict", held_out=held_out, validation_count=0).replace(
        mode=study.mode
    )


def _hold_out(study: Study, grid: HoldOutGrid) -> Iterator[_Condition]:
    instructions = Instructions(study.data.instructions, grid.instruction_rows, grid.validation_rows, grid.seed)
    is_crossed = study.evaluation.cross_category_rows > 0
    for category in grid.categories:
        evaluates = (category, INSTRUCTIONS) if is_crossed else (category,)
        label = f"without {category}"
        for size in grid.sizes:
            for draw in range(grid.draws):
                mixture = without_category(instructions, category, size, grid.draw_seed(draw), mode=study.mode)
                yield _Condition(category, size, draw, mixture, evaluates, owns_zero=True, label_at_zero=label)
        for draw in range(grid.draws if grid.alone else 0):
            mixture = category_alone(study.data.instructions, category, grid.draw_seed(draw), mode=study.mode)
            yield _Condition(category, CATEGORY_CAP, draw, mixture, evaluates, ALONE)


def _weights(study: Study, grid: WeightGrid) -> Iterator[_Condition]:
    names = ("instructions", *grid.tasks)
    seen: set[str] = set()
    for weights in ({"instructions": 1.0}, *grid.points):
        powers = [weights.get(name, 0.0) ** (1 / grid.temperature) for name in names]
        shares = [power / sum(powers) for power in powers]
        counts = dict(zip(names, largest_remainder(shares, grid.total), strict=True))
        label = ", ".join(f"{name} {count}" for name, count in counts.items())
        if label in seen:
            continue
        seen.add(label)
        targets = grid.total - counts["instructions"]
        for draw in range(grid.draws):
            mixture = _weighted(study, grid, counts, grid.draw_seed(draw))
            series = f"{label} {grid.share_of}" if targets else ""
            yield _Condition(MANY, targets, draw, mixture, (*grid.tasks, INSTRUCTIONS), series)


def _weighted(study: Study, grid: WeightGrid, counts: Mapping[str, int], seed: int) -> MixtureSpec:
    parts = {"instructions": (study.data.instructions, INSTRUCTION_DRAW + grid.seed)}
    parts |= {task: (task, seed) for task in grid.tasks}
    is_rows = grid.share_of == "rows"
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
        validation=(Instructions(study.data.instructions, None, grid.validation_rows, grid.seed).part("validation"),),
        mode=study.mode,
        held_out=grid.tasks,
        total=None if is_rows else grid.total,
        share_of=grid.share_of,
    )


def _transfer(study: Study, grid: TransferGrid) -> Iterator[Cell]:
    by_draw = {draw: study.seeds_of_draw(draw) for draw in range(grid.draws)}
    recipes = {seed: study.train.replace(seed=seed) for seeds in by_draw.values() for seed in seeds}
    instructions = Instructions(
        study.data.instructions, grid.instruction_rows, grid.instruction_validation_rows, grid.seed
    )
    tuned_on = _checked(study, instructions_alone(instructions, mode=study.mode, held_out=grid.tasks))
    tuning = (grid.instruction_train or study.train).replace(seed=grid.instruction_seed)
    mixtures = {
        (task, size, draw): _checked(
            study,
            target_alone(
                task,
                size,
                grid.draw_seed(draw),
                mode=study.mode,
                validation_count=grid.validation_rows,
                held_out=grid.tasks if size else (),
            ),
        )
        for task in grid.tasks
        for size in grid.sizes
        for draw in range(grid.draws)
    }
    for base_model in study.base_models:
        for start in grid.starts:
            tuned = Tuned(tuned_on, tuning, start == "stacked") if start in ("merged", "stacked") else None
            model = grid.instruct_models[base_model] if start == "instruct" else base_model
            series = START_LABELS[start]
            for (task, size, draw), mixture in mixtures.items():
                for seed in by_draw[draw] if size else by_draw[0][:1]:
                    yield Cell(
                        model,
                        task,
                        size,
                        draw,
                        seed,
                        mixture,
                        recipes[seed],
                        series,
                        _answers(grid.tasks, task, size),
                        tuned,
                        base_model,
                        label_at_zero=f"{series}, untrained",
                        repeats=START_LABELS["merged"] if start == "stacked" and "merged" in grid.starts else "",
                    )


def _checked(study: Study, mixture: MixtureSpec) -> MixtureSpec:
    """The mixture with the study's own rules for leaks and long rows, if it has any."""
    if study.leaks is not None:
        mixture = mixture.replace(leaks=study.leaks)
    if study.grid.max_tokens is not None and mixture.train:
        mixture = mixture.replace(max_tokens=study.grid.max_tokens)
    return mixture


def _instructions(study: Study, grid: TargetGrid | SourceGrid) -> Instructions:
    return Instructions(study.data.instructions, grid.instruction_rows, grid.validation_rows, grid.seed)
