"""Designs that plug-ins bring, by name. They run where the study is opened: no worker needs one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assay.config import validate
from assay.plugins.code import PluginCode
from assay.plugins.opening import class_named, registrations_of
from assay.studies.designs.design import DesignBase


@dataclass(frozen=True)
class PluggedDesigns:
    """Designs by name. Immutable."""

    plugged: tuple[tuple[str, PluginCode], ...] = ()
    """Design -> the plug-in that brings it; names differ."""

    def read(self, grid: object) -> DesignBase | None:
        """The grid of a study, where a plug-in brings its design.

        Raises:
            ConfigError: an unknown or impossible field.
        """
        name = grid.get("design") if isinstance(grid, Mapping) else None
        code = next((code for known, code in self.plugged if known == name), None)
        if code is None:
            return None
        assert isinstance(grid, Mapping)
        return validate(design_class(code, str(name)), grid, f"grid: design {name!r} of plug-in {code.name!r}")


NO_DESIGNS = PluggedDesigns()
"""Of a study without plug-ins."""


def design_class(code: PluginCode, name: str) -> type[DesignBase]:
    """The class that a plug-in added under this name.

    Raises:
        ConfigError: it is no design, or calls itself something else.
    """
    added, told = registrations_of(code).designs[name], f"design {name!r} of plug-in {code.name!r}"
    needs = "cells, evaluation_sets, datasets and trains_zero"
    return class_named(name, added, DesignBase, "design", told, needs)  # type: ignore[type-abstract]
