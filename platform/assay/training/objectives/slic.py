"""Sequence likelihood calibration, without a reference model.

    L = max(0, delta - log p(y_w) + log p(y_l)) - weight log p(y_ref)

y_ref is the best answer, which supervised training would imitate.

Source: Zhao et al. 2023, SLiC-HF, arXiv 2305.10425, equation 1, as the survey of Gao 2023 writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from assay.training.objectives.lists import AnswerLists
from assay.training.objectives.preference import PreferenceObjective

if TYPE_CHECKING:
    import torch


class Slic(PreferenceObjective):
    """Separate the answers' log-probabilities by a margin while imitating the better one."""

    method: Literal["slic"] = "slic"
    delta: float = Field(1.0, ge=0)
    """Margin between the answers, nats."""
    weight: float = Field(0.1, ge=0)
    """Of imitation."""

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        return (self.delta - lists.gap(lists.policy)).relu() - self.weight * lists.best(lists.policy)

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return lists.policy
