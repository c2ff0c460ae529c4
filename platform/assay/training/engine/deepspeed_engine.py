"""AdamW under DeepSpeed's ZeRO: its set-up, its step, and its float32 state read and written whole.

DeepSpeed's own checkpoints go through torch.load and are not used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import deepspeed
import torch
import torch.nn.functional as F  # noqa: N812
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from torch import nn

from assay.training.engine.workers_engine import Workers
from assay.training.spec import TrainSpec

ADAM_MOMENTS = ("exp_avg", "exp_avg_sq")


class DeepSpeedOptimizer:
    """The optimizer of one adapter, and the model as DeepSpeed wraps it."""

    def __init__(
        self, spec: TrainSpec, model: nn.Module, parameters: Mapping[str, nn.Parameter], workers: Workers
    ) -> None:
        self._spec, self._parameters, self._workers = spec, parameters, workers
        self.engine = self._initialize(model)
        """DeepSpeed's engine: called for a forward pass, asked for a backward pass."""

    def set_rate(self, rate: float) -> None:
        """Learning rate of the next step."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate

    def step(self) -> torch.Tensor | float:
        """Clip the gradients and take a step; returns their norm before clipping, where it is."""
        norm = self._clip()
        self.engine.step()
        if norm is not None:
            return norm
        found = self.engine.get_global_grad_norm()
        return 0.0 if found is None else found

    def weights(self) -> dict[str, torch.Tensor]:
        """The adapter's float32 master weights, whole, copied to the CPU."""
        return {name: _master(p).detach().float().cpu().clone() for name, p in self._parameters.items()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a checkpoint needs: the master weights ("weight/...") and Adam's moments under their names."""
        found = {f"weight/{name}": weight for name, weight in self.weights().items()}
        for moment in ADAM_MOMENTS:
            for name, parameter in self._parameters.items():
                found[f"{moment}/{name}"] = self._moment(parameter, moment).detach().float().cpu()
        return found

    @property
    def allocates_moments_late(self) -> bool:
        """Whether `restore` needs a step before it: ZeRO and bfloat16 make their moments at the first one."""
        return not self._clips_itself

    def restore(self, tensors: Mapping[str, torch.Tensor], step: int) -> None:
        """Take over what `tensors` gave after `step` steps."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                weight = tensors[f"weight/{name}"]
                if self._spec.zero_stage == 3:
                    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
                        parameter.data.copy_(weight)
                    safe_set_local_fp32_param(parameter, self._part(parameter, weight))
                    continue
                if safe_get_full_fp32_param(parameter) is not None:
                    safe_set_full_fp32_param(parameter, weight.to(parameter.device))
                parameter.data.copy_(weight)
        self._restore_moments(tensors, step)

    def close(self) -> None:
        """Let DeepSpeed's buffers go."""
        self.engine.destroy()

    # --- set-up ------------------------------------------------------------------------------------------

    def _initialize(self, model: nn.Module) -> Any:
        spec = self._spec
        optimizer = torch.optim.AdamW(
            list(self._parameters.values()),
            lr=0.0,  # set before every step
            betas=(spec.adam_beta1, spec.adam_beta2),
            eps=spec.adam_epsilon,
            weight_decay=spec.weight_decay,
            fused=True,
        )
        config: dict[str, Any] = {
            "train_micro_batch_size_per_gpu": 1,  # rows per pass vary: the boundary is set by hand
            "gradient_accumulation_steps": 1,
            "gradient_clipping": 0.0 if self._clips_itself else spec.max_grad_norm,
            # bfloat16 weights with float32 gradients and master weights: DeepSpeed has no stage 0 for them, and its
            # stage 1 takes seconds to start
            "zero_optimization": {
                "stage": max(2, spec.zero_stage) if spec.dtype == "bfloat16" else spec.zero_stage,
                **self._bucket_sizes(),
            },
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 2**31,
        }
        if spec.dtype == "bfloat16":
            config["bf16"] = {"enabled": True}
            config["data_types"] = {"grad_accum_dtype": "fp32"}
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config, dist_init_required=False)
        for state in _inner_optimizer(engine).state.values():
            if "step" in state:  # the bfloat16 optimizer allocates its moments by a step with zero gradients
                state["step"].zero_()
        return engine

    def _bucket_sizes(self) -> dict[str, int]:
        """As large as the adapter: ZeRO's own bucket of 500 million elements would take .93 GiB of every trial."""
        size = max(1, sum(parameter.numel() for parameter in self._parameters.values()))
        return {"reduce_bucket_size": size, "allgather_bucket_size": size}

    @property
    def _clips_itself(self) -> bool:
        """DeepSpeed clips plain float32 gradients too, but keeps their norm to itself."""
        return self._spec.zero_stage == 0 and self._spec.dtype == "float32"

    def _clip(self) -> torch.Tensor | None:
        if not self._clips_itself:
            return None
        limit = self._spec.max_grad_norm or math.inf
        return torch.nn.utils.clip_grad_norm_(list(self._parameters.values()), limit, foreach=False)

    # --- state -------------------------------------------------------------------------------------------

    def _moment(self, parameter: nn.Parameter, moment: str) -> torch.Tensor:
        state = _inner_optimizer(self.engine).state.get(parameter)
        if state:
            return state[moment]
        return safe_get_full_optimizer_state(parameter, moment)

    def _restore_moments(self, tensors: Mapping[str, torch.Tensor], step: int) -> None:
        optimizer = _inner_optimizer(self.engine)
        if self._clips_itself:
            for name, parameter in self._parameters.items():
                moments = {moment: tensors[f"{moment}/{name}"].to(parameter.device) for moment in ADAM_MOMENTS}
                # a fused AdamW counts its steps on the device of its parameters
                count = torch.tensor(float(step), device=parameter.device)
                optimizer.state[parameter] = {"step": count, **moments}
            return
        for name, parameter in self._parameters.items():
            for moment in ADAM_MOMENTS:
                whole = tensors[f"{moment}/{name}"]
                if self._spec.zero_stage == 3:
                    safe_set_local_optimizer_state(parameter, self._part(parameter, whole), moment)
                else:
                    safe_set_full_optimizer_state(parameter, whole.to(parameter.device), moment)
        for state in optimizer.state.values():
            if "step" in state:
                state["step"].fill_(float(step))

    def _part(self, parameter: nn.Parameter, whole: torch.Tensor) -> torch.Tensor:
        """This worker's part of a ZeRO-3 tensor, shape (part,): equal parts, zeros behind the last element."""
        size = parameter.ds_tensor.numel()
        padded = F.pad(whole.flatten(), (0, size * self._workers.count - whole.numel()))
        return padded.narrow(0, size * self._workers.rank, size).to(parameter.ds_tensor.device)


def _inner_optimizer(engine: Any) -> torch.optim.Optimizer:
    return getattr(engine.optimizer, "optimizer", engine.optimizer)


def _master(parameter: nn.Parameter) -> torch.Tensor:
    whole = safe_get_full_fp32_param(parameter)
    return parameter.data if whole is None else whole  # plain float32 keeps no second copy
