"""Short prompts of a real model through one adapter: our engine, bare vLLM and transformers, side by side in one run.

    python tests/bench/bench_real_generation.py MODEL_FOLDER [--rows 1000] [--new-tokens 16] [--threads 2]

The adapter has rank 8 on all linear layers and random weights, small ones, so that answers stay words. Every way has a
process of its own, is started and has answered WARM rows before the clock starts; the clock stops when the last answer
is text. All ways stop at the model's end mark or after --new-tokens; how many answers equal ours stands in each line.

    ours          VllmEngine, blocks of 256 rows, as a study calls it
    bare vLLM     vllm.LLM.generate, all rows at once, LoRARequest, vLLM's own operators
    no adapter    the same without the adapter: what vLLM reaches at best
    transformers  PEFT and generate, rows sorted by length, at the fastest of BATCHES on the first PROBE rows
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "platform")]

WAYS = ("ours", "bare vLLM", "no adapter", "transformers")
DTYPES = ("bfloat16", "float32")
BATCHES = (8, 32, 128)
WARM, PROBE = 8, 128
RANK = 8
LONGEST = 256
Rows = Sequence[tuple[int, ...]]
Generate = Callable[[Rows], list[str]]


def prompts(model: str, count: int) -> Rows:
    """Token ids of toy questions in the model's own chat template."""
    from assay.generation.prompts import encode_prompts
    from assay.generation.tokenizer_engine import load_tokenizer
    from assay.tasks.templates import PromptSpec
    from assay.tasks.toyworld.world import toy_task_examples

    examples = toy_task_examples("toy_question", {"test": count}, 0)
    encoded = encode_prompts(load_tokenizer(model), examples, PromptSpec(style="chat"), LONGEST)
    return [tuple(row.ids) for row in encoded]


def stops(model: str) -> list[int]:
    """The model's end marks."""
    from assay.generation.tokenizer_engine import load_tokenizer, stop_token_ids
    from assay.tasks.templates import PromptSpec

    return list(stop_token_ids(model, load_tokenizer(model), PromptSpec(style="chat")))


def ours(args: argparse.Namespace) -> Generate:
    from assay.generation.spec import AdapterRef, GenerationResources, GenerationSpec, PromptRow
    from assay.generation.vllm_engine import VllmEngine
    from assay.tasks.templates import PromptSpec

    spec = GenerationSpec(dtype=args.dtype, max_model_len=LONGEST, prompt=PromptSpec(style="chat"))
    resources = GenerationResources(threads=args.threads, kv_cache_gib=args.kv_cache_gib)
    engine = VllmEngine(args.model, spec, resources, max_lora_rank=RANK)
    adapter = AdapterRef("bench", str(args.adapter), RANK)

    def generate(rows: Rows) -> list[str]:
        asked = [PromptRow(str(i), ids, args.new_tokens, adapter) for i, ids in enumerate(rows)]
        blocks = [asked[start : start + spec.block_rows] for start in range(0, len(asked), spec.block_rows)]
        return [answer.prediction for block in blocks for answer in engine.generate(block)]

    return generate


def bare_vllm(args: argparse.Namespace) -> Generate:
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    import torch
    import vllm
    from vllm.lora.request import LoRARequest

    torch.set_num_threads(args.threads)
    adapted = args.way == "bare vLLM"
    lora = {"enable_lora": True, "max_lora_rank": RANK, "max_loras": 1} if adapted else {}
    engine = vllm.LLM(
        args.model, dtype=args.dtype, max_model_len=LONGEST, enforce_eager=True, max_num_seqs=256,
        kv_cache_memory_bytes=int(args.kv_cache_gib * 2**30), generation_config="vllm", **lora,
    )  # fmt: skip
    request = LoRARequest("bench", 1, str(args.adapter)) if adapted else None
    sampling = vllm.SamplingParams(temperature=0.0, max_tokens=args.new_tokens, stop_token_ids=stops(args.model))

    def generate(rows: Rows) -> list[str]:
        asked = [{"prompt_token_ids": list(ids)} for ids in rows]
        return [one.outputs[0].text for one in engine.generate(asked, sampling, lora_request=request, use_tqdm=False)]

    return generate


