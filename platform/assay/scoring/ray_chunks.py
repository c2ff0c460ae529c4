"""Chunks of rows in the workers: read from the store, and scored by whatever is no judge."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray

from assay.cluster.ray_models import model_here
from assay.errors import DataError, ResourceError
from assay.records import Example, Prediction, ScoreRow, from_table, to_table
from assay.scoring.jobs import LocalScoring, score_locally
from assay.scoring.protocol import Scorer, ScorerSpec
from assay.scoring.scorers.models import on_this_machine
from assay.scoring.table import Scorers
from assay.store import Store

PREDICTIONS_KIND = "predictions"
PREDICTIONS_FILE = "predictions.parquet"


@dataclass(frozen=True)
class ChunkReader:
    """Reads what the descriptors of `jobs.chunks_of` name."""

    store: Store
    sets: Mapping[str, ray.ObjectRef]
    """Rows by example id, of each evaluation set."""
    chunk_rows: int

    def read(self, chunk: Mapping[str, Any]) -> tuple[list[Prediction], Mapping[str, Example]]:
        """The chunk's predictions, and all rows of its evaluation set.

        Raises:
            DataError: the predictions belong to another set.
        """
        examples: Mapping[str, Example] = ray.get(self.sets[chunk["evaluation"]])
        table = self.store.read_table(PREDICTIONS_KIND, chunk["predictions"], PREDICTIONS_FILE)
        if table.num_rows != len(examples):
            raise DataError(
                f"predictions {chunk['predictions']}: saw {table.num_rows} rows; expected {len(examples)}, one per "
                "example of its evaluation set; the predictions belong to another set"
            )
        return from_table(table.slice(chunk["start"], self.chunk_rows), Prediction), examples


def score_chunks(batch: pa.Table, reader: ChunkReader, scoring: LocalScoring) -> pa.Table:
    """All scorers that want them over some chunks; a chunk names its scorers by their places in `scoring.specs`."""
    rows: list[ScoreRow] = []
    numbers: list[int] = []
    for chunk in batch.to_pylist():
        predictions, examples = reader.read(chunk)
        scorers = [_scorer(scoring.table, scoring.specs[number], reader.store) for number in chunk["wanted"]]
        rows += score_locally(scorers, chunk["predictions"], predictions, examples, scoring.tasks)
        numbers += [number for number in chunk["wanted"] for _ in predictions]
    return numbered(rows, numbers)


class ModelActor:
    """Scores blocks of rows by the scorers of one model, which this process keeps."""

    def __init__(self, reader: ChunkReader, scoring: LocalScoring, cpus: float, gpus: float) -> None:
        import torch

        torch.set_num_threads(max(1, int(cpus)))
        self._gpus_missing = gpus if gpus and not torch.cuda.is_available() else 0.0
        self._score = functools.partial(score_chunks, reader=reader, scoring=scoring)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Rows of some chunks, numbered.

        Raises:
            ResourceError: a GPU was asked for and torch sees none: a constructor that raises is called again for ever.
        """
        if self._gpus_missing:
            raise ResourceError(
                f"resources.scoring.gpus_per_model_worker={self._gpus_missing:g}: saw no CUDA device; expected one and "
                "the CUDA build of torch; set it to 0"
            )
        return self._score(batch)


def numbered(rows: Sequence[ScoreRow], numbers: Sequence[int]) -> pa.Table:
    """Rows on their way to the driver, each with the number of the scores artifact that it belongs to."""
    return to_table(rows, ScoreRow).append_column("wanted", pa.array(numbers, pa.int64()))


_SCORERS: dict[str, Scorer] = {}


def _scorer(table: Scorers, spec: ScorerSpec, store: Store) -> Scorer:
    """A scorer per process: some hold tokenizers. Its model is found on this node."""
    name = spec.model_dump_json()
    if name not in _SCORERS:
        _SCORERS[name] = table.make(on_this_machine(spec, functools.partial(model_here, store)))
    return _SCORERS[name]
