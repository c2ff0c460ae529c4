"""What a study may name: its tasks, scorers, heuristics and judge protocols, in one immutable value.

Made from what ships and from what the study brings. The study carries it, and so does every job that needs a part of
it, to whatever machine the job runs on: no dictionary of the process knows anything, so two studies in one process
may mean different things by one name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assay.errors import ConfigError
from assay.scoring.judges.table import SHIPPED_PROTOCOLS, Protocols
from assay.scoring.scorers.heuristics import SHIPPED_HEURISTICS, Heuristics
from assay.scoring.table import SHIPPED_SCORERS, Scorers
from assay.tasks.catalog import SHIPPED_TASKS, Tasks
from assay.tasks.own import OwnTask, with_own


@dataclass(frozen=True)
class Registry:
    """Everything by name."""

    tasks: Tasks = SHIPPED_TASKS
    scorers: Scorers = SHIPPED_SCORERS
    heuristics: Heuristics = SHIPPED_HEURISTICS
    protocols: Protocols = SHIPPED_PROTOCOLS


SHIPPED = Registry()
"""Of a study that brings nothing."""


def make_registry(own: Mapping[str, OwnTask]) -> Registry:
    """What ships and what a study brings.

    Args:
        own: the study's tasks by name.

    Raises:
        ValueError: a task does not hang together.
        ConfigError: a task names a scorer that does not exist.
    """
    if not own:
        return SHIPPED
    made = Registry(tasks=with_own(SHIPPED_TASKS, own))
    for name in own:
        if (scorer := made.tasks.get(name).reference_scorer) not in made.scorers.names:
            known = ", ".join(made.scorers.names)
            raise ConfigError(f"tasks.{name}.scorer: saw {scorer!r}; expected one of {known}; take one of these")
    return made
