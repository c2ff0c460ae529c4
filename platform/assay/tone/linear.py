"""A tone classifier on hashed features, with a logistic regression. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.tone.features import feature_matrix
from assay.tone.model import (
    UNTESTED,
    WEIGHTS_FILE,
    Counted,
    ToneSpec,
    drop_empty,
    labels_of,
    read_counts,
    read_spec,
    write_card,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LinearToneModel:
    """Hashed features and a logistic regression."""

    def __init__(
        self,
        spec: ToneSpec,
        weights_F: NDArray[np.float64],
        bias: float,
        sensitivity: Counted = UNTESTED,
        specificity: Counted = UNTESTED,
    ) -> None:
        self.spec, self.sensitivity, self.specificity = spec, sensitivity, specificity
        self._weights_F, self._bias = weights_F, bias

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        features_NF = feature_matrix(texts, self.spec.num_features, self.spec.max_words)
        logits_N = np.asarray(features_NF @ self._weights_F) + self._bias
        return drop_empty(texts, 1.0 / (1.0 + np.exp(-logits_N)))

    def answer_like(self, texts: Sequence[str]) -> list[bool]:
        return labels_of(self.probabilities(texts))

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        used = np.flatnonzero(self._weights_F)
        tensors = {"places": used.astype(np.int32), "weights": self._weights_F[used].astype(np.float32)}
        save_file({**tensors, "bias": np.asarray([self._bias], dtype=np.float32)}, folder / WEIGHTS_FILE)
        write_card(self, folder)

    @classmethod
    def load(cls, folder: Path, card: dict[str, Any]) -> LinearToneModel:
        """What `save` wrote."""
        from safetensors.numpy import load_file

        tensors = load_file(folder / WEIGHTS_FILE)
        spec = read_spec(card, folder)
        weights_F = np.zeros(spec.num_features)
        weights_F[tensors["places"]] = tensors["weights"]
        return cls(spec, weights_F, float(tensors["bias"][0]), *read_counts(card))
