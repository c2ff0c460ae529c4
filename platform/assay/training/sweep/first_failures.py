"""Whether to go on with a sweep whose first trainings failed: the one place where that is stated. Pure.

A base that runs out of memory or a recipe that the engine refuses fails in every training alike. So a sweep ends where
its first trainings, as many as run at a time and at least three, all failed for good with the same words and none
succeeded: the others would be paid for and fail as well.
"""

from __future__ import annotations

import re

LEAST_ALIKE = 3
"""Failures at least before a sweep is given up: two may share a bad machine."""
_OWN = re.compile(r"\b[0-9a-f]{8,}\b|\d+(\.\d+)?")
"""Keys, addresses, sizes and counts: what differs in one complaint told of several trainings."""


class FirstFailures:
    """Failures of a sweep's trainings up to its first success."""

    def __init__(self, slots: int) -> None:
        """Begin with nothing seen.

        Args:
            slots: trainings at a time.
        """
        self.limit = max(LEAST_ALIKE, slots)
        self._causes: list[str] = []
        self._has_success = False

    def succeeded(self) -> None:
        """A training came to its end, so what fails is not the sweep."""
        self._has_success = True

    def failed(self, cause: str) -> None:
        """A training failed for good, with these words."""
        self._causes.append(_OWN.sub("#", cause))

    @property
    def are_alike(self) -> bool:
        """Whether the first `limit` trainings all failed with the same words; holds from then on."""
        first = self._causes[: self.limit]
        return not self._has_success and len(first) == self.limit and len(set(first)) == 1
