"""What a study decides about its tables."""

from __future__ import annotations

from dataclasses import dataclass

from assay.metaeval.study_tables.objective import Objective


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What a study decides about its tables."""

    human: str
    """Scorer that plays the human column."""
    seed_key: str
    """Seeds every resampling, together with the name of table and statistic (the study's key)."""
    baseline: str | None = None
    """Arm that the leaderboard compares with; None: the N = 0 mixture of the same base model."""
    resamples: int = 2000
    """Bootstrap size."""
    below_target: float = 100
    """CIT and CAT use runs with fewer target rows than this (the paper: 100)."""
    objective: Objective | None = None
    """What makes one mixture better than another, where a study says it."""
    meta_tasks: tuple[str, ...] | None = None
    """Tasks of CIT and CAT; None: all target tasks."""
    tfa_tasks: tuple[str, ...] | None = None
    """Tasks of TFA; None: all target tasks."""
