"""Which artifacts a study wants: cells in, keys out. Pure; equal artifacts are one artifact.

The pipeline makes what this page lists and the store does not have. Nothing else decides what is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.fingerprint import artifact_key
from assay.generation.spec import GenerationJob, predictions_key
from assay.metaeval.study_tables import RunRow
from assay.mixtures.spec import MixtureSpec, mixture_key
from assay.records import TEST
from assay.studies.cells import Cell
from assay.studies.spec import Study
from assay.tasks.catalog import INSTRUCTIONS, get_task
from assay.training.spec import TrainingJob, adapter_key

EVALUATION_SCHEMA = 1


@dataclass(frozen=True)
class Base:
    """A base model that is at hand."""

    name: str
    """What tables and reports call it: its hub id or its folder's name, never a path of this machine."""
    key: str
    path: str


@dataclass(frozen=True)
class EvaluationSet:
    """Test rows that adapters answer: the first rows of a dataset's test split."""

    name: str
    """Task name, or "instructions"."""
    key: str
    dataset_key: str
    rows: int | None
    max_new_tokens: int


@dataclass(frozen=True)
class Wanted:
    """All artifacts of a study, each once."""

    mixtures: Mapping[str, MixtureSpec]
    """Key -> spec."""
    trainings: tuple[TrainingJob, ...]
    generations: tuple[GenerationJob, ...]
    runs: tuple[RunRow, ...]
    """One per predictions artifact, in key order."""
    cells: tuple[tuple[Cell, str], ...]
    """Every cell with the key of its adapter."""

    def waves(self, size: int) -> list[tuple[TrainingJob, ...]]:
        """Trainings in waves of at most `size`: what is trained, generated and scored before the next begins."""
        return [self.trainings[start : start + size] for start in range(0, len(self.trainings), size)]


def evaluation_sets(study: Study, dataset_keys: Mapping[str, str]) -> dict[str, EvaluationSet]:
    """The evaluation sets of a study by name: its tasks, and the instruction set's test rows."""
    spec = study.evaluation
    sets = {
        task: _evaluation_set(
            task,
            dataset_keys[task],
            spec.target_rows,
            spec.max_new_tokens.get(task, get_task(task).max_new_tokens),
        )
        for task in study.grid.tasks
    }
    if spec.instruction_rows:
        key = dataset_keys[study.data.instructions]
        sets[INSTRUCTIONS] = _evaluation_set(INSTRUCTIONS, key, spec.instruction_rows, spec.instruction_max_new_tokens)
    return sets


def _evaluation_set(name: str, dataset_key: str, rows: int | None, max_new_tokens: int) -> EvaluationSet:
    key = artifact_key("evaluation", EVALUATION_SCHEMA, {"split": TEST, "rows": rows}, {"dataset": dataset_key})
    return EvaluationSet(name, key, dataset_key, rows, max_new_tokens)


def wanted(study: Study, cells: Sequence[Cell], bases: Mapping[str, Base], dataset_keys: Mapping[str, str]) -> Wanted:
    """The artifacts of these cells.

    Args:
        study: the study.
        cells: its cells, see `cells.expand`.
        bases: base models by the study's name for them.
        dataset_keys: key of each dataset by the study's name for it.
    """
    sets = evaluation_sets(study, dataset_keys)
    mixture_keys: dict[int, str] = {}
    mixtures: dict[str, MixtureSpec] = {}
    trainings: dict[str, TrainingJob] = {}
    generations: dict[str, GenerationJob] = {}
    runs: dict[str, RunRow] = {}
    placed: list[tuple[Cell, str]] = []
    for cell in cells:
        mixture = mixture_keys.get(id(cell.mixture))
        if mixture is None:
            mixture = mixture_keys[id(cell.mixture)] = mixture_key(cell.mixture, dataset_keys)
            mixtures[mixture] = cell.mixture
        base = bases[cell.base_model]
        key = adapter_key(cell.train, base_key=base.key, mixture_key=mixture)
        placed.append((cell, key))
        if key in trainings and cell.num_target:
            continue
        trainings.setdefault(key, _training(study, cell, key, base, mixture, dataset_keys))
        # the model without target rows is the first point of every task's curve; the others answer their own task
        names = [cell.task, INSTRUCTIONS] if cell.num_target else [*study.grid.tasks, INSTRUCTIONS]
        for name in names:
            if name in sets:
                job = _generation(study, base, key, sets[name], cell)
                generations.setdefault(job.key, job)
                runs.setdefault(job.key, _run(job.key, key, mixture, base, cell, name))
    return Wanted(
        mixtures=dict(sorted(mixtures.items())),
        trainings=tuple(trainings.values()),
        generations=tuple(generations.values()),
        runs=tuple(runs[key] for key in sorted(runs)),
        cells=tuple(placed),
    )


def _training(
    study: Study, cell: Cell, key: str, base: Base, mixture: str, dataset_keys: Mapping[str, str]
) -> TrainingJob:
    rows = (study.grid.instruction_rows or 0) + cell.num_target
    return TrainingJob(
        key=key,
        base_key=base.key,
        base_path=base.path,
        mixture_key=mixture,
        spec=cell.train,
        base_name=base.name,
        dataset_keys=tuple(sorted({dataset_keys[name] for name in cell.mixture.datasets})),
        num_rows=rows,
        labels={"arm": cell.arm, "draw": str(cell.draw), "seed": str(cell.training_seed), "base": base.name},
    )


def _generation(study: Study, base: Base, adapter: str, rows: EvaluationSet, cell: Cell) -> GenerationJob:
    key = predictions_key(
        study.generation,
        base_key=base.key,
        adapter_key=adapter,
        evaluation_key=rows.key,
        max_new_tokens=rows.max_new_tokens,
    )
    return GenerationJob(
        key=key,
        base_path=base.path,
        evaluation_key=rows.key,
        max_new_tokens=rows.max_new_tokens,
        adapter_key=adapter,
        lora_rank=cell.train.lora_rank,
        base_key=base.key,
    )


def _run(key: str, adapter: str, mixture: str, base: Base, cell: Cell, evaluation_set: str) -> RunRow:
    at_zero = cell.num_target == 0
    return RunRow(
        predictions_key=key,
        adapter_key=adapter,
        mixture_key=mixture,
        base_model=base.name,
        trained_task="" if at_zero else cell.task,
        evaluation_set=evaluation_set,
        num_target=cell.num_target,
        draw=-1 if at_zero else cell.draw,
        training_seed=cell.training_seed,
        arm=cell.arm,
    )
