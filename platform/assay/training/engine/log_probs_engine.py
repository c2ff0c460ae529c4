"""Log-probabilities of answers: by a model that is trained, and once by the base it starts from.

The reference of a preference method is the base before the adapter is put on it, so no second model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812

from assay.training.batching import NO_TARGET, MicroBatch, TrainRow, as_groups, micro_batches, share_of_worker
from assay.training.engine.resident_engine import ResidentBase, TargetSelector, model_inputs, on_device
from assay.training.engine.workers_engine import Workers


def target_logits(
    forward: Callable[..., Any], selector: TargetSelector, batch: MicroBatch, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits at the T trained positions, (T, vocabulary), and their targets, (T,), row after row."""
    targets = batch.targets.reshape(-1)
    kept_T = np.flatnonzero(targets != NO_TARGET)
    selector.kept_T = on_device(kept_T, device)
    try:
        logits = forward(**model_inputs(batch, device), use_cache=False).logits
    finally:
        selector.kept_T = None
    return logits, on_device(targets[kept_T], device)


def row_log_probs(logits_TV: torch.Tensor, targets_T: torch.Tensor, batch: MicroBatch) -> torch.Tensor:
    """Log-probability of each row's trained tokens in the order of the batch's groups, nats, float32, shape (R,).

    Each row is summed by itself, so that its sum does not depend on what else is in the pass, on any device.
    """
    log_probs_T = -F.cross_entropy(logits_TV.float(), targets_T, reduction="none")
    lengths = [row.num_answer_tokens for group in batch.groups for row in group]
    if not lengths:  # a pass of nothing, which still goes through the collectives
        return log_probs_T.sum()[None][:0]
    return torch.stack([part.sum() for part in log_probs_T.split(lengths)])


@torch.no_grad()
def base_log_probs(
    base: ResidentBase, rows: Sequence[TrainRow], workers: Workers, *, max_tokens: int, pack_length: int | None
) -> npt.NDArray[np.float64]:
    """Log-probability of each row's answer under a base without an adapter, nats, shape (rows,).

    Args:
        base: it must carry no adapter.
        rows: in any order.
        workers: each computes its share; all return the whole.
        max_tokens: per forward pass at most, padding included.
        pack_length: tokens per packed sequence; None pads.
    """
    batches = micro_batches(
        as_groups([row._replace(place=number) for number, row in enumerate(rows)]),
        pad_id=base.pad_id,
        loss_on="answer",
        max_groups=None,
        max_tokens=max_tokens,
        pack_length=pack_length,
    )
    found = torch.zeros(len(rows), dtype=torch.float64)
    selector = TargetSelector(base.model)
    base.model.eval()
    try:
        for batch in share_of_worker(batches, workers.rank, workers.count):
            log_probs = row_log_probs(*target_logits(base.model, selector, batch, base.device), batch)
            for (row,), value in zip(batch.groups, log_probs.double().cpu(), strict=True):
                found[row.place] = value
    finally:
        selector.remove()
    return workers.totals(found).numpy()
