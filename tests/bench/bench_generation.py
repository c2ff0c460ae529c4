"""Rows per second of many adapters: one vLLM engine against transformers.generate, adapter by adapter.

    python tests/bench/bench_generation.py [--quick] [--adapters 16] [--rows 100] [--new-tokens 32]

Same base model (the quickstart's size, random weights), same adapters, same rows, float32, one thread each way; every
figure contains the engines' start, and the answers are checked to be the same token for token. Three ways:

    vllm        one process, one engine, all adapters
    hf-resident one process, base model loaded once, adapters swapped
    hf-each     a process per adapter that loads base and adapter: the published study's way
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "platform")]

from assay.generation.spec import AdapterRef, GenerationResources, GenerationSpec  # noqa: E402

RANK = 16


def generate(engine: str, base: Path, adapters: list[Path], num_rows: int, new_tokens: int, out: Path) -> None:
    """One process's work: every adapter over the same rows; answers to a file."""
    from assay.generation.ray_engine import prompt_rows, start_engine
    from support.tiny_models import make_examples

    spec = GenerationSpec(engine=engine, max_model_len=256, max_prompt_tokens=128)
    resources = GenerationResources(max_num_seqs=256, kv_cache_gib=0.25)
    served, label = start_engine(str(base), spec, resources, RANK)
    assert label == engine, label
    examples = make_examples(num_rows, longest=40)
    answers = {}
    for folder in adapters:
        adapter = AdapterRef(folder.name, str(folder), RANK)
        rows = prompt_rows(served.tokenizer, examples, spec, 128, new_tokens, adapter)
        answers[folder.name] = [[p.prediction, p.num_tokens] for p in served.generate(rows)]
    out.write_text(json.dumps(answers))


def timed(
    engine: str, base: Path, groups: list[list[Path]], args: argparse.Namespace, out: Path
) -> tuple[float, float, dict]:
    """Wall and CPU seconds of one process per group, one after the other, and what they wrote."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    answers: dict[str, list] = {}
    started, cpu_before = time.perf_counter(), cpu_s()
    for group in groups:
        command = [sys.executable, __file__, "--worker", engine, "--base", str(base), "--out", str(out)]
        command += ["--rows", str(args.rows), "--new-tokens", str(args.new_tokens), *map(str, group)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        answers |= json.loads(out.read_text())
    return time.perf_counter() - started, cpu_s() - cpu_before, answers


def cpu_s() -> float:
    """CPU seconds of all processes started so far: what a loaded machine leaves comparable."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="3 adapters x 32 rows: proves that it runs")
    parser.add_argument("--adapters", type=int, default=16)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--new-tokens", type=int, default=32)
    args = parser.parse_args()
    if args.worker:
        generate(args.worker, args.base, args.folders, args.rows, args.new_tokens, args.out)
        return
    if args.quick:
        args.adapters, args.rows = 3, 32
    from support.tiny_models import make_adapters, make_model

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        base = make_model(root / "base", "llama", hidden=128, heads=4)
        adapters = make_adapters(base, [root / f"adapter{i:02d}" for i in range(args.adapters)], rank=RANK)
        num_rows = args.adapters * args.rows
        print(f"{args.adapters} adapters x {args.rows} rows x {args.new_tokens} new tokens, one thread", flush=True)
        ways = {
            "vllm": ("vllm", [adapters]),
            "hf-resident": ("hf", [adapters]),
            "hf-each": ("hf", [[folder] for folder in adapters]),
        }
        seconds, cpu, written = {}, {}, {}
        for way, (engine, groups) in ways.items():
            seconds[way], cpu[way], written[way] = timed(engine, base, groups, args, root / "answers.json")
            rate = num_rows / seconds[way]
            print(
                f"{way:12s} {seconds[way]:7.1f} s {rate:8.1f} rows/s, start included; CPU {cpu[way]:.1f} s", flush=True
            )
        same = sum(
            written["vllm"][folder.name][i]
            == written["hf-each"][folder.name][i]
            == written["hf-resident"][folder.name][i]
            for folder in adapters
            for i in range(args.rows)
        )
        print(f"same greedy answers: {same}/{num_rows}")
        for way, name in (("hf-each", "hf-each (the published way)"), ("hf-resident", "hf-resident")):
            wall, work = seconds[way] / seconds["vllm"], cpu[way] / cpu["vllm"]
            print(f"vllm is {wall:.2f} x as fast as {name}, {work:.2f} x by CPU time")
        print(json.dumps({"rows": num_rows, "seconds": seconds, "cpu_s": cpu, "same": same}))


if __name__ == "__main__":
    main()
