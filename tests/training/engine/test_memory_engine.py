"""Models of billions of parameters, counted on the meta device."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

MODELS: dict[str, dict[str, Any]] = {
    "qwen2": {"vocab_size": 151936, "hidden_size": 896, "num_hidden_layers": 24, "intermediate_size": 4864,
              "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True},
    "llama": {"vocab_size": 32000, "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11008,
              "num_attention_heads": 32},
    "gpt_neox": {"vocab_size": 50432, "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 16384,
                 "num_attention_heads": 32},
    "gpt2": {"vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12},
}  # fmt: skip
WHOLE = "gpt2, trained whole"


def count() -> dict[str, tuple[float, float]]:
    from transformers import AutoConfig

    from assay.training.engine.memory_engine import model_memory
    from assay.training.spec import TrainSpec

    spec = TrainSpec(dtype="bfloat16", lora_dropout=0.0)
    found = {}
    for kind, sizes in MODELS.items():
        memory = model_memory(AutoConfig.for_model(kind, **sizes), spec)
        found[kind] = (memory.bytes_per_token / 1024, memory.checkpointed_bytes_per_token / 1024)
    whole = model_memory(AutoConfig.for_model("gpt2", **MODELS["gpt2"]), spec.replace(method="full"))
    found[WHOLE] = (whole.trained_parameters, whole.weight_bytes)
    return found


@pytest.fixture(scope="module")
def counted() -> dict[str, tuple[float, float]]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # PEFT and transformers stay out of here
        return pool.submit(count).result(timeout=180)


@pytest.mark.parametrize(("kind", "kib"), [("qwen2", 1518), ("llama", 6700), ("gpt_neox", 7346)])
def test_bytes_a_token_are_those_measured_on_the_models(counted: dict[str, Any], kind: str, kib: float) -> None:
    assert counted[kind][0] == pytest.approx(kib, rel=0.13)


def test_recomputing_keeps_a_tenth(counted: dict[str, Any]) -> None:
    assert all(counted[kind][1] < 0.15 * counted[kind][0] for kind in MODELS)


def test_of_a_model_trained_whole_each_weight_is_trained(counted: dict[str, Any]) -> None:
    assert counted[WHOLE] == (124_439_808, 2 * 124_439_808)  # GPT-2 small, its embeddings tied; bfloat16


def test_layers_that_are_no_linear_modules_are_counted_too(counted: dict[str, Any]) -> None:
    assert counted["gpt2"][0] > 100
