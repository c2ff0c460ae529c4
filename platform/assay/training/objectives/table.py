"""The training methods that a study may name: what ships, and what plug-ins bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.plugins.code import PluginCode
from assay.training.objectives.base import Objective
from assay.training.objectives.plugged import objective_class, plugged_objective
from assay.training.objectives.shipped import SHIPPED, read_objective


@dataclass(frozen=True)
class Objectives:
    """Methods by name. Immutable."""

    plugged: tuple[tuple[str, PluginCode], ...] = ()
    """Method -> the plug-in that brings it; names differ."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all methods."""
        return (*SHIPPED, *(name for name, _ in self.plugged))

    def read(self, given: Any) -> Objective:
        """An objective from what a study says: its name, or its name and settings.

        Raises:
            ValueError: no such method, or settings of a shipped one that cannot be.
            ConfigError: settings of a plug-in's that cannot be.
        """
        settings = {"method": given} if isinstance(given, str) else given
        code = self._code_of(settings)
        return read_objective(given) if code is None else plugged_objective(code, settings)

    def is_plugged(self, given: object) -> bool:
        """Whether a plug-in brings what a study says."""
        return self._code_of({"method": given} if isinstance(given, str) else given) is not None

    def learns_from_pairs(self, name: str) -> bool:
        """Whether the examples of a method among `names` are preferences."""
        code = self._code_of({"method": name})
        kind = SHIPPED[name] if code is None else objective_class(code, name)
        return kind.learns_from_pairs

    def _code_of(self, settings: object) -> PluginCode | None:
        method = settings.get("method") if isinstance(settings, Mapping) else None
        return next((code for name, code in self.plugged if name == method), None)


SHIPPED_OBJECTIVES = Objectives()
"""Of a study without plug-ins."""
