"""Searching for the weights of a mixture: what is searched, what counts as good, and what was found. Pure.

A goal is a score on the target tasks under a limit on forgetting. A point that breaks the limit is not thrown away: it
loses a multiple of what it breaks it by, so that a searcher learns from it as well. The best of many looks better than
it is, so what is said of it in the end (`Claim`) has intervals that hold for all points that were tried at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic import Field

from assay.config import Config
from assay.errors import ConfigError
from assay.metaeval.statistics.clustered import ITEMS_ONLY, student_quantile
from assay.records import INSTRUCTIONS
from assay.studies.designs.searched import SearchedSpace
from assay.studies.spec import Study

PENALTY = 10.0
"""What a relative loss of 1 on the instruction set beyond the limit costs, in units of the score."""


class SearchSpec(Config):
    """How the weights are searched."""

    algorithm: Literal["random", "optuna", "model"] = "optuna"
    """random draws from Tune's search space; optuna is Tune's OptunaSearch (a tree-structured Parzen estimator); model
    starts from a design, learns score and forgetting as functions of shares, and may end before all trials."""
    trials: int = Field(12, ge=1)
    """Mixtures that are trained and scored, beside the baseline."""
    batch: int = Field(4, ge=1)
    """Mixtures of one round; the searcher learns between rounds."""
    scorer: str | None = None
    """Scorer to maximise; by default that of the study's goal, else the judge if it has one, else the human column."""
    max_forgetting: float = Field(0.01, ge=0)
    """Largest relative loss on the instruction set that a mixture may have; design mixture takes its goal's limit."""
    seed: int = 0
    """Of the searcher."""


Feasibility = Literal["yes", "open", "no"]


@dataclass(frozen=True)
class Claim:
    """What may be said of one point when several were tried: ends hold for all of them at once (Bonferroni)."""

    gain: float | None
    """Mean over the target tasks of the differences to the baseline, in the scorer's unit."""
    gain_low: float | None
    gain_high: float | None
    """Tasks share runs, so their errors are added as if they went together."""
    loss: float | None
    """Relative loss on the instruction set; of a mixture study points lost."""
    loss_low: float | None
    loss_high: float | None
    """The mean at N = 0 is taken as known."""
    feasible: Feasibility
    """Whether the loss keeps the limit: the whole interval does, or some of it, or none."""
    over: str
    """What the interval is over, with the counts of both sides."""
    num_points: int
    """Points that were tried."""
    is_relative: bool = True
    """Whether the loss is a share of the baseline's mean; else it is in points of the score."""


@dataclass(frozen=True)
class Trial:
    """One mixture and how it did."""

    number: int
    weights: Mapping[str, float]
    arm: str
    score: float | None
    """Mean over the target tasks, or the objective; None where a task has no score."""
    forgetting: float | None
    """Relative loss on the instruction set against the baseline (below 0: it gained); of design `mixture` points lost,
    at the upper end of the interval where there is a constraint."""
    goal: float | None
    """`score` less the penalty; what the searcher maximises."""
    is_feasible: bool
    """Whether the loss itself keeps the limit; the searcher's view."""
    claim: Claim | None = None
    """None while the search runs."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def searched(study: Study) -> SearchedSpace:
    """What can be searched in the study.

    Raises:
        ConfigError: another design, or no rows of the instruction set to measure forgetting on.
    """
    if study.grid.searched is None:
        raise ConfigError(
            f"search {study.name}: saw the design {study.grid.design!r}; expected mixture or weights; set "
            "grid.design=weights, grid.tasks and grid.total"
        )
    if study.exits is not None:
        raise ConfigError(f"search {study.name}: saw exits, by which points end before they have a score; leave it out")
    if study.objective is None and not study.evaluation.instruction_rows:
        raise ConfigError("evaluation.instruction_rows: saw 0; expected some, to see what a mixture forgets")
    return study.grid.searched


def goal_scorer(study: Study, spec: SearchSpec) -> str:
    """The scorer whose score is the goal.

    Raises:
        ConfigError: it is none of the study's.
    """
    name = spec.scorer or study.goal_scorer
    if name not in study.scorers:
        raise ConfigError(f"search: saw the scorer {name!r}; expected one of {', '.join(study.scorers)}")
    return name


def with_points(study: Study, points: Sequence[Mapping[str, float]], name: str) -> Study:
    """The study with these points, under another name."""
    return study.replace(name=name, grid=study.grid.with_points(points).model_dump())


def arm_of(study: Study, point: Mapping[str, float]) -> str:
    """Label of a point's mixture in the tables."""
    return study.grid.arm_of(point)


