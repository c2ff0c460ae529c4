"""A LoRA step on a CPU: PEFT under a plain PyTorch loop in float32 beside ours in float32 and in bfloat16.

Rows of equal length, their second half trained, rank 8 on all linear layers, dropout 0, two threads, the best of two
micro-batches a side; steps alternate, so that what else the machine does falls on all of them.

    python tests/bench/bench_lora_step.py MODEL_FOLDER [--rounds 5] [--rows 8] [--length 96]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np


def plain_step(folder: str, rows: np.ndarray, micro_rows: int) -> Callable[[], float]:
    """What Trainer does in a step with PEFT, its bookkeeping left out."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
    ).train()
    model.config.use_cache = False
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-4)
    ids = torch.from_numpy(rows.astype(np.int64))
    labels = ids.clone()
    labels[:, : ids.shape[1] // 2] = -100
    count = int((labels[:, 1:] >= 0).sum())

    def step() -> float:
        began = time.perf_counter()
        for start in range(0, len(ids), micro_rows):
            part = slice(start, start + micro_rows)
            model(input_ids=ids[part], labels=labels[part], num_items_in_batch=count).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - began

    return step


def our_step(folder: str, rows: np.ndarray, micro_rows: int, dtype: str) -> Callable[[], float]:
    """A step of the trainer that studies use."""
    from assay.training.batching import TrainingRows, TrainRow, as_groups
    from assay.training.engine.lora_engine import LoraTrainer
    from assay.training.engine.resident_engine import ResidentBase
    from assay.training.spec import TrainResources, TrainSpec

    spec = TrainSpec(
        dtype=dtype, lora_rank=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", batch_size=len(rows),
        small_below=0, max_steps=10_000, num_epochs=10_000, schedule="constant", early_stopping_patience=None,
    )  # fmt: skip
    resources = TrainResources(threads=2, micro_batch_size=micro_rows, micro_batch_tokens=1 << 20)
    train_rows = [TrainRow(row.astype(np.int32), rows.shape[1] // 2, place) for place, row in enumerate(rows)]
    base = ResidentBase(folder, dtype=dtype, device="cpu")
    trainer = LoraTrainer(spec, base, TrainingRows(as_groups(train_rows)), resources)
    steps = trainer.steps()
    return lambda: next(steps).step_s


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=96)
    parser.add_argument("--micro", type=int, nargs="+", default=[4, 8])
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(2)
    rows = np.random.default_rng(0).integers(100, 10_000, (asked.rows, asked.length))
    sides: dict[str, Callable[[], float]] = {}
    for micro in asked.micro:
        sides[f"plain float32, {micro} rows"] = plain_step(asked.model, rows, micro)
        sides[f"ours float32, {micro} rows"] = our_step(asked.model, rows, micro, "float32")
        sides[f"ours bfloat16, {micro} rows"] = our_step(asked.model, rows, micro, "bfloat16")
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(asked.rounds + 1):
        for name, step in sides.items():
            seconds = step()
            if number:  # the first one warms up
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = {kind: min(v for n, v in medians.items() if n.startswith(kind)) for kind in ("plain", "ours f", "ours b")}
    print(json.dumps({
        "seconds": {name: round(value, 2) for name, value in medians.items()},
        "float32 ratio": round(best["plain"] / best["ours f"], 2),
        "bfloat16 ratio": round(best["plain"] / best["ours b"], 2),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
