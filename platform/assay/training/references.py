"""Log-probabilities of answers under the model a training starts from: computed once, stored, shared by all methods.

Their key covers the base and the rows' tokens, so every method and seed that compares the same answers finds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from assay.fingerprint import KEY_LENGTH, artifact_key
from assay.store import Store
from assay.training.batching import TrainRow

REFERENCE_KIND = "reference"
REFERENCE_SCHEMA = 1
TABLE = "log_probs.parquet"
FloatArray = npt.NDArray[np.float64]


class References(Protocol):
    """Where a training finds and leaves them."""

    def found(self, rows: Sequence[TrainRow]) -> FloatArray | None:
        """Those of `rows`, nats, shape (rows,); None where the caller is to compute and `save` them."""
        ...

    def save(self, rows: Sequence[TrainRow], log_probs: FloatArray) -> None:
        """Keep what was computed after `found` said None."""
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
        """As `References.found`."""
        key = self.key(rows)
        if not self._store.exists(REFERENCE_KIND, key):
            return None
        table = self._store.read_table(REFERENCE_KIND, key, TABLE)
        return np.asarray(table.column("log_prob").to_pylist(), dtype=np.float64)

    def save(self, rows: Sequence[TrainRow], log_probs: FloatArray) -> None:
        """As `References.save`."""
        import pyarrow as pa

        spec = {"dtype": self._dtype, **self._inputs, "num_rows": len(rows)}
        with self._store.writing(REFERENCE_KIND, self.key(rows), spec) as writer:
            tokens = [row.num_answer_tokens for row in rows]
            writer.table(TABLE, pa.table({"log_prob": pa.array(log_probs), "answer_tokens": pa.array(tokens)}))


def content_of(rows: Sequence[TrainRow]) -> str:
    """32 hex digits that name rows by their tokens and where their answers begin."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(np.array([len(row.tokens), row.answer_start], dtype="<i8").tobytes())
        digest.update(row.tokens.astype("<i4").tobytes())
    return digest.hexdigest()[:KEY_LENGTH]
