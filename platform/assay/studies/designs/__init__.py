"""What a study compares: its design, a frozen value that says which conditions there are, one file for each.

A design brings its cells, its evaluation sets, the models that it trains into, its own checks and what reports call its
arms (`design.DesignBase`). Code outside of this package asks the design and never which one it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from assay.studies.designs.hold_out import HoldOutGrid
from assay.studies.designs.mixture import MixtureGrid
from assay.studies.designs.models import ModelsGrid
from assay.studies.designs.preference import PreferenceGrid
from assay.studies.designs.sources import SourceGrid
from assay.studies.designs.target import TargetGrid
from assay.studies.designs.transfer import TransferGrid
from assay.studies.designs.weights import WeightGrid

__all__ = [
    "Design",
    "HoldOutGrid",
    "MixtureGrid",
    "ModelsGrid",
    "PreferenceGrid",
    "SourceGrid",
    "TargetGrid",
    "TransferGrid",
    "WeightGrid",
]


def _which(value: Any) -> str:
    named = value.get("design", "target") if isinstance(value, Mapping) else getattr(value, "design", "target")
    return f"@{named}"


Design = Annotated[
    Annotated[TargetGrid, Tag("@target")]
    | Annotated[SourceGrid, Tag("@sources")]
    | Annotated[HoldOutGrid, Tag("@hold_out")]
    | Annotated[TransferGrid, Tag("@transfer")]
    | Annotated[WeightGrid, Tag("@weights")]
    | Annotated[MixtureGrid, Tag("@mixture")]
    | Annotated[ModelsGrid, Tag("@models")]
    | Annotated[PreferenceGrid, Tag("@preference")],
    Discriminator(_which),
]
"""The field `grid` of a study, told apart by its `design`."""
