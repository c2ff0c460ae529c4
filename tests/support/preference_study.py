"""A study of preferences that is small in every direction, with its data."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "thirty", "forty",
    "fifty", "sixty", "seventy", "eighty", "ninety",
)  # fmt: skip
ASKED = ("Which number comes after {}?", "Name the number before {}.", "Spell {}.", "Say something about {}.")
TAUGHT = ("Repeat {}.", "Is {} a number?", "Write {} in words.", "What do you know about {}?")
FORMS = ("{}", "It is {}.", "The number that was asked for is {}, as everybody knows.")
BASE = {
    "flavour": "text", "vocabulary_size": 500, "num_steps": 80, "batch_size": 8, "block_length": 128,
    "max_positions": 512, "other_weight": 1.0,
}  # fmt: skip
PRINCIPLES = "# what answers should be\nBe short.\nBe right.\n"
SMALL: Mapping[str, Any] = {
    "name": "kinds",
    "base_models": ["tiny"],
    "tiny_base": BASE,
    "training_seeds": [0],
    "training_seeds_at_zero": [],
    "scorers": ["token_f1", "judge"],
    "statistics": {"human": "token_f1", "resamples": 200},
    "generation": {"temperature": 1.0, "max_prompt_tokens": 360, "max_model_len": 400},
    "evaluation": {"instruction_rows": 4, "instruction_max_new_tokens": 12},
    "judge": {"requests_per_min": 30000, "max_concurrency": 8},
    "train": {
        "lora_rank": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": "all-linear", "learning_rate": 5e-3,
        "batch_size": 8, "small_below": 0, "num_epochs": 1, "early_stopping_patience": None, "eval_every": 1000,
        "max_length": 192,
    },
    "resources": {"num_cpus": 2, "training": {"micro_batch_size": 8}},
}  # fmt: skip
GRID: Mapping[str, Any] = {
    "design": "preference",
    "start": "merged",
    "start_rows": 48,
    "prompts": "helpful",
    "num_prompts": 12,
    "tuning_prompts": 4,
    "reported_prompts": 6,
    "tuning": {"learning_rate": [0.001], "beta": [0.1]},
    "seeds": 1,
    "frontier": 2,
}


def write_study(folder: Path, grid: Mapping[str, Any], **changes: Any) -> Path:
    """The study's file, with its data beside it.

    Args:
        folder: where both go; files of an earlier study there are the same.
        grid: its pairs and methods, and what else differs from `GRID`.
        changes: fields that differ from `SMALL`.
    """
    draw = random.Random(0)
    helpful, taught = (_rows(forms, draw) for forms in (ASKED, TAUGHT))
    _write(folder / "helpful.jsonl", helpful)
    _write(folder / "instructions.jsonl", taught)
    pairs = [
        {"prompt": row["instruction"], "chosen": FORMS[1].format(word), "rejected": f"{word} or {word}"}
        for row, word in zip(helpful[:16], NUMBERS, strict=False)
    ]
    _write(folder / "people.jsonl", pairs)
    (folder / "principles.txt").write_text(PRINCIPLES)
    own = {"loader": "jsonl", "split_rule": "strict"}
    sources = {
        "instructions": {**own, "path": "instructions.jsonl"},
        "helpful": {**own, "path": "helpful.jsonl"},
        "people": {**own, "path": "people.jsonl", "preference": "trl"},
    }
    study = {**SMALL, "data": {"root": str(folder), "sources": sources}, "grid": {**GRID, **grid}, **changes}
    path = folder / f"{study['name']}.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def _rows(forms: Sequence[str], draw: random.Random) -> list[dict[str, str]]:
    """Each question about each number, answered at one of three lengths."""
    rows = [
        {"instruction": form.format(word), "output": draw.choice(FORMS).format(word)}
        for form in forms
        for word in NUMBERS
    ]
    draw.shuffle(rows)
    return rows


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
