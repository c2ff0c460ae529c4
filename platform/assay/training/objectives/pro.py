"""Preference ranking optimisation: the best answer against all worse ones by softmax, then the second, and so on.

    L = - sum over k < n of log [exp(p_k) / sum over i = k and all i worse than k of exp(p_i)]
        - sft_weight (n - 1)^2 p_1,   p = log p(y) / |y|

With two answers and no imitation it is - log sigmoid(p_w - p_l). The variant that divides by gaps of rewards is not
here: it needs scores on one scale for all lists.

Source: Song et al. 2023, arXiv 2306.17492, equations 5 to 7; (n - 1)^2 as in its section on settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from assay.training.objectives.lists import AnswerLists
from assay.training.objectives.preference import PreferenceObjective

if TYPE_CHECKING:
    import torch


class Pro(PreferenceObjective):
    """Contrast every answer of a list with all that are worse, and imitate the best."""

    method: Literal["pro"] = "pro"
    sft_weight: float = Field(0.05, ge=0)
    """Of imitation, times (n - 1)^2 for a list of n answers."""
    compares: ClassVar[Literal["pair", "list"]] = "list"

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        import torch

        mean_GK, rank_GK, there_GK = lists.mean, lists.labels, lists.there
        itself_KK = torch.eye(mean_GK.shape[1], dtype=torch.bool, device=mean_GK.device)
        rivals_GKK = (rank_GK[:, None, :] > rank_GK[:, :, None]) & there_GK[:, None, :]
        among_GKK = mean_GK[:, None, :].masked_fill(~(rivals_GKK | itself_KK), -torch.inf)
        contrast_GK = among_GKK.logsumexp(dim=2) - mean_GK  # 0 where nothing is worse
        size_G = there_GK.sum(dim=1).to(mean_GK.dtype)  # an integer times 0.05 would be float32
        contrast_G = contrast_GK.where(there_GK, 0.0).sum(dim=1)
        return contrast_G - self.sft_weight * (size_G - 1) ** 2 * lists.best(mean_GK)

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return lists.mean
