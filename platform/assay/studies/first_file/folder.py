"""The datasets of a folder: each file of rows, and each folder with files named after splits."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from assay.errors import AssayError, ConfigError
from assay.records import INSTRUCTIONS, TEST, TRAIN
from assay.studies.designs.mixture import POINT_FIELDS
from assay.studies.first_file.guess import Guess, guess_rows
from assay.tasks.datasets.loaders import SUFFIXES, file_rows, split_files

MOST_ROWS = 2000
"""Rows of a file that are looked at."""
MOST_DATASETS = 50
MAX_CHARS = 1_000_000


@dataclass(frozen=True)
class Looked:
    """What a folder holds."""

    datasets: tuple[Guess, ...]
    left_out: tuple[tuple[str, str], ...]
    """(file, why) of what is no dataset."""


def look(folder: Path) -> Looked:
    """Guess every dataset in a folder.

    Raises:
        ConfigError: no folder, or nothing in it that holds rows.
    """
    if not folder.is_dir():
        raise ConfigError(f"init {folder}: saw no such folder; expected one with files of rows; check the path")
    found: list[Guess] = []
    left: list[tuple[str, str]] = []
    for path in sorted(folder.iterdir())[: 10 * MOST_DATASETS]:
        is_split = path.is_dir() and any((path / f"train{suffix}").is_file() for suffix in SUFFIXES)
        if path.name.startswith(".") or not (is_split or (path.is_file() and path.name.endswith(SUFFIXES))):
            continue
        guess = _look_at(path, is_split)
        if isinstance(guess, Guess):
            found.append(_with_own_name(guess, {other.name for other in found}))
        else:
            left.append((path.name, guess))
    if not found:
        why = f" ({left[0][0]}: {left[0][1]})" if left else ""
        raise ConfigError(
            f"init {folder}: saw nothing to train on{why}; expected files that end in {', '.join(SUFFIXES)}, or "
            "folders with train files"
        )
    return Looked(tuple(found[:MOST_DATASETS]), tuple(left))


def _look_at(path: Path, is_split: bool) -> Guess | str:
    try:
        files = split_files(path) if is_split else {TRAIN: path}
        first, num_test = _first_rows(files[TRAIN]), None
        if is_split:
            num_test = len(_first_rows(files[TEST])) if TEST in files else 0
    except AssayError as error:
        return str(error)
    if num_test == 0:
        return "no test file, by which models could be compared: add one, or join the files and set split_rule: strict"
    return guess_rows(dataset_name(path.name), path.name, first, num_test=num_test)


def _first_rows(file: Path) -> list[dict[str, Any]]:
    return [row for _, row in islice(file_rows(file, file.name, MAX_CHARS), MOST_ROWS)]


def _with_own_name(guess: Guess, taken: set[str]) -> Guess:
    """Two files of one name, and names that mean something else, get a number."""
    is_reserved = guess.name in POINT_FIELDS or (guess.is_task and guess.name == INSTRUCTIONS)
    names = [guess.name] if not is_reserved else []
    names += [f"{guess.name}_{number}" for number in range(2, len(taken) + 3)]
    return replace(guess, name=next(name for name in names if name not in taken))


def dataset_name(file: str) -> str:
    """A plain name for a dataset: the file's, in lower case."""
    stem = re.sub(r"(\.jsonl|\.json|\.csv|\.tsv|\.parquet)?(\.gz)?$", "", file.lower())
    return re.sub(r"[^a-z0-9]+", "_", stem).strip("_")[:40] or "data"
