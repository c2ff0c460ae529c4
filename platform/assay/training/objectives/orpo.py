"""Odds ratio preference optimisation: imitation of the better answer, and a penalty on the odds of the worse.

    L = - log p(y_w) per token  -  beta log sigmoid(log odds(y_w) - log odds(y_l))
    odds(y) = P / (1 - P),  P = exp(log p(y) / |y|)

The first part is a mean over the tokens of a step's better answers, the second over its pairs. The prompt is masked
in both; TRL's and the authors' code also imitate the prompt.

Source: Hong et al. 2024, arXiv 2403.07691, equations 4 to 7.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from assay.training.batching import MicroBatch
from assay.training.objectives.base import PassLoss, PassModel
from assay.training.objectives.lists import AnswerLists, answer_lists
from assay.training.objectives.preference import PreferenceObjective, watched

if TYPE_CHECKING:
    import torch


class Orpo(PreferenceObjective):
    """Imitate the better answer and widen its odds over the worse one."""

    method: Literal["orpo"] = "orpo"
    beta: float = Field(0.1, ge=0)
    """Weight of the odds ratio, lambda in the paper."""

    def weights(self, batch: MicroBatch) -> tuple[float, ...]:
        return sum(group[0].num_answer_tokens for group in batch.groups), len(batch.groups)

    def loss(self, model: PassModel, batch: MicroBatch, drift: float) -> PassLoss:
        lists = answer_lists(batch.groups, model.answer_log_probs(batch))
        terms = (-lists.best(lists.policy).sum(), self.loss_of(lists).sum())
        return PassLoss(terms, watched(lists, self.score_of(lists)))

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        """The odds ratio's part."""
        from torch.nn.functional import logsigmoid

        return -self.beta * logsigmoid(lists.gap(log_odds(lists.mean)))

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return log_odds(lists.mean)


def log_odds(log_p: torch.Tensor) -> torch.Tensor:
    """log(P / (1 - P)) of P = exp(log_p), stable at both ends and with a gradient at each."""
    near_one = log_p > -math.log(2)
    small = log_p.where(near_one, -1.0)  # what `where` throws away must not become NaN in the gradient
    large = log_p.where(~near_one, -1.0)
    log_rest = (-small.expm1()).clamp(min=1e-30).log().where(near_one, (-large.exp()).log1p())
    return log_p - log_rest
