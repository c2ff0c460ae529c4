"""Numbers, JSON and refusals in a judge's reply: what the readers of scores, pairs and choices share.

Pure; never raises on any text; every pattern runs in linear time (bounded or possessive repeats only).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MAX_CHARS = 40_000
"""Of a longer reply only the two ends are read: no judge needs more, and a hostile one gets no more."""

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]{0,20}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?|.)?", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff]")
_DIGITS = {ord("０") + i: str(i) for i in range(10)} | {ord("−"): "-", ord("–"): "-", ord("—"): "-", ord("，"): ","}
MARKUP = re.compile(r"[*`_~\"“”‘’|\\$]+")
"""Markdown and quotes around a number; dropped before labels are looked for."""
MAX_BARE_CHARS = 200
_INEXACT = re.compile(r"[<≤≥±≈]\s{0,2}$")
_UNITS = re.compile(
    r"\b(?:points?|stars?|score|rating|final|overall|output|answer|out of|the|is|a|of)\b", re.IGNORECASE
)
REFUSAL = re.compile(
    r"\b(?:i(?:'|’)?m sorry|i am sorry|i apologi[sz]e|sorry,? (?:but )?i|as an ai\b|i(?:'|’)m (?:unable|not able)"
    r"|i (?:can ?not|can(?:'|’)t|won(?:'|’)t|am unable|am not able))",
    re.IGNORECASE,
)

JSON_SCORE = re.compile(r"(?:final|overall|total)?[ _-]?(?:scores?|ratings?|stars?|grade|value)", re.IGNORECASE)
"""Keys of a JSON object that hold its one score."""

_WORDS = r"(?:" + "|".join(WORDS) + r")(?![a-z])"
_N = r"(?:(?<!\d,)\d++,\d{1,2}+(?![\d]|,\d|\.\d)|\d++(?:\.\d++)?+|" + _WORDS + ")"
"""With a decimal comma of one or two places, where it is no part of a list: 3,5 and not 1,2,3."""
_N_POINT = r"(?:\d++(?:\.\d++)?+|" + _WORDS + ")"
_OUT_OF = (
    r"(?:/|\(?(?:out[ ]{1,2})?of[ ]{1,2}(?:a[ ]{1,2}|the[ ]{1,2})?(?:possible[ ]{1,2}"
    r"|total[ ]{1,2}of[ ]{1,2})?)"
)


def _token(one: str) -> re.Pattern[str]:
    to = rf"(?:between[ ]{{1,2}}{one}[ ]{{1,2}}and|{one}[ ]{{0,2}}(?:-|to(?![a-z])))"
    return re.compile(
        # a scale ("1-5", "from one to five", "between 1 and 10"): never a rating
        rf"(?<![\w.])(?P<scale>{to}[ ]{{0,2}}{one})(?!\.?\w)"
        # a number that stands alone, perhaps with what it is out of: 7, -1, 8.5, seven, 4/5, 4 out of 5; not v2, 1e9,
        # 80%, 1,000
        rf"|(?<![\w.])(?P<sign>(?<![)\]])[-+])?+(?P<value>{one})(?!\.?\w|%|-(?:point|scale|way)|,\d{{3}}(?!\d))"
        rf"(?:[ ]{{0,2}}{_OUT_OF}[ ]{{0,2}}(?P<scale_end>{one})(?!\.?\w|%))?+",
        re.IGNORECASE,
    )


_TOKEN, _TOKEN_POINT = _token(_N), _token(_N_POINT)


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


def numbers(text: str, *, comma_separates: bool = False) -> list[Number]:
    """All numbers that stand alone, in order.

    Args:
        text: cleaned.
        comma_separates: whether "8,5" is two numbers, as where a list was asked for; else it is 8.5.
    """
    found = []
    for match in (_TOKEN_POINT if comma_separates else _TOKEN).finditer(text):
        if match["scale"] is not None:
            found.append(Number(match.start(), match.end(), math.nan, is_scale=True))
            continue
        value = _to_float(match["value"])
        thousands = _THOUSANDS.search(text, max(0, match.start() - 2), match.start()) and len(match["value"]) == 3
        if value is None or thousands:
            continue
        end = _to_float(match["scale_end"]) if match["scale_end"] else None
        found.append(Number(match.start(), match.end(), -value if match["sign"] == "-" else value, end))
    return found


_THOUSANDS = re.compile(r"\d,$")


_CLAUSE_END = re.compile(r"\n|[.!?;](?=\s)|,?\sbut\s|->|→", re.IGNORECASE)


def clause_start(text: str, before: int) -> int:
    """Where the clause begins that holds the place `before`: a later clause overrules an earlier one."""
    start = 0
    for end in _CLAUSE_END.finditer(text, 0, before):
        start = end.end()
    return start


def last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The last of all matches."""
    found = None
    for found in pattern.finditer(text):  # noqa: B007
        continue
    return found


