"""Identity preference optimisation as its paper writes it.

    L = (D - 1 / (2 beta))^2,  D the difference of log-ratios as in dpo.py

Source: Azar et al. 2023, arXiv 2310.12036, equation 17.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from assay.training.objectives.lists import AnswerLists
from assay.training.objectives.preference import PreferenceObjective

if TYPE_CHECKING:
    import torch


class IpoSum(PreferenceObjective):
    """Bring the gap of the answers' log-ratios to 1 / (2 beta), and no further."""

    method: Literal["ipo_sum"] = "ipo_sum"
    beta: float = Field(0.1, gt=0)
    """Regularisation, tau in the paper: the gap's target is 1 / (2 beta) nats."""
    needs_reference: ClassVar[bool] = True

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        return (lists.gap(lists.ratio) - 1 / (2 * self.beta)) ** 2

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return lists.ratio
