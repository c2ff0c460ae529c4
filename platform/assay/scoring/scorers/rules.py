"""The rules that a task says as data (`tasks.correct_if`), applied to an answer. Pure; no rule runs what it reads.

A rating is 0 or 1, its detail what was read out of the answer. A reference that the rule cannot read leaves the row
unscored: that is the data's fault, not the answer's.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache

import regex  # type: ignore[import-untyped]

from assay.records import Outcome, Rating, Unscored
from assay.scoring.protocol import ScoreRequest
from assay.scoring.scorers.literals import FENCED, MAX_CHARS, UNREADABLE, find_object, read_json
from assay.scoring.scorers.references import references_of, squad_f1, squad_tokens
from assay.tasks.correct_if import CorrectIf

PATTERN_S = 1.0
"""A pattern that takes longer over one answer leaves it unscored."""
MAX_STARTS = 20
"""Brackets at which a JSON value is looked for."""
DETAIL_CHARS = 60
_SPACELESS_SCRIPTS = 0x0E00
"""Characters from Thai on (CJK too) stand without blanks between words: a label needs no word's edge there."""


def apply_rule(rule: CorrectIf, request: ScoreRequest) -> Outcome:
    """Whether an answer is correct by a rule, over all references of the row."""
    if rule.kind == "none":
        return Unscored("no heuristic for this task", request.task.name)
    return _RULES[rule.kind](rule, request)


def named_labels(text: str, labels: tuple[str, ...]) -> list[str]:
    """The labels that a text names as whole words, in the labels' order; case and Unicode form say nothing.

    One inside a longer one that is named there, as "spam" in "not spam", does not count.
    """
    folded = _fold(text)
    spans: list[tuple[int, int, str]] = []
    for label in sorted(labels, key=len, reverse=True):
        for match in re.finditer(_label_pattern(label), folded):
            if not any(start <= match.start() and match.end() <= end for start, end, _ in spans):
                spans.append((match.start(), match.end(), label))
    found = {label for _, _, label in spans}
    return [label for label in labels if label in found]


def numbers_in(text: str) -> list[float]:
    """All numbers of a text in order: signs, decimals, exponents and thousands commas (1,234.5) are read."""
    plain = text.replace("\u2212", "-")
    return [float(match.group().replace(",", "")) for match in _NUMBER.finditer(plain)]


def find_json(text: str) -> object:
    """The first JSON value in a chatty answer: the whole text, a code fence, or from a bracket on; else UNREADABLE."""
    text = text[:MAX_CHARS]
    for candidate in (text, *(match.group(1) for match in FENCED.finditer(text))):
        if (value := read_json(candidate)) is not UNREADABLE:
            return value
    decoder = json.JSONDecoder()
    for match in list(re.finditer(r"[\[{]", text))[:MAX_STARTS]:
        try:
            return decoder.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError):
            continue
    found = find_object(text)
    return UNREADABLE if found is None else found


