"""The field `exits` of a study: at which parts of their steps trainings are compared, and how far behind is too far."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from assay.config import Config

if TYPE_CHECKING:
    from assay.studies.spec import Study


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


def check_exits(study: Study) -> None:
    """Whether losses can tell which of a study's arms has lost.

    Raises:
        ValueError: they cannot.
    """
    if study.exits is None:
        return
    if study.decide is not None:
        raise ValueError("exits: a study with decide drops arms by their scores; leave out one of the two")
    if study.ifs is not None:
        raise ValueError("exits: a study of ifs trains everything twice, once in full; leave out one of the two")
    if study.mode != "strict":
        raise ValueError(f"exits: the mode {study.mode} trains what the published study did, in full; set mode: strict")
    validated = study.grid.validated(study)
    if validated is None:
        raise ValueError(
            f"exits: arms of the design {study.grid.design} share no held-out rows of what they are asked; expected "
            "target or mixture; leave it out"
        )
    asked = [part for part in study.grid.evaluation_sets(study) if part.purpose == "target"]
    if missing := [part.name for part in asked if part.dataset not in validated]:
        raise ValueError(
            f"exits: no validation row is of {missing[0]!r}, so that losses say nothing about it; expected some of "
            f"each target set; {study.grid.validated_by}"
        )
