"""What a study with `exits` spends at least: every arm that may end does, at the first barrier. Pure.

At worst nobody ends. How far arms lie apart is what nobody knows before, so nothing in between is foretold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assay.fingerprint import fingerprint
from assay.studies.designs.cell import Cell
from assay.studies.exits.comparisons import Run, Trained, comparisons_of, steps_at
from assay.studies.exits.spec import ExitsSpec
from assay.training.schedule import schedule_of

EXITS_NOTE = (
    "exits: least is that all arms end at the first barrier but one of each comparison, or its baselines; worst is "
    "that nobody ends"
)


def least_trained(
    spec: ExitsSpec, baseline: str | None, trainings: Mapping[str, Cell], num_rows: Callable[[Cell], int]
) -> dict[str, float]:
    """Trainings that end in the best case, by name -> part of their steps that they take.

    Args:
        spec: the barriers.
        baseline: arm that others are compared with, if the study names one.
        trainings: a cell for each distinct one, by any name that tells it from the others.
        num_rows: training rows of a cell, as far as they are known.

    Raises:
        ConfigError: nothing to compare, or a barrier that comes too soon.
    """
    trained = []
    for name, cell in trainings.items():
        rows = [part.model_dump(mode="json") for part in cell.mixture.validation]
        run = Run(name, cell.draw, cell.training_seed, schedule_of(cell.train, num_rows(cell)))
        trained.append(Trained(cell, run, cell.listed_under or cell.base_model, fingerprint(rows) if rows else ""))
    found: dict[str, float] = {}
    for comparison in comparisons_of(trained, spec, baseline):
        steps = steps_at(comparison, spec.at[0])
        left = comparison.staying or {min(sorted(comparison.arms), key=lambda arm: len(comparison.arms[arm]))}
        for arm, runs in comparison.arms.items():
            if arm not in left:
                found |= {run.adapter: steps[run.adapter] / run.plan.total_steps for run in runs}
    return found
