"""Simple preference optimisation: no reference, log-probabilities per token, a margin.

    L = - log sigmoid(beta (p_w - p_l) - gamma),  p = log p(y) / |y|

Source: Meng et al. 2024, arXiv 2405.14734, equation 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from assay.training.objectives.lists import AnswerLists
from assay.training.objectives.preference import PreferenceObjective

if TYPE_CHECKING:
    import torch


class SimPo(PreferenceObjective):
    """Classify which answer is better by its mean log-probability."""

    method: Literal["simpo"] = "simpo"
    beta: float = Field(2.0, gt=0)
    """Scale of the reward, which is beta nats per nat and token."""
    gamma: float = Field(1.0, ge=0)
    """Margin between the rewards."""

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        from torch.nn.functional import logsigmoid

        return -logsigmoid(self.beta * lists.gap(lists.mean) - self.gamma)

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return self.beta * lists.mean
