"""From a source to examples, and to the dataset artifact that the rest of a study reads.

Rows are streamed and bounded (reading.py). Text is data: control characters stay, nothing is formatted or guessed; a
row that cannot be read as what it was said to be stops the load with its file and line.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.errors import AssayError, DataError
from assay.file_hashes import known_file_hash
from assay.fingerprint import artifact_key, delimited_hash
from assay.records import INSTRUCTIONS, SPLITS, TEST, TRAIN, VALIDATION, Example, from_table, to_table
from assay.store import Store
from assay.tasks.catalog import LOADERS, SHIPPED_TASKS, FileReader, Tasks
from assay.tasks.datasets.conversations import AnsweredTurn, exchanges, past_turns, turns_of
from assay.tasks.datasets.converters import convert
from assay.tasks.datasets.hub import hub_content, hub_rows
from assay.tasks.datasets.openassistant import best_path, language, trees
from assay.tasks.datasets.reading import Row, read_rows
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.datasets.splits import content_split, split_line
from assay.tasks.datasets.tabular import CSV_SUFFIXES, PARQUET_SUFFIX, csv_rows, parquet_columns, parquet_rows

KIND = "dataset"
SCHEMA_VERSION = 1
"""Raised whenever the code reads other examples out of the same content."""
CONVERSATION_VERSION = 2
"""The same of conversations: 2 splits them whole, keeps turns of tools and joins turns of one assistant."""
EXAMPLES_FILE, SUMMARY_FILE = "examples.parquet", "summary.json"
SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", *CSV_SUFFIXES, PARQUET_SUFFIX)
SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("val", "valid", "dev", "eval"), VALIDATION),
    "training": TRAIN,
}
"""How files and `split` fields may call a split."""


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
    elif source.loader in ("jsonl", "alpaca") and source.split_rule == "strict" and _has_history(source, root):
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
    reader = _Reader(source, tasks)
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


def stated_split(said: str, where: str) -> str:
    """The split that a row names.

    Raises:
        DataError: it names none, or an unknown one.
    """
    if said.lower() in SPLIT_NAMES:
        return SPLIT_NAMES[said.lower()]
    seen = f"the split {said!r:.40}" if said else "no split"
    raise DataError(
        f"{where}: saw {seen}; expected train, validation or test; name the file after its split, map the column "
        "(columns: {split: ...}), or set split_rule: strict to split by content"
    )


def check_text(texts: Sequence[str], source: SourceSpec, where: str) -> None:
    """Refuse a row that is too long, or that holds half a character.

    Raises:
        DataError: names the row.
    """
    size = sum(map(len, texts))
    if size > source.max_chars:
        raise DataError(
            f"{where}: saw a row of {size} characters; expected at most {source.max_chars}; fix the row or "
            "raise max_chars"
        )
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: saw half a character ({error.object[error.start]!a}, a lone surrogate); expected whole "
            "Unicode text; fix the row"
        ) from None


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


def listed_references(row: Mapping[str, Any]) -> list[str]:
    """The texts of a row's `references`, else of its `answers`; none where these are no lists of texts."""
    listed = row.get("references") or row.get("answers")
    if isinstance(listed, Mapping):  # SQuAD as the hub has it
        listed = listed.get("text")
    return listed if isinstance(listed, list) and all(isinstance(text, str) for text in listed) else []


