"""What all methods share that learn from preferences: their rows, the reference, and what is watched.

A method says which answers of a row it compares, whether it needs the reference model, and its loss per group as a
function of log-probabilities.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from assay.training.batching import MicroBatch, RowGroup
from assay.training.encoding import EncodedRows
from assay.training.objectives.answers import all_ranked, best_and_worst, encode_answers, encoded
from assay.training.objectives.base import LogProbs, Objective, PassLoss, PassModel
from assay.training.objectives.lists import AnswerLists, answer_lists

if TYPE_CHECKING:
    import torch

    from assay.training.spec import TrainSpec

Figures = Mapping[str, tuple["torch.Tensor", "torch.Tensor"]]


class PreferenceObjective(Objective):
    """A loss over the answers of each row, averaged over the rows of an optimizer step."""

    learns_from_pairs: ClassVar[bool] = True
    compares: ClassVar[Literal["pair", "list"]] = "pair"
    """Best and worst answer of a row, or all."""
    needs_reference: ClassVar[bool] = False

    def encoding(self) -> Mapping[str, Any]:
        return {"answers": self.compares}

    def encode(self, examples: Sequence[Any], tokenizer: Any, spec: TrainSpec) -> EncodedRows:
        choose = best_and_worst if self.compares == "pair" else all_ranked
        return encoded(examples, encode_answers(examples, tokenizer, spec, choose))

    def prepare(self, groups: Sequence[RowGroup], log_probs: LogProbs) -> list[RowGroup]:
        return with_reference(groups, log_probs) if self.needs_reference else list(groups)

    def weights(self, batch: MicroBatch) -> tuple[float, ...]:
        return (len(batch.groups),)

    def loss(self, model: PassModel, batch: MicroBatch, drift: float) -> PassLoss:
        lists = answer_lists(batch.groups, model.answer_log_probs(batch))
        return PassLoss((self.loss_of(lists).sum(),), watched(lists, self.score_of(lists)))

    @abstractmethod
    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        """Loss of each group, (G,)."""

    @abstractmethod
    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        """What the method takes an answer's quality to be, in its own unit, (G, K): margins are differences of it."""


def with_reference(groups: Sequence[RowGroup], log_probs: LogProbs) -> list[RowGroup]:
    """Groups whose rows know their log-probability under the reference model."""
    rows = [row for group in groups for row in group]
    known = iter(log_probs(rows).tolist() if rows else [])
    return [tuple(row._replace(reference=next(known)) for row in group) for group in groups]


def answer_tokens(groups: Sequence[RowGroup]) -> int:
    """Trained tokens of all answers."""
    return sum(row.num_answer_tokens for group in groups for row in group)


def watched(lists: AnswerLists, score_GK: torch.Tensor) -> Figures:
    """Figures of the best answer and, where there is another, of the worst and of the gap between both.

    `chosen_log_prob` and `rejected_log_prob` are in nats per answer, `margin` in the method's own unit, `accuracy` is
    the share of groups whose best answer scores higher.
    """
    import torch

    with torch.no_grad():
        count = lists.there[:, 0].sum()
        found = {"chosen_log_prob": (lists.best(lists.policy).sum(), count)}
        if lists.policy.shape[1] > 1:
            margin_G = lists.gap(score_GK)
            found |= {
                "rejected_log_prob": (lists.worst(lists.policy).sum(), count),
                "margin": (margin_G.sum(), count),
                "accuracy": ((margin_G > 0).sum(), count),
            }
    return found
