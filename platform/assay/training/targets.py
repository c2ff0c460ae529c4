"""Which linear layers of a causal language model get an adapter. Pure: module names in, module names out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from assay.errors import ConfigError

SEPARATE_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "out_proj")
"""Llama, Mistral, Qwen, Gemma, OLMo; OPT and Phi call the last one out_proj or dense."""
OTHER_SENSES = re.compile(r"(?:.*[._])?(?:vision|visual|audio|image|multi_modal|multimodal)[a-z_]*(?:\..*)?")
"""Dotted names of modules that read images or sound, and what is below them."""
FUSED_LINEARS = (
    ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),  # Pythia and GPT-NeoX, Bloom, Falcon
    ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),  # Phi-3
    ("Wqkv", "out_proj", "up_proj", "down_proj"),  # MPT
    ("c_attn", "c_proj", "c_fc"),  # GPT-2, StarCoder
)


FAMILY_TARGETS: Mapping[str, tuple[str, ...]] = {
    "phi": ("q_proj", "k_proj", "v_proj", "dense"),
    "codegen": ("qkv_proj", "out_proj"),
}
"""What "auto" means in `strict` for model types whose layers have names of other families. It is written into the
recipe, and so into the adapter's key."""


def lora_targets(
    linear_names: Iterable[str],
    wanted: Literal["auto", "all-linear"] | tuple[str, ...],
    model: str,
    embeddings: Collection[str] = (),
) -> tuple[str, ...] | Literal["all-linear"]:
    """Last name parts of the layers that get an adapter, sorted; "all-linear" is left to PEFT.

    Args:
        linear_names: dotted names of the model's linear layers, the output head left out.
        wanted: as in `TrainSpec.target_modules`.
        model: the model's type, for the message.
        embeddings: last parts of the names of its embeddings and its output head, which get no adapter.

    Raises:
        ConfigError: a named module is not in the model, or the model has no linear layer.
    """
    found = {name.rpartition(".")[2] for name in linear_names}
    if not found:
        raise ConfigError(f"base model of type {model!r}: saw no linear layers; expected a causal language model")
    if isinstance(wanted, tuple):
        if stray := sorted(set(wanted) & set(embeddings)):
            raise ConfigError(
                f"target_modules: saw {', '.join(stray)}, which reads or writes tokens in a model of type {model!r}; "
                "expected layers between the embeddings, as no engine serves adapters on those; leave it out"
            )
        missing = sorted(set(wanted) - found)
        if missing:
            raise ConfigError(
                f"target_modules: saw {', '.join(missing)}, which a model of type {model!r} does not have; "
                f"expected some of {', '.join(sorted(found))}; or say 'auto'"
            )
        return tuple(sorted(wanted))
    if wanted == "auto":
        if {"q_proj", "k_proj", "v_proj"} <= found:
            return tuple(sorted(found & set(SEPARATE_PROJECTIONS)))
        for family in FUSED_LINEARS:
            if family[0] in found:
                return tuple(sorted(found & set(family)))
    return "all-linear"
