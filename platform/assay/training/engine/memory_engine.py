"""What a model keeps for its backward pass, counted on the meta device: no weights, no memory, no GPU."""

from __future__ import annotations

import copy

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from assay.training.engine.resident_engine import has_other_senses, linear_layers
from assay.training.memory import ModelMemory
from assay.training.spec import TrainSpec
from assay.training.targets import OTHER_SENSES, lora_targets

TOKENS = 16
"""Of the pass that is counted: few, as attention on the meta device keeps its square, which fused kernels do not."""


def model_memory(config: PretrainedConfig, spec: TrainSpec) -> ModelMemory:
    """Bytes of the weights, of what is trained, and of what each token leaves for the backward pass.

    The output head is left out of the tokens' part: it sees trained positions only.
    """
    dtype = getattr(torch, spec.dtype)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=dtype, attn_implementation="sdpa")
        model.config.use_cache = False
        weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        trained_model = model if spec.method == "full" else _with_adapter(model, spec)
        trained = sum(parameter.numel() for parameter in trained_model.parameters() if parameter.requires_grad)
        model.set_output_embeddings(nn.Identity())
        kept = _bytes_kept(trained_model.train())
    layers = int(getattr(config.get_text_config(), "num_hidden_layers", 1))
    width = int(getattr(config.get_text_config(), "hidden_size", 1))
    return ModelMemory(
        weight_bytes=weights,
        trained_parameters=trained,
        bytes_per_token=kept / TOKENS,
        checkpointed_bytes_per_token=layers * width * dtype.itemsize + kept / TOKENS / layers,
        vocabulary=int(config.get_text_config().vocab_size),
    )


def _with_adapter(model: PreTrainedModel, spec: TrainSpec) -> nn.Module:
    """The model with the spec's adapter, which alone is trained."""
    targets = lora_targets(linear_layers(model), spec.target_modules, str(model.config.model_type))
    model.requires_grad_(False)
    config = LoraConfig(
        r=spec.lora_rank,
        target_modules=targets if isinstance(targets, str) else list(targets),
        lora_dropout=spec.lora_dropout,
        exclude_modules=OTHER_SENSES.pattern if has_other_senses(model) else None,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config, autocast_adapter_dtype=False)


def _bytes_kept(model: nn.Module) -> int:
    """Bytes that a forward pass of one sequence saves, its weights left out and each storage counted once."""
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    seen: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            seen[storage._cdata] = (storage.nbytes(), tensor)  # the tensor is held: its address stays its own
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(
            input_ids=torch.zeros((1, TOKENS), dtype=torch.long, device="meta"),
            attention_mask=torch.ones((1, 1, TOKENS, TOKENS), dtype=torch.bool, device="meta"),  # else it is looked at
            use_cache=False,
        )
    return sum(size for size, _ in seen.values())