def same_json(first: object, second: object, *, ignore_order: bool = False, keys: tuple[str, ...] = ()) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, true is no 1, and the order of keys says nothing.

    Args:
        first: a value.
        second: a value.
        ignore_order: lists are bags, at any depth.
        keys: of the outermost objects, only these are compared; one that neither has is equal.
    """
    if keys:
        if not isinstance(first, Mapping) or not isinstance(second, Mapping):
            return False
        first, second = ({key: part[key] for key in keys if key in part} for part in (first, second))
    try:
        return _canonical(first, ignore_order) == _canonical(second, ignore_order)
    except RecursionError:
        return False


def chosen_letter(text: str, letters: str) -> str | None:
    """The letter that an answer chooses: said to be the answer, else at its start, else the only one in brackets.

    Args:
        text: an answer such as "(B)", "B. Paris", "The answer is B".
        letters: that may be chosen, in capitals.
    """
    kind = f"[{letters}{letters.lower()}]"
    said = re.findall(rf"(?i:answer|choice|option)\s*(?:(?i:is)|:)?\s*:?\s*[*(\[]*({kind})[*)\]]*(?!\w)", text)
    if said:
        return str(said[-1]).upper()
    first = re.match(rf"[\s*(\[]*({kind})(?:[\s*]*$|[*]*[).:,\]]|[*]*\s*\n)", text)
    if first:
        return first.group(1).upper()
    inside = {letter.upper() for letter in re.findall(rf"[(\[]({kind})[)\]]", text)}
    return inside.pop() if len(inside) == 1 else None


def _label_in_text(rule: CorrectIf, request: ScoreRequest) -> Outcome:
    labels = request.task.labels
    gold = {_fold(reference) for reference in references_of(request)}
    if not gold & {_fold(label) for label in labels}:
        return Unscored("reference is no label", request.example.reference[:DETAIL_CHARS])
    found = named_labels(request.prediction, labels)
    if len(found) != 1:
        return Rating(0.0, "undecided" if found else "no label")
    return Rating(float(_fold(found[0]) in gold), found[0])


def _number(rule: CorrectIf, request: ScoreRequest) -> Outcome:
    golds = [numbers[0] for reference in references_of(request) if (numbers := numbers_in(reference))]
    if not golds:
        return Unscored("reference has no number", request.example.reference[:DETAIL_CHARS])
    found = numbers_in(request.prediction)
    if not found:
        return Rating(0.0, "no number")
    value = found[0] if rule.take == "first" else found[-1]
    return Rating(float(any(abs(value - gold) <= rule.tolerance for gold in golds)), f"{value:g}")


def _json_equal(rule: CorrectIf, request: ScoreRequest) -> Outcome:
    golds = [value for reference in references_of(request) if (value := find_json(reference)) is not UNREADABLE]
    if not golds:
        return Unscored("reference is no JSON", request.example.reference[:DETAIL_CHARS])
    value = find_json(request.prediction)
    if value is UNREADABLE:
        return Rating(0.0, "no JSON")
    same = any(same_json(value, gold, ignore_order=rule.ignore_order, keys=rule.keys) for gold in golds)
    return Rating(float(same))


def _contains_reference(rule: CorrectIf, request: ScoreRequest) -> Outcome:
    answer = f" {' '.join(squad_tokens(request.prediction))} "
    sought = [tokens for reference in references_of(request) if (tokens := squad_tokens(reference))]
    return Rating(float(any(f" {' '.join(tokens)} " in answer for tokens in sought)))


def _span_f1(rule: CorrectIf, request: ScoreRequest) -> Outcome:
    best = max(squad_f1(request.prediction, gold, "strict") for gold in references_of(request))
    return Rating(float(best >= rule.threshold), f"F1 {best:.3f}")


def _regex(rule: CorrectIf, request: ScoreRequest) -> Outcome:
    try:
        match = _compiled(rule.pattern).search(request.prediction[:MAX_CHARS], timeout=PATTERN_S)
    except TimeoutError:
        return Unscored("pattern took too long", rule.pattern[:DETAIL_CHARS])
    if match is None:
        return Rating(0.0, "not found")
    if not match.re.groups:
        return Rating(1.0, match.group()[:DETAIL_CHARS])
    held = match.group(1) or ""
    golds = {_fold(reference) for reference in references_of(request)}
    return Rating(float(_fold(held) in golds), held[:DETAIL_CHARS])


def _choice_letter(rule: CorrectIf, request: ScoreRequest) -> Outcome:
    single = [label.strip("()[]. ").upper() for label in request.task.labels]
    letters = "".join(single) if single and all(re.fullmatch("[A-Z]", letter) for letter in single) else _LETTERS
    golds = {gold for reference in references_of(request) if (gold := chosen_letter(reference, letters))}
    if not golds:
        return Unscored("reference has no letter", request.example.reference[:DETAIL_CHARS])
    found = chosen_letter(request.prediction, letters)
    return Rating(0.0, "no letter") if found is None else Rating(float(found in golds), found)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()


@lru_cache(maxsize=1024)
def _label_pattern(label: str) -> str:
    folded = _fold(label)
    before = "" if ord(folded[0]) >= _SPACELESS_SCRIPTS or not folded[0].isalnum() else r"(?<!\w)"
    after = "" if ord(folded[-1]) >= _SPACELESS_SCRIPTS or not folded[-1].isalnum() else r"(?!\w)"
    return before + r"\s+".join(map(re.escape, folded.split())) + after


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern)


def _canonical(value: object, ignore_order: bool) -> object:
    """The value with numbers in one form and, where asked, lists in an order of their own."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(part, ignore_order) for key, part in value.items()}
    if isinstance(value, (list, tuple, set)):
        parts = [_canonical(part, ignore_order) for part in value]
        return sorted(parts, key=_spelled) if ignore_order else parts
    if isinstance(value, bool):
        return ("bool", value)
    return value


def _spelled(value: object) -> str:
    """One text for equal values: 1 and 1.0 are one number, keys are sorted."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{_spelled(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_spelled, value)) + "]"
    if isinstance(value, (int, float)):
        return repr(float(value)) if abs(value) < 2**53 else repr(value)
    return repr(value)


_LETTERS = "ABCDEFGHIJ"
_NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?|(?<![\w.])[-+]?\.\d+"
)
_RULES: Mapping[str, Callable[[CorrectIf, ScoreRequest], Outcome]] = {
    "label_in_text": _label_in_text,
    "number": _number,
    "json_equal": _json_equal,
    "contains_reference": _contains_reference,
    "span_f1": _span_f1,
    "regex": _regex,
    "choice_letter": _choice_letter,
}
