"""Every architecture of transformers' mapping of causal language models, made tiny with random weights, for tests.

A configuration is transformers' own with its sizes made small: fields are known by name, parts (text, vision) are
shrunk alike. Where that is not enough `MORE` says what else; nothing of a model's code is known here.
"""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

VOCABULARY, POSITIONS = 384, 512
_SIZES: dict[int, tuple[str, ...]] = {
    64: (
        "hidden_size", "d_model", "n_embd", "dim", "embed_dim", "emb_dim", "word_embed_proj_dim", "embedding_size",
        "lru_width", "attention_hidden_size", "input_embedding_size", "output_embedding_size", "q_lora_rank",
    ),
    128: (
        "intermediate_size", "ffn_dim", "d_ff", "dff", "n_inner", "inner_dim", "ffn_hidden_size", "encoder_ffn_dim",
        "decoder_ffn_dim", "moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size",
        "moe_shared_expert_intermediate_size", "dense_intermediate_size", "expert_ffn_hidden_size", "dim_ff",
        "intermediate_size_mlp", "expert_ffn_size",
    ),
    2: (
        "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers", "num_blocks",
        "num_decoder_layers", "num_encoder_layers", "num_attention_heads", "n_head", "n_heads", "num_heads",
        "encoder_attention_heads", "decoder_attention_heads", "num_encoder_attention_heads",
        "num_decoder_attention_heads", "num_key_value_heads", "num_kv_heads", "num_experts_per_tok", "moe_topk",
        "num_experts_per_token", "moe_k", "top_k", "index_n_heads", "depth",
    ),
    32: (
        "head_dim", "d_kv", "attention_head_size", "kv_channels", "qk_nope_head_dim", "qk_rope_head_dim",
        "v_head_dim", "kv_lora_rank", "dim_head", "image_size", "num_buckets", "index_head_dim", "index_topk",
        "swa_head_dim", "mamba_d_head", "qk_head_dim", "o_lora_rank", "hidden_size_per_layer_input",
    ),
    16: ("patch_size",),
    4: (
        "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "state_size", "mamba_d_state",
        "zero_expert_num", "ngram_vocab_size_ratio",
    ),
    1: ("n_group", "topk_group", "first_k_dense_replace", "num_nextn_predict_layers"),
    VOCABULARY: ("vocab_size", "decoder_vocab_size", "vocab_size_per_layer_input"),
    POSITIONS: ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"),
}  # fmt: skip
SIZES = {name: size for size, names in _SIZES.items() for name in names}
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 32, "mamba_expand": 2, "mamba_n_groups": 1}
MORE: dict[str, dict[str, Any]] = {
    "cwm": {"bos_token_id": 1},
    "modernbert-decoder": {"bos_token_id": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"expand": 2, "num_heads": 4, "head_dim": 32, "n_groups": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "zaya": {"num_experts_per_tok": 1},
    "reformer": {
        "is_decoder": True, "attn_layers": ["local", "local"], "axial_pos_embds": False, "num_hidden_layers": 2,
    },
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2},
    "bamba": {**MAMBA, "attn_layer_indices": [1]},
    "granitemoehybrid": {**MAMBA, "layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "codegen": {"n_head": 4, "rotary_dim": 16}, "gptj": {"rotary_dim": 16},
    "deepseek_v2": {"num_experts_per_tok": 2, "topk_method": "greedy"},
    "hunyuan_v1_dense": {"head_dim": 32}, "hunyuan_v1_moe": {"head_dim": 32}, "ministral": {"head_dim": 32},
    "nemotron": {"num_key_value_heads": 2},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "gemma3n_text": {"layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0},
    "cohere_compass_text": {"layer_types": ["sliding_attention", "full_attention"]},
    "longcat_flash": {"head_dim": 32, "qk_rope_head_dim": 32, "qk_nope_head_dim": 32},
    "zamba": {"layer_types": ["mamba", "hybrid"], "num_hidden_layers": 2},
    "zamba2": {"layer_types": ["mamba", "hybrid"], "num_hidden_layers": 2},
    "mamba": {"time_step_rank": 4}, "falcon_mamba": {"time_step_rank": 4},
    "roc_bert": {"pronunciation_vocab_size": 50, "shape_vocab_size": 50},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 128, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 64},
    },
}  # fmt: skip
"""What a few architectures want beside small sizes."""


def architectures() -> list[str]:
    """Model types that `AutoModelForCausalLM` knows, in alphabetical order."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_config(kind: str, **more: Any) -> Any:
    """The configuration of a tiny model of this type.

    Raises:
        Exception: whatever its class raises at these sizes.
    """
    from transformers import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[kind]
    plain = config_class()
    fields = {**_small(plain), **MORE.get(kind, {}), **more}
    if hasattr(plain, "is_decoder") and not plain.is_decoder and not plain.is_encoder_decoder:
        fields["is_decoder"] = True  # BERT and its kin look both ways else
    config = config_class(**fields)
    for part in {id(one): one for one in (config, config.get_text_config(decoder=True))}.values():
        kinds = getattr(part, "layer_types", None) or []
        if set(kinds) == {"linear_attention"}:  # one layer in four attends, which two layers do not reach
            part.layer_types = [*kinds[:-1], "full_attention"]
    return config


def tiny_model(kind: str, **more: Any) -> Any:
    """A model of this type with random weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(7)
        config = tiny_config(kind, **more)
        with torch.device("meta"):
            size = sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(config).parameters())
        if size > MOST_PARAMETERS:
            raise ValueError(f"{size:,} parameters at the sizes that this test knows")
        return AutoModelForCausalLM.from_config(config)


MOST_PARAMETERS = 30_000_000


def save_architecture(folder: Path, kind: str) -> Path:
    """A folder with a tiny model of this type and the tests' word-level tokenizer."""
    from support.tiny_models import make_tokenizer

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    model = tiny_model(kind)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def _small(config: Any) -> dict[str, Any]:
    """Fields of a configuration with small sizes, parts included."""
    from transformers import PreTrainedConfig

    found: dict[str, Any] = {}
    for name, value in config.to_dict().items():
        part = None
        with suppress(Exception):  # Gemma 4 keeps some of its sizes for each layer
            part = getattr(config, name, None)
        if isinstance(part, PreTrainedConfig):
            found[name] = _small(part)
        elif name in SIZES and isinstance(value, int):
            found[name] = SIZES[name] if SIZES[name] != 2 or value > 1 else value
        elif name in ("eos_token_id", "pad_token_id"):
            found[name] = 2 if name == "eos_token_id" else 0
        elif name == "bos_token_id":
            found[name] = 1
    return found
