"""The objectives that a study can name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from assay.training.objectives.base import Objective
from assay.training.objectives.conditional import Conditional
from assay.training.objectives.dpo import Dpo
from assay.training.objectives.hinge import Hinge
from assay.training.objectives.ipo import Ipo
from assay.training.objectives.ipo_sum import IpoSum
from assay.training.objectives.kto import Kto
from assay.training.objectives.orpo import Orpo
from assay.training.objectives.pro import Pro
from assay.training.objectives.rrhf import Rrhf
from assay.training.objectives.sft import Sft
from assay.training.objectives.sft_chosen import SftChosen
from assay.training.objectives.simpo import SimPo
from assay.training.objectives.slic import Slic

SHIPPED: Mapping[str, type[Objective]] = MappingProxyType(
    {
        kind.model_fields["method"].default: kind
        for kind in (Sft, SftChosen, Conditional, Dpo, Slic, Hinge, Ipo, IpoSum, Rrhf, Pro, Kto, Orpo, SimPo)
    }
)
"""Method -> its class."""


def read_objective(given: Any) -> Objective:
    """A shipped objective from what a study says: its name, or its name and settings; any other as it is.

    Raises:
        ValueError: no such method; unknown or impossible settings.
    """
    if isinstance(given, Objective):
        return given
    settings = {"method": given} if isinstance(given, str) else given
    method = settings.get("method") if isinstance(settings, Mapping) else None
    kind = SHIPPED.get(str(method))
    if kind is None:
        raise ValueError(f"expected a method among {', '.join(SHIPPED)}, or a mapping with one and its settings")
    return kind.model_validate(settings)
