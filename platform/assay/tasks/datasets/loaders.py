"""From a source to examples, and to the dataset artifact that the rest of a study reads.

Rows are streamed and bounded (reading.py); row_reader.py makes an example of each.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.errors import AssayError, DataError
from assay.file_hashes import known_file_hash
from assay.fingerprint import artifact_key
from assay.records import SPLITS, TEST, TRAIN, VALIDATION, Example, from_table, to_table
from assay.store import Store
from assay.tasks.catalog import LOADERS, SHIPPED_TASKS, FileReader, Tasks
from assay.tasks.datasets.hub import hub_content, hub_rows
from assay.tasks.datasets.reading import Row, read_rows
from assay.tasks.datasets.row_reader import SPLIT_NAMES, RowReader
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.datasets.tabular import CSV_SUFFIXES, PARQUET_SUFFIX, csv_rows, parquet_columns, parquet_rows

KIND = "dataset"
SCHEMA_VERSION = 1
"""Raised whenever the code reads other examples out of the same content."""
CONVERSATION_VERSION = 2
"""The same of conversations: 2 splits them whole, keeps turns of tools and joins turns of one assistant."""
EXAMPLES_FILE, SUMMARY_FILE = "examples.parquet", "summary.json"
SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", *CSV_SUFFIXES, PARQUET_SUFFIX)


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """A stored dataset: its key, what people call it, and how many examples each split holds."""

    key: str
    name: str
    counts: dict[str, int]


def dataset_key(source: SourceSpec, data_root: Path | str | None, tasks: Tasks = SHIPPED_TASKS) -> str:
    """32 hex digits that name the dataset: how it is read and what its files hold, not where they lie.

    Raises:
        DataError: a file is missing, or a hub dataset cannot be resolved to a commit.
    """
    root = Path(data_root) if data_root is not None else None
    if source.loader == "toyworld":
        from assay.tasks.toyworld import world as toyworld

        content = {"toyworld": str(toyworld.VERSION)}
    elif source.loader == "hub":
        content = hub_content(source, root)
    else:
        content = {split or "rows": known_file_hash(path) for split, path in _files(source, root).items()}
    identity, version = source.dataset_identity(tasks), SCHEMA_VERSION
    if source.is_conversation:
        version = CONVERSATION_VERSION
    elif source.loader in ("jsonl", "alpaca") and source.split_rule == "strict" and has_history(source, root):
        identity["split_by"] = "conversation"
    return artifact_key(KIND, version, identity, content)


def load_examples(source: SourceSpec, data_root: Path | str | None, tasks: Tasks = SHIPPED_TASKS) -> list[Example]:
    """All examples of a source, in source order (train, validation, test where these are files of their own).

    Args:
        source: what to read and how.
        data_root: folder that `path` and a local `hub` folder are relative to; None where the source needs none.
        tasks: that the source may name.

    Raises:
        DataError: a file or a row cannot be read; one line with file and line number.
    """
    root = Path(data_root) if data_root is not None else None
    if source.loader == "toyworld":
        return list(_limited(_toyworld(source), source.limit))
    reader = RowReader(source, tasks)
    for split, shown, rows in source_rows(source, root, tasks):
        reader.read(rows, shown, split)
    if not reader.examples:
        raise DataError(f"dataset {source.label!r}: saw no rows in {source.path or source.hub}; expected at least one")
    return reader.examples


def source_rows(
    source: SourceSpec, root: Path | None, tasks: Tasks = SHIPPED_TASKS
) -> Iterator[tuple[str, str, Iterator[Row]]]:
    """(split or "" where rows say it, what people call the file, its rows) of each file of a source, unread.

    Raises:
        DataError: a file or a hub dataset is missing.
    """
    if source.loader == "hub":
        for split, rows in hub_rows(source, root):
            yield split, f"hub dataset {source.hub!r} {split}", rows
        return
    for split, path in _files(source, root).items():
        is_file = path.name == Path(str(source.path)).name
        shown = str(source.path) if is_file else f"{source.path}/{path.name}"
        if source.loader in LOADERS:
            yield split, shown, file_rows(path, shown, source.max_chars)
        else:
            yield split, shown, _read_by(tasks.reader(source.loader), path, shown)


def _read_by(reader: FileReader, path: Path, shown: str) -> Iterator[Row]:
    """Rows of a file by a plug-in, numbered.

    Raises:
        DataError: it raised, or gave what is no row; names the file and the row.
    """
    number = 0
    try:
        for number, row in enumerate(reader.read(path), start=1):
            if not isinstance(row, Mapping):
                raise DataError(f"{shown}:{number}: saw {row!r:.40} from loader {reader.name!r}; expected a mapping")
            yield number, dict(row)
    except AssayError:
        raise
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DataError(
            f"{shown}:{number + 1}: loader {reader.name!r} raised {told}; expected rows; fix the file or the plug-in"
        ) from error


def materialise_dataset(
    store: Store, source: SourceSpec, data_root: Path | str | None, tasks: Tasks = SHIPPED_TASKS
) -> DatasetRef:
    """The dataset as an artifact, read and stored first where it is not there yet.

    Raises:
        DataError: see `load_examples`.
    """
    key = dataset_key(source, data_root, tasks)
    if not store.exists(KIND, key):
        examples = load_examples(source, data_root, tasks)
        counts = Counter(example.split for example in examples)
        categories = Counter(example.category for example in examples if example.category)
        with store.writing(KIND, key, source.dataset_identity(tasks)) as artifact:
            artifact.table(EXAMPLES_FILE, to_table(examples, Example))
            artifact.json(SUMMARY_FILE, {"counts": dict(counts), "categories": dict(categories)})
    stored = store.read_json(KIND, key, SUMMARY_FILE)["counts"]
    return DatasetRef(key, source.label, {split: int(stored.get(split, 0)) for split in SPLITS})


def read_dataset(store: Store, key: str) -> list[Example]:
    """The examples of a stored dataset, in source order."""
    return from_table(store.read_table(KIND, key, EXAMPLES_FILE), Example)


def file_rows(path: Path, shown: str, max_chars: int) -> Iterator[Row]:
    """Rows of a file by the kind that its name ends in.

    Raises:
        DataError: it cannot be read.
    """
    if path.name.endswith(CSV_SUFFIXES):
        return csv_rows(path, shown, max_chars)
    if path.name.endswith(PARQUET_SUFFIX):
        return parquet_rows(path, shown)
    return read_rows(path, shown, max_chars)


def has_history(source: SourceSpec, root: Path | None) -> bool:
    """Whether a file has a field `history`: such rows are split by their conversation."""
    for path in _files(source, root).values():
        if path.name.endswith(PARQUET_SUFFIX):
            return "history" in parquet_columns(path)
        if path.name.endswith(CSV_SUFFIXES):
            continue  # its cells are texts, and a history is a list
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            tail = b""
            while block := file.read(1 << 20):
                if _HISTORY.search(tail + block):
                    return True
                tail = block[-64:]
    return False


_HISTORY = re.compile(rb'"history"\s*:')


def _files(source: SourceSpec, root: Path | None) -> dict[str, Path]:
    """Split (or "" where rows say it) -> file, in the order of SPLITS."""
    if root is None:
        raise DataError(
            f"dataset {source.label!r}: saw no data root; expected the folder above {source.path!r}; set it with "
            "--set data.root=FOLDER"
        )
    path = root / str(source.path)
    if path.is_file():
        stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
        return {SPLIT_NAMES.get(stem, ""): path}
    if not path.is_dir():
        raise DataError(
            f"dataset {source.label!r}: saw no file or folder {path}; expected one; check path and data.root"
        )
    if source.loader not in LOADERS:
        return _named_after_splits(path)
    if not (found := split_files(path)):
        raise DataError(
            f"{path}: saw no file of a split; expected train, validation or test with {', '.join(SUFFIXES)}"
        )
    return found


def _named_after_splits(folder: Path) -> dict[str, Path]:
    """Split -> file of a folder whose files a plug-in reads, whatever they end in.

    Raises:
        DataError: there is none, or a split has two.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        split = SPLIT_NAMES.get(path.name.partition(".")[0], "")
        if split in found:
            raise DataError(f"{folder}: saw {found[split].name} and {path.name}; expected one file a split")
        if split:
            found[split] = path
    if not found:
        raise DataError(f"{folder}: saw no file of a split; expected train, validation or test with any ending")
    return {split: found[split] for split in SPLITS if split in found}


