"""Searching for the weights of a mixture: what is searched, what counts as good, and what was found. Pure.

A goal is a score on the target tasks under a limit on forgetting. A point that breaks the limit is not thrown away: it
loses a multiple of what it breaks it by, so that a searcher learns from it as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import Field

from assay.config import Config
from assay.errors import ConfigError
from assay.records import INSTRUCTIONS
from assay.studies.cells import expand
from assay.studies.designs import Design
from assay.studies.spec import JUDGE, Study

PENALTY = 10.0
"""What a relative loss of 1 on the instruction set beyond the limit costs, in units of the score."""
LEAST_WEIGHT = 0.01
"""Smallest weight that is tried, of a largest of 1; weights are searched on a logarithmic scale."""


class SearchSpec(Config):
    """How the weights are searched."""

    algorithm: Literal["random", "optuna"] = "optuna"
    """random draws from Tune's search space; optuna is Tune's OptunaSearch (a tree-structured Parzen estimator)."""
    trials: int = Field(12, ge=1)
    """Mixtures that are trained and scored, beside the baseline."""
    batch: int = Field(4, ge=1)
    """Mixtures of one round; the searcher learns between rounds."""
    scorer: str | None = None
    """Scorer to maximise; by default the judge where the study has one, else the human column."""
    max_forgetting: float = Field(0.01, ge=0)
    """Largest relative loss on the instruction set that a mixture may have."""
    seed: int = 0
    """Of the searcher."""


@dataclass(frozen=True)
class Trial:
    """One mixture and how it did."""

    number: int
    weights: Mapping[str, float]
    arm: str
    score: float | None
    """Mean over the target tasks; None where a task has no score."""
    forgetting: float | None
    """Relative loss on the instruction set against the baseline (below 0: it gained)."""
    goal: float | None
    """`score` less the penalty; what the searcher maximises."""
    is_feasible: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def searched(study: Study) -> Design:
    """The study's grid, checked to be one whose weights can be searched.

    Raises:
        ConfigError: another design, or no rows of the instruction set to measure forgetting on.
    """
    if not study.grid.searched_parts:
        raise ConfigError(
            f"search {study.name}: saw the design {study.grid.design!r}; expected weights; set grid.design=weights, "
            "grid.tasks and grid.total"
        )
    if not study.evaluation.instruction_rows:
        raise ConfigError("evaluation.instruction_rows: saw 0; expected some, to see what a mixture forgets")
    return study.grid


def goal_scorer(study: Study, spec: SearchSpec) -> str:
    """The scorer whose score is the goal.

    Raises:
        ConfigError: it is none of the study's.
    """
    name = spec.scorer or (JUDGE if JUDGE in study.scorers else study.statistics.human)
    if name not in study.scorers:
        raise ConfigError(f"search: saw the scorer {name!r}; expected one of {', '.join(study.scorers)}")
    return name


def with_points(study: Study, points: Sequence[Mapping[str, float]], name: str) -> Study:
    """The study with these points, under another name."""
    return study.replace(name=name, grid=searched(study).with_points(points).model_dump())


def arm_of(study: Study, point: Mapping[str, float]) -> str:
    """Label of a point's mixture in the tables."""
    cells = expand(with_points(study, [point], study.name))
    return cells[-1].arm


def judged(
    study: Study, spec: SearchSpec, leaderboard: Sequence[Mapping[str, Any]], number: int, point: Mapping[str, float]
) -> Trial:
    """How a point did, from the leaderboard of a study that has it; several base models are averaged."""
    scorer, arm = goal_scorer(study, spec), arm_of(study, point)
    tasks = study.target_sets
    rows = [row for row in leaderboard if row["scorer"] == scorer and row["arm"] == arm]
    means = [row["mean"] for row in rows if row["evaluation_set"] in tasks and row["mean"] is not None]
    losses = [
        -row["difference"] / row["baseline_mean"]
        for row in rows
        if row["evaluation_set"] == INSTRUCTIONS and row["difference"] is not None and row["baseline_mean"]
    ]
    score = sum(means) / len(means) if means and len(means) % len(tasks) == 0 else None
    forgetting = sum(losses) / len(losses) if losses else None
    goal = None
    if score is not None and forgetting is not None:
        goal = score - PENALTY * max(0.0, forgetting - spec.max_forgetting)
    is_feasible = forgetting is not None and forgetting <= spec.max_forgetting
    return Trial(number, dict(point), arm, score, forgetting, goal, is_feasible)


def best(trials: Sequence[Trial]) -> Trial | None:
    """The feasible trial with the highest score; None where none is feasible."""
    feasible = [trial for trial in trials if trial.is_feasible and trial.score is not None]
    return max(feasible, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)
