"""Files of meta-evaluation: JSON lists and JSON lines, plain, .gz or .xz, read with one-line complaints.

A field is looked up at the top of a row first, then inside its `human` object.
"""

from __future__ import annotations

import gzip
import json
import lzma
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from assay.errors import DataError

MAX_FILE_CHARS = 1_000_000_000
SUFFIXES = (".json", ".jsonl")
_PACKED = (".gz", ".xz")

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The objects of a JSON list, or of JSON lines.

    Raises:
        DataError: no such file, unreadable, empty, or something that is no object; names file and line.
    """
    text = _read_text(path)
    if text.lstrip()[:1] == "[":
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: saw no valid JSON ({_short(error)}); expected a list of objects") from None
        numbered = list(enumerate(values))
        word = "item "
    else:
        numbered, word = _read_lines(path, text), ""
    for number, value in numbered:
        if not isinstance(value, dict):
            raise DataError(f"{path}:{word}{number}: saw a {type(value).__name__}; expected a JSON object; fix it")
    if not numbered:
        raise DataError(f"{path}: saw no rows; expected at least one JSON object")
    return [value for _, value in numbered]


def expand(paths: Sequence[Path]) -> list[Path]:
    """The data files: a folder stands for those directly in it, else for the `dataset.json` files below it.

    Raises:
        DataError: no such path, or a folder without any.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if _is_data(file))
            inside = inside or sorted(file for file in path.rglob("dataset.json*") if _is_data(file))
            if not inside:
                raise DataError(f"--data {path}: saw no .json or .jsonl file; expected data files; check the path")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise DataError(f"--data {path}: saw no such file; expected .json, .jsonl, .gz or .xz; check the path")
    return files


def subset_names(files: Sequence[Path]) -> list[str]:
    """A name per file: the file's own, or its folder's where files are all called `dataset`."""
    names = [_stem(file) if _stem(file) != "dataset" else file.resolve().parent.name for file in files]
    if len(set(names)) < len(names):
        names = [f"{file.resolve().parent.name}/{_stem(file)}" for file in files]
    if len(set(names)) < len(names):
        raise DataError(f"--data: saw one name for several files ({', '.join(names)}); expected one file per subset")
    return names


def lookup(row: Mapping[str, Any], field: str) -> Any:
    """A field of a row: at its top level, else inside `human`; None where neither has it."""
    if field in row:
        return row[field]
    human = row.get("human")
    return human.get(field) if isinstance(human, Mapping) else None


def finite(value: object) -> float:
    """A number as it is, all else as NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    return float(value) if math.isfinite(value) else math.nan


def text_field(row: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    """The first of these fields that holds text.

    Raises:
        DataError: none does.
    """
    for name in names:
        if isinstance(row.get(name), str):
            return str(row[name])
    raise DataError(f"{where}: saw fields {', '.join(map(str, row))}; expected {' or '.join(names)} with a text in it")


def _is_data(path: Path) -> bool:
    name = path.name
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return path.is_file() and name.endswith(SUFFIXES)


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (*_PACKED, *SUFFIXES):
        name = name.removesuffix(suffix)
    return name


def _read_lines(path: Path, text: str) -> list[tuple[int, Any]]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append((number, json.loads(line)))
            except (ValueError, RecursionError):
                raise DataError(f"{path}:{number}: saw {line[:60]!r}; expected a JSON object; fix the line") from None
    return found


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path}: saw no such file; expected .json or .jsonl, plain, .gz or .xz; check the path")
    try:
        with open_text(path) as file:
            text = file.read(MAX_FILE_CHARS + 1)
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise DataError(f"{path}: cannot be read ({_short(error)}); expected UTF-8 text, plain, .gz or .xz") from None
    if len(text) > MAX_FILE_CHARS:
        raise DataError(f"{path}: saw over {MAX_FILE_CHARS:,} characters; expected fewer; split the file")
    return text


def open_text(path: Path) -> IO[str]:
    """A text file, plain, .gz or .xz."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    if path.name.endswith(".xz"):
        return lzma.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def join_key(row: Mapping[str, Any], on: Sequence[str], where: str) -> tuple[str, ...]:
    """The values, as texts, of the fields by which rows of two files are joined.

    Args:
        row: of one of the files.
        on: the fields.
        where: names the row in an error.

    Raises:
        DataError: a field is missing: rows without it have nothing in common.
    """
    values = [lookup(row, field) for field in on]
    if None in values:
        missing = on[values.index(None)]
        raise DataError(f"{where}: saw no field {missing!r}; expected it, as --on names it; check --on")
    return tuple(map(str, values))
