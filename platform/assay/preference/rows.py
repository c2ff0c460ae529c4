"""A row of preference data: one prompt, its answers from best to worst, and the scores that ordered them.

A pair is a row of two answers, a list has more. A row of one answer is an unpaired label (KTO): its score is 1 where
the answer is desirable and 0 where it is not. Rows are plain text; nothing here formats a prompt.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assay.errors import DataError
from assay.records import INSTRUCTIONS, SPLITS, TRAIN, Example
from assay.store import ArtifactWriter, Store

KIND = "pairs"
ROWS_FILE = "rows.jsonl"
GOOD, BAD = 1.0, 0.0
"""Scores of an unpaired answer."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What was asked: the fields of `Example` that a prompt is made of."""

    instruction: str
    input: str = ""
    history_json: str = ""
    """Earlier turns, as `Example.history_json`."""


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """Answers to one prompt, best first.

    Raises:
        DataError: no id, no answer, a blank or repeated answer, or scores that are not finite, not one for each
            answer, or rise; a single answer without a score of 0 or 1.
    """

    id: str
    """Unique within its file."""
    prompt: Prompt
    answers: tuple[str, ...]
    """From best to worst, at least one, none blank, no two the same."""
    scores: tuple[float, ...] | None = None
    """One for each answer, falling or equal; None where only the order is known. Higher is better."""
    source: str = ""
    """Where the preference comes from: a dataset's name, `sampled:judge`, `stronger`, `principles:` and the line."""
    split: str = TRAIN
    """One of SPLITS; pairs are trained on `train`, tuning points are chosen on `validation`."""
    task: str = INSTRUCTIONS
    meta_json: str = ""
    """As `Example.meta_json`: what scorers may need beside the prompt."""

    def __post_init__(self) -> None:
        where = f"preference row {self.id!r}"
        if not self.id:
            raise DataError("preference row: saw no id; expected one; fix the row")
        if not self.answers or not all(text.strip() for text in self.answers):
            raise DataError(f"{where}: saw a blank answer or none; expected text; leave the row out")
        if len(set(self.answers)) < len(self.answers):
            raise DataError(f"{where}: saw one answer twice; expected answers to differ; leave the row out")
        if self.split not in SPLITS:
            raise DataError(f"{where}: saw the split {self.split!r:.40}; expected one of {', '.join(SPLITS)}")
        _check_scores(self.answers, self.scores, where)

    @property
    def chosen(self) -> str:
        """The best answer."""
        return self.answers[0]

    @property
    def rejected(self) -> str:
        """The worst answer; of a row of one answer that one."""
        return self.answers[-1]

    def example(self, place: int = 0) -> Example:
        """The prompt with one of its answers as the reference, for what encodes, generates or scores examples."""
        return Example(
            example_id=self.id,
            task=self.task,
            split=self.split,
            instruction=self.prompt.instruction,
            input=self.prompt.input,
            reference=self.answers[place],
            history_json=self.prompt.history_json,
            meta_json=self.meta_json,
        )


@dataclass(frozen=True, slots=True)
class PreferenceRows:
    """Rows and what was left out on the way."""

    rows: tuple[PreferenceRow, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows that were read and are not among `rows`."""


def prompt_of(example: Example) -> Prompt:
    """The prompt of an example."""
    return Prompt(example.instruction, example.input, example.history_json)


def question_text(prompt: Prompt) -> str:
    """What was asked as one text, earlier turns in front of it, each with who spoke."""
    asked = f"{prompt.instruction}\n\n{prompt.input}" if prompt.input else prompt.instruction
    turns = json.loads(prompt.history_json) if prompt.history_json else []
    if not turns:
        return asked
    return "\n\n".join(f"{role.capitalize()}: {text}" for role, text in [*turns, ["user", asked]])


def sides_fault(answers: Sequence[str]) -> str:
    """Why answers make no preference: "empty side", "equal sides" or "one side"; empty where they make one."""
    if any(not text.strip() for text in answers):
        return "empty side"
    if len({text.strip() for text in answers}) < len(answers):
        return "equal sides"
    return "" if len(answers) > 1 else "one side"


def to_jsonl(rows: Iterable[PreferenceRow]) -> bytes:
    """One JSON object a line, fields in a fixed order: equal rows are equal bytes."""
    return "".join(json.dumps(_plain(row), ensure_ascii=False) + "\n" for row in rows).encode()


def from_jsonl(data: bytes, where: str) -> list[PreferenceRow]:
    """Rows that `to_jsonl` wrote.

    Args:
        data: the file's bytes.
        where: names the file in a complaint.

    Raises:
        DataError: a line is no such row, or an id stands twice; names the line.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: saw the byte {data[error.start]:#04x} at {error.start}; expected UTF-8") from None
    rows: dict[str, PreferenceRow] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = _row(json.loads(line))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(
                f"{where}:{number}: saw {line[:60]!r} ({type(error).__name__}); expected a preference row"
            ) from None
        except DataError as error:
            raise DataError(f"{where}:{number}: {error}") from None
        if row.id in rows:
            raise DataError(f"{where}:{number}: saw the id {row.id!r:.60} a second time; expected ids to differ")
        rows[row.id] = row
    return list(rows.values())


def write_rows(artifact: ArtifactWriter, rows: Iterable[PreferenceRow]) -> None:
    """Put rows into an artifact that is being written."""
    artifact.file(ROWS_FILE, to_jsonl(rows))


def read_rows(store: Store, key: str) -> list[PreferenceRow]:
    """The rows of a stored artifact of kind `KIND`, in their order."""
    return from_jsonl(store.read_bytes(KIND, key, ROWS_FILE), f"{KIND}/{key}/{ROWS_FILE}")


def _plain(row: PreferenceRow) -> dict[str, Any]:
    prompt = {"instruction": row.prompt.instruction, "input": row.prompt.input, "history_json": row.prompt.history_json}
    return {
        "id": row.id,
        "prompt": prompt,
        "answers": list(row.answers),
        "scores": None if row.scores is None else list(row.scores),
        "source": row.source,
        "split": row.split,
        "task": row.task,
        "meta_json": row.meta_json,
    }


def _row(value: Mapping[str, Any]) -> PreferenceRow:
    scores = value["scores"]
    texts = [value["id"], value["source"], value["split"], value["task"], value["meta_json"], *value["answers"]]
    if not all(isinstance(text, str) for text in (*texts, *value["prompt"].values())):
        raise TypeError("expected texts")
    return PreferenceRow(
        **{
            **value,
            "prompt": Prompt(**value["prompt"]),
            "answers": tuple(value["answers"]),
            "scores": None if scores is None else tuple(float(score) for score in scores),
        }
    )


def _check_scores(answers: Sequence[str], scores: Sequence[float] | None, where: str) -> None:
    if scores is None:
        if len(answers) == 1:
            raise DataError(f"{where}: saw one answer without a score; expected {GOOD} (good) or {BAD} (bad)")
        return
    if len(scores) != len(answers) or not all(map(math.isfinite, scores)):
        raise DataError(f"{where}: saw {len(scores)} scores; expected a finite one for each of {len(answers)} answers")
    if any(first < second for first, second in itertools.pairwise(scores)):
        raise DataError(f"{where}: saw scores that rise; expected answers best first; sort them")
    if len(answers) == 1 and scores[0] not in (GOOD, BAD):
        raise DataError(f"{where}: saw the score {scores[0]} of a single answer; expected {GOOD} or {BAD}")
