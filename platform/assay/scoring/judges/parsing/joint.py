"""Scores per label out of a joint judge's reply: JSON where there is any, labelled lines for the rest.

Pure; never raises on any text. A label without a readable score in range is left out: it costs its own model a
score and no other. A label that occurs twice with different scores is left out too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from assay.llm.response_format import closed_object, reply_format
from assay.scoring.judges.parsing.text_numbers import bare_number, clean, in_range, number, numbers, text_lines


class LabelledScore(NamedTuple):
    """What the judge said about one label."""

    score: float
    reason: str


def joint_schema(labels: Sequence[str], low: float, high: float) -> dict[str, Any]:
    """The `response_format` of a joint reply, for endpoints with structured output (OpenAI's strict form)."""
    score = {"type": "number", "minimum": low, "maximum": high}
    entry = closed_object({"reason": {"type": "string"}, "score": score})
    return reply_format("scores", dict.fromkeys(labels, entry))


def parse_joint(text: str, labels: Sequence[str], low: float, high: float) -> dict[str, LabelledScore]:
    """Score and reason per label that the reply scores in low..high.

    Understood: an object with labels as keys and an object or a number as value, such an object inside another one,
    a list of objects that name their label, the same cut off or broken (entry by entry), and lines such as
    "A: 87 - clear", "**Response B**: 40/100".
    """
    plain = clean(text)
    for value in _json_objects(plain):
        found = _from_json(value, labels, low, high)
        if found:
            return found
    return _from_entries(plain, labels, low, high) or _from_lines(plain, labels, low, high)


def _json_objects(text: str) -> list[Any]:
    found = []
    decoder = json.JSONDecoder(object_pairs_hook=_pairs)
    position = 0
    for _ in range(20):
        starts = [place for place in (text.find("{", position), text.find("[", position)) if place >= 0]
        if not starts:
            break
        start = min(starts)
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            position = start + 1
            continue
        found.append(value)
        position = end
    return found[::-1]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a key that is there twice with different values is dropped, as it says nothing."""
    seen: dict[str, Any] = {}
    torn = set()
    for key, value in pairs:
        if key in seen and seen[key] != value:
            torn.add(key)
        seen[key] = value
    return {key: value for key, value in seen.items() if key not in torn}


def _from_json(value: Any, labels: Sequence[str], low: float, high: float) -> dict[str, LabelledScore]:
    if isinstance(value, list):
        named = [(_named_label(item, labels), item) for item in value if isinstance(item, dict)]
        entries = [(label, item) for label, item in named if label is not None]
    elif isinstance(value, dict):
        entries = [(label, item) for key, item in value.items() if (label := _label(key, labels)) is not None]
        if not entries:
            for item in value.values():
                if isinstance(item, (dict, list)) and (found := _from_json_once(item, labels, low, high)):
                    return found
            return {}
    else:
        return {}
    return _collect(entries, low, high)


def _from_json_once(value: Any, labels: Sequence[str], low: float, high: float) -> dict[str, LabelledScore]:
    """One level down, and no further."""
    if isinstance(value, dict):
        return _collect([(label, v) for k, v in value.items() if (label := _label(k, labels)) is not None], low, high)
    named = [(_named_label(item, labels), item) for item in value if isinstance(item, dict)]
    return _collect([(label, item) for label, item in named if label is not None], low, high)


def _collect(entries: Sequence[tuple[str, Any]], low: float, high: float) -> dict[str, LabelledScore]:
    found: dict[str, LabelledScore] = {}
    torn = set()
    for label, item in entries:
        score = _score(item, low, high)
        if score is None:
            continue
        if label in found and found[label].score != score:
            torn.add(label)
        reason = item.get("reason", "") if isinstance(item, dict) else ""
        found[label] = LabelledScore(score, reason if isinstance(reason, str) else "")
    return {label: entry for label, entry in found.items() if label not in torn}


def _score(item: Any, low: float, high: float) -> float | None:
    if isinstance(item, dict):
        named = [value for key, value in item.items() if str(key).strip().lower() in ("score", "rating", "value")]
        if len(named) != 1:
            return None
        item = named[0]
    if isinstance(item, str):
        bare = bare_number(item)
        return None if bare is None else bare.rating(low, high)
    return in_range(number(item), low, high)


def _label(key: object, labels: Sequence[str]) -> str | None:
    """The label that a key names: "A", "a", "Response A"."""
    word = str(key)[:40].strip().split()[-1:] or [""]
    bare = word[0].strip("()[]:.*\"'").upper()
    return bare if bare in labels else None


def _named_label(item: dict[str, Any], labels: Sequence[str]) -> str | None:
    for key in ("label", "response", "id", "name"):
        if key in item and (found := _label(item[key], labels)) is not None:
            return found
    return None


_ENTRY = re.compile(r'"([^"\n]{1,30})"\s{0,5}:\s{0,5}\{([^{}]{0,4000})\}?')
_ENTRY_SCORE = re.compile(r'"(?:score|rating|value)"\s{0,5}:\s{0,5}"?(-?\d{1,15}(?:\.\d{1,15})?)(?![\d.eE])')


def _from_entries(text: str, labels: Sequence[str], low: float, high: float) -> dict[str, LabelledScore]:
    """Whole entries of an object that is broken elsewhere, for instance cut off at the token limit."""
    entries = []
    for match in _ENTRY.finditer(text):
        label = _label(match[1], labels)
        score = _ENTRY_SCORE.search(match[2])
        if label is not None and score is not None:
            entries.append((label, {"score": float(score[1])}))
    return _collect(entries, low, high)


def _from_lines(text: str, labels: Sequence[str], low: float, high: float) -> dict[str, LabelledScore]:
    entries: list[tuple[str, Any]] = []
    names = "|".join(map(re.escape, labels))
    pattern = re.compile(
        rf"[-#(\[\s]{{0,4}}(?:response|answer|label|model)?[ ]?[(\[]?({names})[)\]]?[ ]{{0,2}}[:=.,-][ ]{{0,3}}",
        re.IGNORECASE,
    )
    for line in text_lines(text):
        match = pattern.match(line)
        if match is None:
            continue
        rest = line[match.end() :]
        label = match[1].upper()
        found = numbers(rest[:200])
        if found and found[0].start <= 12 and found[0].rating(low, high) is not None:
            reason = rest[found[0].end :].strip(" -:,.")
            entries.append((label, {"score": found[0].value, "reason": reason}))
        elif found and found[0].start <= 12:
            entries.append((label, None))
    return _collect(entries, low, high)
