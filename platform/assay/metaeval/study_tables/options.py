"""What a study decides about its tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What a study decides about its tables."""

    human: str
    """Scorer that plays the human column."""
    baseline: str | None
    """Arm that the leaderboard compares with; None: the N = 0 mixture."""
    seed_key: str
    """Seeds every resampling, together with the name of table and statistic."""
    resamples: int = 2000
    below_target: int = 100
    """CIT and CAT use runs with fewer target rows than this."""
    meta_tasks: tuple[str, ...] | None = None
    """Tasks of CIT and CAT; None: all."""
    tfa_tasks: tuple[str, ...] | None = None
    """Tasks of TFA; None: all."""
