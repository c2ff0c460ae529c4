"""One training by DeepSpeed, of a PEFT adapter or all weights: a generator that yields after every optimizer step.

Whoever drives it (a Tune trial, a test, a bench) decides when to go on, so a trial can be watched and stopped. The
base model stays loaded and is left as it was (trained whole, it is let go). Equal inputs give bit-identical weights on
one machine type in float32, whether the trial runs first or after others, whole or resumed from a checkpoint; other
micro-batch sizes and packing move the last bits only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch

from assay.errors import DataError, StageError
from assay.fingerprint import canonical_json
from assay.hooks import EvalHook, log_event
from assay.training.batching import (
    MicroBatch,
    RowGroup,
    TrainingRows,
    TrainRow,
    micro_batches,
    pad,
    padded_length,
    share_of_worker,
    step_rows,
    without_targets,
)
from assay.training.checkpoints import Checkpoints, TrialState
from assay.training.engine.deepspeed_engine import DeepSpeedOptimizer
from assay.training.engine.full_model_engine import FullModel
from assay.training.engine.log_probs_engine import base_log_probs
from assay.training.engine.lora_model_engine import LoraModel
from assay.training.engine.memory_engine import model_memory
from assay.training.engine.resident_engine import ResidentBase, init_distributed, pin_threads, quiet_engines
from assay.training.engine.trained_model_engine import ModelPass, TrainedModel
from assay.training.engine.trial_hooks_engine import TrialHooks
from assay.training.engine.workers_engine import Workers
from assay.training.memory import DEFAULT_TOKENS, PassSize, PassTooLarge, choose_pass_size, smaller
from assay.training.objectives.base import PassLoss
from assay.training.references import References
from assay.training.run_state import HISTORY, SUMMARY, RunState, TrainSummary, history_table
from assay.training.schedule import Schedule, rate_factor, schedule_of
from assay.training.spec import StepMetrics, TrainResources, TrainSpec


def train(
    spec: TrainSpec,
    base: ResidentBase,
    rows: TrainingRows,
    out_dir: Path,
    *,
    base_name: str,
    resources: TrainResources | None = None,
    hooks: Sequence[EvalHook] = (),
    checkpoints: Checkpoints | None = None,
) -> Generator[StepMetrics, None, TrainSummary]:
    """Train an adapter and write it as a PEFT folder, or a whole model as its own, with history and summary.

    Args:
        spec: what is trained.
        base: the process's base model; used, and given back as it was, also when the generator is closed early.
        rows: for training and validation.
        out_dir: gets adapter_model.safetensors (float32) and adapter_config.json, or a model's files, history.parquet
            and summary.json.
        base_name: what the adapter's config calls its base; never a path.
        resources: micro-batches, packing, threads, checkpoints.
        hooks: evaluations at intervals, with the trial's own model; a `RecordingHook` leaves its records in `out_dir`.
        checkpoints: where to resume from and save to; None keeps none.

    Yields:
        Metrics of each optimizer step, those of an earlier process of this trial left out.

    Raises:
        DataError: no training rows are left.
        ConfigError: a target module that the model does not have, or a base too large to be trained whole.
    """
    trainer = LoraTrainer(spec, base, rows, resources or TrainResources(), hooks, checkpoints)
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
        rows: TrainingRows,
        resources: TrainResources,
        hooks: Sequence[EvalHook] = (),
        checkpoints: Checkpoints | None = None,
        references: References | None = None,
    ) -> None:
        if not rows.train:
            raise DataError(
                f"training: saw no training rows within max_length={spec.max_length} tokens{_why(rows.left_out)}; "
                "expected at least one; raise max_length, set too_long: cut, or look at the mixture"
            )
        base.check_rows([row for group in (*rows.train, *rows.validation) for row in group])
        self.spec, self.base, self.resources = spec, base, resources
        self._objective = spec.objective
        self._checkpoints = checkpoints
        self._hook_states: Mapping[str, Any] = {}
        self.plan: Schedule = schedule_of(spec, len(rows.train))
        self.run = RunState()
        pin_threads(resources.threads or max(1, int(resources.cpus_per_worker)))
        init_distributed(base.device)
        quiet_engines()
        self.workers = Workers(base.device)
        self.packed = resources.packing and base.packing_is_sound()
        self._longest = max(map(padded_length, (*rows.train, *rows.validation)))
        self.size = self._pass_size()
        self._rows = self._prepared(rows, references)
        self._model = _trained_model(spec, base, gradient_checkpointing=self.size.gradient_checkpointing)
        self._optimizer = DeepSpeedOptimizer(spec, self._model.module, self._model.parameters, self.workers)
        self._hooks = TrialHooks(hooks, self._model, base, self.workers, spec)
        self.is_held = False
        """Whether `steps` ended at the step that it was to wait at, before the training was over."""
        if checkpoints is not None and (state := self._latest(checkpoints)) is not None:
            self._restore(state)

    # --- the loop ----------------------------------------------------------------------------------------

    def steps(self, hold_at: int | None = None) -> Iterator[StepMetrics]:
        """Run to the end of the plan, or to where early stopping or a hook ends it.

        Args:
            hold_at: wait at this step: a checkpoint is kept, and `is_held` says so. None: nowhere.
        """
        run, plan = self.run, self.plan
        began_eval_s = self._hooks.begin(self._hook_states)
        last = plan.total_steps if hold_at is None else min(hold_at, plan.total_steps)
        while run.step < last and not run.stop_reason:
            metrics = self._step_that_fits()
            run.step += 1
            is_last = run.step == plan.total_steps
            validation_loss = None
            if self._rows.validation and (run.step % plan.eval_every == 0 or is_last):
                validation_loss, seen = self._validate()
                metrics["watched"] |= {f"validation_{name}": value for name, value in seen.items()}
                is_best = run.judge(validation_loss, patience=self.spec.early_stopping_patience)
                if is_best and self.spec.restore_best:
                    run.best_weights = self._optimizer.weights()
            evaluated = time.perf_counter()
            found = self._hooks.evaluate(run.step, is_last=is_last)
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
            run.record(result)
            every = self.resources.checkpoint_every
            if self._checkpoints is not None and every is not None and run.step % every == 0:
                self._save(self._checkpoints)
            yield result
        self.is_held = run.step < plan.total_steps and not run.stop_reason
        if not self.is_held:
            run.stop_reason = run.stop_reason or "schedule"
        elif self._checkpoints is not None:
            self._save(self._checkpoints)

    @property
    def _memory_kind(self) -> tuple[object, ...]:
        """What a pass takes memory for: trainings of one kind learn from each other what fits."""
        asked, spec = self.resources, self.spec
        trained = (spec.method, spec.lora_rank, spec.target_modules)
        recipe = (spec.objective.method, *trained, spec.loss_on, spec.zero_stage)
        return (*recipe, asked.micro_batch_tokens, asked.gradient_checkpointing, self.packed)

    def _pass_size(self) -> PassSize:
        """What fitted an earlier training of the kind, else what was asked for, else by the GPU's memory."""
        asked = self.resources
        learned = self.base.learned_sizes.get(self._memory_kind)
        if learned is not None:
            return learned
        if self.base.device != "cuda" or None not in (asked.micro_batch_tokens, asked.gradient_checkpointing):
            return PassSize(asked.micro_batch_tokens or DEFAULT_TOKENS, bool(asked.gradient_checkpointing))
        return choose_pass_size(
            model_memory(self.base.model.config, self.spec),
            torch.cuda.get_device_properties(0).total_memory * min(1.0, asked.gpus_per_worker),
            longest=self._longest,
            tokens=asked.micro_batch_tokens,
            checkpointing=asked.gradient_checkpointing,
        )

    def _step_that_fits(self) -> dict[str, Any]:
        """A step; where a pass runs out of memory the step is done again with smaller passes, then by recomputing.

        A worker alone does so. Of several the others are in a collective by then, so their gang begins again.

        Raises:
            PassTooLarge: one of several workers ran out of memory, and smaller passes are left to be tried.
        """
        while True:
            try:
                return self._step()
            except torch.OutOfMemoryError as error:
                less = smaller(self.size, longest=self._longest)
                if less is None:
                    raise
                if self.workers.count > 1:
                    raise PassTooLarge(f"training: out of memory in one of several workers ({error})", less) from error
            log_event(
                "training", "smaller passes", tokens=less.micro_batch_tokens, recompute=less.gradient_checkpointing
            )
            self._start_over_with(less)
            self.base.learned_sizes[self._memory_kind] = less

    def _start_over_with(self, size: PassSize) -> None:
        """Take the optimizer as it is before the step into a new one: a failed pass leaves half of its gradients."""
        tensors = self._optimizer.tensors() if self.run.step else None  # Adam has no moments before the first step
        self._optimizer.close()
        for parameter in self._model.parameters.values():
            parameter.grad = None
        if self.base.device == "cuda":
            torch.cuda.empty_cache()
        if size.gradient_checkpointing and not self.size.gradient_checkpointing:
            self._model.recompute()
        self.size = size
        self._optimizer = DeepSpeedOptimizer(self.spec, self._model.module, self._model.parameters, self.workers)
        if tensors is not None:
            self._take_over(tensors, self.run.step)

    def _step(self) -> dict[str, Any]:
        """One optimizer step: each term of the loss is a sum over the step, divided by its weight over the step."""
        began = time.perf_counter()
        spec, step, engine = self.spec, self.run.step, self._optimizer.engine
        rows = self._rows.train
        places = step_rows(len(rows), self.plan.batch_size, step, seed=spec.seed, shuffled=spec.order == "shuffled")
        groups = [rows[place] for place in places.tolist()]
        batches = self._batches(map(self._objective.trained, groups))
        weights = self._weights(batches)
        rate = spec.learning_rate * rate_factor(
            step, total=self.plan.total_steps, warmup=self.plan.warmup_steps, decay=spec.schedule
        )
        self._optimizer.set_rate(rate)
        drift = self._drift(groups)
        self._model.train_without_chance()
        mine = list(share_of_worker(batches, self.workers.rank, self.workers.count))
        sums = _Sums(self.workers)
        model = ModelPass(self._model, engine, dropout_step=step)
        for number, batch in enumerate(mine):
            engine.set_gradient_accumulation_boundary(number == len(mine) - 1)
            found = self._objective.loss(model, batch, drift)
            # DeepSpeed averages over workers; each has summed its own share
            parts = [
                term * (self.workers.count / max(1, weight)) for term, weight in zip(found.terms, weights, strict=True)
            ]
            engine.backward(sum(parts[1:], start=parts[0]), scale_wrt_gas=False)
            sums.add(found)
        norm = self._optimizer.step()
        return {
            "loss": sums.loss(weights),
            "learning_rate": rate,
            "grad_norm": float(norm),
            "answer_tokens": sum(batch.num_targets for batch in batches),
            "step_s": time.perf_counter() - began,
            "watched": sums.watched(),
        }

    @torch.no_grad()
    def _validate(self) -> tuple[float, dict[str, float]]:
        """The objective's loss over the validation rows, and what it watches."""
        groups = self._rows.validation
        drift = self._drift(groups)
        self._model.module.eval()
        batches = self._batches(map(self._objective.measured, groups))
        sums = _Sums(self.workers)
        model = ModelPass(self._model, self._optimizer.engine, dropout_step=None)
        for batch in share_of_worker(batches, self.workers.rank, self.workers.count):
            sums.add(self._objective.loss(model, batch, drift))
        return sums.loss(self._weights(batches)), sums.watched()

    @torch.no_grad()
    def _drift(self, groups: Sequence[RowGroup]) -> float:
        """Mean log-ratio of the policy to the reference over the rows that the objective asks for; else 0."""
        drifting = [rows for rows in map(self._objective.drifting, groups) if rows]
        if not drifting:
            return 0.0
        self._model.module.eval()
        model = ModelPass(self._model, self._optimizer.engine, dropout_step=None)
        total = torch.zeros((), dtype=torch.float64, device=self.base.device)
        for batch in share_of_worker(self._batches(drifting), self.workers.rank, self.workers.count):
            total += model.answer_log_probs(batch).double().sum()
        return (self.workers.total(total) - sum(row.reference for rows in drifting for row in rows)) / sum(
            map(len, drifting)
        )

    def _weights(self, batches: Sequence[MicroBatch]) -> list[float]:
        """The weight of each term over the batches of all workers."""
        return [sum(weights) for weights in zip(*map(self._objective.weights, batches), strict=True)]

    def _batches(self, groups: Iterable[RowGroup]) -> list[MicroBatch]:
        listed = list(groups)
        most = self.resources.micro_batch_size
        if self.workers.count > 1:  # at least one forward pass for each worker
            most = min(most or len(listed), max(1, len(listed) // self.workers.count))
        return micro_batches(
            listed,
            pad_id=self.base.pad_id,
            loss_on=self.spec.loss_on,
            max_groups=most,
            max_tokens=self.size.micro_batch_tokens,
            pack_length=self._pack_length,
        )

    @property
    def _pack_length(self) -> int | None:
        return self.resources.pack_length if self.packed else None

    # --- the reference -----------------------------------------------------------------------------------

    def _prepared(self, rows: TrainingRows, references: References | None) -> TrainingRows:
        """The rows with the reference's log-probabilities where the objective wants them. The base has no adapter."""

        def log_probs(wanted: Sequence[TrainRow]) -> npt.NDArray[np.float64]:
            found = references.found(wanted) if references is not None and self.workers.is_first else None
            told = self.workers.tell(None if found is None else found.tolist())
            if told is not None:
                return np.array(told, dtype=np.float64)
            made = base_log_probs(
                self.base, wanted, self.workers, max_tokens=self.size.micro_batch_tokens, pack_length=self._pack_length
            )
            if references is not None and self.workers.is_first:
                references.save(wanted, made)
            return made

        groups = self._objective.prepare([*rows.train, *rows.validation], log_probs)
        count = len(rows.train)
        return replace(rows, train=groups[:count], validation=groups[count:])

    # --- results -----------------------------------------------------------------------------------------

    def write(self, out_dir: Path, base_name: str) -> TrainSummary:
        """The adapter as it is to be kept, with its history and summary. All workers call it, the first one writes."""
        run = self.run
        chosen = run.best_weights if run.best_weights is not None else self._optimizer.weights()
        summary = TrainSummary(
            planned_steps=self.plan.total_steps,
            steps=run.step,
            stop_reason=run.stop_reason or "cut short",
            best_step=run.best_step,
            best_validation_loss=run.best_validation_loss,
            last_loss=float(run.history[-1]["loss"] or 0.0) if run.history else math.nan,
            num_train_rows=len(self._rows.train),
            num_validation_rows=len(self._rows.validation),
            num_trained_tokens=run.trained_tokens,
            num_parameters=sum(weight.numel() for weight in chosen.values()),
            target_modules=self._model.targets,
            packed=self.packed,
            left_out=self._rows.left_out,
        )
        if self.workers.is_first:
            out_dir.mkdir(parents=True, exist_ok=True)
            self._model.write(out_dir, chosen, base_name)
            told = {name: value for name, value in asdict(summary).items() if name != "left_out" or value}
            (out_dir / SUMMARY).write_text(canonical_json(told) + "\n", encoding="utf-8")
            pq.write_table(history_table(run.history), out_dir / HISTORY, compression="zstd")
            self._hooks.write(out_dir)
        return summary

    def close(self) -> None:
        """Take everything off the base model again."""
        self._optimizer.close()
        self._model.close()

    # --- checkpoints -------------------------------------------------------------------------------------

    def _save(self, checkpoints: Checkpoints) -> None:
        """All workers gather the tensors, the first one writes them."""
        run = self.run
        tensors = {"rng/torch": torch.get_rng_state(), **self._optimizer.tensors()}
        for name, weight in (run.best_weights or {}).items():
            tensors[f"best/{name}"] = weight
        if not self.workers.is_first:
            return
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        info = {**run.to_info(), "hooks": self._hooks.states()}
        checkpoints.save(TrialState(step=run.step, tensors=arrays, info=info))

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
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.tensors.items()}
        self._take_over(tensors, state.step)
        torch.set_rng_state(tensors["rng/torch"])
        best = {name.removeprefix("best/"): t for name, t in tensors.items() if name.startswith("best/")}
        self.run = RunState.from_checkpoint(state.step, state.info, best or None)
        self._hook_states = state.info.get("hooks", {})

    def _take_over(self, tensors: Mapping[str, torch.Tensor], step: int) -> None:
        if self._optimizer.allocates_moments_late:
            self._step_on_nothing()
        self._optimizer.restore(tensors, step)

    def _step_on_nothing(self) -> None:
        """A step at rate zero with nothing to train, so that the optimizer makes its moments."""
        row, engine = self._rows.train[0][0], self._optimizer.engine
        nothing = without_targets(pad([[row]], pad_id=self.base.pad_id, loss_on="all"))
        self._model.train_without_chance()
        engine.set_gradient_accumulation_boundary(True)
        engine.backward(self._model.loss_sum(engine, nothing, dropout_step=0), scale_wrt_gas=False)
        engine.step()


class _Sums:
    """What a step's passes add up to, over all workers. Sums stay where they are made until the step is done."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._terms: list[torch.Tensor] = []
        self._figures: dict[str, list[torch.Tensor]] = {}

    def add(self, found: PassLoss) -> None:
        """Add a pass of this worker."""
        self._terms = _added(self._terms, found.terms)
        for name, pair in found.watched.items():
            self._figures[name] = _added(self._figures.get(name, []), pair)

    def loss(self, weights: Sequence[float]) -> float:
        """The loss, each term divided by its weight."""
        return sum(self._workers.total(t) / max(1, weight) for t, weight in zip(self._terms, weights, strict=True))

    def watched(self) -> dict[str, float]:
        """Means of the figures; what nothing was counted for is left out."""
        if not self._figures:
            return {}
        found = torch.stack([torch.stack([part.cpu() for part in pair]) for pair in self._figures.values()])
        totals = self._workers.totals(found).tolist()
        return {name: total / count for name, (total, count) in zip(self._figures, totals, strict=True) if count > 0}


def _added(sums: Sequence[torch.Tensor], values: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Values in float64, added to the sums so far, if there are any."""
    parts = [torch.as_tensor(value).detach().double() for value in values]
    return [a + b for a, b in zip(sums, parts, strict=True)] if sums else parts


def _trained_model(spec: TrainSpec, base: ResidentBase, *, gradient_checkpointing: bool) -> TrainedModel:
    if spec.method == "full":
        return FullModel(base, gradient_checkpointing=gradient_checkpointing)
    return LoraModel(spec, base, gradient_checkpointing=gradient_checkpointing)


def _why(left_out: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{count} {reason}' for reason, count in left_out.items())})" if left_out else ""