def transformers_generate(args: argparse.Namespace) -> Generate:
    import torch
    import transformers
    from peft import PeftModel

    torch.set_num_threads(args.threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model, padding_side="left")
    base = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype))
    model = PeftModel.from_pretrained(base, args.adapter, autocast_adapter_dtype=False).eval()
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token

    ends = stops(args.model)

    @torch.inference_mode()
    def generate(rows: Rows, size: int) -> list[str]:
        texts = [""] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            batch = tokenizer.pad({"input_ids": [list(rows[i]) for i in chosen]}, return_tensors="pt")
            written = model.generate(
                **batch, do_sample=False, max_new_tokens=args.new_tokens, eos_token_id=ends, pad_token_id=ends[0]
            )
            answers = tokenizer.batch_decode(written[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            for i, answer in zip(chosen, answers, strict=True):
                texts[i] = answer
        return texts

    rows = prompts(args.model, args.rows)[:PROBE]
    generate(rows[:WARM], WARM)
    seconds = {}
    for size in BATCHES:
        started = time.perf_counter()
        generate(rows, size)
        seconds[size] = time.perf_counter() - started
    best = min(seconds, key=lambda size: seconds[size])
    args.note = f"batch {best} of {', '.join(f'{size}: {s:.1f} s' for size, s in seconds.items())} on {len(rows)} rows"
    return lambda rows: generate(rows, best)


def measure(args: argparse.Namespace) -> None:
    """One way in this process; its figures to `args.out`."""
    args.note = ""
    start = {"ours": ours, "transformers": transformers_generate}.get(args.way, bare_vllm)
    generate, rows = start(args), prompts(args.model, args.rows)
    generate(rows[:WARM])
    started, cpu = time.perf_counter(), time.process_time()
    answers = generate(rows)
    figures = {"seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu, "note": args.note}
    figures["mean_prompt_tokens"] = sum(map(len, rows)) / len(rows)
    assert len(answers) == len(rows)
    args.out.write_text(json.dumps(figures | {"answers": [answer.strip() for answer in answers]}))


def make_adapter(model: str, folder: Path) -> None:
    """An adapter of small random weights."""
    import peft
    import torch
    import transformers

    torch.manual_seed(0)
    config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(model), config)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.01)
    adapted.save_pretrained(folder)


def main() -> None:
    """Run every way in both types and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kv-cache-gib", type=float, default=2.0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    for hidden in ("--way", "--dtype", "--adapter", "--out"):
        parser.add_argument(hidden, type=Path if hidden in ("--adapter", "--out") else str, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        measure(args)
        return
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1"}
    print(f"{args.rows} prompts, {args.new_tokens} new tokens, {args.threads} threads, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        adapter, out = Path(name) / "adapter", Path(name) / "out.json"
        make_adapter(args.model, adapter)
        shared = [args.model, "--adapter", str(adapter), "--out", str(out), "--rows", str(args.rows)]
        shared += ["--new-tokens", str(args.new_tokens), "--threads", str(args.threads)]
        shared += ["--kv-cache-gib", str(args.kv_cache_gib)]
        for dtype in args.dtypes:
            ours_wrote: list[str] = []
            for way in args.ways:
                command = [sys.executable, __file__, *shared, "--way", way, "--dtype", dtype]
                subprocess.run(
                    command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                found = json.loads(out.read_text())
                ours_wrote = found["answers"] if way == "ours" else ours_wrote
                equal = sum(one == other for one, other in zip(found["answers"], ours_wrote, strict=False))
                print(
                    f"{dtype:9s} {way:13s} {found['seconds']:7.1f} s {args.rows / found['seconds']:7.1f} rows/s, CPU "
                    f"{found['cpu_s']:.1f} s; prompts of {found['mean_prompt_tokens']:.0f} tokens; {equal} answers "
                    f"equal ours {found['note']}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
