"""From a source of preferences to its rows, and to the `pairs` artifact that trainings read.

Rows whose sides are equal or empty make no preference: they are left out and counted by reason. A row that is not laid
out as the source says stops the load with its file and line, as in loaders.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from assay.errors import DataError
from assay.fingerprint import artifact_key, delimited_hash
from assay.preference.rows import KIND, PreferenceRow, PreferenceRows, Prompt, sides_fault, write_rows
from assay.records import INSTRUCTIONS
from assay.store import Store
from assay.tasks.datasets.loaders import dataset_key, source_rows
from assay.tasks.datasets.preference_formats import Stated, read_preference
from assay.tasks.datasets.reading import Row
from assay.tasks.datasets.row_reader import check_text, stated_split
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.datasets.splits import content_split, split_line

SCHEMA_VERSION = 1
"""Raised whenever the code reads other rows out of the same content."""
SUMMARY_FILE = "summary.json"
COPY = "copy of another row"


def given_pairs_key(source: SourceSpec, data_root: Path | str | None) -> str:
    """Key of the `pairs` artifact of a source: how it is read and what its files hold.

    Raises:
        DataError: a file is missing.
    """
    return artifact_key(KIND, SCHEMA_VERSION, {"kind": "given"}, {"dataset": dataset_key(source, data_root)})


def load_preferences(source: SourceSpec, data_root: Path | str | None) -> PreferenceRows:
    """All preferences of a source, in source order, and what was left out.

    Args:
        source: with its field `preference` set.
        data_root: folder that `path` and a local `hub` folder are relative to.

    Raises:
        DataError: a file or a row cannot be read, or nothing is left.
    """
    if source.preference == "none":
        raise DataError(
            f"dataset {source.label!r}: saw no preference layout; expected one for pairs; set preference to trl, hh, "
            "ultrafeedback, shp or llama_factory"
        )
    root = Path(data_root) if data_root is not None else None
    reader = _Reader(source)
    for split, shown, rows in source_rows(source, root):
        reader.read(rows, shown, split)
    if not reader.rows:
        left = ", ".join(f"{count} {reason}" for reason, count in sorted(reader.left_out.items())) or "nothing"
        raise DataError(f"dataset {source.label!r}: saw no usable preference ({left} left out); expected at least one")
    return PreferenceRows(tuple(reader.rows), dict(sorted(reader.left_out.items())))


def materialise_pairs(store: Store, source: SourceSpec, data_root: Path | str | None) -> str:
    """The pairs as an artifact, read and stored first where it is not there yet; its key.

    Raises:
        DataError: see `load_preferences`.
    """
    key = given_pairs_key(source, data_root)
    if not store.exists(KIND, key):
        found = load_preferences(source, data_root)
        store_pairs(store, key, source.dataset_identity(), found)
    return key


def store_pairs(store: Store, key: str, spec: Mapping[str, Any], found: PreferenceRows) -> None:
    """Write a `pairs` artifact: rows, and how many there are of each split and were left out for each reason."""
    counts = Counter(row.split for row in found.rows)
    with store.writing(KIND, key, spec) as artifact:
        write_rows(artifact, found.rows)
        artifact.json(SUMMARY_FILE, {"counts": dict(counts), "left_out": dict(found.left_out)})


class _Reader:
    """Turns rows into preferences: ids, splits, limits, and what is left out."""

    def __init__(self, source: SourceSpec) -> None:
        self.rows: list[PreferenceRow] = []
        self.left_out: Counter[str] = Counter()
        self._source = source
        self._seen: set[str] = set()
        self._counts: Counter[str] = Counter()

    def read(self, rows: Iterable[Row], shown: str, file_split: str) -> None:
        for number, row in rows:
            where = f"{shown}:{number}"
            stated = read_preference(self._source.preference, row, where)
            check_text((*_fields(stated.prompt), *stated.answers), self._source, where)
            for found in self._from(row, stated, where, file_split):
                if self._source.limit is None or self._counts[found.split] < self._source.limit:
                    self._counts[found.split] += 1
                    self.rows.append(found)

    def _from(self, row: Mapping[str, Any], stated: Stated, where: str, file_split: str) -> Iterator[PreferenceRow]:
        sides = sides_fault(stated.answers)
        fault = stated.fault or ("" if sides == "one side" and stated.scores is not None else sides)
        content = delimited_hash([*_fields(stated.prompt), *stated.answers])
        if not fault and content in self._seen:
            fault = COPY
        if fault:
            self.left_out[fault] += 1
            return
        self._seen.add(content)
        yield PreferenceRow(
            id=content,
            prompt=stated.prompt,
            answers=stated.answers,
            scores=stated.scores,
            source=self._source.label,
            split=self._split(row, stated.prompt, where, file_split),
            task=self._source.task or INSTRUCTIONS,
        )

    def _split(self, row: Mapping[str, Any], prompt: Prompt, where: str, file_split: str) -> str:
        rule = self._source.split_rule
        if rule == "files":
            return file_split or stated_split(str(row.get(self._source.columns.get("split", "split")) or ""), where)
        return content_split(split_line(prompt.instruction, prompt.input, prompt.history_json), rule)


def _fields(prompt: Prompt) -> tuple[str, str, str]:
    return prompt.instruction, prompt.input, prompt.history_json
