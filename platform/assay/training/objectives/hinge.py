"""SLiC's hinge on log-ratios to the reference, as later work and TRL use it.

    L = max(0, 1 - beta D),  D the difference of log-ratios as in dpo.py

Source: Zhao et al. 2023, SLiC-HF, arXiv 2305.10425, in the normalised form of Liu et al. 2023, RSO, arXiv 2309.06657.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from assay.training.objectives.lists import AnswerLists
from assay.training.objectives.preference import PreferenceObjective

if TYPE_CHECKING:
    import torch


class Hinge(PreferenceObjective):
    """Separate the answers' log-ratios by a margin of 1 / beta, and no further."""

    method: Literal["hinge"] = "hinge"
    beta: float = Field(0.1, gt=0)
    """The margin is its inverse, in nats."""
    needs_reference: ClassVar[bool] = True

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        return (1 - self.beta * lists.gap(lists.ratio)).relu()

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return self.beta * lists.ratio
