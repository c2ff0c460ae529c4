"""Nothing but the adapter's dropout draws while it trains, in bases that have chance of their own."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

from assay.training.engine.chance_engine import train_without_chance
from assay.training.engine.row_dropout_engine import DropoutState, RowDropout

TINY = {
    "biogpt": {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "layerdrop": 0.5,
        "hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5,
    },
    "opt": {
        "hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "layerdrop": 0.5,
        "dropout": 0.5, "word_embed_proj_dim": 16,
    },
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5},
    "mixtral": {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "num_local_experts": 2, "router_jitter_noise": 0.3, "attention_dropout": 0.5,
    },
}  # fmt: skip


def model_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, vocab_size=40, max_position_embeddings=64, **TINY[kind])
    return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_two_passes_of_a_training_model_are_equal(kind: str, checkpointing: bool) -> None:
    model = model_of(kind)
    ids = torch.arange(24).reshape(2, 12)

    def logits() -> torch.Tensor:
        return model(input_ids=ids, use_cache=False).logits

    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    assert not torch.equal(logits(), logits())  # the base draws where nobody stops it
    train_without_chance(model, gradient_checkpointing=checkpointing)
    assert torch.equal(logits(), logits())
    recomputes = any(module.training for module in model.modules())
    assert recomputes == checkpointing


def test_a_plain_dropout_anywhere_is_off_and_the_adapters_is_on() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), RowDropout(0.5, "x", DropoutState()))
    train_without_chance(model, gradient_checkpointing=False)
    assert [module.training for module in model] == [False, False, True]
