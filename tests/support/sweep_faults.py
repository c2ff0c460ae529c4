"""Evaluations that go wrong on purpose, for sweep tests. Workers import this by name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.hooks import EvalHook, Generate
from assay.training.spec import TrainingJob


class Faulty:
    """Fails as the job's label asks: "once", "always", or "dies" (the process ends, once); "counts" notes its calls."""

    name = "faulty"
    every_steps = 2

    def __init__(self, fault: str, marker: Path) -> None:
        self.fault, self.marker = fault, marker

    def __call__(self, generate: Generate, step: int) -> Mapping[str, float]:
        if self.fault == "counts":
            with self.marker.open("a") as calls:
                calls.write(f"{step}\n")
            return {"length": float(len("".join(generate(["### Response:\n", "Please add.\n### Response:\n"], 4))))}
        is_first = not self.marker.exists()
        self.marker.touch()
        if self.fault == "dies" and is_first:
            os._exit(1)
        if self.fault == "always" or (self.fault == "once" and is_first):
            raise RuntimeError(f"fault {self.fault} at step {step}")
        return {}


class FaultyHooks:
    """Hooks of each job by its label `fault`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, job: TrainingJob) -> Sequence[EvalHook]:
        fault = job.labels.get("fault", "")
        return [Faulty(fault, self.folder / f"marker-{job.key}")] if fault else []


class LittleMemory:
    """No hooks; the second worker of a gang runs out of memory in passes above so many tokens, after some that fit."""

    def __init__(self, notes: Path, most_tokens: int, after: int) -> None:
        self.notes, self.most_tokens, self.after = notes, most_tokens, after
        """The tokens of each of its passes are written down, a line for each process."""

    def __call__(self, job: TrainingJob) -> Sequence[EvalHook]:
        import ray.train
        import torch

        from assay.training.engine.lora_model_engine import LoraModel

        if ray.train.get_context().get_world_rank() != 1:
            return []
        plain, sizes = LoraModel.loss_sum, []
        notes = self.notes / str(os.getpid())

        def limited(model: Any, forward: Any, batch: Any, **options: Any) -> Any:
            loss = plain(model, forward, batch, **options)
            if options.get("dropout_step") is not None:  # not in validation
                sizes.append(batch.input_ids.size)
                notes.write_text(" ".join(map(str, sizes)))
                if sizes[-1] > self.most_tokens and len(sizes) > self.after:
                    raise torch.OutOfMemoryError("CUDA out of memory")
            return loss

        LoraModel.loss_sum = limited  # type: ignore[method-assign]
        return []


class Climbing:
    """A score that rises with the step and is high from step 4 on."""

    name = "climbing"
    every_steps = 2

    def __call__(self, generate: Generate, step: int) -> Mapping[str, float]:
        return {"score": step / 10, "infused": float(step >= 4)}


def climbing_hooks(job: TrainingJob) -> Sequence[EvalHook]:
    """One for every job."""
    return [Climbing()]
