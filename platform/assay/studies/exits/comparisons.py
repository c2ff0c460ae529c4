"""Which trainings a barrier compares, and what it finds. Pure: curves in, a record out.

Arms are compared that train from one base for one task and whose runs see the same validation rows. An arm goes or
stays whole: the mean over its draws and seeds is what is compared, as the rest of an arm that lost some runs would look
better than it is. The baseline and arms without target rows never go, since every other comparison rests on them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from assay.errors import ConfigError
from assay.metaeval.sequential.early_exit import ExitRule, Standing, behind, leader_of, noise_of, standing
from assay.metaeval.study_tables.frame import MANY
from assay.studies.designs.cell import Cell
from assay.studies.exits.spec import ExitsSpec
from assay.training.schedule import Schedule, barrier_step

LEAST_EVALUATIONS = 3
"""Validation losses up to a barrier: of fewer nobody can tell how they bend, nor how noisy they are."""


@dataclass(frozen=True)
class Run:
    """A training of an arm."""

    adapter: str
    """Key of the whole training."""
    draw: int
    seed: int
    plan: Schedule


@dataclass(frozen=True)
class Comparison:
    """Arms that share their validation rows, of which the losing ones end."""

    base_model: str
    task: str
    """Target task; "*" where every arm answers all of them."""
    arms: Mapping[str, tuple[Run, ...]]
    """In order of draw and seed."""
    staying: frozenset[str]
    """Arms that are compared and never end."""

    @property
    def label(self) -> str:
        """What people call it."""
        return f"all sets on {self.base_model}" if self.task == MANY else f"{self.task} on {self.base_model}"

    @property
    def runs(self) -> list[Run]:
        """Of all arms."""
        return [run for arm in self.arms.values() for run in arm]


@dataclass(frozen=True)
class Curve:
    """Validation losses of a training up to a barrier."""

    losses: tuple[float, ...]
    is_over: bool = False
    """Whether the training was over by then: early stopping ended it, and there is nothing to be saved."""


@dataclass(frozen=True)
class Trained:
    """A cell with what its training rests on."""

    cell: Cell
    run: Run
    base_model: str
    validation: str
    """Names the validation rows; empty where there are none."""


def comparisons_of(trainings: Sequence[Trained], spec: ExitsSpec, baseline: str | None) -> list[Comparison]:
    """What is compared, in order of base model and task.

    Args:
        trainings: every cell that is trained.
        spec: when.
        baseline: arm that others are compared with, if the study names one.

    Raises:
        ConfigError: there is nothing to compare, or a barrier that comes too soon.
    """
    arms: dict[tuple[str, str], dict[str, dict[str, Trained]]] = {}
    for one in trainings:
        own = arms.setdefault((one.base_model, one.cell.task), {})
        own.setdefault(one.cell.arm, {}).setdefault(one.run.adapter, one)
    found = []
    for (base, task), of_task in sorted(arms.items()):
        alike: dict[frozenset[str], list[str]] = {}
        for arm, known in sorted(of_task.items()):
            alike.setdefault(frozenset(one.validation for one in known.values()), []).append(arm)
        for rows, names in sorted(alike.items(), key=lambda item: item[1]):
            if "" in rows or len(names) < 2:
                continue
            runs = {arm: tuple(sorted((one.run for one in of_task[arm].values()), key=_order)) for arm in names}
            at_zero = {arm for arm in names if any(not one.cell.num_target for one in of_task[arm].values())}
            staying = at_zero | {arm for arm in names if arm == baseline}
            found.append(Comparison(base, task, runs, frozenset(staying)))
    if not found:
        raise ConfigError(
            "exits: saw no two arms of one base model and task with the same validation rows; expected two or more; "
            "add arms, or leave it out"
        )
    for comparison in found:
        for arm, of_arm in comparison.arms.items():
            _check_soonest(arm, of_arm, spec)
    return found


def steps_at(comparison: Comparison, part: float) -> dict[str, int]:
    """Barrier of each training, in its own steps, by its key."""
    return {run.adapter: barrier_step(run.plan, part) for run in comparison.runs}


def decide(
    comparison: Comparison, part: float, curves: Mapping[str, Curve], spec: ExitsSpec, gone: Collection[str]
) -> dict[str, Any]:
    """What a barrier saw and whom it ends. No time, cost or machine.

    Args:
        comparison: what is compared.
        part: of the steps.
        curves: by adapter, up to the barrier, of the arms that are still there.
        spec: the rule.
        gone: arms that ended before.
    """
    arms = {arm: runs for arm, runs in comparison.arms.items() if arm not in gone}
    noise = noise_of([curves[run.adapter].losses for runs in arms.values() for run in runs])
    standings = {arm: _standing([curves[run.adapter] for run in runs], runs, noise) for arm, runs in arms.items()}
    rule = ExitRule(margin=spec.margin, first=0.0, credit=spec.credit)
    found = behind(standings, rule)
    return {
        "base_model": comparison.base_model,
        "task": comparison.task,
        "at": part,
        "noise": noise,
        "leader": leader_of(standings),
        "seen": {
            arm: {
                **asdict(standings[arm]),
                "runs": {run.adapter: list(curves[run.adapter].losses) for run in runs},
            }
            for arm, runs in sorted(arms.items())
        },
        "ended": {arm: asdict(why) for arm, why in found.items() if arm not in comparison.staying},
        "staying": {arm: asdict(why) for arm, why in found.items() if arm in comparison.staying},
    }


def _standing(curves: Sequence[Curve], runs: Sequence[Run], noise: float) -> Standing:
    """Of an arm: the means over its runs."""
    each = []
    for curve, run in zip(curves, runs, strict=True):
        if curve.is_over:
            best = min(curve.losses)
            each.append(Standing(best, best, 0.0, noise, is_running=False))
        else:
            each.append(standing(curve.losses, run.plan.total_steps / run.plan.eval_every, noise))
    losses = [one.loss for one in each]
    spread = stdev(losses) if len(losses) > 1 else 0.0
    return Standing(
        loss=fmean(losses),
        best=fmean(one.best for one in each),
        gain=fmean(one.gain for one in each),
        error=max(noise, spread) / math.sqrt(len(each)),
        is_running=any(one.is_running for one in each),
    )


def _check_soonest(arm: str, runs: Sequence[Run], spec: ExitsSpec) -> None:
    for plan in (run.plan for run in runs):
        if barrier_step(plan, spec.at[0]) < LEAST_EVALUATIONS * plan.eval_every:
            most = barrier_step(plan._replace(eval_every=1), spec.at[0]) // LEAST_EVALUATIONS
            raise ConfigError(
                f"exits.at: {spec.at[0]:g} of the {plan.total_steps} steps of {arm!r} comes before its third validation"
                f" loss, one every {plan.eval_every} steps; expected it later"
                + (f", or train.eval_every: {most}" if most else "")
            )


def _order(run: Run) -> tuple[int, int, str]:
    return run.draw, run.seed, run.adapter
