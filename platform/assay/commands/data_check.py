"""`assay data check`: what a file's or a study's rows are like, before any model is loaded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from assay.config import validate
from assay.errors import ConfigError
from assay.mixtures.leaks import find_copies, find_leaks
from assay.mixtures.spec import LeakSpec
from assay.records import SPLITS, TEST, TRAIN, VALIDATION, Example
from assay.tasks.datasets.loaders import load_examples
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.templates import PromptSpec, history

QUANTILES = (0.5, 0.9, 0.99, 1.0)


def check_command(
    reference: str, overrides: Sequence[str], loader: str, tokenizer: str, max_length: int, as_json: bool
) -> None:
    """Print the counts of a data file, or of every dataset of a study.

    Args:
        reference: a data file, a study file or a builtin study.
        overrides: of a study's fields.
        loader: how a data file is read.
        tokenizer: folder of a tokenizer, to count tokens with; empty counts none.
        max_length: tokens of a row at most.
        as_json: print JSON instead of lines.

    Raises:
        InputError: data that cannot be read; one line with file and row.
    """
    sets = _datasets(reference, overrides, loader)
    counted = {name: check_rows(rows, tokenizer, max_length) for name, rows in sets.items()}
    leaks = _leaks(sets)
    if as_json:
        typer.echo(json.dumps({name: {**part, "leaks": leaks[name]} for name, part in counted.items()}, indent=2))
        return
    for name, part in counted.items():
        typer.echo(f"{name}: " + ", ".join(f"{count:,} {split}" for split, count in part["rows"].items()))
        for line in _lines(part, leaks[name], max_length):
            typer.echo(f"  {line}")


def check_rows(rows: Sequence[Example], tokenizer: str, max_length: int) -> dict[str, Any]:
    """Counts of one dataset's rows.

    Args:
        rows: all splits.
        tokenizer: folder; empty counts no tokens.
        max_length: tokens of a row at most.
    """
    train = [row for row in rows if row.split == TRAIN]
    copies, contradicted = find_copies(train)
    found: dict[str, Any] = {
        "rows": dict(Counter(row.split for row in sorted(rows, key=lambda row: SPLITS.index(row.split)))),
        "with earlier turns": sum(bool(row.history_json) for row in rows),
        "with turns of tools": sum(any(role == "tool" for role, _ in history(row)) for row in rows),
        "empty answers": sum(not row.reference.strip() for row in rows),
        "copies in train": len(copies),
        "questions with answers that differ": contradicted,
    }
    return found | (_tokens(rows, tokenizer, max_length) if tokenizer else {})


def _tokens(rows: Sequence[Example], folder: str, max_length: int) -> dict[str, Any]:
    """Counts that need a tokenizer; its folder needs no weights."""
    from assay.generation.tokenizer_engine import load_tokenizer
    from assay.studies.lengths import count_lengths
    from assay.tasks.tokens.control import ControlTokens

    tokenizer = load_tokenizer(folder)
    prompt = PromptSpec(style="chat") if tokenizer.chat_template else PromptSpec()
    lengths = count_lengths(rows, tokenizer, prompt, prompt)
    control = ControlTokens(tokenizer)
    tokens = sorted(count for count in lengths.tokens if count)
    return {
        "tokens": {f"{share:.0%}": tokens[min(len(tokens) - 1, int(share * len(tokens)))] for share in QUANTILES}
        if tokens
        else {},
        f"over {max_length} tokens": sum(count > max_length for count in lengths.tokens),
        "without a prompt": sum(bool(error) for error in lengths.errors),
        "spell special tokens": sum(lengths.spells_marks),
        "answers that spell special tokens": sum(bool(control.spelled_in([row.reference])) for row in rows),
    }


def _datasets(reference: str, overrides: Sequence[str], loader: str) -> dict[str, Sequence[Example]]:
    path = Path(reference)
    if path.is_file() and path.suffix not in (".yaml", ".yml"):
        if overrides:
            raise ConfigError("--set is for a study; a data file is read with --loader")
        fields = {"loader": loader, "path": path.name, "split_rule": "strict"}
        return {path.name: load_examples(validate(SourceSpec, fields, "assay data check"), path.resolve().parent)}
    from assay.studies.catalog import load_study

    study = load_study(reference, overrides)
    used = study.used
    return {name: load_examples(source, used.root, study.registry.tasks) for name, source in used.sources.items()}


def _leaks(sets: Mapping[str, Sequence[Example]]) -> dict[str, int]:
    """Training rows of each dataset that a held-out row of any repeats."""
    held_out = [row for rows in sets.values() for row in rows if row.split in (VALIDATION, TEST)]
    return {
        name: len(find_leaks([row for row in rows if row.split == TRAIN], held_out, LeakSpec()))
        for name, rows in sets.items()
    }


def _lines(part: Mapping[str, Any], leaks: int, max_length: int) -> list[str]:
    lines = [f"{leaks:,} training rows repeat a held-out row; they leave the pool"] if leaks else []
    for name, value in part.items():
        if name == "tokens":
            lines.append("tokens of a row: " + ", ".join(f"{share} {count:,}" for share, count in value.items()))
        elif name != "rows" and value:
            lines.append(f"{value:,} {name}")
    if part.get(f"over {max_length} tokens"):
        lines.append(f"rows over {max_length} tokens leave the pool, or are cut with train.too_long: cut")
    if part.get("answers that spell special tokens"):
        lines.append("such answers are trained as text, since special tokens are stripped from what a model writes")
    return lines or ["nothing to tell"]
