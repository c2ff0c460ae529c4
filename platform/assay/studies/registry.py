"""What a study may name: tasks, scorers, heuristics, judge protocols, loaders, objectives and designs, in one value.

Made from what ships, from plug-ins and from the study's own tasks. The study carries it, and so does every job that
needs a part of it, to whatever machine the job runs on: no dictionary of the process knows anything, so two studies in
one process may mean different things by one name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from assay.config import validate
from assay.errors import ConfigError
from assay.plugins.code import PluginCode
from assay.plugins.finding import find_plugin, installed_plugins
from assay.plugins.opening import registrations_of
from assay.scoring.judges.table import SHIPPED_PROTOCOLS, Protocols
from assay.scoring.named import check_names_differ
from assay.scoring.plugged import PluggedHeuristic, protocol_entries, scorer_entries
from assay.scoring.scorers.heuristics import SHIPPED_HEURISTICS, Heuristics, HeuristicScorer
from assay.scoring.table import SHIPPED_SCORERS, ScorerEntry, Scorers
from assay.studies.designs import SHIPPED_DESIGNS
from assay.studies.designs.plugged import NO_DESIGNS, PluggedDesigns, design_class
from assay.tasks.catalog import LOADERS, SHIPPED_TASKS, FileReader, Tasks
from assay.tasks.own import OwnTask, with_own
from assay.training.objectives.plugged import objective_class
from assay.training.objectives.shipped import SHIPPED as SHIPPED_METHODS
from assay.training.objectives.table import SHIPPED_OBJECTIVES, Objectives

PLUGIN_FOLDER = "ASSAY_PLUGINS"
"""Environment variable: where plug-ins of a stored study lie, which knows no folder."""


@dataclass(frozen=True)
class Registry:
    """Everything by name. Immutable."""

    tasks: Tasks = SHIPPED_TASKS
    scorers: Scorers = SHIPPED_SCORERS
    heuristics: Heuristics = SHIPPED_HEURISTICS
    protocols: Protocols = SHIPPED_PROTOCOLS
    own: Mapping[str, OwnTask] = field(default_factory=dict)
    """Tasks of the study and of plug-ins, as they were written."""
    plugins: tuple[PluginCode, ...] = ()
    objectives: Objectives = SHIPPED_OBJECTIVES
    designs: PluggedDesigns = NO_DESIGNS
    """Those of plug-ins; what ships is the type of a study's `grid`."""

    def plugins_of(
        self,
        *,
        scorers: Sequence[str],
        protocol: str,
        heuristics: Sequence[str],
        objectives: Sequence[str] = (),
        design: str = "",
    ) -> dict[str, str]:
        """Identity of each plug-in that one of these parts comes from, by its name."""
        used = {}
        for code in self.plugins:
            parts = registrations_of(code)
            if (
                set(scorers) & set(parts.scorers)
                or protocol in parts.protocols
                or set(heuristics) & set(parts.heuristics)
                or set(objectives) & set(parts.objectives)
                or {design} & set(parts.designs)
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
    made = replace(base, tasks=all_tasks, own=tasks)
    for name, given in tasks.items():
        for field_name, known in (("scorer", made.scorers.names), ("heuristic", made.heuristics.names)):
            said = getattr(given, field_name)
            if said is not None and said not in known:
                raise ConfigError(
                    f"tasks.{name}.{field_name}: saw {said!r}; expected one of {', '.join(known)}; take one of these"
                )
    return made


def plugins_named(names: Iterable[str], folder: str | None) -> list[PluginCode]:
    """The plug-ins that a study names: beside its file, in the folder of `ASSAY_PLUGINS`, or installed.

    Raises:
        ConfigError: one is not there.
    """
    place = folder or os.environ.get(PLUGIN_FOLDER)
    return [find_plugin(name, Path(place) if place else None) for name in names]


def with_plugged_parts(data: Mapping[str, Any]) -> dict[str, Any]:
    """A study's fields with the design and the objectives that plug-ins bring as what their classes make of them.

    Before anything is validated: a field that is not what it should be stays as it is, to be refused where its type is
    known.

    Raises:
        ConfigError: a plug-in cannot be used, or refuses what the study says.
    """
    found, grid = dict(data), data.get("grid")
    recipes = [(found, "train")]
    if isinstance(grid, Mapping):
        found["grid"] = grid = dict(grid)
        recipes += [(grid, name) for name in ("instruction_train", "start_train")]
    asked = [fields[name] for fields, name in recipes if isinstance(fields.get(name), Mapping)]
    is_shipped = not isinstance(grid, Mapping) or grid.get("design", "target") in SHIPPED_DESIGNS
    if is_shipped and all(_is_shipped(recipe.get("objective", "sft")) for recipe in asked):
        return found
    names = data.get("plugins") or ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return found
    registry = make_registry({}, plugins_named(names, data.get("study_folder")))
    for fields, name in recipes:
        recipe = fields.get(name)
        if isinstance(recipe, Mapping) and registry.objectives.is_plugged(said := recipe.get("objective")):
            fields[name] = {**recipe, "objective": registry.objectives.read(said)}
    made = registry.designs.read(grid)
    return found if made is None else {**found, "grid": made}


def _is_shipped(objective: object) -> bool:
    method = objective.get("method") if isinstance(objective, Mapping) else objective
    return not isinstance(method, str) or method in SHIPPED_METHODS


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
    objectives = [(name, code) for code in plugins for name in registrations_of(code).objectives]
    designs = [(name, code) for code in plugins for name in registrations_of(code).designs]
    check_names_differ("objective", [*SHIPPED_METHODS, *(name for name, _ in objectives)])
    check_names_differ("design", [*SHIPPED_DESIGNS, *(name for name, _ in designs)])
    for name, code in objectives:
        objective_class(code, name)
    for name, code in designs:
        design_class(code, name)
    return Registry(
        *(tasks, scorers, heuristics, protocols, own, plugins),
        Objectives(tuple(objectives)),
        PluggedDesigns(tuple(designs)),
    )
