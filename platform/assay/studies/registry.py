"""What a study may name: its tasks, scorers, heuristics and judge protocols, in one immutable value.

Made from what ships and from what the study brings. The study carries it, and so does every job that needs a part of
it, to whatever machine the job runs on: no dictionary of the process knows anything, so two studies in one process
may mean different things by one name.
"""

from __future__ import annotations

from dataclasses import dataclass

from assay.scoring.judges.table import SHIPPED_PROTOCOLS, Protocols
from assay.scoring.scorers.heuristics import SHIPPED_HEURISTICS, Heuristics
from assay.scoring.table import SHIPPED_SCORERS, Scorers
from assay.tasks.catalog import SHIPPED_TASKS, Tasks


@dataclass(frozen=True)
class Registry:
    """Everything by name."""

    tasks: Tasks = SHIPPED_TASKS
    scorers: Scorers = SHIPPED_SCORERS
    heuristics: Heuristics = SHIPPED_HEURISTICS
    protocols: Protocols = SHIPPED_PROTOCOLS


SHIPPED = Registry()
"""Of a study that brings nothing."""
