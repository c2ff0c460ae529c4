"""What a file of rows looks like: how to read it, which columns hold question and answer, and what answers are. Pure.

Everything is a guess by the first rows, and says where it is none: the study file that comes of it is to be read by
whoever runs it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assay.records import TEST
from assay.tasks.catalog import AnswerFormat
from assay.tasks.datasets.row_reader import SPLIT_NAMES

INPUTS = (
    "input", "text", "sentence", "question", "query", "prompt", "article", "document", "context", "body", "content",
    "ticket", "review", "message", "title",
)  # fmt: skip
OUTPUTS = (
    "output", "answer", "label", "target", "response", "completion", "summary", "reference", "class", "category",
    "team", "intent", "sentiment", "translation", "score",
)  # fmt: skip
"""Column names that hold what is asked and what is answered, the likeliest first."""
INSTRUCTIONS = ("instruction", "instructions")
MOST_LABELS = 20
LONGEST_LABEL = 40
CHARS_PER_TOKEN = 3
"""Few, so that limits are wide."""
SPAN_SHARE = 0.95
TEST_SHARE = 0.07
"""Of the rows of a file that is split by content: a little less than the tenth to be expected."""
LEAST_DISTINCT = 0.5
"""Share of distinct instructions from which on a file is an instruction set rather than one task."""


@dataclass(frozen=True)
class Guess:
    """What one dataset looks like."""

    name: str
    path: str
    loader: str
    num_rows: int
    """Rows that were looked at."""
    num_test: int = 0
    """Test rows that there are at least."""
    has_splits: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    answer: AnswerFormat | None = None
    """None: an instruction set, whose rows bring their instruction."""
    labels: tuple[str, ...] = ()
    instruction: str | None = None
    """Of a task whose rows all say the same one; None: nobody said it."""
    max_new_tokens: int = 128
    unsure: tuple[str, ...] = ()
    """What could not be told, in words."""

    @property
    def is_task(self) -> bool:
        """Whether its answers have one shape."""
        return self.answer is not None


def guess_rows(name: str, path: str, rows: Sequence[Mapping[str, Any]], *, num_test: int | None = None) -> Guess | str:
    """What these rows look like; where they are nothing that can be trained on, why.

    Args:
        name: of the dataset.
        path: below the data root.
        rows: the first of its rows.
        num_test: test rows where files say which rows are for what; None: they do not.
    """
    if not rows:
        return "no rows"
    keys = list(dict.fromkeys(key for row in rows for key in row))
    has_splits = num_test is not None
    if num_test is None:
        splits = [SPLIT_NAMES.get(str(row.get("split", "")).lower()) for row in rows]
        has_splits = None not in splits
        num_test = splits.count(TEST) if has_splits else round(TEST_SHARE * len(rows))
    for loader, listed in (("messages", "messages"), ("sharegpt", "conversations")):
        if all(isinstance(row.get(listed), list) for row in rows):
            return Guess(name, path, loader, len(rows), num_test, has_splits)
    if {"chosen", "rejected"} <= set(keys):
        return "preferences (chosen and rejected): see docs/data.md for the design preference"
    by_name = {key.lower(): key for key in keys}
    asked = next((by_name[key] for key in INSTRUCTIONS if key in by_name), None)
    answer = _column(rows, by_name, OUTPUTS)
    text = _column(rows, by_name, INPUTS, but=answer)
    if answer is None or (text is None and asked is None):
        texts = ", ".join(keys[:8])
        return f"no columns of question and answer among {texts}: name them in columns: {{input: ..., output: ...}}"
    columns = {
        field_name: column
        for field_name, column in (("instruction", asked), ("input", text), ("output", answer))
        if column is not None and column != field_name
    }
    made = Guess(name, path, "jsonl", len(rows), num_test, has_splits, columns)
    said = [str(row.get(asked) or "") for row in rows] if asked is not None else []
    if said and len(set(said)) > max(1, LEAST_DISTINCT * len(said)):
        return (
            made
            if not columns
            else replace(made, unsure=("whether it is an instruction set, as its rows ask many things",))
        )
    return _as_task(made, rows, text, answer, said)


def _as_task(
    made: Guess, rows: Sequence[Mapping[str, Any]], text: str | None, answer: str, said: Sequence[str]
) -> Guess:
    answers = [_plain(row.get(answer)) for row in rows]
    inputs = [_plain(row.get(text)) if text is not None else "" for row in rows]
    shape, labels, unsure = answer_format(answers, inputs)
    instruction = said[0] if said and len(set(said)) == 1 and said[0] else None
    if instruction is None and not any(said):
        unsure = (*unsure, "what the model is asked: write the instruction")
    sizes = sorted(len(one) for one in answers)
    tokens = sizes[min(len(sizes) - 1, math.ceil(0.99 * len(sizes)))] / CHARS_PER_TOKEN + 4
    limit = min(512, max(8, 8 * math.ceil(tokens / 8)))
    return replace(
        made, answer=shape, labels=labels, instruction=instruction, max_new_tokens=limit, unsure=(*made.unsure, *unsure)
    )


def answer_format(
    answers: Sequence[str], inputs: Sequence[str]
) -> tuple[AnswerFormat, tuple[str, ...], tuple[str, ...]]:
    """The shape of answers, their labels where they have any, and what is not sure about it.

    Args:
        answers: of one task.
        inputs: beside them.
    """
    counts = {one: answers.count(one) for one in dict.fromkeys(answers)} if len(set(answers)) <= MOST_LABELS else {}
    if len(counts) > 1 and all(map(_is_number, counts)) and len(answers) < 10 * len(counts):
        counts = {}
    if len(counts) > 1 and max(map(len, counts)) <= LONGEST_LABEL and min(counts.values()) > 1 and all(counts):
        rare = [label for label, count in counts.items() if count < len(answers) / 100]
        unsure = (f"whether {', '.join(map(repr, rare))} are labels or slips: they are rare",) if rare else ()
        if len({label.strip().casefold() for label in counts}) == len(counts):
            return ("integer" if all(map(_is_number, counts)) else "label"), tuple(sorted(counts)), unsure
    if all(map(_is_number, answers)):
        return ("integer" if all(float(one) % 1 == 0 for one in answers) else "number"), (), ()
    if all(map(_is_json, answers)):
        return "json", (), ()
    if sum("```" in one for one in answers) > len(answers) / 2:
        return "code_block", (), ()
    elsewhere = [one for one, text in zip(answers, inputs, strict=True) if not one or one not in text]
    if len(elsewhere) <= (1 - SPAN_SHARE) * len(answers):
        return "span", (), ()
    if len(elsewhere) < len(answers) * 0.7 and len(set(elsewhere)) == 1:  # as SQuAD's unanswerable questions
        return "span", (), (f"whether {elsewhere[0]!r} is the answer where none is in the text",)
    return "free", (), ("when an answer is right: say correct_if, or criteria for a judge",)


def _column(
    rows: Sequence[Mapping[str, Any]], by_name: Mapping[str, str], likely: Sequence[str], but: str | None = None
) -> str | None:
    """The likeliest column that every row has a plain value in."""
    for name in likely:
        column = by_name.get(name)
        if column is not None and column != but and all(isinstance(row.get(column), _PLAIN) for row in rows):
            return column
    return None


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


_PLAIN = (str, int, float, bool)
