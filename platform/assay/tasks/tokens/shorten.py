"""A prompt that is too long, made shorter by its data: the middle of its longest field goes, never its question.

Shortening works on the example's text, so what remains is rendered and read as any other prompt: headings, markers,
begin mark and template stay whole. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from assay.records import Example
from assay.tasks.templates import history

GAP = " […] "
"""Stands where text was taken out."""
_LABEL = re.compile(r"(?m)^(?=[A-Z][\w ]{0,30}:)")
_QUESTION = re.compile(r"(?i)(question|query|hypothesis|claim|statement|options?|choices)\b")
"""Fields that say what is asked: they are never cut."""
LEAST_FIELD = 40
"""Characters below which a field is left as it is."""


@dataclass(frozen=True)
class _Field:
    """A stretch of an example's text that may lose its middle."""

    where: int
    """Place of its text in `_texts`."""
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


def shorten(example: Example, fits: Callable[[Example], bool]) -> Example:
    """The example with as much of its longest fields as fits.

    Args:
        example: one that does not fit.
        fits: whether the prompt of an example is within the limit.

    Raises:
        ValueError: it does not fit without its long fields either.
    """
    texts = _texts(example)
    fields = sorted(_fields(example, texts), key=lambda field: -field.size)
    for field in fields:
        if fits(_with(example, _cut(texts, field, 0))):
            low, high = 0, field.size - 1
            while low < high:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if fits(_with(example, _cut(texts, field, middle))) else (low, middle - 1)
            return _with(example, _cut(texts, field, low))
    for count in range(2, len(fields) + 1):  # one alone does not suffice: the longest go together
        emptied = texts
        for field in sorted(fields[:count], key=lambda field: (field.where, -field.start)):
            emptied = _cut(emptied, field, 0)
        if fits(shorter := _with(example, emptied)):
            return shorter
    raise ValueError("its question and what stands around it are over the limit by themselves; raise max_prompt_tokens")


def _texts(example: Example) -> list[str]:
    return [*(text for _, text in history(example)), example.instruction, example.input]


def _fields(example: Example, texts: list[str]) -> list[_Field]:
    """What may be cut: earlier turns, and of instruction and input the longer one, but for the parts that ask."""
    num_turns = len(texts) - 2
    found = [_Field(place, 0, len(text)) for place, text in enumerate(texts[:num_turns])]
    asked = num_turns + (len(example.input) >= len(example.instruction))
    text = texts[asked]
    starts = sorted({0, *(match.start() for match in _LABEL.finditer(text))})
    parts = [_Field(asked, start, end) for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    found += [part for part in parts if not _QUESTION.match(text, part.start)] if len(parts) > 1 else parts
    return [field for field in found if field.size > LEAST_FIELD]


def _cut(texts: list[str], field: _Field, kept: int) -> list[str]:
    """The texts with `kept` characters of a field, half of them from its beginning; its label and line ends stay."""
    text = texts[field.where]
    whole = text[field.start : field.end]
    label = re.match(r"[A-Z][\w ]{0,30}:", whole)
    head = len(label.group()) if label else 0
    tail = len(whole) - len(whole.rstrip())
    body = whole[head : len(whole) - tail]
    before, after = body[: kept - kept // 2], body[len(body) - kept // 2 :]
    middle = body if kept >= len(body) else before + GAP + after
    changed = whole[:head] + middle + whole[len(whole) - tail :]
    return [
        *texts[: field.where],
        text[: field.start] + changed + text[field.end :],
        *texts[field.where + 1 :],
    ]


def _with(example: Example, texts: list[str]) -> Example:
    roles = [role for role, _ in history(example)]
    turns = [[role, text] for role, text in zip(roles, texts, strict=False)]
    past = json.dumps(turns, ensure_ascii=False) if turns else example.history_json
    return replace(example, history_json=past, instruction=texts[-2], input=texts[-1])
