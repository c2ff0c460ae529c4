"""Log-probabilities of a pass's answers, group by group: what the losses of preference methods are functions of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.training.batching import RowGroup

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class AnswerLists:
    """Log-probabilities, all (G, K): G groups, K answers of the longest one, best first.

    What a shorter group lacks is 0, and 1 in `tokens`.
    """

    policy: torch.Tensor
    """log p(answer | prompt) under the model that is trained, nats."""
    reference: torch.Tensor
    """The same under the reference model; NaN where the objective asked for none."""
    tokens: torch.Tensor
    """Tokens of each answer, at least 1."""
    labels: torch.Tensor
    """`TrainRow.label`."""
    there: torch.Tensor
    """Whether the group has that answer."""

    @property
    def ratio(self) -> torch.Tensor:
        """Log-ratio to the reference, log p - log p_reference, nats."""
        return self.policy - self.reference

    @property
    def mean(self) -> torch.Tensor:
        """Log-probability per token of the answer, nats."""
        return self.policy / self.tokens

    @property
    def mean_ratio(self) -> torch.Tensor:
        """Log-ratio to the reference per token of the answer, nats."""
        return self.ratio / self.tokens

    def best(self, values_GK: torch.Tensor) -> torch.Tensor:
        """Of each group the best answer's, (G,)."""
        return values_GK[:, 0]

    def worst(self, values_GK: torch.Tensor) -> torch.Tensor:
        """Of each group the worst answer's, (G,)."""
        last_G1 = self.there.sum(dim=1, keepdim=True) - 1
        return values_GK.gather(1, last_G1.clamp(min=0))[:, 0]

    def gap(self, values_GK: torch.Tensor) -> torch.Tensor:
        """Best minus worst, (G,)."""
        return self.best(values_GK) - self.worst(values_GK)


def answer_lists(groups: Sequence[RowGroup], policy_R: torch.Tensor) -> AnswerLists:
    """Arrange the log-probabilities of a pass's rows, which lie in the order of its groups."""
    import torch

    longest = max(map(len, groups), default=1)
    place_GK = torch.zeros((len(groups), longest), dtype=torch.int64)
    there_GK = torch.zeros((len(groups), longest), dtype=torch.bool)
    begin = 0
    for line, group in enumerate(groups):
        place_GK[line, : len(group)] = torch.arange(begin, begin + len(group))
        there_GK[line, : len(group)] = True
        begin += len(group)
    rows = [row for group in groups for row in group]
    is_full = all(len(group) == longest for group in groups)

    def placed(values: torch.Tensor) -> torch.Tensor:  # a GPU takes it without letting the host wait
        device = policy_R.device
        return values if device.type == "cpu" else values.pin_memory().to(device, non_blocking=True)

    place_GK, there_GK = placed(place_GK), placed(there_GK)

    def arranged(values_R: torch.Tensor, missing: float) -> torch.Tensor:
        if not rows:
            return values_R.new_zeros((0, longest)) + values_R.sum()  # still part of the graph
        found_GK = values_R[place_GK.flatten()].view(place_GK.shape)
        return found_GK if is_full else found_GK.where(there_GK, missing)

    def known(values: list[float]) -> torch.Tensor:
        return placed(torch.tensor(values, dtype=policy_R.dtype))

    return AnswerLists(
        policy=arranged(policy_R, 0.0),
        reference=arranged(known([row.reference for row in rows]), 0.0),
        tokens=arranged(known([float(max(1, row.num_answer_tokens)) for row in rows]), 1.0),
        labels=arranged(known([float(row.label) for row in rows]), 0.0),
        there=there_GK,
    )
