"""What a study compares: its design, a frozen value that says which conditions there are, one file for each.

A design brings its cells, its evaluation sets, the models that it trains into, its own checks and what reports call its
arms (`design.DesignBase`). Code outside of this package asks the design and never which one it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import Discriminator, SerializeAsAny, Tag

from assay.studies.designs.design import DesignBase
from assay.studies.designs.hold_out import HoldOutGrid
from assay.studies.designs.mixture import MixtureGrid
from assay.studies.designs.models import ModelsGrid
from assay.studies.designs.preference import PreferenceGrid
from assay.studies.designs.sources import SourceGrid
from assay.studies.designs.target import TargetGrid
from assay.studies.designs.transfer import TransferGrid
from assay.studies.designs.weights import WeightGrid

__all__ = [
    "SHIPPED_DESIGNS",
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
    if isinstance(value, Mapping):
        return f"@{value.get('design', 'target')}"
    name = getattr(value, "design", "target")
    return "@plugged" if isinstance(value, DesignBase) and name not in SHIPPED_DESIGNS else f"@{name}"


Design = Annotated[
    Annotated[TargetGrid, Tag("@target")]
    | Annotated[SourceGrid, Tag("@sources")]
    | Annotated[HoldOutGrid, Tag("@hold_out")]
    | Annotated[TransferGrid, Tag("@transfer")]
    | Annotated[WeightGrid, Tag("@weights")]
    | Annotated[MixtureGrid, Tag("@mixture")]
    | Annotated[ModelsGrid, Tag("@models")]
    | Annotated[PreferenceGrid, Tag("@preference")]
    | Annotated[SerializeAsAny[DesignBase], Tag("@plugged")],
    Discriminator(_which),
]
"""The field `grid` of a study, told apart by its `design`; one of a plug-in is read by its class beforehand."""

SHIPPED_DESIGNS: tuple[str, ...] = tuple(
    kind.model_fields["design"].default
    for kind, *_ in map(get_args, get_args(get_args(Design)[0]))
    if kind is not DesignBase
)
"""Their names; another one is a plug-in's."""