def _to_float(text: str) -> float | None:
    word = text.lower()
    if word in WORDS:
        return float(WORDS.index(word))
    return float(text.replace(",", ".")) if len(text) <= 20 else None


def clean(text: str) -> str:
    """The text without terminal escapes and control characters, full-width digits and long dashes made plain."""
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS // 2] + "\n" + text[-MAX_CHARS // 2 :]
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))).translate(_DIGITS)


def looks_refused(text: str) -> bool:
    """Whether a reply without a rating declines to give one (by its wording, so a hint and no proof)."""
    return REFUSAL.search(clean(text)[:600]) is not None


def text_lines(text: str) -> list[str]:
    """The lines of a cleaned text that hold something, without markdown and without what is struck out."""
    return [line for line in (without_markup(line).strip() for line in text.split("\n")) if line]


_STRUCK_OUT = re.compile(r"~~[^~\n]{1,200}~~")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[*`_~\"“”‘’|\\$]+(?=\d)")


def without_markup(line: str) -> str:
    """The line without markdown; markup between two digits parts them: "|9|6|" holds no 96."""
    return MARKUP.sub("", _BETWEEN_DIGITS.sub(" ", _STRUCK_OUT.sub(" ", line)))


def whole_json(text: str) -> Iterator[Any]:
    """The JSON value that a reply is: the whole text, or all that stands in its only code fence.

    Deep nesting, huge numbers, NaN and whatever else the JSON reader refuses give nothing.
    """
    blocks = re.findall(r"```[a-zA-Z]{0,10}\n?([^`]*)```", text)
    yield from _read_json([text, *(blocks if len(blocks) == 1 else [])])


def embedded_json(text: str) -> Iterator[dict[str, Any]]:
    """JSON objects inside of a reply, the last one first: weaker evidence than a whole one, as replies quote code."""
    end = text.rfind("}")
    starts = (text.rfind("{", 0, end), text.find("{")) if end > 0 else ()
    candidates = [text[start : end + 1] for start in dict.fromkeys(starts) if start >= 0]
    yield from (value for value in _read_json(candidates) if isinstance(value, dict))


def _read_json(candidates: Sequence[str]) -> Iterator[Any]:
    for candidate in candidates:
        bare = candidate.strip()
        if bare[:1] in ("{", "["):
            try:
                yield json.loads(bare, parse_constant=_no_constant)
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


def bare_number(text: str) -> Number | None:
    """The number in a text that is nothing else but a number, units and punctuation: "7", "(4/5)", "Four stars."."""
    found = numbers(text) if len(text) <= MAX_BARE_CHARS else []
    if len(found) != 1 or found[0].is_scale:
        return None
    if _INEXACT.search(text[: found[0].start]) or text[found[0].end :].lstrip(" )]")[:1] == "?":
        return None
    rest = _UNITS.sub("", text[: found[0].start] + " " + text[found[0].end :])
    return None if any(char.isalnum() for char in rest) else found[0]


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")
