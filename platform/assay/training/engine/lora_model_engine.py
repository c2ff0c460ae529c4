"""A base model that carries a fresh LoRA adapter, and the adapter's folder in PEFT's format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from peft.utils.transformers_weight_conversion import _MODEL_TO_CONVERSION_PATTERN, _MOE_TARGET_MODULE_MAPPING
from safetensors.torch import save_file

from assay import adapter_files
from assay.errors import ConfigError
from assay.training.batching import MicroBatch, dropout_codes
from assay.training.engine.fused_lora_engine import fuse
from assay.training.engine.resident_engine import ResidentBase, forget_resident_base, on_device
from assay.training.engine.row_dropout_engine import DropoutState, replace_dropout
from assay.training.engine.trained_model_engine import TrainedModel
from assay.training.spec import TrainSpec
from assay.training.targets import OTHER_SENSES, lora_targets


def _experts(model_type: str) -> frozenset[str]:
    """Names under which PEFT takes a layer for experts, in a model of this type."""
    return frozenset(_MOE_TARGET_MODULE_MAPPING.get(_MODEL_TO_CONVERSION_PATTERN.get(model_type, ""), {}))


def _outside(
    experts: frozenset[str], targets: tuple[str, ...] | str, base: ResidentBase, spec: TrainSpec
) -> tuple[str, ...]:
    """Layers outside of the experts: PEFT adapts those as whole weights, where no dropout sees a row.

    Raises:
        ConfigError: experts were asked for.
    """
    if spec.target_modules == "auto" and targets == "all-linear":
        return tuple(sorted({name.rpartition(".")[2] for name in base.linear_names()} - experts))
    if targets == "all-linear" or experts & set(targets):
        raise ConfigError(
            f"target_modules: saw the experts of a model of type {base.model_type!r} among the layers and "
            f"lora_dropout={spec.lora_dropout:g}; expected no dropout there; set train.lora_dropout=0, or "
            f"target_modules=auto, or name layers, none of them {', '.join(sorted(experts))}"
        )
    return tuple(targets)


class LoraModel(TrainedModel):
    """The adapter on its base, seeded by the spec. `close` gives the base back as it was."""

    def __init__(self, spec: TrainSpec, base: ResidentBase, *, gradient_checkpointing: bool) -> None:
        """Put the adapter on the base.

        Raises:
            ConfigError: a target module that the model does not have.
        """
        super().__init__(base)
        self._spec = spec
        self.targets = lora_targets(base.linear_names(), spec.target_modules, base.model_type, base.embedding_names())
        if spec.lora_dropout > 0 and (experts := _experts(base.model_type)):
            self.targets = _outside(experts, self.targets, base, spec)
        torch.manual_seed(spec.seed)
        self.module = self._with_adapter()
        self._dropout = DropoutState()
        replace_dropout(self.module, spec.lora_dropout, self._dropout)
        if base.device == "cpu" and base.dtype == "bfloat16" and spec.zero_stage < 3:  # stage 3 gathers in hooks
            fuse(self.module)
        if gradient_checkpointing:
            self.recompute()
        self.parameters = {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def _with_adapter(self) -> PeftModel:
        """The base with a fresh adapter.

        Raises:
            ConfigError: PEFT takes no adapter on one of the layers.
        """
        spec, base = self._spec, self._base
        config = LoraConfig(
            r=spec.lora_rank,
            lora_alpha=spec.lora_alpha,
            lora_dropout=spec.lora_dropout,
            target_modules=self.targets if isinstance(self.targets, str) else list(self.targets),
            exclude_modules=OTHER_SENSES.pattern if base.has_other_senses() else None,
            bias="none",
            task_type="CAUSAL_LM",
        )
        try:
            return get_peft_model(base.model, config, autocast_adapter_dtype=base.dtype == "float32")
        except ValueError as error:
            forget_resident_base()  # some of its layers may carry adapters now
            reason = " ".join(str(error).split())[:240]
            raise ConfigError(
                f"target_modules: PEFT takes no such adapter on a model of type {base.model_type!r} ({reason}); "
                "expected layers that it adapts; name others"
            ) from None

    def _draw(self, batch: MicroBatch, step: int) -> None:
        if self._spec.lora_dropout > 0:
            codes = dropout_codes(batch, seed=self._spec.seed, step=step)
            self._dropout.codes_BL = on_device(codes, self._base.device)

    def write(self, folder: Path, weights: Mapping[str, torch.Tensor], base_name: str) -> None:
        """Write `weights` as a PEFT adapter of the base `base_name`."""
        state = get_peft_model_state_dict(self.module, state_dict=dict(weights), save_embedding_layers=False)
        tensors = {name: state[name].contiguous() for name in sorted(state)}
        save_file(tensors, folder / adapter_files.WEIGHTS, metadata={"format": "pt"})
        (folder / adapter_files.CONFIG).write_text(self._config_text(base_name), encoding="utf-8")

    def close(self) -> None:
        """Take everything off the base model again."""
        base = self._base
        self._selector.remove()
        if self._gradient_checkpointing:
            base.model.gradient_checkpointing_disable()
        base.model = self.module.unload()
        base.model.requires_grad_(False)
        base.model.eval()
        if self._spec.zero_stage == 3:
            forget_resident_base()  # its weights have been cut into partitions
        base.model.__dict__.pop("peft_config", None)  # or the next adapter counts as a second one

    def _config_text(self, base_name: str) -> str:
        config = dict(self.module.peft_config["default"].to_dict())
        config["base_model_name_or_path"] = base_name
        config["inference_mode"] = True
        plain = {
            name: sorted(value) if isinstance(value, (set, frozenset)) else value for name, value in config.items()
        }
        plain["target_modules"] = sorted(plain["target_modules"])
        return json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n"
