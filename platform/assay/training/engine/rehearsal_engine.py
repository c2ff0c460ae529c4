"""One optimizer step at the largest pass that a recipe may ask for: what fits here fits in the sweep."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from assay.training.batching import RowGroup, TrainingRows, TrainRow
from assay.training.engine.lora_engine import LoraTrainer
from assay.training.engine.resident_engine import ResidentBase, table_of_positions
from assay.training.memory import DEFAULT_TOKENS
from assay.training.spec import TrainResources, TrainSpec


def rehearse_step(
    spec: TrainSpec, base: ResidentBase, resources: TrainResources, out_dir: Path, *, base_name: str
) -> int:
    """Take a step on rows of the greatest length, as many as fill one pass, and write what it trained.

    Preferences are rehearsed as supervised rows: a pass holds as many tokens of either.

    Args:
        spec: the recipe.
        base: the process's base model, given back as it was.
        resources: of the sweep's trainings.
        out_dir: gets the adapter, or the whole model.
        base_name: what an adapter's configuration calls its base.

    Returns:
        Tokens of the pass.

    Raises:
        ConfigError: the recipe does not fit the base.
        torch.OutOfMemoryError: not even the smallest pass fits.
    """
    length = min(spec.max_length, table_of_positions(base.model) or spec.max_length)
    count = max(1, (resources.micro_batch_tokens or DEFAULT_TOKENS) // length)
    count = min(count, spec.batch_size, resources.micro_batch_size or count)
    rng = np.random.default_rng(0)
    rows: list[RowGroup] = [
        (TrainRow(rng.integers(base.num_embeddings, size=length, dtype=np.int32), length // 2, place),)
        for place in range(count)
    ]
    once = spec.replace(
        objective="sft", max_steps=1, warmup_steps=0, batch_size=count, small_below=0, early_stopping_patience=None
    )
    trainer = LoraTrainer(once, base, TrainingRows(rows), resources)
    try:
        for _ in trainer.steps():
            pass
        trainer.write(out_dir, base_name)
    finally:
        trainer.close()
    return count * length
