"""How many of what a judge was asked have an answer, and why the others have none."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.judging.asking import Unanswered


@dataclass(frozen=True)
class Coverage:
    """asked = scored + unscored."""

    asked: int
    unscored: Mapping[str, int]
    """By reason."""
    left_out: int | None = None
    """Of them, pairs that no statistic counts, as a call brought no reply; None where nothing is left out so."""
    details: Mapping[str, str] = field(default_factory=dict)
    """What the endpoint said, by reason."""

    @classmethod
    def of(cls, asked: int, reasons: Iterable[str], left_out: int | None = None) -> Coverage:
        """Counted over the reasons of what has no score."""
        return cls(asked, dict(sorted(Counter(reasons).items())), left_out)

    @property
    def scored(self) -> int:
        """Those that have a score or a verdict."""
        return self.asked - self.num_unscored

    @property
    def num_unscored(self) -> int:
        """Those that have none."""
        return sum(self.unscored.values())

    def with_details(self, unanswered: Unanswered) -> Coverage:
        """With what the endpoint said where a call brought no reply."""
        return dataclasses.replace(self, details=unanswered.details)

    def as_json(self) -> dict[str, Any]:
        """Counts; `left_out` and `details` where there are any."""
        found: dict[str, Any] = {"asked": self.asked, "scored": self.scored, "unscored": dict(self.unscored)}
        if self.left_out is not None:
            found["left_out"] = self.left_out
        return found | ({"details": dict(self.details)} if self.details else {})
