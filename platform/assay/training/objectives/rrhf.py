"""Rank responses to align with human feedback: a hinge on every pair of a list, and imitation of its best answer.

    L = sum over i better than j of max(0, p_j - p_i)  -  log p(y_best),  p = log p(y) / |y|

Answers of equal score make no pair. The paper sums the last part over tokens; its code takes their mean
(`imitation: mean`) and weighs the ranking by 100 (`rank_weight`).

Source: Yuan et al. 2023, arXiv 2304.05302, equations 1 to 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from assay.training.objectives.lists import AnswerLists
from assay.training.objectives.preference import PreferenceObjective

if TYPE_CHECKING:
    import torch


class Rrhf(PreferenceObjective):
    """Order the answers' mean log-probabilities as the list does, and imitate the best."""

    method: Literal["rrhf"] = "rrhf"
    rank_weight: float = Field(1.0, ge=0)
    """Of the ranking."""
    imitation: Literal["sum", "mean"] = "sum"
    """Cross-entropy of the best answer: over its tokens, or per token."""
    compares: ClassVar[Literal["pair", "list"]] = "list"

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        mean_GK, rank_GK, there_GK = lists.mean, lists.labels, lists.there
        is_better_GKK = rank_GK[:, :, None] < rank_GK[:, None, :]
        counts_GKK = is_better_GKK & there_GK[:, :, None] & there_GK[:, None, :]
        falls_short_GKK = (mean_GK[:, None, :] - mean_GK[:, :, None]).relu()
        ranking_G = (falls_short_GKK * counts_GKK).sum(dim=(1, 2))
        imitated_GK = lists.policy if self.imitation == "sum" else mean_GK
        return self.rank_weight * ranking_G - lists.best(imitated_GK)

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return lists.mean
