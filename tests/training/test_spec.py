from __future__ import annotations

import pytest

from assay.config import validate
from assay.errors import ConfigError
from assay.training.spec import (
    TrainingJob,
    TrainSpec,
    adapter_key,
    check_size,
    longest_first,
    stopped_adapter_key,
)
from assay.training.targets import lora_targets


def test_adapter_key_follows_what_changes_the_result() -> None:
    keys = {
        adapter_key(TrainSpec(), base_key="b", mixture_key="m"),
        adapter_key(TrainSpec(seed=1), base_key="b", mixture_key="m"),
        adapter_key(TrainSpec(), base_key="c", mixture_key="m"),
        adapter_key(TrainSpec(), base_key="b", mixture_key="n"),
        adapter_key(TrainSpec(), base_key="b", mixture_key="m", start_adapter_key="a"),
    }
    assert len(keys) == 5
    assert adapter_key(TrainSpec(), base_key="b", mixture_key="m") in keys


def test_a_key_says_nothing_of_the_method_that_all_had_and_full_training_nothing_of_an_adapter() -> None:
    def key(**fields: object) -> str:
        return adapter_key(TrainSpec.model_validate(fields), base_key="b", mixture_key="m")

    assert "method" not in TrainSpec().identity()
    assert key(method="lora") == key() != key(method="full")
    assert key(method="full", lora_rank=4, lora_alpha=1, lora_dropout=0, target_modules="all-linear") == key(
        method="full"
    )
    assert key(method="full", learning_rate=1e-5) != key(method="full")


def test_full_training_is_for_small_bases_and_whole_weights() -> None:
    check_size("small", 500_000_000)
    with pytest.raises(ConfigError, match=r"saw base model large of 500,000,001 parameters; expected at most 500,000"):
        check_size("large", 500_000_001)
    with pytest.raises(ConfigError, match="zero_stage: saw 3 with method 'full'"):
        validate(TrainSpec, {"method": "full", "zero_stage": 3}, "train")


def test_a_training_cut_short_has_a_key_of_its_own() -> None:
    key = adapter_key(TrainSpec(), base_key="b", mixture_key="m")
    assert len({key, stopped_adapter_key(key, 10), stopped_adapter_key(key, 20)}) == 3


def test_target_modules_have_one_spelling() -> None:
    assert TrainSpec(target_modules=("b", "a", "b")) == TrainSpec(target_modules=("a", "b"))
    with pytest.raises(ConfigError, match="target_modules"):
        validate(TrainSpec, {"target_modules": []}, "train")


def test_jobs_start_grouped_by_base_and_large_ones_first() -> None:
    def job(key: str, base: str, rows: int) -> TrainingJob:
        return TrainingJob(key, base, f"/{base}", "m", TrainSpec(), num_rows=rows)

    jobs = [job("1", "small", 5), job("2", "big", 10), job("3", "small", 9), job("4", "big", 90), job("5", "big", 20)]
    assert [job.key for job in longest_first(jobs)] == ["4", "5", "2", "3", "1"]


LLAMA = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NEOX = ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]


@pytest.mark.parametrize(
    ("linears", "expected"),
    [
        (LLAMA, ("k_proj", "o_proj", "q_proj", "v_proj")),  # Llama, Mistral, Qwen2, Gemma
        (["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"], ("k_proj", "out_proj", "q_proj", "v_proj")),  # OPT
        (NEOX, ("dense", "dense_4h_to_h", "dense_h_to_4h", "query_key_value")),  # Pythia, Bloom, Falcon
        (["qkv_proj", "o_proj", "gate_up_proj", "down_proj"], ("down_proj", "gate_up_proj", "o_proj", "qkv_proj")),
        (["c_attn", "c_proj", "c_fc"], ("c_attn", "c_fc", "c_proj")),  # GPT-2
        (["in_proj", "x_proj"], "all-linear"),  # an architecture that nobody here has met
    ],
)
def test_auto_knows_the_architectures(linears: list[str], expected: object) -> None:
    names = [f"model.layers.{layer}.block.{name}" for layer in range(2) for name in linears]
    assert lora_targets(names, "auto", "m") == expected


def test_a_target_that_the_model_lacks_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="target_modules: saw q_proj, which a model of type 'gpt_neox' does not"):
        lora_targets([f"layers.0.{name}" for name in NEOX], ("q_proj", "dense"), "gpt_neox")
    assert lora_targets([f"layers.0.{name}" for name in NEOX], ("dense",), "gpt_neox") == ("dense",)


@pytest.mark.parametrize("name", ["use_rslora", "use_dora", "load_in_4bit", "load_in_8bit"])
def test_other_methods_are_refused_with_what_to_do_instead(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*; (set|leave)"):
        TrainSpec.model_validate({name: True})


def test_adapters_on_embeddings_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="saw embed_tokens, which reads or writes tokens"):
        lora_targets(["layers.0.q_proj"], ("embed_tokens", "q_proj"), "llama", ["embed_tokens", "lm_head"])
