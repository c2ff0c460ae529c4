"""The field `decide` of a study: what is asked, how sure the answer must be, and what may be spent on it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from assay.config import NOT_IDENTITY, Config, Later


class SpendSpec(Config):
    """What each round may spend on the arms that are still open. No other spending ends a question as undecided."""

    rounds: tuple[int, ...] = Field(min_length=1)
    """Draws (and seeds) of each arm, in all, after each round. The first that can decide is 2."""
    items: tuple[int, ...] | None = None
    """Test rows of a target task that each of them has answered after each round, in an order by hash; None: all."""

    @model_validator(mode="after")
    def _grows(self) -> SpendSpec:
        rounds = self.rounds
        if rounds[0] < 1 or rounds[-1] < 2:
            raise ValueError("rounds: one draw says nothing about other draws; expected 2 or more in the last round")
        items = self.items
        if items is None:
            if any(second <= first for first, second in pairwise(rounds)):
                raise ValueError(f"rounds: saw {list(rounds)}; expected increasing numbers of draws, e.g. [2, 3, 5]")
            return self
        if len(items) != len(rounds) or items[0] < 2:
            raise ValueError(f"items: saw {list(items)} for {len(rounds)} rounds; expected a number of rows for each")
        for (draws, rows), (more_draws, more_rows) in pairwise(zip(rounds, items, strict=True)):
            if more_draws < draws or more_rows < rows or (draws, rows) == (more_draws, more_rows):
                raise ValueError(
                    f"saw rounds {list(rounds)}, items {list(items)}; expected each round to add draws, items or both"
                )
        return self


class DecideSpec(Config):
    """A study in rounds: after each, arms that are decided get no further draws or items."""

    question: Literal["best", "baseline", "order"] = "best"
    """The best arm; each arm against `baseline`; or the order of all. Asked anew for each base and target task."""
    scorer: str
    """Whose scores decide; one of the study's scorers."""
    spend: SpendSpec
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Chance that a task's findings hold a false one, over all its pairs and rounds."""
    margin: float = Field(0.0, ge=0)
    """Differences within it are of no interest, in the scorer's unit; 0 asks for a winner at any price."""
    baseline: str = "instructions only"
    """Arm that the question "baseline" compares with; in a design with a baseline of its own (`grid.baseline`), where
    nothing else is said, that one."""
    keep: Annotated[tuple[str, ...], Later(())] = ()
    """Arms that get all rounds although they are out (`--keep`). No guarantee speaks for them; the report says so."""
    max_usd: Annotated[float | None, NOT_IDENTITY] = Field(None, ge=0)
    """Stop, to be continued (exit 3), before the study has cost more."""
    gpu_hour_usd: Annotated[float | None, NOT_IDENTITY] = Field(None, ge=0)
    """Dollars of a GPU-hour: then what an open difference would take is told with its price, the cheapest first."""

    @property
    def rounds(self) -> tuple[int, ...]:
        """Draws after each round."""
        return self.spend.rounds
