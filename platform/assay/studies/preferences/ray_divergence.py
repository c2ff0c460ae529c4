"""Log-probabilities of a model's own answers under itself and under its start, as artifacts. Needs a started Ray.

The mean of their difference over sampled answers is the divergence from the start, KL(model || start), in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray

from assay.generation.spec import KIND as PREDICTIONS
from assay.generation.spec import PREDICTIONS_FILE, GenerationJob
from assay.hooks import Progress
from assay.records import Example, Prediction, from_table
from assay.store import Store
from assay.studies.preferences.divergence import FILE, KIND, divergence_key
from assay.training.spec import TrainResources, TrainSpec

STAGE = "divergence"


@dataclass(frozen=True)
class DivergenceJob:
    """Answers of one adapter, to be read by it and by its start."""

    generation: GenerationJob
    examples: tuple[Example, ...]
    adapters: tuple[str, ...]
    """Key of the adapter that was trained; before it that of the one that its start is served with, if any."""
    prefix: str = ""
    """What the adapter was asked with; its start never is."""


def run_divergence(
    store: Store, jobs: Sequence[DivergenceJob], train: TrainSpec, resources: TrainResources, progress: Progress
) -> int:
    """Make what is missing, one task for each start; returns how many were made."""
    keys = {divergence_key(job.generation): job for job in jobs}
    there = store.present(KIND, list(keys))
    todo = {key: job for key, job in keys.items() if key not in there}
    by_base: dict[tuple[str, ...], list[DivergenceJob]] = {}
    for job in todo.values():
        by_base.setdefault((job.generation.base_key, *job.adapters[:-1]), []).append(job)
    progress.start(STAGE, len(keys), done=len(there), unit="models")
    task = ray.remote(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker)(_read_answers)
    running = {task.remote(store, part, train, resources): len(part) for part in by_base.values()}
    while running:
        (done,), _ = ray.wait(list(running))
        ray.get(done)
        progress.advance(STAGE, running.pop(done))
    progress.finish(STAGE, f"{len(todo)} models")
    return len(todo)


def _read_answers(store: Store, jobs: Sequence[DivergenceJob], train: TrainSpec, resources: TrainResources) -> None:
    from assay.training.engine.divergence_engine import Reader

    first = jobs[0].generation
    tuned = next(iter(jobs[0].adapters[:-1]), None)
    reader = Reader(store, first.base_path, first.base_key, first.base_source, train, resources, tuned)
    for job in jobs:
        predictions = from_table(store.read_table(PREDICTIONS, job.generation.key, PREDICTIONS_FILE), Prediction)
        folder = store.local_dir("adapter", job.adapters[-1])
        rows = reader.read(folder, job.examples, predictions, job.prefix)
        with store.writing(KIND, divergence_key(job.generation), {"predictions": job.generation.key}) as artifact:
            artifact.table(FILE, pa.Table.from_pylist(rows, schema=SCHEMA))


SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("log_prob", pa.float64(), nullable=False),
        pa.field("start_log_prob", pa.float64(), nullable=False),
        pa.field("num_tokens", pa.int64(), nullable=False),
    ]
)
