"""Rows a second of the local scorers on real rows, and beside them the libraries that some of them call.

    python tests/bench/bench_scorers.py [--data DIR] [--rows 10000]

--data is the folder of real data beside the project (default: ASSAY_SHARED/data). Each answer is another row's
reference after "The answer is"; seconds are of CPU, one thread. A peer scores the same pairs one by one, without our
bounds on long texts and without reasons for what it cannot score.

    rouge-score   rouge1 and rougeL by google's rouge_score, which ours agree with
    sacrebleu     sentence BLEU
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "platform")]

TASKS = ("sst2", "conll", "squadv2", "xsum")
SCORERS = ("exact_match", "token_f1", "heuristic", "rouge1", "rouge2", "rougeL", "bleu")
WARM = 50


def main() -> None:
    """Print one line a task and scorer."""
    from assay.scoring.protocol import ScoreRequest
    from assay.tasks.datasets.loaders import load_examples
    from assay.tasks.datasets.sources import SourceSpec
    from support.shipped import get_task, make_scorer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("ASSAY_SHARED", TESTS.parent.parent / "shared")
    parser.add_argument("--data", type=Path, default=Path(shared) / "data")
    parser.add_argument("--rows", type=int, default=10_000)
    options = parser.parse_args()
    for task in TASKS:
        examples = load_examples(SourceSpec(loader="jsonl", path=f"tasks/{task}", task=task), options.data)
        rng = random.Random(0)
        rows = [rng.choice(examples) for _ in range(options.rows)]
        batch = [ScoreRequest(row, get_task(task), f"The answer is {rng.choice(rows).reference}") for row in rows]
        for name in SCORERS:
            scorer = make_scorer(name)
            scorer.score(batch[:WARM])
            told(task, name, len(batch), lambda scorer=scorer, batch=batch: scorer.score(batch))
        pairs = [(request.prediction, request.example.reference) for request in batch]
        for name, peer in peers().items():
            told(task, name, len(pairs), lambda peer=peer, pairs=pairs: [peer(*pair) for pair in pairs])


def told(task: str, name: str, rows: int, work: Callable[[], object]) -> None:
    """Do the work once and print its rate."""
    start = time.process_time()
    work()
    print(f"{task:8} {name:24} {rows / (time.process_time() - start):10,.0f} rows/s of CPU time", flush=True)


def peers() -> dict[str, Callable[[str, str], object]]:
    """What scores one pair, by name."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    made = {kind: RougeScorer([kind], use_stemmer=False) for kind in ("rouge1", "rougeL")}
    bleu = BLEU(effective_order=True)
    return {
        **{
            f"rouge-score {kind}": lambda text, reference, scorer=scorer: scorer.score(reference, text)
            for kind, scorer in made.items()
        },
        "sacrebleu": lambda text, reference: bleu.sentence_score(text, [reference]),
    }


if __name__ == "__main__":
    main()
