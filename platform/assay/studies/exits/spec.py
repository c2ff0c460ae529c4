"""The field `exits` of a study: at which parts of their steps trainings are compared, and how far behind is too far."""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field, field_validator

from assay.config import Config


class ExitsSpec(Config):
    """A study whose losing trainings end: at each barrier, arms that cannot come within the margin of the leader."""

    at: tuple[float, ...] = Field(min_length=1)
    """Parts of each training's steps at which all arms wait for the decision, rising: [0.25, 0.5]. A barrier is the
    last validation at or before its part, and the third one at the soonest."""
    margin: float = Field(0.0, ge=0)
    """In nats of validation loss: an arm that may come this near to the leader goes on."""
    credit: float = Field(0.5, ge=0, le=1)
    """Part of the most that it may still gain which the leader is taken to gain; 0 ends the fewest arms."""

    @field_validator("at")
    @classmethod
    def _rises(cls, at: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < part < 1 for part in at) or any(later <= sooner for sooner, later in pairwise(at)):
            raise ValueError(f"saw {list(at)}; expected rising parts of the steps between 0 and 1, e.g. [0.25, 0.5]")
        return at
