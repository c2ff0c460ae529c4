"""What becomes of each architecture: a tiny adapter is trained, and asked through the engine that the rule picks.

Each architecture has processes of its own, forked off one that has imported the engines: vLLM changes transformers'
classes, and what a model breaks is its own.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.forkserver
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from support.architectures import save_architecture

PATIENCE_S = 120.0
NUM_ROWS, NEW_TOKENS, RANK = 4, 6, 4
TRAINED, SERVED = "train", "ask"


def probe(kinds: Iterable[str], home: Path, *, at_once: int = 2) -> dict[str, dict[str, Any]]:
    """Kind -> what happened: "built", "trained" and "served" are "" or a reason, "engine" is the rule's label.

    Args:
        kinds: model types.
        home: a folder for models and adapters.
        at_once: architectures that are tried at the same time.
    """
    os.environ.update(
        {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error",
         "TOKENIZERS_PARALLELISM": "false", "VLLM_LOGGING_LEVEL": "ERROR",
         "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    )  # fmt: skip
    found: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    for stage, run, imports in (
        (TRAINED, train_and_ask_reference, ["assay.training.engine.lora_engine", "assay.generation.hf_engine"]),
        (SERVED, ask_by_rule, ["vllm", "assay.generation.vllm_engine"]),
    ):
        context = multiprocessing.get_context("forkserver")
        multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]  # the stages import other engines
        context.set_forkserver_preload(imports)
        todo = [kind for kind in found if stage == TRAINED or found[kind].get("trained") == ""]
        with ThreadPoolExecutor(at_once) as pool:
            for kind, said in zip(todo, pool.map(partial(_alone, context, run, home), todo), strict=True):
                found[kind] |= said
    return found


def _alone(context: Any, run: Callable[[Path, str], dict[str, Any]], home: Path, kind: str) -> dict[str, Any]:
    """What `run` finds in a process of its own; a reason where that ends or takes too long."""
    out = home / f"{kind}-{run.__name__}.json"
    process = context.Process(target=_write, args=(run, home, kind, out))
    began = time.monotonic()
    process.start()
    process.join(PATIENCE_S)
    if process.is_alive():
        process.kill()
        process.join()
        return {_FIELD[run.__name__]: f"no answer within {PATIENCE_S:.0f} s"}
    if not out.is_file():
        return {_FIELD[run.__name__]: f"the process ended with code {process.exitcode}"}
    found: dict[str, Any] = json.loads(out.read_text())
    return {**found, f"{run.__name__}_s": round(time.monotonic() - began, 1)}


def _write(run: Callable[[Path, str], dict[str, Any]], home: Path, kind: str, out: Path) -> None:
    import warnings

    warnings.simplefilter("ignore")
    found = run(home, kind)
    half = out.with_suffix(".half")
    half.write_text(json.dumps(found))
    half.rename(out)


def train_and_ask_reference(home: Path, kind: str) -> dict[str, Any]:
    """Make a model, train an adapter of it, and have the reference engine answer with it."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    base_dir, adapter_dir = home / kind, home / f"{kind}-adapter"
    found: dict[str, Any] = {}
    try:
        save_architecture(base_dir, kind)
        found["built"] = ""
    except BaseException as error:
        return {"built": _line(error)}
    from assay.training.batching import TrainingRows
    from assay.training.encoding import encode, row_groups
    from assay.training.engine.lora_engine import train
    from assay.training.engine.resident_engine import resident_base
    from assay.training.spec import TrainResources, TrainSpec
    from support.tiny_models import make_examples

    spec = TrainSpec(
        lora_rank=RANK, learning_rate=0.02, max_steps=2, batch_size=4, small_below=0, max_length=64,
        schedule="constant", warmup_steps=0, loss_on="all",
    )  # fmt: skip
    try:
        base = resident_base(str(base_dir), dtype="float32", device="cpu")
        table = encode(make_examples(8), base.tokenizer, spec)
        rows = TrainingRows(row_groups([table], np.zeros(len(table), np.int64), np.arange(len(table))), [])
        steps = train(spec, base, rows, adapter_dir, base_name=kind, resources=TrainResources(threads=1))
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                targets = stop.value.target_modules
                found |= {"trained": "", "targets": targets if isinstance(targets, str) else list(targets)}
                break
    except Exception as error:
        return {**found, "trained": _line(error)}
    try:
        found["reference"] = _answers(home, kind, "hf")[1]
    except Exception as error:
        found["served"] = _line(error)
    return found


def ask_by_rule(home: Path, kind: str) -> dict[str, Any]:
    """Have the engine that the rule picks answer with the adapter."""
    from vllm.model_executor.models import registry

    # vLLM looks at each model's class in a process that imports vLLM anew; this process is one architecture's own
    registry._run_in_subprocess = lambda look: look()
    try:
        label, answers = _answers(home, kind, "vllm")
    except BaseException as error:
        return {"served": _line(error), "engine": "vllm"}
    return {"engine": label, "served": "", "answers": answers}


def _answers(home: Path, kind: str, engine: Any) -> tuple[str, Mapping[str, list[str]]]:
    from assay.generation.ray_engine import prompt_rows, start_engine
    from assay.generation.spec import AdapterRef, GenerationResources, GenerationSpec
    from support.tiny_models import make_examples

    spec = GenerationSpec(engine=engine, max_model_len=128, max_prompt_tokens=64)
    resources = GenerationResources(cpus_per_engine=1, kv_cache_gib=0.1, max_num_seqs=8)
    served, label = start_engine(str(home / kind), spec, resources, RANK)
    adapter = AdapterRef("adapter", str(home / f"{kind}-adapter"), RANK)
    found = {}
    for name, given in (("adapter", adapter), ("base", None)):
        rows = prompt_rows(served.tokenizer, make_examples(NUM_ROWS, seed=3), spec, 64, NEW_TOKENS, given)
        answers = served.generate(rows)
        failed = next((answer.error for answer in answers if answer.error), None)
        if failed:
            raise RuntimeError(failed)
        found[name] = [answer.prediction for answer in answers]
    return label, found


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


_FIELD = {"train_and_ask_reference": "trained", "ask_by_rule": "served"}
