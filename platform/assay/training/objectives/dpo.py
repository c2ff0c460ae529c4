"""Direct preference optimisation.

    L = - log sigmoid(beta D),  D = [log p(y_w) - log p_ref(y_w)] - [log p(y_l) - log p_ref(y_l)]

Source: Rafailov et al. 2023, arXiv 2305.18290, equation 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from assay.training.objectives.lists import AnswerLists
from assay.training.objectives.preference import PreferenceObjective

if TYPE_CHECKING:
    import torch


class Dpo(PreferenceObjective):
    """Classify which answer is better by its log-ratio to the reference."""

    method: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0)
    """Larger stays nearer to the reference."""
    needs_reference: ClassVar[bool] = True

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        from torch.nn.functional import logsigmoid

        return -logsigmoid(self.beta * lists.gap(lists.ratio))

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return self.beta * lists.ratio
