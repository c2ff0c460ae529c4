"""Target rows that an LLM writes: what it is asked, and what of its replies is kept or left out, and why. Pure.

A call shows a few human rows of the task and asks for some new ones, of one label where the task has labels, so that
labels come out balanced. A reply counts row by row: one that is no row, has no answer of the task, or repeats a row
that was shown or kept before, is left out and counted. Calls are numbered and seeded, so the same specification asks
the same questions, and what the ledger holds is not asked again.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field

from assay.config import Config, Later
from assay.fingerprint import delimited_hash
from assay.llm.requests import ChatRequest, Message, Sampling
from assay.llm.response_format import closed_object, reply_format
from assay.records import TRAIN, Example
from assay.tasks.catalog import Task

PROTOCOL, STEP = "synthesis", "write"
REPLY_TOKENS_PER_ROW = 200
MOST_CALLS_PER_ROW = 4
"""Calls are given up after this many times those that a writer without a rejected row would need."""
_WORD = re.compile(r"\w+")
_SYSTEM = "You write training examples for language models. Reply with a JSON {} and nothing else."
_CONLL_KEYS = ("LOC", "PER", "ORG")


class SyntheticRows(Config):
    """Rows of a target task, written by an LLM after a few human ones."""

    kind: Literal["synthetic"] = "synthetic"
    of: str
    """Dataset of human rows of the task."""
    rows: int = Field(ge=1)
    """Rows wanted, all of them training rows."""
    pool: int = Field(64, ge=1)
    """Human training rows that may be shown; the others are never seen by the writer."""
    shown: int = Field(4, ge=1, le=20)
    """Human rows that one call shows."""
    per_call: int = Field(5, ge=1, le=20)
    """Rows that one call asks for."""
    max_overlap: float = Field(0.7, gt=0, le=1)
    """Share of the shorter input's word pairs that it may share with a row shown or kept before."""
    temperature: float = Field(1.0, ge=0, le=2)
    structured: Annotated[bool, Later(False)] = False
    """Ask for a JSON schema, which holds a small local writer to rows with the wanted label."""
    seed: int = 0
    """Which human rows are shown when."""

    @property
    def most_calls(self) -> int:
        """Calls after which too few rows are an error."""
        return MOST_CALLS_PER_ROW * (-(-self.rows // self.per_call)) + 4


class RandomLabels(Config):
    """The rows of another dataset with answers at random: of its labels, or of its other rows."""

    kind: Literal["random_labels"] = "random_labels"
    of: str
    """Dataset whose training rows are taken."""
    seed: int = 0


def shown_pool(spec: SyntheticRows, rows: Sequence[Example]) -> list[Example]:
    """The human training rows that the writer may see: the first ones by a hash of seed and id."""
    train = [row for row in rows if row.split == TRAIN]
    return sorted(train, key=lambda row: delimited_hash(["shown", str(spec.seed), row.example_id]))[: spec.pool]


def wanted_label(task: Task, call: int) -> str:
    """The answer that call number `call` asks for; empty where the task has no labels."""
    return task.labels[call % len(task.labels)] if task.labels else ""


def write_request(spec: SyntheticRows, task: Task, pool: Sequence[Example], call: int, model: str = "") -> ChatRequest:
    """What call number `call` (from 0) sends."""
    rng = random.Random(f"{spec.seed}/{call}")
    label = wanted_label(task, call)
    same = [row for row in pool if label and row.reference == label]
    others = [row for row in pool if not label or row.reference != label]
    chosen = rng.sample(same, min(len(same), -(-spec.shown // 2)))
    chosen += rng.sample(others, min(len(others), spec.shown - len(chosen)))
    rng.shuffle(chosen)
    shown = "\n".join(
        json.dumps({"input": row.input, "output": row.reference}, ensure_ascii=False) for row in chosen
    )  # one line a row: nothing in a row can pass for text of the prompt
    asked = f"The output of each of them is {json.dumps(label, ensure_ascii=False)}. " if label else ""
    text = (
        f"# Task\n{task.instruction}\n\n# Examples, one JSON object a line\n{shown}\n\n# What to write\n"
        f"Write {spec.per_call} new examples of this task. Each differs from those above and from the others in topic "
        f"and wording. {asked}Reply with a JSON {_ROOTS[spec.structured]} {spec.per_call} objects with the fields "
        '"input" and "output".'
    )
    system = _SYSTEM.format("object" if spec.structured else "list")
    sampling = Sampling(
        temperature=spec.temperature,
        max_tokens=REPLY_TOKENS_PER_ROW * spec.per_call,
        response_format=rows_format(spec.per_call, label) if spec.structured else None,
    )
    return ChatRequest(model, (Message("system", system), Message("user", text)), sampling, call, PROTOCOL, STEP)


_ROOTS = {False: "list of", True: 'object whose field "rows" is a list of'}
"""A schema's root is an object (OpenAI's strict form)."""


def rows_format(count: int, label: str) -> dict[str, Any]:
    """The `response_format` of a reply with so many rows: inputs are text, outputs too, or the label that is wanted."""
    output = {"type": "string", "enum": [label]} if label else {"type": "string"}
    row = closed_object({"input": {"type": "string"}, "output": output})
    return reply_format("rows", {"rows": {"type": "array", "items": row, "minItems": count, "maxItems": count}})


@dataclass
class RowFilter:
    """Keeps rows that are rows, answer the task, and are new; counts the others by reason."""

    spec: SyntheticRows
    task: Task
    kept: list[Example] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    _pairs_of: list[frozenset[tuple[str, str]]] = field(default_factory=list)
    _rows_with: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    _whole: set[str] = field(default_factory=set)

    def show(self, rows: Sequence[Example]) -> None:
        """Rows that a new one may not repeat."""
        for row in rows:
            self._remember(row.input)

    def read(self, text: str, call: int) -> None:
        """Take in one reply."""
        found = parse_rows(text)
        if found is None:
            self.rejected["no JSON list"] += 1
            return
        for item in found:
            if len(self.kept) >= self.spec.rows:
                return
            reason = self._take(item, wanted_label(self.task, call))
            if reason:
                self.rejected[reason] += 1

    def _take(self, item: object, label: str) -> str:
        if not isinstance(item, dict) or not isinstance(item.get("input"), str) or not item["input"].strip():
            return "no row"
        text = item["input"].strip()
        answer = valid_answer(self.task, item.get("output"), text)
        if answer is None:
            return "no answer of the task"
        if label and answer != label:
            return "another label than asked for"
        if self._is_old(text):
            return "repeats another row"
        self._remember(text)
        row_id = delimited_hash([self.task.name, text, answer])
        self.kept.append(Example(row_id, self.task.name, TRAIN, self.task.instruction, text, answer))
        return ""

    def _is_old(self, text: str) -> bool:
        words = _WORD.findall(text.casefold())
        if " ".join(words) in self._whole:
            return True
        pairs = frozenset(pairwise(words))
        shared: Counter[int] = Counter()
        for pair in pairs:
            shared.update(self._rows_with.get(pair, ()))
        return any(
            count >= self.spec.max_overlap * min(len(pairs), len(self._pairs_of[place]))
            for place, count in shared.items()
        )

    def _remember(self, text: str) -> None:
        words = _WORD.findall(text.casefold())
        pairs = frozenset(pairwise(words))
        self._whole.add(" ".join(words))
        self._pairs_of.append(pairs)
        for pair in pairs:
            self._rows_with.setdefault(pair, []).append(len(self._pairs_of) - 1)


def parse_rows(text: str) -> list[object] | None:
    """The JSON list in a reply, with or without a code fence or words around it; None where there is none."""
    start, end = text.find("["), text.rfind("]")
    if start < 0 or end < start:
        return None
    try:
        value = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def valid_answer(task: Task, output: Any, text: str) -> str | None:
    """The answer as the task's references spell it; None where it is none of the task."""
    if task.labels:
        wanted = str(output).strip().casefold()
        return next((label for label in task.labels if label.casefold() == wanted), None)
    if task.is_own and task.answer_format in _READERS:
        return _READERS[task.answer_format](task, output)
    if task.answer_format == "json":
        value = _parsed(output)
        if not isinstance(value, dict) or set(value) != set(_CONLL_KEYS):
            return None
        if not all(isinstance(part, list) and all(isinstance(name, str) for name in part) for part in value.values()):
            return None
        return json.dumps({key: value[key] for key in _CONLL_KEYS}, ensure_ascii=False)
    if not isinstance(output, str) or not output.strip():
        return None
    answer = output.strip()
    if task.answer_format == "span" and answer != "unanswerable" and answer.casefold() not in text.casefold():
        return None
    return answer


def _own_json(task: Task, output: Any) -> str | None:
    value = _parsed(output)
    keys = task.correct_if.keys if task.correct_if is not None else ()
    if not isinstance(value, (dict, list)) or (keys and not (isinstance(value, dict) and set(keys) <= set(value))):
        return None
    return json.dumps(value, ensure_ascii=False)


def _own_number(task: Task, output: Any) -> str | None:
    text = str(output).strip()
    try:
        value = float(text)
    except ValueError:
        return None
    if isinstance(output, bool) or not math.isfinite(value) or (task.answer_format == "integer" and value % 1):
        return None
    return text


_READERS: Mapping[str, Callable[[Task, Any], str | None]] = {
    "json": _own_json,
    "integer": _own_number,
    "number": _own_number,
}
"""Answer format of a study's own task -> the answer in it, None where it is none."""


def randomly_labelled(spec: RandomLabels, rows: Sequence[Example], task: Task) -> list[Example]:
    """The training rows with answers at random; seeded by row id, so a row that joins moves no other's label."""
    train = [row for row in rows if row.split == TRAIN]
    if task.labels:
        drawn = [random.Random(f"{spec.seed}/{row.example_id}").choice(task.labels) for row in train]
    else:  # answers of other rows: the place of each in a shuffled order, one further
        order = sorted(train, key=lambda row: delimited_hash(["label", str(spec.seed), row.example_id]))
        follower = {row.example_id: order[(place + 1) % len(order)].reference for place, row in enumerate(order)}
        drawn = [follower[row.example_id] for row in train]
    return [dataclasses.replace(row, reference=answer) for row, answer in zip(train, drawn, strict=True)]


def _parsed(output: Any) -> Any:
    if not isinstance(output, str):
        return output
    try:
        return json.loads(output)
    except (ValueError, RecursionError):
        return None
