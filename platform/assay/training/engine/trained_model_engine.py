"""A base model with something on it that is trained: what objectives ask of it, and what its kinds have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from assay.training.batching import MicroBatch
from assay.training.engine.chance_engine import train_without_chance
from assay.training.engine.log_probs_engine import row_log_probs, target_logits
from assay.training.engine.resident_engine import ResidentBase, TargetSelector


@dataclass(frozen=True)
class ModelPass:
    """The model as an objective asks it for one forward pass (`objectives.base.PassModel`)."""

    model: TrainedModel
    forward: Callable[..., Any]
    """The model as DeepSpeed wraps it."""
    dropout_step: int | None
    """Optimizer step that the dropout masks follow; None leaves the last ones."""

    def target_loss(self, batch: MicroBatch) -> torch.Tensor:
        return self.model.loss_sum(self.forward, batch, dropout_step=self.dropout_step)

    def answer_log_probs(self, batch: MicroBatch) -> torch.Tensor:
        return self.model.answer_log_probs(self.forward, batch, dropout_step=self.dropout_step)


class TrainedModel(ABC):
    """What one training changes. `close` leaves nothing of it on the process's base."""

    module: nn.Module
    """What is called, and asked to generate."""
    parameters: Mapping[str, nn.Parameter]
    """What is trained, by name."""
    targets: tuple[str, ...] | str
    """Layers that are trained, for the summary."""

    def __init__(self, base: ResidentBase) -> None:
        self._base, self._gradient_checkpointing = base, False
        self._selector = TargetSelector(base.model)

    @abstractmethod
    def write(self, folder: Path, weights: Mapping[str, torch.Tensor], base_name: str) -> None:
        """Write what was trained, with these weights, as other tools read it.

        Args:
            folder: is there, and gets the files.
            weights: float32, by the names of `parameters`.
            base_name: what an adapter's configuration calls its base.
        """

    @abstractmethod
    def close(self) -> None:
        """Take everything off the base model again, or let it go."""

    def recompute(self) -> None:
        """From now on layers keep their inputs alone and are computed again in the backward pass."""
        self._base.model.gradient_checkpointing_enable({"use_reentrant": False})
        self._gradient_checkpointing = True

    def train_without_chance(self) -> None:
        """Training mode for an adapter's dropout; nothing of the base draws."""
        train_without_chance(self.module, gradient_checkpointing=self._gradient_checkpointing)

    def loss_sum(self, forward: Callable[..., Any], batch: MicroBatch, *, dropout_step: int | None) -> torch.Tensor:
        """Loss summed over the batch's trained tokens.

        Args:
            forward: the model as DeepSpeed wraps it.
            batch: rows.
            dropout_step: optimizer step that the dropout masks follow; None leaves the last ones.
        """
        logits_TV, targets_T = self._target_logits(forward, batch, dropout_step)
        return F.cross_entropy(logits_TV.float(), targets_T, reduction="sum")

    def answer_log_probs(
        self, forward: Callable[..., Any], batch: MicroBatch, *, dropout_step: int | None
    ) -> torch.Tensor:
        """Log-probability of each row's trained tokens, nats, in the order of the batch's groups, shape (R,).

        Arguments as of `loss_sum`.
        """
        return row_log_probs(*self._target_logits(forward, batch, dropout_step), batch)

    def _target_logits(
        self, forward: Callable[..., Any], batch: MicroBatch, dropout_step: int | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits at the T trained positions, (T, vocabulary), and their targets, (T,), row after row."""
        if dropout_step is not None:
            self._draw(batch, dropout_step)
        return target_logits(forward, self._selector, batch, self._base.device)

    def _draw(self, batch: MicroBatch, step: int) -> None:  # noqa: B027
        """Draw the masks of a step's pass, where there is dropout."""
