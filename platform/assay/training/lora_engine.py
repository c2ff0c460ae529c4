"""One training: a LoRA adapter by PEFT and DeepSpeed, as a generator that yields after every optimizer step.

Whoever drives it (a Tune trial, a test, a bench) decides when to go on, so a trial can be watched and stopped. The
base model stays loaded and is left as it was. Equal inputs give bit-identical adapters on one machine type in
float32, whether the trial runs first or after others, whole or resumed from a checkpoint; other micro-batch sizes
and packing move the last bits only.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import deepspeed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
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
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn

from assay.errors import DataError, StageError
from assay.fingerprint import canonical_json
from assay.hooks import EvalHook, Generate, RecordingHook
from assay.training.checkpoints import Checkpoints, TrialState
from assay.training.encoding import (
    NO_TARGET,
    MicroBatch,
    TrainRow,
    dropout_codes,
    micro_batches,
    pad,
    share_of_worker,
    step_rows,
)
from assay.training.resident_engine import (
    ResidentBase,
    TargetSelector,
    forget_resident_base,
    init_distributed,
    model_inputs,
    pin_threads,
    quiet_engines,
)
from assay.training.row_dropout_engine import DropoutState, replace_dropout
from assay.training.schedule import Schedule, rate_factor, schedule_of
from assay.training.spec import StepMetrics, TrainResources, TrainSpec
from assay.training.targets import lora_targets
from assay.training.workers_engine import Workers

ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
HISTORY, SUMMARY = "history.parquet", "summary.json"
ADAM_MOMENTS = ("exp_avg", "exp_avg_sq")
GENERATE_BATCH = 32
"""Prompts per generate call of an evaluation inside a trial."""


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """How a training went; no times, so equal trainings have equal summaries."""

    planned_steps: int
    steps: int
    stop_reason: str
    """"schedule", "early stopping" or "hook"."""
    best_step: int | None
    """Step whose weights are kept, where validation chose them."""
    best_validation_loss: float | None
    last_loss: float
    num_train_rows: int
    num_validation_rows: int
    num_trained_tokens: int
    num_parameters: int
    """Of the adapter."""
    target_modules: tuple[str, ...] | str
    packed: bool


@dataclass
class _Run:
    """What changes while a trial runs, and goes into its checkpoints."""

    step: int = 0
    history: list[dict[str, float | int | None]] = field(default_factory=list)
    best_loss: float = math.inf
    best_step: int | None = None
    worse_in_a_row: int = 0
    trained_tokens: int = 0
    step_s: float = 0.0
    stop_reason: str = ""
    best_weights: dict[str, torch.Tensor] | None = None


def train(
    spec: TrainSpec,
    base: ResidentBase,
    train_rows: Sequence[TrainRow],
    validation_rows: Sequence[TrainRow],
    out_dir: Path,
    *,
    base_name: str,
    resources: TrainResources | None = None,
    hooks: Sequence[EvalHook] = (),
    checkpoints: Checkpoints | None = None,
) -> Generator[StepMetrics, None, TrainSummary]:
    """Train an adapter and write it as a PEFT folder, with its history and summary.

    Args:
        spec: what is trained.
        base: the process's base model; used, and given back as it was, also when the generator is closed early.
        train_rows: in the mixture's order.
        validation_rows: for validation loss and early stopping; may be empty.
        out_dir: gets adapter_model.safetensors (float32), adapter_config.json, history.parquet and summary.json.
        base_name: what the adapter's config calls its base; never a path.
        resources: micro-batches, packing, threads, checkpoints.
        hooks: evaluations at intervals, with the trial's own model; a `RecordingHook` leaves its records in `out_dir`.
        checkpoints: where to resume from and save to; None keeps none.

    Yields:
        Metrics of each optimizer step, those of an earlier process of this trial left out.

    Raises:
        DataError: no training rows are left.
        ConfigError: a target module that the model does not have.
    """
    trainer = LoraTrainer(spec, base, train_rows, validation_rows, resources or TrainResources(), hooks, checkpoints)
    try:
        yield from trainer.steps()
        return trainer.write(out_dir, base_name)
    finally:
        trainer.close()


class LoraTrainer:
    """The state of one training. `train` is the way to use it; a trial cut short calls `write` where it stands."""

    def __init__(
        self,
        spec: TrainSpec,
        base: ResidentBase,
        train_rows: Sequence[TrainRow],
        validation_rows: Sequence[TrainRow],
        resources: TrainResources,
        hooks: Sequence[EvalHook] = (),
        checkpoints: Checkpoints | None = None,
    ) -> None:
        if not train_rows:
            raise DataError(
                f"training: saw no training rows within max_length={spec.max_length} tokens; expected at least one; "
                "raise max_length, set too_long: cut, or look at the mixture"
            )
        self.spec, self.base, self.resources = spec, base, resources
        self._train_rows, self._validation_rows = train_rows, validation_rows
        self._hooks, self._checkpoints = hooks, checkpoints
        self._hook_states: Mapping[str, Any] = {}
        self.plan: Schedule = schedule_of(spec, len(train_rows))
        self.run = _Run()
        pin_threads(resources.threads or max(1, int(resources.cpus_per_worker)))
        init_distributed(base.device)
        quiet_engines()
        self.workers = Workers(base.device)
        self.packed = resources.packing and base.packing_is_sound()
        self.targets = lora_targets(base.linear_names(), spec.target_modules, base.model_type)
        torch.manual_seed(spec.seed)
        self._peft = get_peft_model(
            base.model,
            LoraConfig(
                r=spec.lora_rank,
                lora_alpha=spec.lora_alpha,
                lora_dropout=spec.lora_dropout,
                target_modules=self.targets if isinstance(self.targets, str) else list(self.targets),
                bias="none",
                task_type="CAUSAL_LM",
            ),
            autocast_adapter_dtype=base.dtype == "float32",
        )
        self._dropout = DropoutState()
        replace_dropout(self._peft, spec.lora_dropout, self._dropout)
        if resources.gradient_checkpointing:
            base.model.gradient_checkpointing_enable({"use_reentrant": False})
        self._selector = TargetSelector(base.model)
        self._parameters = {name: p for name, p in self._peft.named_parameters() if p.requires_grad}
        self._engine = self._initialize()
        if checkpoints is not None and (state := self._latest(checkpoints)) is not None:
            self._restore(state)

    # --- the loop ----------------------------------------------------------------------------------------

    def steps(self) -> Iterator[StepMetrics]:
        """Run to the end of the plan, or to where early stopping or a hook ends it."""
        run, plan = self.run, self.plan
        began_eval_s = self._begin_hooks()
        while run.step < plan.total_steps and not run.stop_reason:
            metrics = self._step()
            run.step += 1
            is_last = run.step == plan.total_steps
            validation_loss = None
            if self._validation_rows and (run.step % plan.eval_every == 0 or is_last):
                validation_loss = self._validate()
                self._judge(validation_loss)
            found: dict[str, float] = {}
            evaluated = time.perf_counter()
            for hook in self._hooks:
                if run.step % hook.every_steps == 0 or is_last:
                    found |= {f"{hook.name}/{name}": float(value) for name, value in self._evaluate(hook).items()}
            if any(name.endswith("/stop") and value == 1.0 for name, value in found.items()):
                run.stop_reason = "hook"
            result = StepMetrics(
                step=run.step,
                total_steps=plan.total_steps,
                validation_loss=validation_loss,
                metrics=found,
                eval_s=time.perf_counter() - evaluated + began_eval_s,
                **metrics,
            )
            began_eval_s = 0.0
            run.trained_tokens += result.answer_tokens
            run.step_s += result.step_s
            run.history.append(_history_row(result))
            every = self.resources.checkpoint_every
            if self._checkpoints is not None and every is not None and run.step % every == 0:
                self._save()
            yield result
        run.stop_reason = run.stop_reason or "schedule"

    def _step(self) -> dict[str, Any]:
        """One optimizer step; the loss is a sum over the step's trained tokens, divided by their number."""
        began = time.perf_counter()
        spec, step, engine = self.spec, self.run.step, self._engine
        places = step_rows(
            len(self._train_rows), self.plan.batch_size, step, seed=spec.seed, shuffled=spec.order == "shuffled"
        )
        batches = self._batches([self._train_rows[place] for place in places.tolist()])
        num_tokens = sum(batch.num_targets for batch in batches)
        rate = spec.learning_rate * rate_factor(
            step, total=self.plan.total_steps, warmup=self.plan.warmup_steps, decay=spec.schedule == "linear"
        )
        for group in engine.optimizer.param_groups:
            group["lr"] = rate
        self._peft.train()
        mine = list(share_of_worker(batches, self.workers.rank, self.workers.count))
        total = torch.zeros((), dtype=torch.float64)
        for number, batch in enumerate(mine):
            engine.set_gradient_accumulation_boundary(number == len(mine) - 1)
            loss_sum = self._loss_sum(batch, dropout_step=step)
            # DeepSpeed averages over workers; each has summed its own share
            engine.backward(loss_sum * (self.workers.count / max(1, num_tokens)), scale_wrt_gas=False)
            total += loss_sum.detach().double().cpu()
        norm = self._clip()
        engine.step()
        if norm is None:
            norm = float(engine.get_global_grad_norm() or 0.0)
        return {
            "loss": self.workers.total(total) / max(1, num_tokens),
            "learning_rate": rate,
            "grad_norm": norm,
            "answer_tokens": num_tokens,
            "step_s": time.perf_counter() - began,
        }

    def _batches(self, rows: Sequence[TrainRow]) -> list[MicroBatch]:
        most = self.resources.micro_batch_size
        if self.workers.count > 1:  # at least one forward pass for each worker
            most = min(most or len(rows), max(1, len(rows) // self.workers.count))
        return micro_batches(
            rows,
            pad_id=self.base.pad_id,
            loss_on=self.spec.loss_on,
            max_rows=most,
            max_tokens=self.resources.micro_batch_tokens,
            pack_length=self.resources.pack_length if self.packed else None,
        )

    def _loss_sum(self, batch: MicroBatch, *, dropout_step: int | None) -> torch.Tensor:
        device = self.base.device
        targets_BL = torch.from_numpy(batch.targets).to(device)
        mask_BL = targets_BL >= 0
        self._selector.mask_BL = mask_BL
        if dropout_step is not None and self.spec.lora_dropout > 0:
            codes = dropout_codes(batch, seed=self.spec.seed, step=dropout_step)
            self._dropout.codes_BL = torch.from_numpy(codes).to(device)
        try:
            logits = self._engine(**model_inputs(batch, device), use_cache=False).logits
        finally:
            self._selector.mask_BL = None
        return F.cross_entropy(logits.float(), targets_BL[mask_BL], reduction="sum")

    @torch.no_grad()
    def _validate(self) -> float:
        """Mean loss over the validation rows' trained tokens."""
        self._peft.eval()
        total, num_tokens = torch.zeros((), dtype=torch.float64), 0
        batches = self._batches(self._validation_rows)
        for batch in share_of_worker(batches, self.workers.rank, self.workers.count):
            total += self._loss_sum(batch, dropout_step=None).double().cpu()
        num_tokens = sum(batch.num_targets for batch in batches)
        return self.workers.total(total) / max(1, num_tokens)

    def _judge(self, validation_loss: float) -> None:
        """Keep the best weights; stop after `patience` validations in a row that are no better."""
        run, patience = self.run, self.spec.early_stopping_patience
        if validation_loss < run.best_loss:
            run.best_loss, run.best_step, run.worse_in_a_row = validation_loss, run.step, 0
            if self.spec.restore_best:
                run.best_weights = self._weights()
            return
        run.worse_in_a_row += 1
        if patience is not None and run.worse_in_a_row >= patience:
            run.stop_reason = "early stopping"

    def _begin_hooks(self) -> float:
        """Let recording hooks see the model before the first step; returns the seconds that took."""
        began = time.perf_counter()
        self._peft.eval()
        for hook in self._hooks:
            if isinstance(hook, RecordingHook):
                state = self._hook_states.get(hook.name)
                self._in_first_worker(functools.partial(_begin, hook, state))
        return time.perf_counter() - began

    def _evaluate(self, hook: EvalHook) -> Mapping[str, float]:
        self._peft.eval()
        return self._in_first_worker(lambda generate: hook(generate, self.run.step))

    def _in_first_worker(self, ask: Callable[[Generate], Mapping[str, float]]) -> Mapping[str, float]:
        """What a hook finds. It runs in the first worker alone; the others help it generate and take its word."""
        if self.workers.is_first:
            found = {name: float(value) for name, value in ask(self._generate_together).items()}
            self.workers.tell({"found": found})
            return found
        while "found" not in (said := self.workers.tell()):
            if self.spec.zero_stage == 3:  # each worker holds a part of the weights
                self._generate(said["prompts"], said["max_new_tokens"])
        return said["found"]

    def _generate_together(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        self.workers.tell({"prompts": list(prompts), "max_new_tokens": max_new_tokens})
        return self._generate(prompts, max_new_tokens)

    @torch.no_grad()
    def _generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Greedy continuations by the model as it stands, in the order of the prompts."""
        tokenizer, device = self.base.tokenizer, self.base.device
        encoded = [ids or [self.base.pad_id] for ids in tokenizer(list(prompts))["input_ids"]]
        order = sorted(range(len(encoded)), key=lambda place: len(encoded[place]))
        texts = [""] * len(encoded)
        for start in range(0, len(order), GENERATE_BATCH):
            places = order[start : start + GENERATE_BATCH]
            width = max(len(encoded[place]) for place in places)
            ids = torch.full((len(places), width), self.base.pad_id, dtype=torch.int64)
            mask = torch.zeros_like(ids)
            for line, place in enumerate(places):  # padding in front: generation continues each line's end
                ids[line, width - len(encoded[place]) :] = torch.tensor(encoded[place])
                mask[line, width - len(encoded[place]) :] = 1
            out = self._peft.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), max_new_tokens=max_new_tokens,
                do_sample=False, use_cache=True, pad_token_id=self.base.pad_id, eos_token_id=tokenizer.eos_token_id,
                synced_gpus=self.spec.zero_stage == 3 and self.workers.count > 1,
            )  # fmt: skip
            written = tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
            for place, text in zip(places, written, strict=True):
                texts[place] = text
        return texts

    # --- results -----------------------------------------------------------------------------------------

    def write(self, out_dir: Path, base_name: str) -> TrainSummary:
        """The adapter as it is to be kept, with its history and summary. All workers call it, the first one writes."""
        run = self.run
        chosen = run.best_weights if run.best_weights is not None else self._weights()
        summary = TrainSummary(
            planned_steps=self.plan.total_steps,
            steps=run.step,
            stop_reason=run.stop_reason or "cut short",
            best_step=run.best_step,
            best_validation_loss=None if run.best_step is None else run.best_loss,
            last_loss=float(run.history[-1]["loss"] or 0.0) if run.history else math.nan,
            num_train_rows=len(self._train_rows),
            num_validation_rows=len(self._validation_rows),
            num_trained_tokens=run.trained_tokens,
            num_parameters=sum(weight.numel() for weight in chosen.values()),
            target_modules=self.targets,
            packed=self.packed,
        )
        if self.workers.is_first:
            out_dir.mkdir(parents=True, exist_ok=True)
            state = get_peft_model_state_dict(self._peft, state_dict=dict(chosen), save_embedding_layers=False)
            tensors = {name: state[name].contiguous() for name in sorted(state)}
            save_file(tensors, out_dir / ADAPTER_WEIGHTS, metadata={"format": "pt"})
            (out_dir / ADAPTER_CONFIG).write_text(self._adapter_config(base_name), encoding="utf-8")
            (out_dir / SUMMARY).write_text(canonical_json(asdict(summary)) + "\n", encoding="utf-8")
            pq.write_table(history_table(run.history), out_dir / HISTORY, compression="zstd")
            for hook in self._hooks:
                if isinstance(hook, RecordingHook):
                    hook.write(out_dir)
        return summary

    def close(self) -> None:
        """Take everything off the base model again."""
        self._engine.destroy()
        self._selector.remove()
        if self.resources.gradient_checkpointing:
            self.base.model.gradient_checkpointing_disable()
        self.base.model = self._peft.unload()
        self.base.model.requires_grad_(False)
        self.base.model.eval()
        if self.spec.zero_stage == 3:
            forget_resident_base()  # its weights have been cut into partitions
        self.base.model.__dict__.pop("peft_config", None)  # or the next adapter counts as a second one

    def _adapter_config(self, base_name: str) -> str:
        config = dict(self._peft.peft_config["default"].to_dict())
        config["base_model_name_or_path"] = base_name
        config["inference_mode"] = True
        plain = {
            name: sorted(value) if isinstance(value, (set, frozenset)) else value for name, value in config.items()
        }
        plain["target_modules"] = sorted(plain["target_modules"])
        return json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n"

    # --- DeepSpeed ---------------------------------------------------------------------------------------

    def _initialize(self) -> Any:
        spec = self.spec
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
            "zero_optimization": {"stage": max(2, spec.zero_stage) if spec.dtype == "bfloat16" else spec.zero_stage},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 2**31,
        }
        if spec.dtype == "bfloat16":
            config["bf16"] = {"enabled": True}
            config["data_types"] = {"grad_accum_dtype": "fp32"}
        engine, *_ = deepspeed.initialize(
            model=self._peft, optimizer=optimizer, config=config, dist_init_required=False
        )
        for state in self._inner_optimizer(engine).state.values():
            if "step" in state:  # the bfloat16 optimizer allocates its moments by a step with zero gradients
                state["step"].zero_()
        return engine

    @property
    def _clips_itself(self) -> bool:
        """DeepSpeed clips plain float32 gradients too, but keeps their norm to itself."""
        return self.spec.zero_stage == 0 and self.spec.dtype == "float32"

    def _clip(self) -> float | None:
        if not self._clips_itself:
            return None
        limit = self.spec.max_grad_norm or math.inf
        return float(torch.nn.utils.clip_grad_norm_(list(self._parameters.values()), limit, foreach=False))

    @staticmethod
    def _inner_optimizer(engine: Any) -> torch.optim.Optimizer:
        return getattr(engine.optimizer, "optimizer", engine.optimizer)

    def _weights(self) -> dict[str, torch.Tensor]:
        """The adapter's float32 master weights, whole, copied to the CPU."""
        return {name: self._master(p).detach().float().cpu().clone() for name, p in self._parameters.items()}

    def _master(self, parameter: nn.Parameter) -> torch.Tensor:
        whole = safe_get_full_fp32_param(parameter)
        return parameter.data if whole is None else whole  # plain float32 keeps no second copy

    # --- checkpoints -------------------------------------------------------------------------------------

    def _save(self) -> None:
        run = self.run
        tensors: dict[str, torch.Tensor] = {"rng/torch": torch.get_rng_state()}
        for name, weight in self._weights().items():
            tensors[f"weight/{name}"] = weight
        for moment in ADAM_MOMENTS:
            for name, parameter in self._parameters.items():
                tensors[f"{moment}/{name}"] = self._moment(parameter, moment).detach().float().cpu()
        for name, weight in (run.best_weights or {}).items():
            tensors[f"best/{name}"] = weight
        if not self.workers.is_first or self._checkpoints is None:
            return
        info = {
            "history": run.history,
            "best_loss": None if run.best_step is None else run.best_loss,
            "best_step": run.best_step,
            "worse_in_a_row": run.worse_in_a_row,
            "trained_tokens": run.trained_tokens,
            "step_s": run.step_s,
            "stop_reason": run.stop_reason,
            "hooks": {hook.name: hook.state() for hook in self._hooks if isinstance(hook, RecordingHook)},
        }
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        self._checkpoints.save(TrialState(step=run.step, tensors=arrays, info=info))

    def _latest(self, checkpoints: Checkpoints) -> TrialState | None:
        """The checkpoint that all workers go on from."""
        state = checkpoints.latest()
        mine = None if state is None else state.step
        first = self.workers.tell(mine)
        if mine != first:
            raise StageError(
                f"training: a worker saw the checkpoint of step {mine} and the first worker that of step {first}; "
                "another run trains the same adapter now; a new attempt finds what it made"
            )
        return state

    def _restore(self, state: TrialState) -> None:
        run, info = self.run, state.info
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.tensors.items()}
        if not self._clips_itself:
            self._allocate_moments()
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                weight = tensors[f"weight/{name}"]
                if self.spec.zero_stage == 3:
                    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
                        parameter.data.copy_(weight)
                    safe_set_local_fp32_param(parameter, self._part(parameter, weight))
                    continue
                if safe_get_full_fp32_param(parameter) is not None:
                    safe_set_full_fp32_param(parameter, weight.to(parameter.device))
                parameter.data.copy_(weight)
        self._restore_moments(tensors, state.step)
        torch.set_rng_state(tensors["rng/torch"])
        best = {name.removeprefix("best/"): t for name, t in tensors.items() if name.startswith("best/")}
        run.step, run.history = state.step, list(info["history"])
        run.best_loss = math.inf if info["best_loss"] is None else float(info["best_loss"])
        run.best_step, run.worse_in_a_row = info["best_step"], int(info["worse_in_a_row"])
        run.trained_tokens, run.step_s = int(info["trained_tokens"]), float(info["step_s"])
        run.stop_reason, run.best_weights = str(info["stop_reason"]), best or None
        self._hook_states = info.get("hooks", {})

    def _moment(self, parameter: nn.Parameter, moment: str) -> torch.Tensor:
        state = self._inner_optimizer(self._engine).state.get(parameter)
        if state:
            return state[moment]
        return safe_get_full_optimizer_state(parameter, moment)

    def _restore_moments(self, tensors: Mapping[str, torch.Tensor], step: int) -> None:
        optimizer = self._inner_optimizer(self._engine)
        if self._clips_itself:
            for name, parameter in self._parameters.items():
                moments = {moment: tensors[f"{moment}/{name}"].to(parameter.device) for moment in ADAM_MOMENTS}
                optimizer.state[parameter] = {"step": torch.tensor(float(step)), **moments}
            return
        for name, parameter in self._parameters.items():
            for moment in ADAM_MOMENTS:
                whole = tensors[f"{moment}/{name}"]
                if self.spec.zero_stage == 3:
                    safe_set_local_optimizer_state(parameter, self._part(parameter, whole), moment)
                else:
                    safe_set_full_optimizer_state(parameter, whole.to(parameter.device), moment)
        for state in optimizer.state.values():
            if "step" in state:
                state["step"].fill_(float(step))

    def _part(self, parameter: nn.Parameter, whole: torch.Tensor) -> torch.Tensor:
        """This worker's part of a ZeRO-3 tensor, shape (part,): equal parts, zeros behind the last element."""
        size = parameter.ds_tensor.numel()
        padded = F.pad(whole.flatten(), (0, size * self.workers.count - whole.numel()))
        return padded.narrow(0, size * self.workers.rank, size).to(parameter.ds_tensor.device)

    def _allocate_moments(self) -> None:
        """ZeRO and bfloat16 make their moments at the first step: take one at rate zero, with nothing to train."""
        row = self._train_rows[0]
        nothing = pad([[row]], pad_id=self.base.pad_id, loss_on="all")
        nothing = nothing._replace(targets=np.full_like(nothing.targets, NO_TARGET))
        self._peft.train()
        self._engine.set_gradient_accumulation_boundary(True)
        self._engine.backward(self._loss_sum(nothing, dropout_step=0), scale_wrt_gas=False)
        self._engine.step()


def _begin(hook: RecordingHook, state: Any, generate: Generate) -> Mapping[str, float]:
    hook.begin(generate, state)
    return {}


def history_table(history: Sequence[Mapping[str, Any]]) -> pa.Table:
    """One line per optimizer step: step, loss, learning_rate, grad_norm, answer_tokens, validation_loss, hooks_json."""
    schema = pa.schema(
        [
            ("step", pa.int64()),
            ("loss", pa.float64()),
            ("learning_rate", pa.float64()),
            ("grad_norm", pa.float64()),
            ("answer_tokens", pa.int64()),
            ("validation_loss", pa.float64()),
            ("hooks_json", pa.string()),
        ]
    )
    return pa.Table.from_pylist([dict(row) for row in history], schema=schema)


def _history_row(result: StepMetrics) -> dict[str, Any]:
    return {
        "step": result.step,
        "loss": result.loss,
        "learning_rate": result.learning_rate,
        "grad_norm": result.grad_norm,
        "answer_tokens": result.answer_tokens,
        "validation_loss": result.validation_loss,
        "hooks_json": canonical_json(dict(result.metrics)),
    }