def judged(
    study: Study, spec: SearchSpec, rows: Sequence[Mapping[str, Any]], number: int, point: Mapping[str, float]
) -> Trial:
    """How a point did, from the leaderboard of a study that has it; several base models are averaged."""
    scorer, arm = goal_scorer(study, spec), arm_of(study, point)
    tasks = study.target_sets
    here = [row for row in rows if row["scorer"] == scorer and row["arm"] == arm]
    means = [row["mean"] for row in here if row["evaluation_set"] in tasks and row["mean"] is not None]
    losses = [
        -row["difference"] / row["baseline_mean"]
        for row in here
        if row["evaluation_set"] == INSTRUCTIONS and row["difference"] is not None and row["baseline_mean"]
    ]
    score = sum(means) / len(means) if means and len(means) % len(tasks) == 0 else None
    forgetting = sum(losses) / len(losses) if losses else None
    goal = None
    if score is not None and forgetting is not None:
        goal = score - PENALTY * max(0.0, forgetting - spec.max_forgetting)
    is_feasible = forgetting is not None and forgetting <= spec.max_forgetting
    return Trial(number, dict(point), arm, score, forgetting, goal, is_feasible)


def claimed(study: Study, spec: SearchSpec, rows: Sequence[Mapping[str, Any]], trials: Sequence[Trial]) -> list[Trial]:
    """The trials with what may be said of them, from the leaderboard of the study of them all."""
    scorer = goal_scorer(study, spec)
    alpha = 0.05 / max(1, len(trials))
    found = []
    for trial in trials:
        here = [row for row in rows if row["scorer"] == scorer and row["arm"] == trial.arm]
        on_tasks = [row for row in here if row["evaluation_set"] in study.target_sets]
        on_instructions = [row for row in here if row["evaluation_set"] == INSTRUCTIONS and row["baseline_mean"]]
        gain = mean_ends([ends_at(row, alpha) for row in on_tasks])
        losses = [tuple(-end / row["baseline_mean"] for end in ends_at(row, alpha)) for row in on_instructions]
        loss, loss_high, loss_low = mean_ends([(value, low, high) for value, low, high in losses])
        feasible: Feasibility = "open"
        if not math.isnan(loss_high) and loss_high <= spec.max_forgetting:
            feasible = "yes"
        elif not math.isnan(loss_low) and loss_low > spec.max_forgetting:
            feasible = "no"
        value, low, high = map(known_or_none, gain)
        limits = known_or_none(loss), known_or_none(loss_low), known_or_none(loss_high)
        claim = Claim(value, low, high, *limits, feasible, told_over(on_tasks), len(trials))
        found.append(replace(trial, claim=claim))
    return found


def ends_at(row: Mapping[str, Any], alpha: float) -> tuple[float, float, float]:
    """Difference and both ends at this level; NaN where the comparison knows nothing about retraining."""
    value, error, dof = (math.nan if row[key] is None else row[key] for key in ("difference", "standard_error", "dof"))
    if math.isnan(error) or not dof > 0 or row["unit"] == ITEMS_ONLY:
        return value, math.nan, math.nan
    half = student_quantile(1 - alpha / 2, dof) * error
    return value, value - half, value + half


def known_or_none(value: float) -> float | None:
    """None for NaN."""
    return None if math.isnan(value) else value


def mean_ends(parts: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Means of values and of both ends, as if errors went together."""
    if not parts:
        return math.nan, math.nan, math.nan
    value, low, high = (sum(part[place] for part in parts) / len(parts) for place in range(3))
    return value, low, high


def told_over(rows: Sequence[Mapping[str, Any]]) -> str:
    """Unit and counts on both sides, as far as tasks and base models agree."""
    words = [
        f"{row['unit'] or 'nothing'}: {row['num_items']} items, {row['num_runs']} runs against "
        f"{row['num_baseline_runs']}"
        for row in rows
    ]
    return "; ".join(dict.fromkeys(words))


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest score among those that keep the limit; None where none may.

    Those whose whole interval keeps it come first, then those of which only the loss itself does; one whose whole
    interval breaks it is none.
    """
    scored = [trial for trial in trials if trial.score is not None]
    sure = [trial for trial in scored if trial.claim is not None and trial.claim.feasible == "yes"]
    likely = [trial for trial in scored if trial.is_feasible and (trial.claim is None or trial.claim.feasible != "no")]
    return max(sure or likely, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)
