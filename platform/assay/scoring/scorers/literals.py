"""Reads a value out of untrusted answer text: JSON, or a Python literal; never runs it. Bounded in size and depth."""

from __future__ import annotations

import json
import re
from ast import literal_eval as python_literal
from functools import lru_cache

MAX_CHARS = 20_000
"""Longer answers are not parsed: a literal nests or grows at the cost of whoever reads it."""
MAX_DEPTH = 50
"""Deeper nesting is not parsed: Python's literal reader recurses on the C stack."""
UNREADABLE = object()
"""What an answer without a value reads as; None is a value of JSON."""

FENCED = re.compile(r"```[a-zA-Z]*\s*(.*?)```", re.DOTALL)
"""What stands in a code fence, the language's name aside."""


def read_value(text: str) -> object:
    """The value that the whole text spells as JSON or as a Python literal, else UNREADABLE."""
    value = read_json(text)
    if value is not UNREADABLE or not _is_bounded(text):
        return value
    try:
        return python_literal(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return UNREADABLE


def read_json(text: str, *, strictly: bool = False) -> object:
    """The value that the whole text spells as JSON, else UNREADABLE.

    Args:
        text: untrusted.
        strictly: NaN and Infinity, which Python reads, are no JSON.
    """
    if not _is_bounded(text):
        return UNREADABLE
    try:
        return json.loads(text, parse_constant=_no_constant) if strictly else json.loads(text)
    except (ValueError, RecursionError):
        return UNREADABLE


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON")


def find_object(text: str) -> dict[object, object] | None:
    """The first object in a chatty answer: the whole text, else a code fence, else the first balanced braces."""
    candidates = [text, *(match.group(1) for match in FENCED.finditer(text[:MAX_CHARS]))]
    if (braces := _first_braces(text[:MAX_CHARS])) is not None:
        candidates.append(braces)
    for candidate in candidates:
        value = read_value(candidate)
        if isinstance(value, dict):
            return value
    return None


@lru_cache(maxsize=8192)
def find_reference_object(text: str) -> dict[object, object] | None:
    """`find_object` of a reference; every arm of a study scores against the same ones. Do not change the result."""
    return find_object(text)


def _is_bounded(text: str) -> bool:
    if len(text) > MAX_CHARS:
        return False
    depth = deepest = 0
    if text.count("{") + text.count("[") + text.count("(") + text.count("-") + text.count("+") <= MAX_DEPTH:
        return True
    for character in text:  # brackets inside strings count too: the bound only has to hold
        if character in "{[(-+":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "}])":
            depth -= 1
        elif character in ",\n":
            depth = max(depth, 0)
    return deepest <= MAX_DEPTH


def _first_braces(text: str) -> str | None:
    start = text.find("{")
    if start < 0:
        return None
    depth, quote, escaped = 0, "", False
    for place in range(start, len(text)):
        character = text[place]
        if quote:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == quote:
                quote = ""
        elif character == '"' or (character == "'" and text[place - 1] in "{[:, "):
            quote = character
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return text[start : place + 1]
    return None
