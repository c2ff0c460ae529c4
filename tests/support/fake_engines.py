"""Engines that write at once, and do not start in some places. Workers import this by name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from assay.generation import ray_engine
from assay.generation.spec import GenerationJob, PromptRow
from assay.records import Prediction

BAD_STARTS = "bad_starts"
"""File of a base's folder: the numbers of the starts that fail."""
BLOCK_S = 0.1


class FakeEngine:
    """Says which start it was."""

    tokenizer, max_len = None, 64

    def __init__(self, number: int) -> None:
        self.number = number

    def generate(self, rows: Sequence[PromptRow]) -> list[Prediction]:
        time.sleep(BLOCK_S)
        return [Prediction(row.example_id, f"by {self.number}", "stop", 1, 1) for row in rows]


class PlacesActor(ray_engine.EngineActor):
    """An engine's actor as the driver makes it, with a fake engine; starts are numbered in the base's folder."""

    def __init__(self, **arguments: Any) -> None:
        ray_engine.start_engine = _start
        super().__init__(**arguments)

    def _prompts(self, job: GenerationJob, start: int) -> list[PromptRow]:
        examples = ray.get(self._refs[job.evaluation_key])[start : start + self._spec.block_rows]
        return [PromptRow(example.example_id, (1,), 1) for example in examples]


def _start(base_path: str, *_: object) -> tuple[FakeEngine, str]:
    folder = Path(base_path)
    for number in range(100):
        try:
            (folder / f"start-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        if str(number) in (folder / BAD_STARTS).read_text().split():
            raise RuntimeError(f"CUDA error: no device in place {number}")
        return FakeEngine(number), "fake"
    raise AssertionError("too many starts")
