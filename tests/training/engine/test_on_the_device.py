"""What lies on a GPU in training and on disk after it, by stand-ins for the device: no GPU, no training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from assay.training.engine.deepspeed_engine import ADAM_MOMENTS, DeepSpeedOptimizer
from assay.training.engine.resident_engine import save_model
from assay.training.spec import TrainSpec


def test_a_resumed_float32_training_counts_adams_steps_where_its_weights_lie() -> None:
    """A fused AdamW refuses a count on the CPU beside weights on a GPU."""
    weight = torch.nn.Parameter(torch.zeros(2, 3, device="meta"))
    optimizer = object.__new__(DeepSpeedOptimizer)
    optimizer._spec, optimizer._parameters = TrainSpec(dtype="float32", zero_stage=0), {"a": weight}
    inner = SimpleNamespace(state={})
    optimizer.engine = SimpleNamespace(optimizer=inner)
    optimizer._restore_moments({f"{moment}/a": torch.zeros(2, 3) for moment in ADAM_MOMENTS}, step=7)
    state = inner.state[weight]
    assert {name: tensor.device.type for name, tensor in state.items()} == {"step": "meta", "exp_avg": "meta",
                                                                           "exp_avg_sq": "meta"}  # fmt: skip


def test_merged_models_are_written_in_shards_of_two_gigabytes(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    model = SimpleNamespace(config=SimpleNamespace(), save_pretrained=lambda folder, **options: asked.append(options))
    base: Any = SimpleNamespace(model=model, tokenizer=SimpleNamespace(save_pretrained=lambda folder: None))
    save_model(base, tmp_path)
    assert asked == [{"safe_serialization": True, "max_shard_size": "2GB"}]
