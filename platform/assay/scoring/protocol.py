"""What a scorer is: a batch of (example, prediction) in, one `Rating | Unscored` per row out, in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import Field, model_validator

from assay.config import NOT_IDENTITY, Config
from assay.records import Example, Mode, Outcome
from assay.tasks.catalog import Task

ScorerKind = Literal["reference", "heuristic", "judge", "embedding", "reward", "classifier", "human"]
Cost = Literal["cpu", "model", "call"]
"""Of one row: arithmetic on the CPU; a forward pass of a model, for which a GPU is worth having; a call to an LLM
that may be paid by the token."""


class ScorerSpec(Config):
    """Names a scorer's numbers: equal specs give equal ratings. Part of the key of stored scores."""

    name: str = Field(min_length=1)
    """Column name in every table."""
    version: int = Field(1, ge=1)
    """Raised whenever the same prediction would get another number."""
    kind: ScorerKind
    """What it rests on. "human" is truth or an annotation; a heuristic is never called human."""
    direction: Literal["higher"] = "higher"
    """Higher is better, always; a scorer with errors or distances negates them itself."""
    low: float | None = 0.0
    """Smallest rating; None where there is no lower end."""
    high: float | None = 1.0
    """Largest rating; None where there is no upper end."""
    mode: Mode = "strict"
    """"compat" does what the published study did, quirks included."""
    params: Mapping[str, str | int | float | bool | None] = Field(default_factory=dict)
    """All else that shapes the number."""
    cost: Annotated[Cost, NOT_IDENTITY] = "cpu"
    """What a row costs."""
    path: Annotated[str, NOT_IDENTITY] = ""
    """Folder of the model, or file of labels, that it rests on; `params` know it by its content."""
    source: Annotated[str, NOT_IDENTITY] = ""
    """Where another machine finds the same model, see `FoundModel.source`."""

    @model_validator(mode="after")
    def _range(self) -> ScorerSpec:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low} must lie below high {self.high}")
        return self

    @property
    def needs_model(self) -> bool:
        """Whether it rests on a model that has to be found and loaded."""
        return self.cost == "model"


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One row to score. An empty prediction is a real answer, and a wrong one; a row without any is the caller's."""

    example: Example
    task: Task
    prediction: str
    has_reference: bool = True
    """False: nobody said what the right answer is, so comparing gives no number. An empty reference is one."""


@runtime_checkable
class Scorer(Protocol):
    """Scores in batches. Pure where it is local: no clock, no network, no randomness."""

    @property
    def spec(self) -> ScorerSpec:
        """What it computes."""
        ...

    def score(self, batch: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, same order; never raises for what a prediction holds."""
        ...
