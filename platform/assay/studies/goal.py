"""What a mixture study asks its models, and what makes one mixture better than another."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from assay.config import Config
from assay.studies.designs.asked import Purpose


class EvaluationSetSpec(Config):
    """Test rows that every model answers, whether or not it was trained on that dataset."""

    dataset: str = ""
    """Dataset of `data` whose test rows are asked; empty: the one that bears the set's name."""
    rows: int | None = Field(None, ge=1)
    """The first so many; None takes them all."""
    weight: float = Field(1.0, gt=0)
    """Weight in the objective; a set of forgetting has none."""
    purpose: Purpose = "target"
    """"target" counts towards the objective, "forgetting" is what must not be lost."""
    max_new_tokens: int | None = Field(None, ge=1)
    """New tokens of an answer; None: what the dataset's task says, else `evaluation.instruction_max_new_tokens`."""


class Constraint(Config):
    """What a mixture may not do, however good it is otherwise."""

    forgetting: float = Field(ge=0)
    """Points of the score by which a mixture may be below the baseline on a set of purpose forgetting, by the upper
    end of the loss's 95 % interval. A loss without an interval is not known to be small enough."""


class GoalSpec(Config):
    """Which mixture is the best."""

    scorer: str | None = None
    """Scorer of the objective; None: the judge where the study has one, else the human column."""
    weights: Literal["sets", "equal"] = "sets"
    """The objective is the mean of the target sets' means: by the sets' weights, or with equal ones."""
    constraint: Constraint | None = None
    """None: the best mixture is the one with the highest objective, whatever it forgets."""
