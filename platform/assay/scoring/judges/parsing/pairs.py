"""The two scores in a judge's reply about two answers: IFTEval's CSV, Vicuna's first line, FairEval's last lines.

Pure; never raises on any text. `compat_*` does what published code did, quirks included; `parse_pair` understands
more forms, checks the range and never clips.
"""

from __future__ import annotations

import re

from assay.scoring.judges.parsing.text_numbers import (
    JSON_SCORE,
    Number,
    clean,
    embedded_json,
    in_range,
    number,
    numbers,
    text_lines,
    whole_json,
)
from assay.scoring.judges.parsing.withdrawn import is_taken_back, revision


def compat_csv_pair(text: str) -> tuple[float, float] | None:
    """IFTEval as published: keep digits and commas; exactly two numbers in 0..10, else both are missing.

    So "8.5,9" is lost (85 is no score) and "-1,5" becomes 1 and 5. Source: Faysse et al. 2023, public code.
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


def compat_first_line_pair(text: str) -> tuple[float, float] | None:
    """Vicuna's reviews as published: the first line, commas as spaces, split at single spaces, exactly two floats."""
    pieces = text.split("\n")[0].replace(",", " ").split(" ")
    return _two_floats(pieces) if len(pieces) == 2 else None


def compat_last_lines_pair(text: str) -> tuple[float, float] | None:
    """FairEval as published: what follows the last colon of each of the last two lines, as floats."""
    lines = text.split("\n")
    if len(lines) < 2:
        return None
    return _two_floats([line.split(":")[-1].strip() for line in lines[-2:]])


def _two_floats(pieces: list[str]) -> tuple[float, float] | None:
    values = [number(piece) for piece in pieces]
    return (values[0], values[1]) if values[0] is not None and values[1] is not None else None


def parse_pair(
    text: str, low: float = 0.0, high: float = 10.0, *, comma_separates: bool = False
) -> tuple[float, float] | None:
    """Two scores out of one reply, both in low..high, else None.

    A comma between digits is a decimal one ("Response 1: 8,5" is 8.5), so "8,5" alone is one number and no pair.
    `comma_separates` is for prompts that ask for such a list: there "8,5" is 8 and 5.

    Understood, in this order: a reply that is JSON (a list of two, or an object with two scores), the last line that
    is nothing but two numbers ("8,9", "8.5; 9/10", "Output: **8**, **9**"), two lines of one number each, a JSON
    object in the reply, a tuple ("the scores are (8, 9)") and labels ("Response 1: 8 ... Response 2: 9"). Where the
    form that decides holds a number off the scale, the reply has no scores: an earlier mention is no substitute.
    """
    plain = clean(text)
    for value in whole_json(plain):
        pair = _json_pair(value)
        if pair is not None:
            return _both_in_range(pair, low, high)
    lines = text_lines(plain)
    alone: list[Number] = []
    decided: tuple[Number, Number] | None = None
    for line in lines:
        listed = comma_separates and _LISTED.search(line) is not None
        found = numbers(line, comma_separates=listed) if len(line) <= 200 else []
        if len(found) >= 2 and _is_pair_line(line, found[-2:]):
            decided = (found[-2], found[-1])
        elif len(found) == 1 and not any(char.isalnum() for char in line[: found[0].start] + line[found[0].end :]):
            alone.append(found[0])
    if decided is None and len(alone) == 2:
        decided = (alone[0], alone[1])
    if decided is None:
        for value in embedded_json(plain):
            pair = _json_pair(value)
            if pair is not None:
                return _both_in_range(pair, low, high)
        joined = "\n".join(lines)
        decided = _tuple_pair(joined) or _labelled_pair(joined)
    if decided is None:
        return None
    first, second = decided[0].rating(low, high), decided[1].rating(low, high)
    return None if first is None or second is None else (first, second)


_LISTED = re.compile(r"^[^\d;]*\d+(?:\.\d+)?(?:/\d+)?\s?,\s?\d+(?:\.\d+)?(?:/\d+)?[^\d;]*$")
"""A line of two numbers with one comma: with more commas, or a semicolon, it says what its commas mean."""
_PAIR_GAP = re.compile(r"[\])}>]{0,2}(?:\s{0,3}[,;&]\s{0,3}|\s{1,4}(?:and\s{1,2})?)[\[({<]{0,2}", re.IGNORECASE)
_TUPLE = re.compile(r"\b(?:tuple|scores?|ratings?)\b[^\n()]{0,60}\(([^()\n]{3,40})\)", re.IGNORECASE)
_PAIR_TAIL = re.compile(r"[\])}>\s.,;]{0,6}")
_PAIR_HEAD = re.compile(r"(?:[^\n]{0,160}:|[A-Za-z ]{0,60}=)?[\s\[({<]{0,6}")
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


def _tuple_pair(text: str) -> tuple[Number, Number] | None:
    """The two numbers of the last "scores are (8, 9)" or "tuple: (8, 9)"."""
    found = list(_TUPLE.finditer(text))
    items = numbers(found[-1][1], comma_separates=True) if found else []
    return (items[0], items[1]) if len(items) == 2 else None


def _labelled_pair(text: str) -> tuple[Number, Number] | None:
    """The last number that follows each of the two labels directly or within a few words."""
    slots = list(_SLOT.finditer(text))
    found = numbers(text)
    ratings: dict[str, Number | None] = {}
    position = 0
    for index, slot in enumerate(slots):
        end = slots[index + 1].start() if index + 1 < len(slots) else len(text)
        while position < len(found) and found[position].start < slot.end():
            position += 1
        if position < len(found) and found[position].end <= min(end, slot.end() + 60) and not found[position].is_scale:
            item = found[position]
            denied = is_taken_back(text, slot.start(), item)
            revised = revision(text[:end], [later for later in found[position:] if later.end <= end], item.end)
            ratings["1" if slot[1].lower() in ("1", "one") else "2"] = None if denied else revised or item
    first, second = ratings.get("1"), ratings.get("2")
    return None if first is None or second is None else (first, second)


def _json_pair(value: object) -> tuple[float | None, float | None] | None:
    if isinstance(value, dict):
        first = [item for key, item in value.items() if re.sub(r"\D", "", str(key)[:40]) == "1"]
        second = [item for key, item in value.items() if re.sub(r"\D", "", str(key)[:40]) == "2"]
        if len(first) == 1 and len(second) == 1:
            return _json_item(first[0]), _json_item(second[0])
        nested = [item for item in value.values() if isinstance(item, (dict, list))]
        if len(nested) == 1 and not any(number(item) is not None for item in value.values()):
            return _json_pair_flat(nested[0])
    return _json_pair_flat(value)


def _json_item(value: object) -> float | None:
    """A number, or the number under the key that names a score."""
    if isinstance(value, dict):
        named = [item for key, item in value.items() if JSON_SCORE.fullmatch(str(key)[:60].strip())]
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
