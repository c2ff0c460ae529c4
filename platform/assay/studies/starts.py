"""What S2 trains and serves its adapters with: instruction-tuned bases, and two adapters served as one.

Merged: the instruction adapter is written into a copy of the base model, which is then a base like any other. Stacked:
the base stays, and each trained adapter is stored once more together with the instruction adapter, as one adapter whose
rank is the sum of both. Both are the same sum of matrices, so in float32 they differ by rounding alone.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assay.adapter_files import CONFIG, WEIGHTS
from assay.errors import StageError
from assay.store import Store
from assay.studies.artifacts import MergedBase, StackedAdapter
from assay.studies.tiny_bases import BASE_KIND
from assay.training.spec import ADAPTER_KIND


def make_merged_base(store: Store, merged: MergedBase, dtype: str) -> None:
    """Write a base model with the adapter in its weights, tokenizer included, as a base of its own."""
    from assay.training.engine.resident_engine import merge_adapter

    adapter = str(store.local_dir(ADAPTER_KIND, merged.adapter_key))
    with tempfile.TemporaryDirectory() as folder:
        merge_adapter(merged.base.path, [adapter], Path(folder), dtype=dtype)
        spec = {"base": merged.base.key, "adapter": merged.adapter_key}
        with store.writing(BASE_KIND, merged.key, spec) as artifact:
            artifact.folder(Path(folder))


def make_stacks(store: Store, stacks: Sequence[StackedAdapter]) -> None:
    """Write the stacked adapters that are missing."""
    for stack in stacks:
        if store.exists(ADAPTER_KIND, stack.key):
            continue
        weights, config = stacked([read_adapter(store, key) for key in stack.parts])
        with store.writing(ADAPTER_KIND, stack.key, {"adapters": list(stack.parts)}) as artifact:
            artifact.file(WEIGHTS, weights)
            artifact.json(CONFIG, config)


def stacked(
    adapters: Sequence[tuple[bytes, dict[str, Any]]], weights: Sequence[float] | None = None
) -> tuple[bytes, dict[str, Any]]:
    """LoRA adapters of one base as one: A matrices below each other, scaled B matrices side by side.

    The sum over adapters of w s B A, with s = alpha / rank, is [w1 s1 B1, w2 s2 B2] [A1; A2] at scale 1.

    Args:
        adapters: (safetensors, adapter configuration) of each, all on the same layers.
        weights: w, one for each adapter; None: 1.

    Raises:
        StageError: they are not on the same layers.
    """
    from safetensors.numpy import load, save

    tensors = [load(data) for data, _ in adapters]
    configs = [config for _, config in adapters]
    if any(set(part) != set(tensors[0]) for part in tensors[1:]):
        raise StageError("stacking: saw adapters on different layers; expected train.target_modules to be the same")
    import numpy as np

    scales = [config["lora_alpha"] / config["r"] for config in configs]
    if weights is not None:
        scales = [weight * scale for weight, scale in zip(weights, scales, strict=True)]
    merged = {}
    for name in tensors[0]:
        if ".lora_A." in name:
            merged[name] = np.concatenate([part[name] for part in tensors], axis=0)
        else:
            parts = [
                part[name] * np.asarray(scale, part[name].dtype) for part, scale in zip(tensors, scales, strict=True)
            ]
            merged[name] = np.concatenate(parts, axis=1)
    rank = sum(config["r"] for config in configs)
    return save(merged), {**configs[-1], "r": rank, "lora_alpha": rank}


def read_adapter(store: Store, key: str) -> tuple[bytes, dict[str, Any]]:
    """An adapter of the store as `stacked` takes it: safetensors and configuration."""
    config = json.loads(store.read_bytes(ADAPTER_KIND, key, CONFIG))
    return store.read_bytes(ADAPTER_KIND, key, WEIGHTS), config
