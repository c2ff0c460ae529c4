"""What a study may name: its tasks, scorers, heuristics and judge protocols, in one immutable value.

Made from what ships, from plug-ins and from the study's own tasks. The study carries it, and so does every job that
needs a part of it, to whatever machine the job runs on: no dictionary of the process knows anything, so two studies in
one process may mean different things by one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from assay.config import validate
from assay.errors import ConfigError
from assay.plugins.code import PluginCode
from assay.plugins.finding import installed_plugins
from assay.plugins.opening import registrations_of
from assay.scoring.judges.table import SHIPPED_PROTOCOLS, Protocols
from assay.scoring.named import check_names_differ
from assay.scoring.plugged import PluggedHeuristic, protocol_entries, scorer_entries
from assay.scoring.scorers.heuristics import SHIPPED_HEURISTICS, Heuristics, HeuristicScorer
from assay.scoring.table import SHIPPED_SCORERS, ScorerEntry, Scorers
from assay.tasks.catalog import LOADERS, SHIPPED_TASKS, FileReader, Tasks
from assay.tasks.own import OwnTask, with_own


@dataclass(frozen=True)
class Registry:
    """Everything by name."""

    tasks: Tasks = SHIPPED_TASKS
    scorers: Scorers = SHIPPED_SCORERS
    heuristics: Heuristics = SHIPPED_HEURISTICS
    protocols: Protocols = SHIPPED_PROTOCOLS
    own: Mapping[str, OwnTask] = field(default_factory=dict)
    """Tasks of the study and of plug-ins, as they were written."""
    plugins: tuple[PluginCode, ...] = ()

    def plugins_of(self, *, scorers: Sequence[str], protocol: str, heuristics: Sequence[str]) -> dict[str, str]:
        """Identity of each plug-in that one of these parts comes from, by its name."""
        used = {}
        for code in self.plugins:
            parts = registrations_of(code)
            if (
                set(scorers) & set(parts.scorers)
                or protocol in parts.protocols
                or set(heuristics) & set(parts.heuristics)
            ):
                used[code.name] = code.identity
        return used


SHIPPED = Registry()
"""Of a study that brings nothing, on a machine without plug-ins."""


def make_registry(own: Mapping[str, OwnTask], plugins: Sequence[PluginCode] = ()) -> Registry:
    """What ships, what installed packages bring, and what a study brings.

    Args:
        own: the study's tasks by name.
        plugins: that the study names.

    Raises:
        ValueError: a task does not hang together.
        ConfigError: a plug-in cannot be used, two parts have one name, or a task names a scorer or a heuristic that
            does not exist.
    """
    named = {code.name for code in plugins}
    base = _with_plugins((*plugins, *(code for code in installed_plugins() if code.name not in named)))
    tasks = {**base.own, **own}
    if not tasks:
        return base
    all_tasks = replace(with_own(SHIPPED_TASKS, tasks), readers=base.tasks.readers)
    made = Registry(all_tasks, base.scorers, base.heuristics, base.protocols, tasks, base.plugins)
    for name, given in tasks.items():
        for field_name, known in (("scorer", made.scorers.names), ("heuristic", made.heuristics.names)):
            said = getattr(given, field_name)
            if said is not None and said not in known:
                raise ConfigError(
                    f"tasks.{name}.{field_name}: saw {said!r}; expected one of {', '.join(known)}; take one of these"
                )
    return made


def _read(code: PluginCode, name: str, path: Path) -> Iterable[Mapping[str, Any]]:
    """Rows of a file, by a plug-in's loader."""
    rows: Iterable[Mapping[str, Any]] = registrations_of(code).loaders[name](path)
    return rows


@lru_cache(maxsize=32)
def _with_plugins(plugins: tuple[PluginCode, ...]) -> Registry:
    if not plugins:
        return SHIPPED
    rules = [(name, PluggedHeuristic(code, name)) for code in plugins for name in registrations_of(code).heuristics]
    heuristics = SHIPPED_HEURISTICS.extended(rules)
    scorers = SHIPPED_SCORERS.extended(entry for code in plugins for entry in scorer_entries(code))
    shipped = partial(SHIPPED_SCORERS.spec, "heuristic")
    scorers = scorers.replaced(
        ScorerEntry("heuristic", shipped, partial(HeuristicScorer, heuristics=heuristics), reads_tasks=True)
    )
    readers = [
        FileReader(name, partial(_read, code, name), code.identity)
        for code in plugins
        for name in registrations_of(code).loaders
    ]
    check_names_differ("loader", [*LOADERS, *(reader.name for reader in readers)])
    own = {
        name: validate(OwnTask, fields, f"plug-in {code.name!r}: task {name!r}")
        for code in plugins
        for name, fields in registrations_of(code).tasks.items()
    }
    protocols = SHIPPED_PROTOCOLS.extended(entry for code in plugins for entry in protocol_entries(code))
    tasks = replace(with_own(SHIPPED_TASKS, own), readers=tuple(readers))
    return Registry(tasks, scorers, heuristics, protocols, own, plugins)