def split_files(folder: Path) -> dict[str, Path]:
    """Split -> file of a folder of splits, in the order of SPLITS.

    Raises:
        DataError: a split has two.
    """
    found: dict[str, Path] = {}
    for name, split in SPLIT_NAMES.items():
        for suffix in SUFFIXES:
            candidate = folder / f"{name}{suffix}"
            if not candidate.is_file():
                continue
            if split in found:
                raise DataError(f"{folder}: saw {found[split].name} and {candidate.name}; expected one file a split")
            found[split] = candidate
    return {split: found[split] for split in SPLITS if split in found}


def _toyworld(source: SourceSpec) -> list[Example]:
    from assay.tasks.toyworld import world as toyworld
    from assay.tasks.toyworld.unfinished import with_unfinished
    from assay.tasks.toyworld.wordy import with_wordy

    counts = {TRAIN: source.num_train, VALIDATION: source.num_validation, TEST: source.num_test}
    if source.task is None:
        rows = toyworld.toy_instruction_examples(counts, source.seed)
        longer = with_wordy(rows, source.wordy, source.seed) if source.wordy else rows
        return list(with_unfinished(longer, source.unfinished, source.seed)) if source.unfinished else list(longer)
    return list(toyworld.toy_task_examples(source.task, counts, source.seed))


def _limited(examples: Iterable[Example], limit: int | None) -> Iterator[Example]:
    counts: Counter[str] = Counter()
    for example in examples:
        counts[example.split] += 1
        if limit is None or counts[example.split] <= limit:
            yield example
