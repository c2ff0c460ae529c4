"""Rate limits of an endpoint, pure: what response headers say. Times are seconds of one monotonic clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Observation:
    """What one response said about the endpoint's limits; None where it said nothing."""

    rate_limited: bool = False


def observe(status: int | None, headers: Mapping[str, str]) -> Observation:
    """Read the rate-limit headers of a response."""
    return Observation(rate_limited=status == 429)
