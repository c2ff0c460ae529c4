"""Sweep overhead, and resident trials against one process per trial.

(a) overhead after worker warm-up: wall time x slots / sum of pure optimizer-step seconds, trials of about 20 s;
(b) trials per hour against one process per trial (Hugging Face Trainer + PEFT, padded to the longest row of a batch,
    loss on the answer only, same rows, steps and thread count), trials of about 30 s of pure steps on our side.

    .venv/bin/python tests/bench/bench_sweep.py [--quick] [--part a|b] [--slots 2] [--out FILE.json]

The model is a random Llama of 2.2 million parameters with 4096 tokens; times do not depend on the weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "platform")]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

from assay.store import Store  # noqa: E402
from assay.training.spec import TrainingJob, TrainResources, TrainSpec  # noqa: E402
from support.tiny_causal_models import store_varied_mixture  # noqa: E402

HIDDEN, LAYERS, BATCH, ROWS = 192, 4, 32, 640

ONE_PROCESS_PER_TRIAL = """
    import json, sys
    from pathlib import Path
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
    from assay.store import Store
    from assay.training.encoding import encode
    from assay.training.sweep.ray_trial import read_dataset_examples
    from assay.training.spec import TrainSpec

    base, store, out, rows, batch, steps, seed = sys.argv[1:8]
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(base)
    examples = read_dataset_examples(Store(store), "varied")[: int(rows)]
    table = encode(examples, tokenizer, TrainSpec(max_length=256))
    data = []
    for place in range(len(table)):
        ids = table.tokens[table.starts[place] : table.starts[place + 1]].tolist()
        answer = int(table.answer_starts[place])
        data.append({"input_ids": ids, "labels": [-100] * answer + ids[answer:]})

    def collate(rows):
        width = max(len(row["input_ids"]) for row in rows)
        def padded(name, fill):
            return torch.tensor([row[name] + [fill] * (width - len(row[name])) for row in rows])
        mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows])
        return {"input_ids": padded("input_ids", 0), "labels": padded("labels", -100), "attention_mask": mask}

    torch.manual_seed(int(seed))
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(
        r=8, lora_alpha=16, lora_dropout=0.05, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]))
    arguments = TrainingArguments(
        output_dir=out, per_device_train_batch_size=int(batch), max_steps=int(steps), learning_rate=5e-4,
        lr_scheduler_type="linear", save_strategy="no", report_to=[], seed=int(seed), use_cpu=True,
        disable_tqdm=True, logging_steps=10)
    trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collate)
    result = trainer.train()
    model.save_pretrained(out)
    print("RESULT", json.dumps(result.metrics))
"""


def main() -> None:
    """Run the parts asked for, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="trials of a few seconds: shows that it runs, no figures")
    parser.add_argument("--part", choices=("a", "b"), action="append")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--trials", type=int, help="per part; default 8, quick 4")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    parts = options.part or ["a", "b"]
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as folder:
        figures = _measure(
            Path(folder), parts, options.slots, options.trials or (4 if options.quick else 8), options.quick
        )
    figures |= {"load_average_1min": os.getloadavg()[0], "cores": os.cpu_count()}
    print(json.dumps(figures, indent=2))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


def _measure(folder: Path, parts: list[str], slots: int, trials: int, quick: bool) -> dict[str, float]:
    import ray

    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'platform'}",
        "OMP_NUM_THREADS": "1",
    }
    make = (
        "from pathlib import Path; from tiny_causal_models import save_tiny_model; "
        f"save_tiny_model(Path({str(folder / 'base')!r}), 'llama', hidden={HIDDEN}, layers={LAYERS}, vocabulary=4096)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", make], env=environment, check=True, capture_output=True)
    store = Store(str(folder / "store"))
    store_varied_mixture(store, "mix", ROWS)
    ray.init(
        address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000,
        runtime_env={"env_vars": {"PYTHONPATH": environment["PYTHONPATH"], "OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    probe_steps = 6
    probe = _sweep(store, folder, "probe", slots, slots, probe_steps)
    step_s = probe["step_s"] / (slots * probe_steps)
    figures = {"seconds_per_step": step_s, "tokens_per_row": _mean_length(folder)}
    for part, wanted_s in (("a", 20.0), ("b", 30.0)):
        if part not in parts:
            continue
        steps = max(3, round((3.0 if quick else wanted_s) / step_s))
        ours = _sweep(store, folder, part, trials, slots, steps)
        figures |= {f"{part}_{name}": value for name, value in ours.items()}
        figures[f"{part}_steps_per_trial"] = steps
        warm_wall_s = ours["wall_s"] - ours["first_step_s"] + ours["report_every_s"]
        figures[f"{part}_overhead_after_warm_up"] = warm_wall_s * slots / ours["step_s"]
        figures[f"{part}_overhead_with_start"] = ours["wall_s"] * slots / ours["step_s"]
        if part == "b":
            theirs_s = _one_process_per_trial(folder, environment, trials, slots, steps)
            figures["b_trials_per_hour"] = 3600 * trials / ours["wall_s"]
            figures["b_trials_per_hour_warm"] = 3600 * trials / warm_wall_s
            figures["b_trials_per_hour_one_process_each"] = 3600 * trials / theirs_s
            figures["b_ratio_with_start"] = theirs_s / ours["wall_s"]
            figures["b_ratio_warm"] = theirs_s / warm_wall_s
    ray.shutdown()
    return figures


def _sweep(store: Store, folder: Path, name: str, trials: int, slots: int, steps: int) -> dict[str, float]:
    """One sweep; its workers' start is part of the wall time and told apart by `first_step_s`."""
    from assay.training.sweep.ray_sweep import run_sweep

    spec = TrainSpec(batch_size=BATCH, max_steps=steps, num_epochs=10_000, max_length=256, early_stopping_patience=None)
    jobs = [
        TrainingJob(f"{name}{seed:031x}", "base", str(folder / "base"), "mix", spec.replace(seed=seed), num_rows=ROWS)
        for seed in range(trials)
    ]
    resources = TrainResources(threads=1, max_retries=0, max_concurrent=slots)
    report = run_sweep(store, jobs, resources)
    return {
        "trials": trials,
        "wall_s": report.wall_s,
        "first_step_s": report.first_step_s,
        "step_s": report.step_s,
        "report_every_s": resources.report_every_s,
    }


def _one_process_per_trial(folder: Path, environment: dict[str, str], trials: int, slots: int, steps: int) -> float:
    """Wall seconds of the same trials as `slots` processes at a time."""
    code = textwrap.dedent(ONE_PROCESS_PER_TRIAL)

    def run(seed: int) -> None:
        arguments = [folder / "base", folder / "store", folder / f"hf{seed}", ROWS, BATCH, steps, seed]
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)], env=environment, check=True,
            capture_output=True,
        )  # fmt: skip

    began = time.perf_counter()
    with ThreadPoolExecutor(slots) as pool:
        list(pool.map(run, range(trials)))
    return time.perf_counter() - began


def _mean_length(folder: Path) -> float:
    from transformers import AutoTokenizer

    from assay.training.encoding import encode
    from assay.training.sweep.ray_trial import read_dataset_examples

    examples = read_dataset_examples(Store(str(folder / "store")), "varied")[:ROWS]
    table = encode(examples, AutoTokenizer.from_pretrained(folder / "base"), TrainSpec(max_length=256))
    return float(len(table.tokens) / len(table))


if __name__ == "__main__":
    main()
