"""The field `decide` of a study: what is asked, how sure the answer must be, and what may be spent on it."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator, model_validator

from assay.config import Config


class DecideSpec(Config):
    """A study in rounds: after each, arms that are decided get no further draws. Every field is identity."""

    question: Literal["best", "baseline", "order"] = "best"
    """The best arm; each arm against `baseline`; or the order of all. Asked anew for each base and target task."""
    scorer: str
    """Whose scores decide; one of the study's scorers."""
    rounds: tuple[int, ...] = Field(min_length=1)
    """Draws (and seeds) of each arm that is still open, in all, after each round. The first that can decide is 2."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Chance that a task's findings hold a false one, over all its pairs and rounds."""
    margin: float = Field(0.0, ge=0)
    """Differences within it are of no interest, in the scorer's unit; 0 asks for a winner at any price."""
    baseline: str = "instructions only"
    """Arm that the question "baseline" compares with."""

    @field_validator("rounds")
    @classmethod
    def _increasing(cls, rounds: tuple[int, ...]) -> tuple[int, ...]:
        if rounds[0] < 1 or any(second <= first for first, second in pairwise(rounds)):
            raise ValueError(f"saw {list(rounds)}; expected increasing numbers of draws, e.g. [2, 3, 5]")
        return rounds

    @model_validator(mode="after")
    def _can_decide(self) -> DecideSpec:
        if self.rounds[-1] < 2:
            raise ValueError("rounds: one draw says nothing about other draws; expected 2 or more in the last round")
        return self
