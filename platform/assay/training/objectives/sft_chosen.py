"""Supervised training on the best answers of preference data: what every other method has to beat.

    L = - sum log p(y_w) / number of their tokens in the step

Worse answers are not trained on; validation looks at them, so that their log-probability can be followed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from assay.training.batching import MicroBatch, RowGroup
from assay.training.objectives.lists import AnswerLists
from assay.training.objectives.preference import PreferenceObjective

if TYPE_CHECKING:
    import torch


class SftChosen(PreferenceObjective):
    """Imitate the best answer."""

    method: Literal["sft_chosen"] = "sft_chosen"

    def trained(self, group: RowGroup) -> RowGroup:
        return group[:1]

    def measured(self, group: RowGroup) -> RowGroup:
        return group

    def weights(self, batch: MicroBatch) -> tuple[float, ...]:
        return (sum(group[0].num_answer_tokens for group in batch.groups),)

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        return -lists.best(lists.policy)

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return lists.policy
