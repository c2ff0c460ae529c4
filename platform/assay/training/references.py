"""Log-probabilities of answers under the model a training starts from: computed once, stored, shared by all methods.

Their key covers the base and the rows' tokens, so every method and seed that compares the same answers finds them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from assay.fingerprint import KEY_LENGTH, artifact_key
from assay.store import Store
from assay.training.batching import TrainRow

REFERENCE_KIND = "reference"
REFERENCE_SCHEMA = 1
TABLE = "log_probs.parquet"
LOOK_EVERY_S = 0.5
FloatArray = npt.NDArray[np.float64]


class References(Protocol):
    """Where a training finds and leaves them."""

    def found(self, rows: Sequence[TrainRow]) -> FloatArray | None:
        """Those of `rows`, nats, shape (rows,); None where the caller is to compute and `save` them."""
        ...

    def save(self, rows: Sequence[TrainRow], log_probs: FloatArray) -> None:
        """Keep what was computed after `found` said None."""
        ...


class HeldClaim(Protocol):
    """A claim on an artifact that is being computed."""

    held: bool
    """Whether it was given."""

    def close(self) -> None:
        """Give it back."""
        ...


class StoredReferences:
    """Artifacts of kind "reference"."""

    def __init__(self, store: Store, base_key: str, dtype: str, start_adapter_key: str | None = None) -> None:
        """Bind to a base, as it is loaded for training; touches nothing."""
        self._store, self._dtype = store, dtype
        self._inputs: dict[str, str | list[str]] = {"base": base_key}
        if start_adapter_key is not None:
            self._inputs["start_adapter"] = start_adapter_key

    def key(self, rows: Sequence[TrainRow]) -> str:
        """Key of the artifact of these rows, in this order."""
        inputs = {**self._inputs, "rows": content_of(rows)}
        return artifact_key(REFERENCE_KIND, REFERENCE_SCHEMA, {"dtype": self._dtype}, inputs)

    def found(self, rows: Sequence[TrainRow]) -> FloatArray | None:
        key = self.key(rows)
        if not self._store.exists(REFERENCE_KIND, key):
            return None
        table = self._store.read_table(REFERENCE_KIND, key, TABLE)
        return np.asarray(table.column("log_prob").to_pylist(), dtype=np.float64)

    def save(self, rows: Sequence[TrainRow], log_probs: FloatArray) -> None:
        import pyarrow as pa

        spec = {"dtype": self._dtype, **self._inputs, "num_rows": len(rows)}
        with self._store.writing(REFERENCE_KIND, self.key(rows), spec) as writer:
            tokens = [row.num_answer_tokens for row in rows]
            writer.table(TABLE, pa.table({"log_prob": pa.array(log_probs), "answer_tokens": pa.array(tokens)}))


class SharedReferences:
    """`StoredReferences` for trials that run at once: one of them computes what several want, the others wait for it.

    Who waits holds nothing that the one who computes needs, and a claim is free again when its holder dies, so no wait
    is for ever.
    """

    def __init__(
        self, stored: StoredReferences, claim: Callable[[str], HeldClaim], *, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        """Share what is stored.

        Args:
            stored: the artifacts.
            claim: asks for the claim on an artifact's key, for this trial alone.
            look_every_s: seconds between two looks at what another trial computes.
        """
        self._stored, self._claim, self._look_every_s = stored, claim, look_every_s
        self._held: dict[str, HeldClaim] = {}

    def found(self, rows: Sequence[TrainRow]) -> FloatArray | None:
        """As `References.found`, after any other trial that computes them now."""
        key = self._stored.key(rows)
        while (values := self._stored.found(rows)) is None:
            claim = self._claim(key)
            if claim.held:
                self._held[key] = claim
                if (values := self._stored.found(rows)) is not None:  # saved between the look and the claim
                    self._give_back(key)
                return values
            time.sleep(self._look_every_s)
        return values

    def save(self, rows: Sequence[TrainRow], log_probs: FloatArray) -> None:
        """As `References.save`; whoever waits sees them."""
        self._stored.save(rows, log_probs)
        self._give_back(self._stored.key(rows))

    def close(self) -> None:
        """Give back what is claimed and was not computed."""
        for key in list(self._held):
            self._give_back(key)

    def _give_back(self, key: str) -> None:
        if (claim := self._held.pop(key, None)) is not None:
            claim.close()


def content_of(rows: Sequence[TrainRow]) -> str:
    """32 hex digits that name rows by their tokens and where their answers begin."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(np.array([len(row.tokens), row.answer_start], dtype="<i8").tobytes())
        digest.update(row.tokens.astype("<i4").tobytes())
    return digest.hexdigest()[:KEY_LENGTH]
