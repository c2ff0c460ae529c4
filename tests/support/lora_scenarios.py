"""What the engine tests run in a process of their own: DeepSpeed's communication stays for a process's lifetime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from assay.hooks import Generate
from assay.preference.rows import PreferenceRow, prompt_of
from assay.store import Store
from assay.training.spec import TrainResources, TrainSpec
from support.tiny_causal_models import arithmetic_examples, save_tiny_model

SPEC = TrainSpec(batch_size=16, small_below=0, num_epochs=2, eval_every=3, max_length=128, early_stopping_patience=None)
PROMPTS = ("### Instruction:\nAdd.\n\n### Input:\n2 + 3\n\n### Response:\n", "2 + ")


def tensor_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """Largest absolute difference of two adapters' tensors, which have the same names."""
    assert first.keys() == second.keys()
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


def largest_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """That of two trainings."""
    return tensor_difference(first["tensors"], second["tensors"])


class Recording:
    """A recording hook: remembers what the model writes, before the first step too."""

    name = "recording"
    every_steps = 2

    def __init__(self) -> None:
        self.seen: list[tuple[int, list[str]]] = []

    def begin(self, generate: Generate, state: Mapping[str, Any] | None) -> None:
        self.seen = [(int(step), list(texts)) for step, texts in state["seen"]] if state else []
        if state is None:
            self(generate, 0)

    def __call__(self, generate: Generate, step: int) -> Mapping[str, float]:
        self.seen.append((step, generate(PROMPTS, 4)))
        return {"seen": float(len(self.seen))}

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def write(self, folder: Path) -> None:
        (folder / "recording.json").write_text(json.dumps(self.seen))


def make_models(folder: Path, names: tuple[str, ...]) -> None:
    import warnings

    warnings.simplefilter("ignore")  # the libraries' own
    for name in names:
        save_tiny_model(folder / name, name)


class Counting:
    """An evaluation that looks at what the model writes, and stops the trial at a step."""

    name = "counting"
    every_steps = 2

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.texts = stop_at, []

    def __call__(self, generate: Generate, step: int) -> Mapping[str, float]:
        self.texts.append(generate(["### Response:\n", "a longer prompt that is padded\n### Response:\n"], 4))
        return {"num": 2.0, "stop": float(step == self.stop_at)}


def train_once(
    folder: Path, model: str, out: str, spec: TrainSpec = SPEC, *, rows: int = 48, kill_at: int | None = None,
    stop_at: int | None = None, store: str | None = None, records: bool = False, device: str = "cpu", **resources: Any,
) -> dict[str, Any]:  # fmt: skip
    """Train `model` into folder/out; hash and tensors of what was trained, metrics and summary."""
    from safetensors.torch import load

    from assay.training.batching import TrainingRows
    from assay.training.checkpoints import Checkpoints
    from assay.training.encoding import row_groups
    from assay.training.engine.lora_engine import train
    from assay.training.engine.resident_engine import resident_base

    base = resident_base(str(folder / model), dtype=spec.dtype, device=device)
    sets = []
    for examples in (arithmetic_examples(rows), arithmetic_examples(12, split="validation", first=90)):
        table = spec.objective.encode(examples, base.tokenizer, spec)
        sets.append(row_groups([table], np.zeros(len(table), np.int64), np.arange(len(table))))
    hook = Counting(stop_at)
    steps = train(
        spec, base, TrainingRows(*sets), folder / out, base_name="toy/base",
        resources=TrainResources(threads=1, **resources),
        hooks=[*([hook] if stop_at is not None else []), *([Recording()] if records else [])],
        checkpoints=Checkpoints(Store(store), out.split("-")[0]) if store else None,
    )  # fmt: skip
    metrics = []
    try:
        while True:
            metrics.append(next(steps))
            if kill_at is not None and len(metrics) == kill_at:
                steps.close()
                return {"metrics": metrics}
    except StopIteration as stop:
        name = "model" if spec.method == "full" else "adapter_model"
        data = (folder / out / f"{name}.safetensors").read_bytes()
        return {
            "hash": hashlib.sha256(data).hexdigest(),
            "tensors": {name: _array(value) for name, value in load(data).items()},
            "metrics": metrics,
            "summary": stop.value,
            "texts": hook.texts,
        }


def _array(tensor: Any) -> Any:
    """A tensor for NumPy, which has no bfloat16."""
    return tensor.float().numpy() if str(tensor.dtype) == "torch.bfloat16" else tensor.numpy()


def preference_rows(count: int, *, split: str = "train", first: int = 0) -> list[PreferenceRow]:
    """Arithmetic with the right answer, one that is one too high, and a long wrong one."""
    return [
        PreferenceRow(
            example.example_id,
            prompt_of(example),
            (example.reference, str(int(example.reference) + 1), f"it is {example.reference}0 or so"),
            (2.0, 1.0, 0.0),
            split=split,
        )
        for example in arithmetic_examples(count, split=split, first=first)
    ]


