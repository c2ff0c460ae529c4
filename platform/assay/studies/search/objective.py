"""How points of a mixture study did in its objective, and what may be said of them when several were tried. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from assay.errors import ConfigError
from assay.studies.search.weights import (
    PENALTY,
    Claim,
    Feasibility,
    SearchSpec,
    Trial,
    arm_of,
    ends_at,
    goal_scorer,
    known_or_none,
    mean_ends,
    told_over,
)
from assay.studies.spec import Study

NO_LIMIT = 1e9


def judged_by_objective(
    study: Study, spec: SearchSpec, rows: Sequence[Mapping[str, Any]], number: int, point: Mapping[str, float]
) -> Trial:
    """How a point did, from the objective of a study that has it; several base models are averaged.

    What the upper end of a loss's interval is beyond the constraint is penalised.
    """
    scorer, arm = goal_scorer(study, spec), arm_of(study, point)
    found = [row for row in rows if row["scorer"] == scorer and row["arm"] == arm]
    means = [row["mean"] for row in found if row["mean"] is not None]
    score = sum(means) / len(means) if means and len(means) == len(study.base_models) else None
    most = None if study.objective is None else study.objective.most_lost
    ends = [row["lost"] if most is None or row["lost_high"] is None else row["lost_high"] for row in found]
    lost = max((end for end in ends if end is not None), default=None)
    goal = None
    if score is not None and (most is None or lost is not None):
        goal = score - (0.0 if most is None or lost is None else PENALTY * max(0.0, lost - most))
    is_feasible = score is not None and all(row["constraint"] in ("", "kept") for row in found)
    return Trial(number, dict(point), arm, score, lost, goal, is_feasible)


def limit_in_words(study: Study, spec: SearchSpec) -> str:
    """What a mixture may lose, for messages."""
    if study.objective is None:
        return f"forgetting at most {spec.max_forgetting:.1%}"
    most = study.objective.most_lost
    return "without a constraint" if most is None else f"shown to lose at most {most:g} points"


def modelled_by(study: Study, spec: SearchSpec) -> SearchSpec:
    """The search as a model of scores and losses sees it: a mixture study's limit is that of its goal.

    Raises:
        ConfigError: the algorithm is model, and the study's space has bounds, or nothing that may be forgotten.
    """
    if spec.algorithm != "model" or study.objective is None or study.grid.searched is None:
        return spec
    if study.grid.searched.is_bounded:
        raise ConfigError(
            "search.algorithm: saw model with grid.space.bounds; it looks at every share; leave the bounds out, or "
            "take --algorithm optuna"
        )
    if not study.objective.forgetting:
        raise ConfigError(
            "search.algorithm: saw model and no set of purpose forgetting; it models what is lost, too; give "
            "evaluation.sets one, or take --algorithm optuna"
        )
    most = study.objective.most_lost
    return spec.replace(max_forgetting=NO_LIMIT if most is None else most)


def claimed_by_objective(
    study: Study, spec: SearchSpec, rows: Sequence[Mapping[str, Any]], trials: Sequence[Trial]
) -> list[Trial]:
    """The trials with what may be said of them, from the objective of the study of them all."""
    scorer, alpha = goal_scorer(study, spec), 0.05 / max(1, len(trials))
    found = []
    for trial in trials:
        mine = [row for row in rows if row["scorer"] == scorer and row["arm"] == trial.arm]
        gain = mean_ends([ends_at(row, alpha) for row in mine])
        loss, low, high = max((_loss_ends(row, alpha) for row in mine), key=_reach, default=(math.nan,) * 3)
        value, gain_low, gain_high = map(known_or_none, gain)
        claim = Claim(
            value,
            gain_low,
            gain_high,
            known_or_none(loss),
            known_or_none(low),
            known_or_none(high),
            _keeps(study, low, high),
            told_over(mine),
            len(trials),
            is_relative=False,
        )
        found.append(replace(trial, claim=claim))
    return found


def _loss_ends(row: Mapping[str, Any], alpha: float) -> tuple[float, float, float]:
    told = {"difference": "lost", "standard_error": "lost_error", "dof": "lost_dof", "unit": "unit"}
    return ends_at({name: row[column] for name, column in told.items()}, alpha)


def _reach(ends: tuple[float, float, float]) -> float:
    """Upper end of a loss; one without an interval may reach anywhere."""
    return math.inf if math.isnan(ends[2]) else ends[2]


def _keeps(study: Study, low: float, high: float) -> Feasibility:
    most = None if study.objective is None else study.objective.most_lost
    if most is None or high <= most:
        return "yes"
    return "no" if low > most else "open"
