"""Identity preference optimisation, per token of each answer.

    L = (d_w / |y_w| - d_l / |y_l| - 1 / (2 beta))^2,  d = log p(y) - log p_ref(y)

The paper's formula has no length in it (ipo_sum.py); its authors told that their results come from this form.

Source: Azar et al. 2023, arXiv 2310.12036, equation 17; the normalisation as in TRL's `loss_type="ipo"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from assay.training.objectives.lists import AnswerLists
from assay.training.objectives.preference import PreferenceObjective

if TYPE_CHECKING:
    import torch


class Ipo(PreferenceObjective):
    """Bring the gap of the answers' log-ratios per token to 1 / (2 beta), and no further."""

    method: Literal["ipo"] = "ipo"
    beta: float = Field(0.1, gt=0)
    """Regularisation, tau in the paper: the gap's target is 1 / (2 beta) nats per token."""
    needs_reference: ClassVar[bool] = True

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        return (lists.gap(lists.mean_ratio) - 1 / (2 * self.beta)) ** 2

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return lists.mean_ratio
