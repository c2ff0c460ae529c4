"""Checkpoints of a running trial, through the store: safetensors and JSON, written whole, the newest whole one wins.

Two slots per adapter take turns, so that a process killed while it writes one leaves the other. They are deleted
when the adapter is published. Tensors are NumPy arrays here; the engine turns them into its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.store import Store
from assay.training.spec import CHECKPOINT_KIND

STATE_FILE, TENSOR_FILE = "state.json", "tensors.safetensors"
NUM_SLOTS = 2


@dataclass(frozen=True, slots=True)
class TrialState:
    """All that a trial needs to go on as if it had not been stopped."""

    step: int
    """Optimizer steps done; the data order is a function of it."""
    tensors: Mapping[str, npt.NDArray[Any]]
    """Adapter master weights ("weight/..."), Adam moments ("exp_avg/...", "exp_avg_sq/..."), best weights so far
    ("best/..."), random state ("rng/...")."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """JSON: history, best validation loss, patience used, seconds spent, what recording hooks remember."""


class Checkpoints:
    """The checkpoints of one adapter."""

    def __init__(self, store: Store, adapter_key: str, at_most: int | None = None) -> None:
        """Bind to an adapter's key; touches nothing.

        Args:
            store: where they lie.
            adapter_key: of the finished training.
            at_most: later steps are not gone on from, as the training is to stop there.
        """
        self._store, self._key, self._at_most = store, adapter_key, at_most

    def save(self, state: TrialState) -> None:
        """Write a checkpoint over the older of the two."""
        from safetensors.numpy import save

        steps = self._steps()
        slot = min(range(NUM_SLOTS), key=lambda slot: steps.get(slot, -1))
        if slot in steps:
            self._store.delete(CHECKPOINT_KIND, self._name(slot))
        tensors = {name: np.ascontiguousarray(array) for name, array in sorted(state.tensors.items())}
        with self._store.writing(CHECKPOINT_KIND, self._name(slot), {"step": state.step}) as writer:
            writer.file(TENSOR_FILE, save(tensors))
            writer.json(STATE_FILE, {"step": state.step, "info": dict(state.info)})

    def latest(self) -> TrialState | None:
        """The newest whole checkpoint that is not too late; None where there is none."""
        from safetensors.numpy import load

        steps = {slot: step for slot, step in self._steps().items() if self._at_most is None or step <= self._at_most}
        if not steps:
            return None
        name = self._name(max(steps, key=lambda slot: steps[slot]))
        state = self._store.read_json(CHECKPOINT_KIND, name, STATE_FILE)
        tensors = load(self._store.read_bytes(CHECKPOINT_KIND, name, TENSOR_FILE))
        return TrialState(step=int(state["step"]), tensors=tensors, info=state["info"])

    def clear(self) -> None:
        """Delete all checkpoints of the adapter."""
        for slot in self._steps():
            self._store.delete(CHECKPOINT_KIND, self._name(slot))

    def _name(self, slot: int) -> str:
        return f"{self._key}-{slot}"

    def _steps(self) -> dict[int, int]:
        """Step of each slot that holds a whole checkpoint."""
        found = {}
        for slot in range(NUM_SLOTS):
            if self._store.exists(CHECKPOINT_KIND, self._name(slot)):
                found[slot] = int(self._store.manifest(CHECKPOINT_KIND, self._name(slot))["spec"]["step"])
        return found
