"""How many tokens the rows of a dataset take with a base's tokenizer and template: counted once, and remembered.

A row that is too long for training leaves the pool before anything is drawn (`exclusions.py`), so N stays exact. The
counts are an artifact of dataset, tokenizer and template; the limit plays no part in it, and neither do weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.file_hashes import known_file_hash
from assay.fingerprint import artifact_key, fingerprint
from assay.records import Example
from assay.store import Store
from assay.tasks.templates import PromptSpec
from assay.tasks.tokens.prompts import PromptEncoder
from assay.training.encoding import encode
from assay.training.spec import TrainSpec

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "lengths"
SCHEMA_VERSION = 1
FILE = "lengths.parquet"
NO_LIMIT = 1 << 30
BLOCK = 4096
"""Rows that are tokenized together."""
_TOKENIZER_NAMES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "vocab.json", "vocab.txt", "merges.txt",
)  # fmt: skip
_TOKENIZER_SUFFIXES = (".model", ".tiktoken")


@dataclass(frozen=True)
class Lengths:
    """Of each row of a dataset, in its order."""

    example_ids: list[str]
    splits: list[str]
    categories: list[str]
    tokens: list[int]
    """Of prompt, answer and end mark together; 0 where there is no prompt."""
    prompt_tokens: list[int]
    """Of the prompt as generation makes it."""
    spells_marks: list[bool]
    """Whether the row spells a mark of the tokenizer; it is read as text."""
    errors: list[str]
    """Why there is no prompt; empty where there is one."""


def tokenizer_key(folder: Path) -> str | None:
    """Names a tokenizer with its template by what its files hold; None where the folder has none."""
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and (path.name in _TOKENIZER_NAMES or path.suffix in _TOKENIZER_SUFFIXES)
    )
    if not any(path.name not in ("chat_template.jinja", "chat_template.json") for path in files):
        return None
    return fingerprint({path.name: known_file_hash(path) for path in files})


def lengths_key(dataset_key: str, tokenizer: str, training: PromptSpec, generation: PromptSpec) -> str:
    """Of the lengths artifact."""
    prompts = {"training": training, "generation": generation}
    spec = {**prompts, "rules": training.rules}
    return artifact_key(KIND, SCHEMA_VERSION, spec, {"dataset": dataset_key, "tokenizer": tokenizer})


def count_lengths(examples: Sequence[Example], tokenizer: Any, training: PromptSpec, generation: PromptSpec) -> Lengths:
    """Tokens of every row, test rows included."""
    found = Lengths([], [], [], [], [], [], [])
    encoder = PromptEncoder(tokenizer, training)
    whole = TrainSpec(prompt=training, max_length=NO_LIMIT)
    for start in range(0, len(examples), BLOCK):
        block = examples[start : start + BLOCK]
        rows = encode(block, tokenizer, whole)
        asked = rows if generation == training else encode(block, tokenizer, whole.replace(prompt=generation))
        for place, example in enumerate(block):
            found.example_ids.append(example.example_id)
            found.splits.append(example.split)
            found.categories.append(example.category)
            found.tokens.append(int(rows.starts[place + 1] - rows.starts[place]))
            found.prompt_tokens.append(int(asked.answer_starts[place]))
            found.spells_marks.append(bool(encoder.marks_in(example)))
            found.errors.append(rows.errors.get(place, asked.errors.get(place, "")))
    return found


def store_lengths(store: Store, key: str, lengths: Lengths, spec: dict[str, Any]) -> None:
    """Keep counts under their key."""
    import pyarrow as pa

    table = pa.table(vars(lengths))
    with store.writing(KIND, key, spec) as artifact:
        artifact.table(FILE, table)


def read_lengths(store: Store, key: str) -> Lengths | None:
    """Counts of this key; None where nobody counted."""
    if not store.exists(KIND, key):
        return None
    table: pa.Table = store.read_table(KIND, key, FILE)
    return Lengths(**{name: table.column(name).to_pylist() for name in table.column_names})
