"""How long a training runs, when it evaluates and at which rate: pure functions of the number of rows.

Rules of the published study (specs: IFTEval, Training): 400 steps of batch 128 or one epoch, whichever is less;
batch 8 below 128 rows; warm-up min(100, max(4, n // batch)); evaluation every min(100, max(20, n // batch)) steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from assay.training.spec import TrainSpec

Decay = Literal["linear", "cosine", "constant"]
MAX_WARMUP_STEPS, MIN_WARMUP_STEPS = 100, 4
MAX_EVAL_EVERY, MIN_EVAL_EVERY = 100, 20


class Schedule(NamedTuple):
    """The plan of one training."""

    batch_size: int
    """Rows per optimizer step."""
    total_steps: int
    warmup_steps: int
    eval_every: int


def batch_size(num_rows: int, *, batch: int = 128, small_batch: int = 8, small_below: int = 128) -> int:
    """Rows per optimizer step: the small batch below `small_below` rows, and never more rows than there are."""
    return max(1, min(num_rows, small_batch if num_rows < small_below else batch))


def warmup_steps(num_rows: int, batch: int) -> int:
    """min(100, max(4, n // batch)). May exceed a short training, whose rate then never reaches the peak."""
    return min(MAX_WARMUP_STEPS, max(MIN_WARMUP_STEPS, num_rows // batch))


def eval_every(num_rows: int, batch: int) -> int:
    """min(100, max(20, n // batch)) optimizer steps."""
    return min(MAX_EVAL_EVERY, max(MIN_EVAL_EVERY, num_rows // batch))


def total_steps(num_rows: int, batch: int, *, max_steps: int | None = 400, num_epochs: float = 1.0) -> int:
    """Steps of `num_epochs` passes (a last incomplete batch is a step), at most `max_steps`; 0 without rows."""
    if num_rows == 0:
        return 0
    epochs = max(1, math.ceil(round(math.ceil(num_rows / batch) * num_epochs, 9)))
    return epochs if max_steps is None else min(max_steps, epochs)


def rate_factor(step: int, *, total: int, warmup: int, decay: Decay = "linear") -> float:
    """Share, in (0, 1], of the peak rate at optimizer step `step`, counted from 0.

    Rises in `warmup` equal parts that leave out zero, is 1 at step `warmup`, then falls towards 0 at `total`, which is
    never used: no step of a short training is spent at rate zero.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if decay == "constant":
        return 1.0
    left = (total - step) / (total - warmup)
    return left if decay == "linear" else (1 - math.cos(math.pi * left)) / 2


def schedule_of(spec: TrainSpec, num_rows: int) -> Schedule:
    """The plan of a training of `num_rows` rows: the rules above, where the spec does not say otherwise."""
    batch = batch_size(num_rows, batch=spec.batch_size, small_batch=spec.small_batch_size, small_below=spec.small_below)
    return Schedule(
        batch_size=batch,
        total_steps=total_steps(num_rows, batch, max_steps=spec.max_steps, num_epochs=spec.num_epochs),
        warmup_steps=warmup_steps(num_rows, batch) if spec.warmup_steps is None else spec.warmup_steps,
        eval_every=eval_every(num_rows, batch) if spec.eval_every is None else spec.eval_every,
    )


def barrier_step(plan: Schedule, part: float) -> int:
    """The last validation at or before this part of the steps; 0 where there is none.

    Args:
        plan: of the training.
        part: between 0 and 1, both left out: the end is no barrier.
    """
    return math.floor(round(part * plan.total_steps, 9)) // plan.eval_every * plan.eval_every