class _Reader:
    """Turns rows into examples: fields, ids, splits, limits."""

    def __init__(self, source: SourceSpec, tasks: Tasks) -> None:
        self.examples: list[Example] = []
        self._source = source
        self._task = source.task or INSTRUCTIONS
        self._instruction = tasks.get(source.task).instruction if source.task else ""
        self._columns = {field: source.columns.get(field, field) for field in ("id", "split", "category")}
        self._seen: dict[str, int] = {}
        self._given: set[str] = set()
        self._counts: Counter[str] = Counter()

    def read(self, rows: Iterable[Row], shown: str, file_split: str) -> None:
        """Append the examples of one file; stop early once the limit is met."""
        limit = self._source.limit
        if self._source.loader == "openassistant":
            rows = trees(rows, shown)
        for number, row in rows:
            made = convert(self._source.convert, row, f"{shown}:{number}")
            for example in self._from_row(made, f"{shown}:{number}", file_split):
                if limit is None or self._counts[example.split] < limit:
                    self._counts[example.split] += 1
                    self.examples.append(example)
            if limit is not None and file_split and self._source.split_rule == "files" and self._full(file_split):
                return

    def _full(self, split: str) -> bool:
        return self._source.limit is not None and self._counts[split] >= self._source.limit

    def _from_row(self, row: Mapping[str, Any], where: str, file_split: str) -> Iterator[Example]:
        loader = self._source.loader
        if loader == "openassistant" and self._source.languages and language(row) not in self._source.languages:
            return
        if self._source.is_conversation:
            style = self._source.conversation if loader == "hub" else loader
            turns = best_path(row, where) if loader == "openassistant" else turns_of(row, style, where)  # type: ignore[arg-type]
            found = exchanges(turns, self._source.turns)
            if not found and self._source.on_unanswered == "error":
                raise DataError(
                    f"{where}: saw a conversation without an answered user turn; expected one; fix the row or set "
                    "on_unanswered: skip"
                )
            parts = [(exchange, "") for exchange in found]
        else:
            instruction = self._text(row, "instruction", where, default=self._instruction or None)
            exchange = AnsweredTurn(instruction, self._text(row, "output", where), past_turns(row, where))
            parts = [(exchange, self._text(row, "input", where, default=""))]
        given = self._optional(row, "id")
        for place, (exchange, text) in enumerate(parts):
            row_id = f"{given}#{place + 1}" if given and len(parts) > 1 else given
            yield self._example(row, exchange, text, row_id, where, file_split)

    def _example(
        self, row: Mapping[str, Any], exchange: AnsweredTurn, text: str, given: str, where: str, file_split: str
    ) -> Example:
        history = exchange.history_json
        meta = self._meta(row)
        check_text((exchange.instruction, text, exchange.output, history, given, meta), self._source, where)
        return Example(
            example_id=self._id(given, exchange, text, history, where),
            task=self._task,
            split=self._split(row, exchange, text, where, file_split),
            instruction=exchange.instruction,
            input=text,
            reference=exchange.output,
            category=self._optional(row, "category"),
            history_json=history,
            meta_json=meta,
        )

    def _id(self, given: str, exchange: AnsweredTurn, text: str, history: str, where: str) -> str:
        if given:
            if given in self._given:
                raise DataError(
                    f"{where}: saw the id {given!r:.60} a second time; expected ids to differ; fix the rows, or take "
                    'ids from content with columns: {id: ""}'
                )
            self._given.add(given)
            return given
        content = delimited_hash([exchange.instruction, text, exchange.output, history])
        repeats = self._seen[content] = self._seen.get(content, 0) + 1
        return content if repeats == 1 else f"{content}#{repeats}"

    def _split(self, row: Mapping[str, Any], exchange: AnsweredTurn, text: str, where: str, file_split: str) -> str:
        rule = self._source.split_rule
        if rule == "strict" and exchange.history:
            if self._source.loader == "hub" and self._source.conversation == "none":
                raise DataError(
                    f"{where}: saw earlier turns in 'history' and split_rule: strict; expected to be told, since a "
                    "conversation is split as a whole; set conversation: history"
                )
            return content_split(split_line(exchange.first[0], "", exchange.first[1]), rule)
        if rule != "files":
            return content_split(split_line(exchange.instruction, text, exchange.output), rule)
        if file_split:
            return file_split
        return stated_split(self._optional(row, "split"), where)

    def _meta(self, row: Mapping[str, Any]) -> str:
        kept = {name: row[name] for name in self._source.meta_columns if name in row}
        if listed := listed_references(row):
            kept["references"] = listed
        if not kept:
            return ""
        return json.dumps(kept, ensure_ascii=False, sort_keys=True, default=str)

    def _optional(self, row: Mapping[str, Any], field: str) -> str:
        value = _lookup(row, self._columns[field])
        if value is None:
            return ""
        text = str(value)
        return self._source.values.get(field, {}).get(text, text)

    def _text(self, row: Mapping[str, Any], field: str, where: str, default: str | None = None) -> str:
        """A field as text; `default` where the row has none or an empty one; an empty output is an output."""
        column = self._source.columns.get(field, field)
        if "{" in column:
            value: object = _PLACEHOLDER.sub(lambda match: self._fill(row, match.group(1), where), column)
        else:
            value = _lookup(row, column)
        if isinstance(value, (bool, int, float)):
            value = json.dumps(value)
        if field in self._source.values:
            renamed = self._source.values[field]
            value = renamed.get("" if value is None else str(value), value)
        if isinstance(value, str):
            return value or default or ""
        if value is None and default is not None:
            return default
        if field == "instruction" and self._source.loader == "hub":
            for style, listed in (("messages", "messages"), ("sharegpt", "conversations")):
                if isinstance(row.get(listed), list):
                    raise DataError(
                        f"{where}: saw turns in {listed!r}; expected an instruction; set conversation: {style}"
                    )
        seen = (
            f"no {column!r} (fields: {', '.join(list(row)[:12])})" if value is None else f"{value!r:.40} in {column!r}"
        )
        raise DataError(
            f"{where}: saw {seen}; expected text for the {field}; fix the row or map the column with columns"
        )

    def _fill(self, row: Mapping[str, Any], column: str, where: str) -> str:
        value = _lookup(row, column)
        if value is None or isinstance(value, (list, dict)):
            raise DataError(
                f"{where}: saw {value!r:.40} in {column!r}; expected text to fill columns with; fix the row"
            )
        return value if isinstance(value, str) else json.dumps(value)


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


def _has_history(source: SourceSpec, root: Path | None) -> bool:
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
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


def _lookup(row: Mapping[str, Any], column: str) -> Any:
    """A column's value; `a.b.0` reaches into objects and lists; None where there is none."""
    if column in row or "." not in column:
        return row.get(column)
    value: Any = row
    for part in column.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


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
