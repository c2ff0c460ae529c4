"""When an answer of a study's own task counts as correct: a rule said in the study file, no code. Pure data.

label_in_text                     the answer names one of the task's labels, and it is the reference
number(tolerance=0, take=first)   the first (or last) number of the answer, within `tolerance` of the reference's
json_equal(ignore_order, keys=[]) the first JSON value in the answer equals the reference's
contains_reference                the reference stands in the answer as a run of whole words
span_f1(threshold=0.5)            token F1 with the reference is at least `threshold`
regex("PATTERN")                  the pattern is found; where it has a group, what the group holds is the reference
choice_letter                     the letter that the answer chooses is the reference's
none                              nobody can say by a rule
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

import regex  # type: ignore[import-untyped]
from pydantic import Field, field_validator, model_validator

from assay.config import Config

Kind = Literal[
    "label_in_text",
    "number",
    "json_equal",
    "contains_reference",
    "span_f1",
    "regex",
    "choice_letter",
    "none",
]
_FIELDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("number", ("tolerance", "take")),
    ("json_equal", ("ignore_order", "keys")),
    ("span_f1", ("threshold",)),
    ("regex", ("pattern",)),
)
"""Kind -> fields that say something of it, the one that may go without its name first."""
MAX_PATTERN = 500
PROBE_CHARS = 3000
PROBE_S = 0.25
"""A pattern is tried on so many equal characters, and refused where it is not done by then."""


class CorrectIf(Config):
    """A rule for one task; in a study file also as text, see the module."""

    kind: Kind
    tolerance: float = Field(0.0, ge=0)
    """number: how far off still counts."""
    take: Literal["first", "last"] = "first"
    """number: which one of the answer."""
    ignore_order: bool = False
    """json_equal: lists count as bags. The order of keys never counts."""
    keys: tuple[str, ...] = ()
    """json_equal: only these keys of the outermost object are compared; empty: all."""
    threshold: float = Field(0.5, gt=0, le=1)
    """span_f1: F1 from which on the answer counts."""
    pattern: str = ""
    """regex: searched in the answer, ignoring no case. A pattern that takes long is refused."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        return _parsed(data) if isinstance(data, str) else data

    @field_validator("pattern")
    @classmethod
    def _bounded(cls, pattern: str) -> str:
        if pattern:
            check_pattern(pattern)
        return pattern

    @model_validator(mode="after")
    def _fields_belong(self) -> CorrectIf:
        own = dict(_FIELDS).get(self.kind, ())
        for name in type(self).model_fields:
            if name != "kind" and name not in own and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{self.kind} has no {name}; expected {', '.join(own) or 'nothing beside its name'}")
        if self.kind == "regex" and not self.pattern:
            raise ValueError('regex: saw no pattern; expected one, as in regex("^(yes|no)")')
        return self

    def __str__(self) -> str:
        said = [_written(name, getattr(self, name)) for name in sorted(self.model_fields_set - {"kind"})]
        return self.kind + (f"({', '.join(said)})" if said else "")


def _written(name: str, value: object) -> str:
    """A setting as a study file writes it."""
    if value is True:
        return name
    return f"{name}=[{', '.join(value)}]" if isinstance(value, tuple) else f"{name}={value}"


@lru_cache(maxsize=256)
def check_pattern(pattern: str) -> None:
    """Refuse a pattern that cannot be read or may run away, by trying it on long runs of its own characters.

    Raises:
        ValueError: says which.
    """
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"saw a pattern of {len(pattern)} characters; expected at most {MAX_PATTERN}")
    try:
        found = regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"saw no regular expression ({error}); fix it") from None
    for character in dict.fromkeys([*pattern, "a", "0", " "]):
        try:
            for length in (40, PROBE_CHARS):  # then what it may require further on, so that no shortcut hides it
                text = character * length + "\0" + pattern
                found.search(text, timeout=PROBE_S)
        except TimeoutError:
            raise ValueError(
                f"saw a pattern that takes more than {PROBE_S:g} s on {PROBE_CHARS:,} characters; expected one without "
                "repeats inside repeats, as in (a+)+; write it without them"
            ) from None


def _parsed(text: str) -> dict[str, Any]:
    """The fields of a rule that is written as `name` or `name(...)`."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if match is None:
        raise ValueError("expected a name with what it takes in brackets, as in number(tolerance=0.01)")
    kind, inner = match.group(1), (match.group(2) or "").strip()
    if kind == "regex" and not inner.startswith("pattern"):
        if len(inner) < 3 or inner[0] not in "\"'" or inner[-1] != inner[0]:
            raise ValueError('regex: expected the pattern in quotes, as in regex("^(yes|no)")')
        return {"kind": kind, "pattern": inner[1:-1]}
    fields: dict[str, Any] = {"kind": kind}
    for part in re.split(r",(?![^\[]*\])", inner) if inner else []:
        name, separator, value = part.partition("=")
        name = name.strip()
        if separator:
            fields[name] = _value(value.strip())
        elif name == "ignore_order":
            fields[name] = True
        elif name in ("first", "last"):
            fields["take"] = name
        else:
            fields[dict(_FIELDS).get(kind, ("value",))[0]] = name
    return fields


def _value(text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        return [item.strip().strip("\"'") for item in text[1:-1].split(",") if item.strip()]
    return text.strip("\"'")
