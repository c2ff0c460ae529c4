"""Rows a second of the local scorers: `pytest -m slow tests/scoring/scorers/test_throughput.py -s`."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from assay.scoring.protocol import ScoreRequest
from assay.tasks.datasets.loaders import load_examples
from assay.tasks.datasets.sources import SourceSpec
from support.shipped import get_task, make_scorer

LEAST_ROWS_PER_S = {
    "exact_match": 15_000, "token_f1": 15_000, "heuristic": 4_000,
    "rouge1": 4_000, "rouge2": 4_000, "rougeL": 2_000, "bleu": 1_500,
}  # fmt: skip
"""Far below what a quiet core does, to hold on a busy one."""


@pytest.mark.slow
@pytest.mark.parametrize("task", ["sst2", "conll", "squadv2", "xsum"])
def test_local_scorers_keep_up(task: str, shared_data: Path) -> None:
    examples = load_examples(SourceSpec(loader="jsonl", path=f"tasks/{task}", task=task), shared_data)
    rng = random.Random(0)
    rows = [rng.choice(examples) for _ in range(10_000)]
    batch = [ScoreRequest(row, get_task(task), f"The answer is {rng.choice(rows).reference}") for row in rows]
    for name, least in LEAST_ROWS_PER_S.items():
        scorer = make_scorer(name)
        scorer.score(batch[:50])
        start = time.process_time()
        scorer.score(batch)
        speed = len(batch) / (time.process_time() - start)
        print(f"{task:8} {name:12} {speed:10,.0f} rows/s of CPU time")
        assert speed > least
