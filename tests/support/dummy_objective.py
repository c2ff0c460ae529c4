"""An objective in one file: a pairwise loss with a reference, as somebody who adds a method would write it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from assay.records import Example
from assay.training.batching import MicroBatch, RowGroup
from assay.training.encoding import EncodedRows, encode
from assay.training.objectives.base import LogProbs, Objective, PassLoss, PassModel

if TYPE_CHECKING:
    from assay.training.spec import TrainSpec


class RightOverWrong(Objective):
    """Prefers an example's reference to the reference with a digit put before it: mean of (D - scale)^2.

    D is the difference of both answers' log-ratios to the reference model.
    """

    method: Literal["right_over_wrong"] = "right_over_wrong"
    scale: float = 1.0

    def encoding(self) -> Mapping[str, Any]:
        return {"answers": "right and wrong"}

    def encode(self, examples: Sequence[Example], tokenizer: Any, spec: TrainSpec) -> EncodedRows:
        sides = [[e, dataclasses.replace(e, reference=f"9{e.reference}")] for e in examples]
        table = encode([side for pair in sides for side in pair], tokenizer, spec)
        first_rows = np.arange(0, 2 * len(examples) + 1, 2)
        return dataclasses.replace(table, example_ids=tuple(e.example_id for e in examples), first_rows=first_rows)

    def prepare(self, groups: Sequence[RowGroup], log_probs: LogProbs) -> list[RowGroup]:
        rows = [row for group in groups for row in group]
        known = iter(log_probs(rows))
        return [tuple(row._replace(reference=float(next(known))) for row in group) for group in groups]

    def weights(self, batch: MicroBatch) -> tuple[float, ...]:
        return (len(batch.groups),)

    def loss(self, model: PassModel, batch: MicroBatch, drift: float) -> PassLoss:
        policy = model.answer_log_probs(batch)
        reference = policy.new_tensor([row.reference for group in batch.groups for row in group])
        ratios = (policy - reference).view(-1, 2)
        margins = ratios[:, 0] - ratios[:, 1]
        count = policy.new_tensor(float(len(batch.groups)))
        return PassLoss((((margins - self.scale) ** 2).sum(),), {"margin": (margins.sum(), count)})
