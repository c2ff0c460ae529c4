"""One row as it was written becomes an example: fields, ids, splits, limits.

Text is data: control characters stay, nothing is formatted or guessed; a row that cannot be read as what it was said to
be stops the load with its file and line.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from assay.errors import DataError
from assay.fingerprint import delimited_hash
from assay.records import INSTRUCTIONS, SPLITS, TRAIN, VALIDATION, Example
from assay.tasks.catalog import Tasks
from assay.tasks.datasets.conversations import AnsweredTurn, exchanges, past_turns, turns_of
from assay.tasks.datasets.converters import convert
from assay.tasks.datasets.openassistant import best_path, language, trees
from assay.tasks.datasets.reading import Row
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.datasets.splits import content_split, split_line

SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("val", "valid", "dev", "eval"), VALIDATION),
    "training": TRAIN,
}
"""How files and `split` fields may call a split."""
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


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


def listed_references(row: Mapping[str, Any]) -> list[str]:
    """The texts of a row's `references`, else of its `answers`; none where these are no lists of texts."""
    listed = row.get("references") or row.get("answers")
    if isinstance(listed, Mapping):  # SQuAD as the hub has it
        listed = listed.get("text")
    return listed if isinstance(listed, list) and all(isinstance(text, str) for text in listed) else []


class RowReader:
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
