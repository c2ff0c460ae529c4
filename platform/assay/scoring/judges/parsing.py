"""What a judge's reply says. Pure; never raises on any text; every pattern runs in linear time.

Each reading exists in two forms: `compat_*` does what the published code did, quirks included; the others
understand decimals, fractions, words, markdown, code fences, labels and JSON, check the range and never clip.
An unreadable reply is None (missing data), never a zero and never a guess.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_CHARS = 40_000
"""Of a longer reply only the two ends are read: no judge needs more, and a hostile one gets no more."""

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]{0,20}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?|.)?", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff]")
_DIGITS = {ord("０") + i: str(i) for i in range(10)} | {ord("−"): "-", ord("–"): "-", ord("—"): "-", ord("，"): ","}
_MARKUP = re.compile(r"[*`_~\"“”‘’|\\$]+")
_REFUSAL = re.compile(
    r"\b(?:i(?:'|’)?m sorry|i am sorry|i apologi[sz]e|sorry,? (?:but )?i|as an ai\b|i(?:'|’)m (?:unable|not able)"
    r"|i (?:can ?not|can(?:'|’)t|won(?:'|’)t|am unable|am not able))",
    re.IGNORECASE,
)

_N = r"(?:\d++(?:\.\d++)?+|(?:" + "|".join(WORDS) + r")(?![a-z]))"
_TO = rf"(?:between[ ]{{1,2}}{_N}[ ]{{1,2}}and|{_N}[ ]{{0,2}}(?:-|to(?![a-z])))"
_OUT_OF = r"(?:/|\(?(?:out[ ]{1,2})?of[ ]{1,2}(?:a[ ]{1,2}|the[ ]{1,2})?(?:possible[ ]{1,2}|total[ ]{1,2}of[ ]{1,2})?)"
_TOKEN = re.compile(
    # a scale ("1-5", "from one to five", "between 1 and 10"): never a rating
    rf"(?<![\w.])(?P<scale>{_TO}[ ]{{0,2}}{_N})(?!\.?\w)"
    # a number that stands alone, perhaps with what it is out of: 7, -1, 8.5, seven, 4/5, 4 out of 5; not v2, 1e9, 80%
    rf"|(?<![\w.])(?P<sign>(?<![)\]])[-+])?+(?P<value>{_N})(?!\.?\w|%|-(?:point|scale|way))"
    rf"(?:[ ]{{0,2}}{_OUT_OF}[ ]{{0,2}}(?P<scale_end>{_N})(?!\.?\w|%))?+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a text."""

    start: int
    end: int
    value: float
    out_of: float | None = None
    """The denominator, in "4/5" and "4 out of 5"."""
    is_scale: bool = False
    """A range such as "1 to 5", which names a scale and rates nothing."""

    def rating(self, low: float, high: float) -> float | None:
        """The value as a rating on low..high: None off the scale, or where it says another scale's end."""
        if self.is_scale or (self.out_of is not None and self.out_of != high):
            return None
        return in_range(self.value, low, high)


def numbers(text: str) -> list[Number]:
    """All numbers that stand alone, in order."""
    found = []
    for match in _TOKEN.finditer(text):
        if match["scale"] is not None:
            found.append(Number(match.start(), match.end(), math.nan, is_scale=True))
            continue
        value = _to_float(match["value"])
        if value is None:
            continue
        end = _to_float(match["scale_end"]) if match["scale_end"] else None
        found.append(Number(match.start(), match.end(), -value if match["sign"] == "-" else value, end))
    return found


def _to_float(text: str) -> float | None:
    word = text.lower()
    if word in WORDS:
        return float(WORDS.index(word))
    return float(text) if len(text) <= 20 else None


def clean(text: str) -> str:
    """The text without terminal escapes and control characters, full-width digits and long dashes made plain."""
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS // 2] + "\n" + text[-MAX_CHARS // 2 :]
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))).translate(_DIGITS)


def looks_refused(text: str) -> bool:
    """Whether a reply without a rating declines to give one (by its wording, so a hint and no proof)."""
    return _REFUSAL.search(clean(text)[:600]) is not None


def json_values(text: str) -> Iterator[Any]:
    """JSON objects and arrays in a reply, the last one first: the whole text, fenced blocks, embedded ones.

    Deep nesting, huge numbers, NaN and anything else that the JSON reader refuses are skipped.
    """
    candidates = [text.strip()]
    candidates += [block.strip() for block in re.findall(r"```[a-zA-Z]{0,10}\n?([^`]*)```", text)][::-1]
    for opening, closing in (("{", "}"), ("[", "]")):
        start, end = text.find(opening), text.rfind(closing)
        if 0 <= start < end:
            candidates.append(text[start : end + 1])
        start = text.rfind(opening)
        if 0 <= start < end:
            candidates.append(text[start : end + 1])
    for candidate in candidates:
        if candidate[:1] in ("{", "["):
            try:
                yield json.loads(candidate, parse_constant=_no_constant)
            except (ValueError, RecursionError):
                continue


