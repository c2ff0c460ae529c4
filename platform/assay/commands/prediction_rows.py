"""Rows of a file of predictions, as scorers take them. What a row does not say is absent, never the text "None".

A reference is `reference`, else `output`; further ones are `references` or `answers`, as in datasets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from assay.errors import ConfigError, DataError
from assay.records import TEST, Example
from assay.scoring.protocol import ScoreRequest
from assay.tasks.catalog import SHIPPED_TASKS, Task, Tasks
from assay.tasks.datasets.reading import read_rows
from assay.tasks.datasets.row_reader import listed_references

MAX_ROW_CHARS = 10_000_000
"""Most characters of text in a row."""

PredictionRow = tuple[dict[str, Any], ScoreRequest]
"""A row as it was read, and as scorers take it."""


def prediction_rows(path: Path, task: str, tasks: Tasks = SHIPPED_TASKS) -> Iterator[PredictionRow]:
    """The rows of a JSONL file (or a JSON list; either may be .gz), one at a time, however large the file.

    Args:
        path: the file.
        task: task of the rows that name none.
        tasks: those that rows may name.

    Raises:
        ConfigError: there is no such task.
        DataError: no such file, no rows, or a row that cannot be scored; names file and line.
    """
    if not path.is_file():
        raise DataError(f"--predictions {path}: saw no such file; expected JSONL; check the path")
    default = tasks.get(task)
    number = 0
    for number, row in read_rows(path, str(path), MAX_ROW_CHARS, any_size=True):
        yield row, _request(row, number, f"{path}:{number}", default, tasks)
    if not number:
        raise DataError(f"{path}: saw no rows; expected at least one JSON object; check the file")


def _request(row: Mapping[str, Any], number: int, where: str, default: Task, tasks: Tasks) -> ScoreRequest:
    prediction = row.get("prediction")
    if not isinstance(prediction, str):
        raise DataError(f"{where}: saw {prediction!r:.60} as prediction; expected text; fix the row")
    _check_unicode(row, where)
    references = _references(row, where)
    task = default if row.get("task") in (None, "") else _task(row["task"], where, tasks)
    example = Example(
        example_id=_field_text(row, "id") or _field_text(row, "example_id") or str(number),
        task=task.name,
        split=TEST,
        instruction=_field_text(row, "instruction"),
        input=_field_text(row, "input"),
        reference=references[0] if references else "",
        meta_json=_meta(row, references),
    )
    return ScoreRequest(example, task, prediction, has_reference=bool(references))


def _check_unicode(row: Mapping[str, Any], where: str) -> None:
    """Refuse half a character anywhere: encoders choke on it, and the row could not be written again."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: saw half a character ({error.object[error.start]!a}, a lone surrogate); expected whole Unicode "
            "text; fix the row"
        ) from None
    except RecursionError:
        raise DataError(f"{where}: saw a row nested too deeply; expected a plain one; fix the row") from None


def _references(row: Mapping[str, Any], where: str) -> list[str]:
    """All references, the stored one first."""
    given = next((row[name] for name in ("reference", "output") if row.get(name) not in (None, [])), None)
    if isinstance(given, list):
        if not all(isinstance(text, str) for text in given):
            raise DataError(
                f"{where}: saw {given!r:.60} as reference; expected text, an object or a list of texts; fix the row"
            )
        first = given
    else:
        first = [] if given is None else [_plain(given)]
    meta = row.get("meta")
    listed = [*listed_references(row), *(listed_references(meta) if isinstance(meta, Mapping) else [])]
    return list(dict.fromkeys([*first, *listed]))


def _meta(row: Mapping[str, Any], references: list[str]) -> str:
    """What scorers may need beside the first reference."""
    meta = row.get("meta")
    kept = dict(meta) if isinstance(meta, Mapping) else {}
    if len(references) > 1:
        kept["references"] = references
    return json.dumps(kept, ensure_ascii=False) if kept else ""


def _task(name: object, where: str, tasks: Tasks) -> Task:
    try:
        return tasks.get(str(name))
    except ConfigError as error:
        raise DataError(f"{where}: {error}") from None


def _field_text(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    return "" if value is None else _plain(value)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
