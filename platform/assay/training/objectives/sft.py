"""Supervised fine-tuning: the mean cross-entropy of the trained tokens.

L = - sum_t log p(y_t | x, y_<t) / number of trained tokens of the step
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from assay.training.batching import MicroBatch
from assay.training.encoding import EncodedRows, encode
from assay.training.objectives.base import Objective, PassLoss, PassModel

if TYPE_CHECKING:
    from assay.training.spec import TrainSpec


class Sft(Objective):
    """Imitate the reference answers."""

    method: Literal["sft"] = "sft"

    def encode(self, examples: Sequence[Any], tokenizer: Any, spec: TrainSpec) -> EncodedRows:
        return encode(examples, tokenizer, spec)

    def weights(self, batch: MicroBatch) -> tuple[float, ...]:
        return (batch.num_targets,)

    def loss(self, model: PassModel, batch: MicroBatch, drift: float) -> PassLoss:
        return PassLoss((model.target_loss(batch),))
