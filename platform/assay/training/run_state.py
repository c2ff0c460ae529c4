"""What a training remembers from step to step, and what it leaves: history and summary. Pure; no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from assay.fingerprint import canonical_json
from assay.training.spec import StepMetrics

if TYPE_CHECKING:
    import torch

HISTORY, SUMMARY = "history.parquet", "summary.json"


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """How a training went; no times, so equal trainings have equal summaries."""

    planned_steps: int
    steps: int
    stop_reason: str
    """"schedule", "early stopping" or "hook"."""
    best_step: int | None
    """Step whose weights are kept, where validation chose them."""
    best_validation_loss: float | None
    last_loss: float
    num_train_rows: int
    num_validation_rows: int
    num_trained_tokens: int
    num_parameters: int
    """Of the adapter."""
    target_modules: tuple[str, ...] | str
    packed: bool
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why rows were not trained on -> how many, where the objective leaves rows out."""


@dataclass
class RunState:
    """What changes while a training runs, and goes into its checkpoints."""

    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_loss: float = math.inf
    best_step: int | None = None
    worse_in_a_row: int = 0
    trained_tokens: int = 0
    step_s: float = 0.0
    stop_reason: str = ""
    best_weights: dict[str, torch.Tensor] | None = None
    """Of `best_step`, where the spec wants them back; a checkpoint keeps them among its tensors."""

    @classmethod
    def from_checkpoint(
        cls, step: int, info: Mapping[str, Any], best_weights: dict[str, torch.Tensor] | None
    ) -> RunState:
        """The state of a checkpoint, `info` as `to_info` made it."""
        return cls(
            step=step,
            history=list(info["history"]),
            best_loss=math.inf if info["best_loss"] is None else float(info["best_loss"]),
            best_step=info["best_step"],
            worse_in_a_row=int(info["worse_in_a_row"]),
            trained_tokens=int(info["trained_tokens"]),
            step_s=float(info["step_s"]),
            stop_reason=str(info["stop_reason"]),
            best_weights=best_weights,
        )

    def to_info(self) -> dict[str, Any]:
        """All but the step and the weights, as JSON."""
        return {
            "history": self.history,
            "best_loss": self.best_validation_loss,
            "best_step": self.best_step,
            "worse_in_a_row": self.worse_in_a_row,
            "trained_tokens": self.trained_tokens,
            "step_s": self.step_s,
            "stop_reason": self.stop_reason,
        }

    @property
    def best_validation_loss(self) -> float | None:
        """None before the first validation."""
        return None if self.best_step is None else self.best_loss

    def record(self, result: StepMetrics) -> None:
        """Add a step to the history."""
        self.trained_tokens += result.answer_tokens
        self.step_s += result.step_s
        self.history.append(
            {
                "step": result.step,
                "loss": result.loss,
                "learning_rate": result.learning_rate,
                "grad_norm": result.grad_norm,
                "answer_tokens": result.answer_tokens,
                "validation_loss": result.validation_loss,
                "hooks_json": canonical_json({**result.metrics, **_watched(result.watched)}),
            }
        )

    def judge(self, validation_loss: float, *, patience: int | None) -> bool:
        """Whether this validation is the best so far; stops after `patience` in a row that are no better."""
        if validation_loss < self.best_loss:
            self.best_loss, self.best_step, self.worse_in_a_row = validation_loss, self.step, 0
            return True
        self.worse_in_a_row += 1
        if patience is not None and self.worse_in_a_row >= patience:
            self.stop_reason = "early stopping"
        return False


def _watched(figures: Mapping[str, float]) -> dict[str, float]:
    return {f"objective/{name}": value for name, value in figures.items()}


def history_table(history: Sequence[Mapping[str, Any]]) -> pa.Table:
    """One line per optimizer step: step, loss, learning_rate, grad_norm, answer_tokens, validation_loss, hooks_json.

    The last one holds what evaluation hooks found, and as `objective/...` what the objective watches.
    """
    schema = pa.schema(
        [
            ("step", pa.int64()),
            ("loss", pa.float64()),
            ("learning_rate", pa.float64()),
            ("grad_norm", pa.float64()),
            ("answer_tokens", pa.int64()),
            ("validation_loss", pa.float64()),
            ("hooks_json", pa.string()),
        ]
    )
    return pa.Table.from_pylist([dict(row) for row in history], schema=schema)
