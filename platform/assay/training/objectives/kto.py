"""Kahneman-Tversky optimisation: answers one by one, as gains and losses against where the policy has drifted to.

    L = w_d [1 - sigmoid(beta (d - z))]  of a desirable answer,  w_u [1 - sigmoid(beta (z - d))]  of another,
    d = log p(y) - log p_ref(y),   z = max(0, mean of d over answers to other prompts), without gradient

The best answer of a row is desirable and the others are not; a row of one answer says which it is. z is a mean over
the whole optimizer step: each prompt is paired once, in the data's order, with the answers of the row before it.

Source: Ethayarajh et al. 2024, arXiv 2402.01306, equations 7 and 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from assay.preference.rows import GOOD, PreferenceRow
from assay.training.batching import MicroBatch, RowGroup
from assay.training.encoding import EncodedRows
from assay.training.objectives.answers import Candidate, Group, Wanted, encode_answers, encoded
from assay.training.objectives.base import LogProbs, PassLoss, PassModel
from assay.training.objectives.lists import AnswerLists, answer_lists
from assay.training.objectives.preference import Figures, PreferenceObjective, with_reference

if TYPE_CHECKING:
    import torch

    from assay.training.spec import TrainSpec

DESIRABLE, UNDESIRABLE, MISMATCHED = 1, 0, -1
"""Labels of rows."""


class Kto(PreferenceObjective):
    """Raise desirable answers and lower others, each against the policy's drift."""

    method: Literal["kto"] = "kto"
    beta: float = Field(0.1, gt=0)
    """Larger stays nearer to the reference."""
    desirable_weight: float = Field(1.0, ge=0)
    """Of desirable answers."""
    undesirable_weight: float = Field(1.0, ge=0)
    """Of the others."""
    needs_reference: ClassVar[bool] = True

    def encoding(self) -> Mapping[str, Any]:
        return {"answers": "one by one"}

    def encode(self, examples: Sequence[Any], tokenizer: Any, spec: TrainSpec) -> EncodedRows:
        groups = encode_answers(examples, tokenizer, spec, _one_by_one, singles=True)
        return encoded(examples, _with_mismatched(groups, spec.max_length))

    def prepare(self, groups: Sequence[RowGroup], log_probs: LogProbs) -> list[RowGroup]:
        matched = with_reference([self.trained(group) for group in groups], log_probs)
        mismatched = with_reference([self.drifting(group) for group in groups], log_probs)
        return [own + other for own, other in zip(matched, mismatched, strict=True)]

    def trained(self, group: RowGroup) -> RowGroup:
        return tuple(row for row in group if row.label != MISMATCHED)

    def drifting(self, group: RowGroup) -> RowGroup:
        return tuple(row for row in group if row.label == MISMATCHED)

    def weights(self, batch: MicroBatch) -> tuple[float, ...]:
        return (sum(map(len, batch.groups)),)

    def loss(self, model: PassModel, batch: MicroBatch, drift: float) -> PassLoss:
        lists = answer_lists(batch.groups, model.answer_log_probs(batch))
        figures = {**self._watched(lists), "drift": (lists.policy.new_tensor(drift), lists.policy.new_ones(()))}
        return PassLoss((self.loss_at(lists, drift).sum(),), figures)

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        return self.loss_at(lists, 0.0)

    def loss_at(self, lists: AnswerLists, drift: float) -> torch.Tensor:
        """Loss of each group, a sum over its answers, (G,).

        Args:
            lists: log-probabilities.
            drift: mean log-ratio of mismatched answers, nats; what is below 0 counts as 0.
        """
        ahead_GK = self.beta * (lists.ratio - max(0.0, drift))
        is_good_GK = lists.labels == DESIRABLE
        gain_GK = self.desirable_weight * (1 - ahead_GK.sigmoid())
        harm_GK = self.undesirable_weight * (1 - (-ahead_GK).sigmoid())
        return gain_GK.where(is_good_GK, harm_GK).where(lists.there, 0.0).sum(dim=1)

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return self.beta * lists.ratio

    def _watched(self, lists: AnswerLists) -> Figures:
        """As `preference.watched`, of answers one by one; margins where a row has both kinds."""
        import torch

        with torch.no_grad():
            good_GK = (lists.labels == DESIRABLE) & lists.there
            bad_GK = (lists.labels == UNDESIRABLE) & lists.there
            both_G = good_GK.any(dim=1) & bad_GK.any(dim=1)
            margin_G = lists.gap(self.score_of(lists)).where(both_G, 0.0)
            return {
                "chosen_log_prob": ((lists.policy * good_GK).sum(), good_GK.sum()),
                "rejected_log_prob": ((lists.policy * bad_GK).sum(), bad_GK.sum()),
                "margin": (margin_G.sum(), both_G.sum()),
                "accuracy": (((margin_G > 0) & both_G).sum(), both_G.sum()),
            }


def _one_by_one(row: PreferenceRow) -> list[Wanted]:
    if len(row.answers) == 1 and row.scores is not None:
        return [Wanted(0, DESIRABLE if row.scores[0] == GOOD else UNDESIRABLE)]
    return [Wanted(place, UNDESIRABLE if place else DESIRABLE) for place in range(len(row.answers))]


def _with_mismatched(groups: Sequence[Group], max_length: int) -> list[Group]:
    """Groups with their prompt before the answers of the group before them, the last one's before the first."""
    there = [group for group in groups if group.candidates]
    if len(there) < 2:
        return list(groups)
    before = iter([there[-1], *there])
    return [_mismatched(group, next(before), max_length) if group.candidates else group for group in groups]


def _mismatched(group: Group, other: Group, max_length: int) -> Group:
    prompt = group.candidates[0].prompt
    added = [Candidate(prompt, one.answer[: max_length - len(prompt)], MISMATCHED) for one in other.candidates]
    return group._replace(candidates=[*group.candidates, *added])
