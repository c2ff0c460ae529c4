"""A base model that carries a fresh LoRA adapter: its loss, and its folder in PEFT's format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from peft.utils.transformers_weight_conversion import _MODEL_TO_CONVERSION_PATTERN, _MOE_TARGET_MODULE_MAPPING
from safetensors.torch import save_file

from assay import adapter_files
from assay.errors import ConfigError
from assay.training.batching import MicroBatch, dropout_codes
from assay.training.engine.chance_engine import train_adapter_alone
from assay.training.engine.fused_lora_engine import fuse
from assay.training.engine.log_probs_engine import row_log_probs, target_logits
from assay.training.engine.resident_engine import ResidentBase, TargetSelector, forget_resident_base
from assay.training.engine.row_dropout_engine import DropoutState, replace_dropout
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


@dataclass(frozen=True)
class ModelPass:
    """The model as an objective asks it for one forward pass (`objectives.base.PassModel`)."""

    model: LoraModel
    forward: Callable[..., Any]
    """The model as DeepSpeed wraps it."""
    dropout_step: int | None
    """Optimizer step that the dropout masks follow; None leaves the last ones."""

    def target_loss(self, batch: MicroBatch) -> torch.Tensor:
        """As `PassModel.target_loss`."""
        return self.model.loss_sum(self.forward, batch, dropout_step=self.dropout_step)

    def answer_log_probs(self, batch: MicroBatch) -> torch.Tensor:
        """As `PassModel.answer_log_probs`."""
        return self.model.answer_log_probs(self.forward, batch, dropout_step=self.dropout_step)


class LoraModel:
    """The adapter on its base, seeded by the spec. `close` gives the base back as it was."""

    def __init__(self, spec: TrainSpec, base: ResidentBase, *, gradient_checkpointing: bool) -> None:
        """Put the adapter on the base.

        Raises:
            ConfigError: a target module that the model does not have.
        """
        self._spec, self._base, self._gradient_checkpointing = spec, base, False
        self.targets = lora_targets(base.linear_names(), spec.target_modules, base.model_type, base.embedding_names())
        if spec.lora_dropout > 0 and (experts := _experts(base.model_type)):
            self.targets = _outside(experts, self.targets, base, spec)
        torch.manual_seed(spec.seed)
        self.peft = self._with_adapter()
        self._dropout = DropoutState()
        replace_dropout(self.peft, spec.lora_dropout, self._dropout)
        if base.device == "cpu" and base.dtype == "bfloat16" and spec.zero_stage < 3:  # stage 3 gathers in hooks
            fuse(self.peft)
        if gradient_checkpointing:
            self.recompute()
        self._selector = TargetSelector(base.model)
        self.parameters = {name: p for name, p in self.peft.named_parameters() if p.requires_grad}

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

    def recompute(self) -> None:
        """From now on layers keep their inputs alone and are computed again in the backward pass."""
        self._base.model.gradient_checkpointing_enable({"use_reentrant": False})
        self._gradient_checkpointing = True

    def train_adapter_alone(self) -> None:
        """Training mode for the adapter's dropout; nothing of the base draws."""
        train_adapter_alone(self.peft, gradient_checkpointing=self._gradient_checkpointing)

    def loss_sum(self, forward: Callable[..., Any], batch: MicroBatch, *, dropout_step: int | None) -> torch.Tensor:
        """Loss summed over the batch's trained tokens.

        Args:
            forward: the model as DeepSpeed wraps it.
            batch: rows.
            dropout_step: optimizer step that the dropout masks follow; None leaves the last ones.
        """
        logits_TV, targets_T = self._target_logits(forward, batch, dropout_step)
        return F.cross_entropy(logits_TV.float(), targets_T, reduction="sum")

    def answer_log_probs(
        self, forward: Callable[..., Any], batch: MicroBatch, *, dropout_step: int | None
    ) -> torch.Tensor:
        """Log-probability of each row's trained tokens, nats, in the order of the batch's groups, shape (R,).

        Arguments as of `loss_sum`.
        """
        return row_log_probs(*self._target_logits(forward, batch, dropout_step), batch)

    def _target_logits(
        self, forward: Callable[..., Any], batch: MicroBatch, dropout_step: int | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits at the T trained positions, (T, vocabulary), and their targets, (T,), row after row."""
        device = self._base.device
        if dropout_step is not None and self._spec.lora_dropout > 0:
            codes = dropout_codes(batch, seed=self._spec.seed, step=dropout_step)
            self._dropout.codes_BL = torch.from_numpy(codes).to(device)
        return target_logits(forward, self._selector, batch, device)

    def write(self, folder: Path, weights: Mapping[str, torch.Tensor], base_name: str) -> None:
        """Write `weights` as a PEFT adapter of the base `base_name`."""
        state = get_peft_model_state_dict(self.peft, state_dict=dict(weights), save_embedding_layers=False)
        tensors = {name: state[name].contiguous() for name in sorted(state)}
        save_file(tensors, folder / adapter_files.WEIGHTS, metadata={"format": "pt"})
        (folder / adapter_files.CONFIG).write_text(self._config_text(base_name), encoding="utf-8")

    def close(self) -> None:
        """Take everything off the base model again."""
        base = self._base
        self._selector.remove()
        if self._gradient_checkpointing:
            base.model.gradient_checkpointing_disable()
        base.model = self.peft.unload()
        base.model.requires_grad_(False)
        base.model.eval()
        if self._spec.zero_stage == 3:
            forget_resident_base()  # its weights have been cut into partitions
        base.model.__dict__.pop("peft_config", None)  # or the next adapter counts as a second one

    def _config_text(self, base_name: str) -> str:
        config = dict(self.peft.peft_config["default"].to_dict())
        config["base_model_name_or_path"] = base_name
        config["inference_mode"] = True
        plain = {
            name: sorted(value) if isinstance(value, (set, frozenset)) else value for name, value in config.items()
        }
        plain["target_modules"] = sorted(plain["target_modules"])
        return json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n"
