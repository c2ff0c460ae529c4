"""One vLLM engine block by block against the same engine with a queue that never drains, in one process.

    python tests/bench/bench_full_queue.py [BASE] [--quick] [--adapters 4] [--rows 256] [--block-rows 32] [--rounds 3]

BASE is a model's folder; without one a random model of the quickstart's size is made. Answers end after 1 to 64 tokens,
drawn once per row from a geometric distribution, as those of trained models do: so a block has a long tail. Both ways
render their prompts, ways alternate, and the figures are medians over the rounds; adapters are loaded before. Rows
whose answers are equal token for token are counted: float32 on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "platform")]
os.environ.setdefault("OMP_NUM_THREADS", "2")

from assay.generation.spec import AdapterRef, GenerationResources, GenerationSpec, PromptRow  # noqa: E402
from assay.records import Prediction  # noqa: E402

RANK = 16
MEAN_TOKENS, MOST_TOKENS = 16, 64
Blocks = list[Callable[[], list[PromptRow]]]


def make_blocks(tokenizer: Any, adapters: list[Path], num_rows: int, block_rows: int) -> Blocks:
    """Each block as the work of rendering its prompts."""
    import numpy as np

    from assay.generation.ray_engine import prompt_rows
    from support.tiny_models import make_examples

    spec = GenerationSpec(max_model_len=256, max_prompt_tokens=128)
    examples = make_examples(num_rows, longest=40)
    lengths = np.minimum(np.random.default_rng(0).geometric(1 / MEAN_TOKENS, num_rows), MOST_TOKENS).tolist()

    def block(folder: Path, start: int) -> list[PromptRow]:
        adapter = AdapterRef(folder.name, str(folder), RANK)
        rows = prompt_rows(tokenizer, examples[start : start + block_rows], spec, 128, MOST_TOKENS, adapter)
        return [replace(row, max_new_tokens=lengths[start + place]) for place, row in enumerate(rows)]

    return [
        lambda folder=folder, start=start: block(folder, start)  # type: ignore[misc]
        for folder in adapters
        for start in range(0, num_rows, block_rows)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", type=Path)
    parser.add_argument("--quick", action="store_true", help="2 adapters x 64 rows, one round: proves that it runs")
    parser.add_argument("--adapters", type=int, default=4)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--block-rows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blocks-at-once", type=int, default=8)
    args = parser.parse_args()
    if args.quick:
        args.adapters, args.rows, args.rounds = 2, 64, 1
    from support.tiny_models import make_adapters, make_model

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        base = args.base or make_model(root / "base", "llama", hidden=256, heads=4, layers=4)
        adapters = make_adapters(base, [root / f"adapter{i:02d}" for i in range(args.adapters)], rank=RANK)
        from assay.generation.full_queue import FullQueue
        from assay.generation.vllm_engine import VllmEngine

        spec = GenerationSpec(max_model_len=256, max_prompt_tokens=128)
        resources = GenerationResources(
            max_num_seqs=256, kv_cache_gib=0.5, threads=2, blocks_at_once=args.blocks_at_once, max_loras=8
        )
        engine = VllmEngine(str(base), spec, resources, max_lora_rank=RANK)
        full = FullQueue(engine)
        blocks = make_blocks(engine.tokenizer, adapters, args.rows, args.block_rows)
        for folder in adapters:
            engine.prepare(AdapterRef(folder.name, str(folder), RANK))

        def by_block() -> list[list[Prediction]]:
            return [engine.generate(block()) for block in blocks]

        def never_drained() -> list[list[Prediction]]:
            with ThreadPoolExecutor(args.blocks_at_once) as pool:
                return list(pool.map(lambda block: full.generate(block()), blocks))

        ways = {"block by block": by_block, "full queue": never_drained}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        written: dict[str, list[Prediction]] = {}
        by_block()  # warm
        for _ in range(args.rounds):
            for way, work in ways.items():
                began = time.perf_counter()
                written[way] = [one for block in work() for one in block]
                seconds[way].append(time.perf_counter() - began)
        tokens = sum(one.num_tokens for one in written["full queue"])
        same = sum(one == other for one, other in zip(*written.values(), strict=True))
        medians = {way: statistics.median(times) for way, times in seconds.items()}
        print(f"{len(blocks)} blocks of {args.block_rows} rows, {tokens:,} tokens, {args.adapters} adapters")
        for way, median in medians.items():
            print(f"{way:16s} {median:6.2f} s {tokens / median:9.0f} tokens/s")
        print(f"full queue is {medians['block by block'] / medians['full queue']:.2f} x as fast; same answers: {same}")
        print(json.dumps({"seconds": seconds, "tokens": tokens, "rows": len(written["full queue"]), "same": same}))


if __name__ == "__main__":
    main()
