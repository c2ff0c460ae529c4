"""Where 200 LoRA steps end in float32 and in bfloat16: validation loss of real instruction rows, one after the other.

    python tests/bench/bench_lora_loss.py MODEL_FOLDER [--data DIR] [--steps 200] [--seeds 2] [--products float32]

Rows are of Alpaca-GPT4 in the model's own template, at most --length tokens long, in batches of 8, rank 8 on all linear
layers, learning rate 5e-4 with 5 % of warm-up and a linear decay, dropout 0, two threads. Losses are means over the
answer tokens of 64 further rows (nats). A second seed draws other weights of A and another order of the rows: how far
the two lie apart in one type is the measure of what a difference between the types means.

A processor without instructions for bfloat16 would take hours. There `--products float32` multiplies what is rounded to
bfloat16 in float32 and rounds the result: the numbers of AMX (bfloat16 in, sums in float32, bfloat16 out) but for the
order of the sums, not its speed. All else, weights, gradients and ZeRO, stays the engine's own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "platform")]

VALIDATION = 64
BATCH = 8


def products_in_float32() -> contextlib.AbstractContextManager[Any]:
    """While it is entered, products and attention of bfloat16 tensors are computed in float32 and rounded."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map

    ops = torch.ops.aten
    attention = ops._scaled_dot_product_flash_attention_for_cpu
    backward = ops._scaled_dot_product_flash_attention_for_cpu_backward
    products = (ops.mm.default, ops.addmm.default, ops.bmm.default, ops.baddbmm.default, backward.default)

    def cast(value: Any, given: Any, wanted: Any) -> Any:
        return value.to(wanted) if isinstance(value, torch.Tensor) and value.dtype == given else value

    class InFloat32(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            halves = [value for value in args if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16]
            if not halves or func not in (*products, attention.default, ops.addmm_.default):
                return func(*args, **kwargs)
            wide = tree_map(lambda value: cast(value, torch.bfloat16, torch.float32), args)
            if func is ops.addmm_.default:
                return args[0].copy_(ops.addmm.default(*wide, **kwargs))
            if func is attention.default:  # its second result, the log of the sum, is float32 in any case
                answer, log_sum = func(*wide, **kwargs)
                return answer.to(torch.bfloat16), log_sum
            return tree_map(lambda value: cast(value, torch.float32, torch.bfloat16), func(*wide, **kwargs))

    return InFloat32()


def trained(model: str, rows: Any, steps: int, dtype: str, seed: int) -> dict[str, float]:
    """Validation loss at the end, the mean training loss of the last tenth, and seconds, validation included."""
    from assay.training.engine.lora_engine import LoraTrainer
    from assay.training.engine.resident_engine import ResidentBase
    from assay.training.spec import TrainResources

    spec = recipe(steps, dtype, seed)
    resources = TrainResources(threads=2, micro_batch_size=BATCH, micro_batch_tokens=1 << 20)
    trainer = LoraTrainer(spec, ResidentBase(model, dtype=dtype, device="cpu"), rows, resources)
    began = time.perf_counter()
    metrics = list(trainer.steps())
    losses = [step.validation_loss for step in metrics if step.validation_loss is not None]
    last = metrics[-max(1, steps // 10) :]
    return {
        "validation loss": losses[-1],
        "training loss": sum(step.loss for step in last) / len(last),
        "seconds": time.perf_counter() - began,
    }


def recipe(steps: int, dtype: str, seed: int) -> Any:
    """How both types are trained."""
    from assay.tasks.templates import PromptSpec
    from assay.training.spec import TrainSpec

    return TrainSpec(
        dtype=dtype, seed=seed, prompt=PromptSpec(style="chat"), lora_rank=8, lora_alpha=16, lora_dropout=0.0,
        target_modules="all-linear", learning_rate=5e-4, batch_size=BATCH, small_below=0, max_steps=steps,
        num_epochs=1.0, warmup_steps=steps // 20, early_stopping_patience=None, restore_best=False, eval_every=steps,
    )  # fmt: skip


def alpaca(model: str, data: Path, num_train: int, longest: int) -> Any:
    """Rows of at most `longest` tokens: `num_train` to train on, and VALIDATION others."""
    from assay.generation.tokenizer_engine import load_tokenizer
    from assay.tasks.datasets.loaders import load_examples
    from assay.tasks.datasets.sources import SourceSpec
    from assay.training.batching import TrainingRows, TrainRow, as_groups
    from assay.training.encoding import encode

    examples = load_examples(SourceSpec(loader="jsonl", path="alpaca/alpaca_gpt4_10k.jsonl.gz"), data)
    found = encode(examples, load_tokenizer(model), recipe(1, "float32", 0))
    rows = [
        TrainRow(found.tokens[start:end], int(answer), place)
        for place, (start, end, answer) in enumerate(
            zip(found.starts[:-1], found.starts[1:], found.answer_starts, strict=True)
        )
        if 0 < end - start <= longest
    ]
    if len(rows) < num_train + VALIDATION:
        raise SystemExit(f"saw {len(rows)} rows of at most {longest} tokens; expected {num_train + VALIDATION}")
    groups = as_groups(rows[: num_train + VALIDATION])
    return TrainingRows(groups[VALIDATION:], groups[:VALIDATION])


def main() -> None:
    """Train in both types with each seed and print a JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    shared = os.environ.get("ASSAY_SHARED", TESTS.parent.parent / "shared")
    parser.add_argument("--data", type=Path, default=Path(shared) / "data")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--length", type=int, default=96)
    parser.add_argument("--products", choices=("bfloat16", "float32"), default="bfloat16")
    asked = parser.parse_args()
    import torch

    torch.set_num_threads(2)
    rows = alpaca(asked.model, asked.data, asked.steps * BATCH, asked.length)
    for seed in range(asked.seeds):
        for dtype in ("float32", "bfloat16"):
            narrow = dtype == "bfloat16" and asked.products == "float32"
            with products_in_float32() if narrow else contextlib.nullcontext():
                found = trained(asked.model, rows, asked.steps, dtype, seed)
            print(json.dumps({"dtype": dtype, "seed": seed, **{k: round(v, 4) for k, v in found.items()}}), flush=True)


if __name__ == "__main__":
    main()
