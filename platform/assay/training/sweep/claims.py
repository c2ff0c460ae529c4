"""Who trains which adapter now, so that studies that run at once share a training instead of doing it twice. Pure.

A claim is a lease: renewed while its training runs, and free again soon after its process died. It spares work and
guards nothing: two trainings of one key write the same artifact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LEASE_S = 12.0
"""A claim that nobody renewed for so long is free."""
RENEW_EVERY_S = 3.0


@dataclass
class ClaimTable:
    """Claims on adapter keys. It owns no clock."""

    _holders: dict[str, tuple[str, float]] = field(default_factory=dict)

    def claim(self, key: str, holder: str, now_s: float) -> bool:
        """Whether `holder` may train `key`: nobody else does, or it holds the claim already (which renews it)."""
        if not self.is_free(key, now_s) and self._holders[key][0] != holder:
            return False
        self._holders[key] = (holder, now_s + LEASE_S)
        return True

    def release(self, key: str, holder: str) -> None:
        """The training of `key` is over, whichever way."""
        if self._holders.get(key, ("", 0.0))[0] == holder:
            del self._holders[key]

    def is_free(self, key: str, now_s: float) -> bool:
        """Whether nobody trains `key`."""
        return key not in self._holders or self._holders[key][1] <= now_s