def number(value: object) -> float | None:
    """A finite number out of a JSON value or a word: 7, 7.5, "7", "7/10" with its own scale ignored, "seven"."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value) if abs(value) < 1e15 and math.isfinite(value) else None
    if not isinstance(value, str):
        return None
    word = value.strip().lower()
    if word in WORDS:
        return float(WORDS.index(word))
    if len(word) > 20 or not re.fullmatch(r"[-+]?\d+(?:\.\d+)?", word):
        return None
    return float(word)


def in_range(value: float | None, low: float, high: float) -> float | None:
    """The value where it is in low..high, else None: a judge that answers off its scale gave no rating."""
    return value if value is not None and low <= value <= high else None


# One score.

_JSON_KEY = re.compile(r"(?:final|overall|total)?[ _-]?(?:scores?|ratings?|stars?|grade|value)", re.IGNORECASE)
_DOUBLE = re.compile(r"\[\[[ ]{0,3}([^\[\]\n]{1,30})\]\]")
_LABEL = re.compile(
    r"\b(?:scor(?:e|ed|es|ing)|rat(?:e|ed|ing|ings)|stars|grade|evaluation|output|result)\b[^\n.;0-9]{0,40}",
    re.IGNORECASE,
)
_UNITS = re.compile(r"(?:points?|stars?|score|rating|out|of|the|is|a|final|overall|output|answer)", re.IGNORECASE)


def parse_score(text: str, low: float, high: float) -> float | None:
    """The one score in a reply, in low..high, else None.

    Understood, in this order: JSON with a score, `[[7]]`, a label with its number ("Final score: 4/5", "Rating: 3",
    "a score of four"), a reply, first line or last line that is nothing but a number ("7", "**3 stars**"), an option
    letter (A is `low`, B `low` + 1, ...), a number with the scale's end ("4 out of 5"). In each form the last one
    decides; where it is off the scale the reply has no score.
    """
    plain = clean(text)
    for value in json_values(plain):
        score = _json_score(value)
        if score is not None:
            return in_range(score, low, high)
    doubles = _DOUBLE.findall(plain)
    if doubles:
        found = numbers(doubles[-1])
        return found[0].rating(low, high) if len(found) == 1 else None
    lines = [line for line in (_MARKUP.sub("", line).strip() for line in plain.split("\n")) if line]
    if not lines:
        return None
    labelled = _labelled_number("\n".join(lines))
    if labelled is not None:
        return labelled.rating(low, high)
    for line in dict.fromkeys((lines[-1], lines[0])):
        found = numbers(line) if len(line) <= 200 else []
        if len(found) == 1 and not _letters_or_digits(_UNITS.sub("", line[: found[0].start] + line[found[0].end :])):
            return found[0].rating(low, high)
    fractions = [item for item in numbers(" ".join(lines)) if item.out_of is not None]
    if fractions:
        return fractions[-1].rating(low, high)
    return None


def _labelled_number(text: str) -> Number | None:
    """The number that follows the last label which has one."""
    found = [item for item in numbers(text) if not item.is_scale]
    starts = {item.start: item for item in found}
    decided = None
    for match in _LABEL.finditer(text):
        item = starts.get(match.end()) or starts.get(match.end() - 1)
        if item is not None:
            decided = item
    return decided


# Two scores in one reply (IFTEval's CSV, FairEval's and Vicuna's first line).


def compat_csv_pair(text: str) -> tuple[float, float] | None:
    """IFTEval as published: keep digits and commas, exactly two numbers in 0..10, else both are missing.

    So "8.5,9" is lost (85 is no score) and "-1,5" becomes 1 and 5. Source: specs of Faysse et al. 2023, A.3.
    """
    kept = re.sub(r"[^0-9,]", "", text).split(",")
    if len(kept) != 2:
        return None
    scores = []
    for piece in kept:
        digits = piece.lstrip("0") or piece[:1]
        if not digits or len(digits) > 2 or int(digits) > 10:
            return None
        scores.append(float(int(digits)))
    return scores[0], scores[1]


def parse_pair(text: str, low: float = 0.0, high: float = 10.0) -> tuple[float, float] | None:
    """Two scores out of one reply, both in low..high, else None.

    Understood, in this order: JSON (a list of two, or an object with two scores), the last line that is nothing
    but two numbers ("8,9", "8.5; 9/10", "Output: **8**, **9**"), two lines of one number each, and labels
    ("Response 1: 8 ... Response 2: 9", "score1 = 8"). Where the form that decides holds a number off the scale,
    the reply has no scores: an earlier mention is no substitute.
    """
    plain = clean(text)
    for value in json_values(plain):
        pair = _json_pair(value)
        if pair is not None:
            return _both_in_range(pair, low, high)
    lines = [_MARKUP.sub("", line).strip() for line in plain.split("\n")]
    alone: list[Number] = []
    decided: tuple[Number, Number] | None = None
    for line in lines:
        found = numbers(line) if len(line) <= 200 else []
        if len(found) >= 2 and _is_pair_line(line, found[-2:]):
            decided = (found[-2], found[-1])
        elif len(found) == 1 and not _letters_or_digits(line[: found[0].start] + line[found[0].end :]):
            alone.append(found[0])
    if decided is None and len(alone) == 2:
        decided = (alone[0], alone[1])
    if decided is None:
        decided = _labelled_pair("\n".join(lines))
    if decided is None:
        return None
    first, second = decided[0].rating(low, high), decided[1].rating(low, high)
    return None if first is None or second is None else (first, second)


_PAIR_GAP = re.compile(r"[\])}>]{0,2}(?:\s{0,3}[,;&]\s{0,3}|\s{1,4}(?:and\s{1,2})?)[\[({<]{0,2}", re.IGNORECASE)
_PAIR_TAIL = re.compile(r"[\])}>\s.,;]{0,6}")
_PAIR_HEAD = re.compile(r"(?:[^\n]{0,160}[:=])?[\s\[({<]{0,6}")
_SLOT = re.compile(
    r"\b(?:responses?|answers?|assistants?|scores?|ratings?|outputs?)[ #-]{0,2}"
    r"(1|2|one|two)(?!\d)(?:[ ]{0,2}\([^()\n]{0,60}\))?",
    re.IGNORECASE,
)


def _is_pair_line(line: str, found: list[Number]) -> bool:
    head = line[: found[0].start]
    if _PAIR_HEAD.fullmatch(head) is None or _SLOT.search(head[-40:]) is not None:
        return False
    return (
        _PAIR_GAP.fullmatch(line[found[0].end : found[1].start]) is not None
        and _PAIR_TAIL.fullmatch(line[found[1].end :]) is not None
    )


def _labelled_pair(text: str) -> tuple[Number, Number] | None:
    """The last number that follows each of the two labels directly or within a few words."""
    slots = list(_SLOT.finditer(text))
    found = numbers(text)
    ratings: dict[str, Number] = {}
    position = 0
    for index, slot in enumerate(slots):
        end = slots[index + 1].start() if index + 1 < len(slots) else len(text)
        while position < len(found) and found[position].start < slot.end():
            position += 1
        if position < len(found) and found[position].end <= min(end, slot.end() + 60) and not found[position].is_scale:
            ratings["1" if slot[1].lower() in ("1", "one") else "2"] = found[position]
    return (ratings["1"], ratings["2"]) if len(ratings) == 2 else None


def _json_pair(value: object) -> tuple[float | None, float | None] | None:
    if isinstance(value, dict):
        scores = {key: item for key, item in value.items() if not isinstance(item, (dict, list))}
        nested = [item for item in value.values() if isinstance(item, (dict, list))]
        first = [item for key, item in value.items() if re.sub(r"\D", "", str(key)[:40]) == "1"]
        second = [item for key, item in value.items() if re.sub(r"\D", "", str(key)[:40]) == "2"]
        if len(first) == 1 and len(second) == 1:
            return _json_score(first[0]), _json_score(second[0])
        if len(nested) == 1 and not any(number(item) is not None for item in scores.values()):
            return _json_pair_flat(nested[0])
    return _json_pair_flat(value)


def _json_score(value: object) -> float | None:
    """A number, or the number under the key that names a score."""
    if isinstance(value, dict):
        named = [item for key, item in value.items() if _JSON_KEY.fullmatch(str(key)[:60].strip())]
        return number(named[0]) if len(named) == 1 else None
    return number(value)


def _json_pair_flat(value: object) -> tuple[float | None, float | None] | None:
    items = list(value.values()) if isinstance(value, dict) else value
    if isinstance(items, list) and len(items) == 2 and all(number(item) is not None for item in items):
        return number(items[0]), number(items[1])
    return None


def _both_in_range(pair: tuple[float | None, float | None], low: float, high: float) -> tuple[float, float] | None:
    first, second = in_range(pair[0], low, high), in_range(pair[1], low, high)
    return None if first is None or second is None else (first, second)


def _letters_or_digits(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")
