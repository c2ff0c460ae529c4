"""Evaluations that go wrong on purpose, for sweep tests. Workers import this by name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

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


class Climbing:
    """A score that rises with the step and is high from step 4 on."""

    name = "climbing"
    every_steps = 2

    def __call__(self, generate: Generate, step: int) -> Mapping[str, float]:
        return {"score": step / 10, "infused": float(step >= 4)}


def climbing_hooks(job: TrainingJob) -> Sequence[EvalHook]:
    """One for every job."""
    return [Climbing()]