def prefer_once(
    folder: Path, out: str, spec: TrainSpec, *, rows: int = 24, store: str | None = None, kill_at: int | None = None,
    checkpoints: bool = False, **resources: Any,
) -> dict[str, Any]:  # fmt: skip
    """Train the tiny Llama on preferences into folder/out; its tensors, metrics and the reference's keys."""
    from safetensors.numpy import load

    from assay.training.batching import TrainingRows
    from assay.training.checkpoints import Checkpoints
    from assay.training.encoding import row_groups
    from assay.training.engine.lora_engine import LoraTrainer
    from assay.training.engine.resident_engine import resident_base
    from assay.training.references import REFERENCE_KIND, StoredReferences

    base = resident_base(str(folder / "llama"), dtype=spec.dtype, device="cpu")
    sets = []
    for examples in (preference_rows(rows), preference_rows(6, split="validation", first=90)):
        table = spec.objective.encode(examples, base.tokenizer, spec)
        sets.append(row_groups([table], np.zeros(len(table), np.int64), np.arange(len(table))))
    kept = Store(store or str(folder / "references"))
    trainer = LoraTrainer(
        spec, base, TrainingRows(*sets), TrainResources(threads=1, **resources), (),
        Checkpoints(kept, out.split("-")[0]) if checkpoints else None, StoredReferences(kept, "llama", spec.dtype),
    )  # fmt: skip
    try:
        metrics = []
        for step in trainer.steps():
            metrics.append(step)
            if len(metrics) == kill_at:
                return {"metrics": metrics}
        summary = trainer.write(folder / out, "toy/base")
    finally:
        trainer.close()
    tensors = load((folder / out / "adapter_model.safetensors").read_bytes())
    return {"tensors": tensors, "metrics": metrics, "summary": summary, "references": kept.keys(REFERENCE_KIND)}


def generate_alone(folder: Path, model: str, adapter: str, prompts: list[str], max_new_tokens: int) -> list[str]:
    """Greedy continuations by plain transformers and PEFT, one prompt at a time."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / model)
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder / model), folder / adapter).eval()
    texts = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        out = peft.generate(input_ids=ids, max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=0)
        texts.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))
    return texts


def reference_loss(folder: Path, model: str, adapter: str) -> float:
    """Mean loss of the validation rows' answer tokens by plain transformers, one row at a time."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from assay.training.encoding import encode

    tokenizer = AutoTokenizer.from_pretrained(folder / model)
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder / model), folder / adapter).eval()
    table = encode(arithmetic_examples(12, split="validation", first=90), tokenizer, SPEC)
    total = count = 0.0
    for place in range(len(table)):
        ids = torch.tensor(table.tokens[table.starts[place] : table.starts[place + 1]].astype(np.int64))[None]
        labels = ids.clone()
        labels[:, : table.answer_starts[place]] = -100
        tokens = int((labels != -100).sum())
        with torch.no_grad():
            total += float(peft(input_ids=ids, labels=labels).loss) * tokens
        count += tokens
    return total / count


def plain_full_training(folder: Path, model: str, out: str, spec: TrainSpec, rows: int = 48) -> dict[str, Any]:
    """All weights after a training by transformers and torch alone, row by row; and those of `out` and of the base."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from assay.training.batching import step_rows
    from assay.training.encoding import encode
    from assay.training.schedule import rate_factor, schedule_of

    tokenizer = AutoTokenizer.from_pretrained(folder / model)
    plain = AutoModelForCausalLM.from_pretrained(folder / model, dtype=torch.float32)
    table = encode(arithmetic_examples(rows), tokenizer, spec)
    plan = schedule_of(spec, len(table))
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.0, eps=spec.adam_epsilon, weight_decay=spec.weight_decay)
    for step in range(plan.total_steps):
        loss, count = torch.zeros(()), 0
        for place in step_rows(len(table), plan.batch_size, step, seed=spec.seed, shuffled=True).tolist():
            ids = torch.tensor(table.tokens[table.starts[place] : table.starts[place + 1]].astype(np.int64))[None]
            labels = ids.clone()
            labels[:, : table.answer_starts[place]] = -100
            tokens = int((labels != -100).sum())
            loss, count = loss + plain(input_ids=ids, labels=labels).loss * tokens, count + tokens
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), spec.max_grad_norm)
        optimizer.param_groups[0]["lr"] = spec.learning_rate * rate_factor(
            step, total=plan.total_steps, warmup=plan.warmup_steps, decay=spec.schedule
        )
        optimizer.step()
        optimizer.zero_grad()
    written, base = (AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32) for name in (out, model))
    return {
        name: {key: value.numpy() for key, value in found.state_dict().items()}
        for name, found in (("plain", plain), ("written", written), ("base", base))
    }


def read_from(store: str, base: str, adapter: str, tuned: str | None) -> list[dict[str, object]]:
    """Log-probabilities of two answers, one of them cut, by an adapter of the store and by its start."""
    from assay.records import Prediction
    from assay.training.engine.divergence_engine import Reader

    examples = arithmetic_examples(2)
    said = [
        Prediction(row.example_id, "the answer is 7", end, 9, 5)
        for row, end in zip(examples, ("stop", "length"), strict=True)
    ]
    opened = Store(store)
    reader = Reader(opened, base, "b" * 32, "", SPEC, TrainResources(threads=1), tuned)
    return reader.read(opened.local_dir("adapter", adapter), examples, said)
