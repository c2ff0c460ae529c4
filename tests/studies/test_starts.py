"""Two adapters served as one are the sum of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from assay.errors import StageError
from assay.studies.starts import stacked

A, B = "base_model.model.layers.0.q_proj.lora_A.weight", "base_model.model.layers.0.q_proj.lora_B.weight"


def adapter(rank: int, alpha: float, seed: int) -> tuple[bytes, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    weights = {A: rng.normal(size=(rank, 6)).astype("f4"), B: rng.normal(size=(5, rank)).astype("f4")}
    return save(weights), {"r": rank, "lora_alpha": alpha, "target_modules": ["q_proj"]}


def change(data: bytes, config: dict[str, Any]) -> np.ndarray:
    """What an adapter adds to its layer: alpha / rank * B A."""
    tensors = load(data)
    return np.asarray(config["lora_alpha"] / config["r"] * tensors[B] @ tensors[A])


def test_a_stack_adds_what_its_adapters_add() -> None:
    first, second = adapter(2, 8.0, 0), adapter(3, 3.0, 1)
    data, config = stacked([first, second])
    assert (config["r"], config["target_modules"]) == (5, ["q_proj"])
    np.testing.assert_allclose(change(data, config), change(*first) + change(*second), rtol=1e-5)


def test_adapters_on_different_layers_are_no_stack() -> None:
    first, (data, config) = adapter(2, 8.0, 0), adapter(2, 8.0, 1)
    other = save({name.replace("q_proj", "k_proj"): value for name, value in load(data).items()})
    with pytest.raises(StageError, match="target_modules"):
        stacked([first, (other, config)])


def test_a_weighted_stack_adds_shares_of_what_its_adapters_add() -> None:
    first, second = adapter(2, 8.0, 0), adapter(3, 3.0, 1)
    data, config = stacked([first, second], [0.25, 0.75])
    np.testing.assert_allclose(change(data, config), 0.25 * change(*first) + 0.75 * change(*second), rtol=1e-5)
