"""An objective of a plug-in as a value: its method, its settings and the code, which travel with the job to a worker.

The class itself is made anew in each process from the code: what trains is what was hashed, and two studies of one
process may mean different things by one name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import model_serializer

from assay.config import NOT_IDENTITY, validate
from assay.fingerprint import canonical_json
from assay.plugins.code import PluginCode
from assay.plugins.opening import class_named, registrations_of
from assay.training.batching import MicroBatch, RowGroup
from assay.training.encoding import EncodedRows
from assay.training.objectives.base import LogProbs, Objective, PassLoss, PassModel

if TYPE_CHECKING:
    from assay.training.spec import TrainSpec

PLUGIN = "plugin"
"""Field of its identity: `PluginCode.identity`."""


class PluggedObjective(Objective):
    """What a plug-in's class says, asked through its code."""

    method: str
    settings: str
    """Its other fields, as JSON."""
    code: Annotated[PluginCode, NOT_IDENTITY]
    """Never stored: a store does not say what its reader imports."""

    @model_serializer
    def _as_a_study_says_it(self) -> dict[str, Any]:
        return {"method": self.method, **json.loads(self.settings)}

    def identity(self) -> dict[str, Any]:
        """What the class says of itself, and its code."""
        return {**self.made.identity(), PLUGIN: self.code.identity}

    @property
    def made(self) -> Objective:
        """An object of the class, of this process."""
        return _made(self.code, self.method, self.settings)

    @property
    def learns_from_pairs(self) -> bool:  # type: ignore[override]
        return self.made.learns_from_pairs

    @property
    def best_prefix(self) -> str:
        return self.made.best_prefix

    def encoding(self) -> Mapping[str, Any]:
        """As the class says, and its code, which `encode` depends on."""
        return {**self.made.encoding(), PLUGIN: self.code.identity}

    def encode(self, examples: Sequence[Any], tokenizer: Any, spec: TrainSpec) -> EncodedRows:
        return self.made.encode(examples, tokenizer, spec)

    def prepare(self, groups: Sequence[RowGroup], log_probs: LogProbs) -> list[RowGroup]:
        return self.made.prepare(groups, log_probs)

    def trained(self, group: RowGroup) -> RowGroup:
        return self.made.trained(group)

    def measured(self, group: RowGroup) -> RowGroup:
        return self.made.measured(group)

    def drifting(self, group: RowGroup) -> RowGroup:
        return self.made.drifting(group)

    def weights(self, batch: MicroBatch) -> tuple[float, ...]:
        return self.made.weights(batch)

    def loss(self, model: PassModel, batch: MicroBatch, drift: float) -> PassLoss:
        return self.made.loss(model, batch, drift)


def plugged_objective(code: PluginCode, settings: Mapping[str, Any]) -> PluggedObjective:
    """A plug-in's objective with these settings, `method` among them.

    Raises:
        ConfigError: an unknown or impossible setting.
    """
    name = str(settings["method"])
    made = validate(objective_class(code, name), settings, f"objective {name!r} of plug-in {code.name!r}")
    said = made.model_dump(mode="json")
    del said["method"]
    return PluggedObjective(method=name, settings=canonical_json(said), code=code)


def objective_class(code: PluginCode, name: str) -> type[Objective]:
    """The class that a plug-in added under this name.

    Raises:
        ConfigError: it is no objective, or calls itself something else.
    """
    added, told = registrations_of(code).objectives[name], f"objective {name!r} of plug-in {code.name!r}"
    return class_named(name, added, Objective, "method", told, "encode, weights and loss")  # type: ignore[type-abstract]


@lru_cache(maxsize=64)
def _made(code: PluginCode, method: str, settings: str) -> Objective:
    return objective_class(code, method).model_validate({"method": method, **json.loads(settings)})
