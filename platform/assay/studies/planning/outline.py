"""How large a study's datasets are, told without reading more than a few rows. For planning alone."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from assay.mixtures.synthesis import SyntheticRows
from assay.records import SPLITS, TEST, TRAIN, VALIDATION
from assay.studies.derived import in_order
from assay.studies.spec import Study
from assay.tasks.datasets.loaders import split_files
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.datasets.tabular import CSV_SUFFIXES, PARQUET_SUFFIX, parquet_size
from assay.tasks.tagging import JudgeTags

CHARS_PER_TOKEN = 4.0
"""Of English text under the usual byte-pair vocabularies; used where no tokenizer exists yet."""
COUNT_BYTES = 64_000_000
"""A file is read up to here; what lies behind is taken to hold as many rows a byte."""

ASSUMED: Mapping[str, tuple[int, int, int, float]] = {
    # train, validation, test rows and mean characters of instruction, input and output together; from the data
    # sets' own cards, test as the evaluation split of the GLUE tasks
    "sst2": (67_349, 872, 872, 115.0),
    "mnli": (392_702, 9_815, 9_815, 300.0),
    "qnli": (104_743, 5_463, 5_463, 330.0),
    "stsb": (5_749, 1_500, 1_379, 260.0),
    "conll": (14_041, 3_250, 3_453, 450.0),
    "squadv2": (130_319, 11_873, 11_873, 900.0),
    "xsum": (204_045, 11_332, 11_334, 2300.0),
    "scitldr": (1_992, 619, 618, 1200.0),
    "instructions": (41_600, 5_200, 5_200, 750.0),
}


@dataclass(frozen=True)
class DatasetOutline:
    """Size of a dataset as far as planning knows it."""

    rows: Mapping[str, int]
    """Split -> rows."""
    mean_chars: float
    """Instruction, input and output together."""
    assumptions: tuple[str, ...] = ()
    most: Mapping[str, int] = field(default_factory=dict)
    """Split -> rows that it certainly holds no more than; nothing of a split whose rows nobody counted."""


class _Counted(NamedTuple):
    """What was counted of a file."""

    lines: int
    mean_chars: float
    most: int | None
    """Rows that it holds at most; None where the count ended before the file, or lines are no rows."""


def outline_datasets(study: Study) -> dict[str, DatasetOutline]:
    """An outline of every dataset that the study uses."""
    data = study.used
    root = Path(data.root).expanduser() if data.root else None
    found = {name: _outline(name, source, root) for name, source in data.sources.items()}
    for name in in_order(data.derived, found):
        spec = data.derived[name]
        of = found[spec.of]
        rows = {TRAIN: of.rows[TRAIN], VALIDATION: 0, TEST: 0}
        most = of.most
        if isinstance(spec, SyntheticRows):
            rows[TRAIN] = spec.rows
            most = {TRAIN: spec.rows}
        elif isinstance(spec, JudgeTags):
            rows = dict(of.rows)
        found[name] = DatasetOutline(rows, of.mean_chars, most=most)
    return found


def _outline(name: str, source: SourceSpec, root: Path | None) -> DatasetOutline:
    if source.loader == "toyworld":
        rows = _limited({TRAIN: source.num_train, VALIDATION: source.num_validation, TEST: source.num_test}, source)
        return DatasetOutline(rows, _toy_chars(source), most=rows)
    if source.path is not None and root is not None and (root / source.path).exists():
        return _measured(root / source.path, source)
    train, validation, test, chars = ASSUMED.get(source.task or name, ASSUMED["instructions"])
    rows = {TRAIN: train, VALIDATION: validation, TEST: test}
    where = source.hub or source.path
    return DatasetOutline(_limited(rows, source), chars, (f"{name}: {where} is not read here; published sizes taken",))


def _limited(rows: Mapping[str, int], source: SourceSpec) -> dict[str, int]:
    return {split: count if source.limit is None else min(count, source.limit) for split, count in rows.items()}


def _toy_chars(source: SourceSpec) -> float:
    from assay.tasks.toyworld.world import toy_instruction_examples, toy_task_examples

    counts = {TRAIN: 24, VALIDATION: 0, TEST: 0}
    if source.task:
        rows = toy_task_examples(source.task, counts, source.seed)
    else:
        rows = toy_instruction_examples(counts, source.seed)
    return sum(len(row.instruction) + len(row.input) + len(row.reference) for row in rows) / len(rows)


def _measured(path: Path, source: SourceSpec) -> DatasetOutline:
    """Rows and characters counted from the bytes: a row's JSON is about its text and a fifth more."""
    if path.is_dir():
        counted = {split: _count(file) for split, file in split_files(path).items()}
        rows = {split: counted[split].lines if split in counted else 0 for split in SPLITS}
        chars = [part.mean_chars for part in counted.values() if part.lines]
        most = {split: part.most for split, part in counted.items()}
        return DatasetOutline(
            _limited(rows, source), 0.8 * sum(chars) / max(1, len(chars)), most=_most_rows(most, source)
        )
    count, mean, whole = _count(path)
    rows = {TRAIN: round(0.8 * count), VALIDATION: round(0.1 * count), TEST: count - round(0.9 * count)}
    note = f"{path.name}: {count} rows, taken to split 80/10/10"
    most = dict.fromkeys(SPLITS, whole)
    return DatasetOutline(_limited(rows, source), 0.8 * mean, (note,), _most_rows(most, source))


def _most_rows(counted: Mapping[str, int | None], source: SourceSpec) -> dict[str, int]:
    """Splits whose rows cannot be more than were counted: a line is a row at most, in the split of its file."""
    if source.loader not in ("jsonl", "alpaca") or (source.split_rule != "files" and len(set(counted.values())) > 1):
        return {}
    return _limited({split: count for split, count in counted.items() if count is not None}, source)


def _count(path: Path) -> _Counted:
    """Lines of a (gzipped) file and their mean length, by its first COUNT_BYTES; of a Parquet file by its footer."""
    if path.name.endswith(PARQUET_SUFFIX):
        rows, size = parquet_size(path)
        return _Counted(max(1, rows), size / max(1, rows), rows)
    lines = size = 0
    first = last = b""
    with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
        while size < COUNT_BYTES and (block := file.read(1 << 20)):
            first, last = first or block[:64], block[-1:]
            lines += block.count(b"\n")
            size += len(block)
        is_whole = size < COUNT_BYTES
        share_read = 1.0 if is_whole else raw.tell() / path.stat().st_size
    lines += last not in (b"\n", b"")
    is_list = first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    most = lines if is_whole and not is_list else None
    if path.name.endswith(CSV_SUFFIXES):  # the first line names columns; a cell may hold lines of its own
        lines, most = lines - 1, None if most is None else most - 1
    return _Counted(max(1, round(lines / share_read)), size / max(1, lines), most)
