"""Evaluations inside a trial, with its own model: hooks run in the first worker, the others take its word."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from assay.hooks import EvalHook, Generate, RecordingHook
from assay.tasks.tokens.control import ControlTokens
from assay.tasks.tokens.stops import stop_ids
from assay.training.engine.resident_engine import ResidentBase
from assay.training.engine.trained_model_engine import TrainedModel
from assay.training.engine.workers_engine import Workers
from assay.training.spec import TrainSpec

GENERATE_BATCH = 32
"""Prompts per generate call of an evaluation inside a trial."""


class TrialHooks:
    """The evaluation hooks of one training."""

    def __init__(
        self, hooks: Sequence[EvalHook], model: TrainedModel, base: ResidentBase, workers: Workers, spec: TrainSpec
    ) -> None:
        self._hooks, self._model, self._base, self._workers = hooks, model, base, workers
        configs = (base.model.config, getattr(base.model, "generation_config", None))
        self._stops = stop_ids(
            base.tokenizer, [getattr(config, "eos_token_id", None) for config in configs], spec.prompt
        )
        self._weights_are_shared_out = spec.zero_stage == 3
        """Each worker holds a part of the weights: all must generate together."""

    @property
    def _recording(self) -> list[RecordingHook]:
        return [hook for hook in self._hooks if isinstance(hook, RecordingHook)]

    def begin(self, states: Mapping[str, Any]) -> float:
        """Let recording hooks see the model before the first step; returns the seconds that took.

        Args:
            states: what `states` gave for the checkpoint that the training goes on from; empty in a new one.
        """
        began = time.perf_counter()
        self._model.module.eval()
        for hook in self._recording:
            self._in_first_worker(functools.partial(_begin, hook, states.get(hook.name)))
        return time.perf_counter() - began

    def evaluate(self, step: int, *, is_last: bool) -> dict[str, float]:
        """Metrics, as "hook/name", of the hooks whose turn it is at this step; at the last step of all."""
        found: dict[str, float] = {}
        for hook in self._hooks:
            if step % hook.every_steps == 0 or is_last:
                self._model.module.eval()
                metrics = self._in_first_worker(functools.partial(_evaluate, hook, step))
                found |= {f"{hook.name}/{name}": float(value) for name, value in metrics.items()}
        return found

    def states(self) -> dict[str, Any]:
        """What recording hooks remember, by name."""
        return {hook.name: hook.state() for hook in self._recording}

    def write(self, folder: Path) -> None:
        """Put the records of recording hooks into the adapter's folder."""
        for hook in self._recording:
            hook.write(folder)

    def _in_first_worker(self, ask: Callable[[Generate], Mapping[str, float]]) -> Mapping[str, float]:
        """What a hook finds. It runs in the first worker alone; the others help it generate and take its word."""
        if self._workers.is_first:
            found = {name: float(value) for name, value in ask(self._generate_together).items()}
            self._workers.tell({"found": found})
            return found
        while "found" not in (said := self._workers.tell()):
            if self._weights_are_shared_out:
                self._generate(said["prompts"], said["max_new_tokens"])
        return said["found"]

    def _generate_together(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        self._workers.tell({"prompts": list(prompts), "max_new_tokens": max_new_tokens})
        return self._generate(prompts, max_new_tokens)

    @torch.no_grad()
    def _generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Greedy continuations by the model as it stands, in the order of the prompts."""
        tokenizer, device, pad_id = self._base.tokenizer, self._base.device, self._base.pad_id
        encoded = [ids or [pad_id] for ids in ControlTokens(tokenizer).of_data(prompts, special=True)]
        order = sorted(range(len(encoded)), key=lambda place: len(encoded[place]))
        texts = [""] * len(encoded)
        for start in range(0, len(order), GENERATE_BATCH):
            places = order[start : start + GENERATE_BATCH]
            width = max(len(encoded[place]) for place in places)
            ids = torch.full((len(places), width), pad_id, dtype=torch.int64)
            mask = torch.zeros_like(ids)
            for line, place in enumerate(places):  # padding in front: generation continues each line's end
                ids[line, width - len(encoded[place]) :] = torch.tensor(encoded[place])
                mask[line, width - len(encoded[place]) :] = 1
            out = self._model.module.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), max_new_tokens=max_new_tokens,
                do_sample=False, use_cache=True, pad_token_id=pad_id, eos_token_id=self._stops or None,
                synced_gpus=self._weights_are_shared_out and self._workers.count > 1,
            )  # fmt: skip
            written = tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
            for place, text in zip(places, written, strict=True):
                texts[place] = text
        return texts


def _begin(hook: RecordingHook, state: Any, generate: Generate) -> Mapping[str, float]:
    hook.begin(generate, state)
    return {}


def _evaluate(hook: EvalHook, step: int, generate: Generate) -> Mapping[str, float]:
    return hook(generate, step)
