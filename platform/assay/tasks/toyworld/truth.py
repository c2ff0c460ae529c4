"""The true quality of an answer in the toy world, whatever its format: the human column of the demo.

It reads the grammar's own record of what a right answer says (`Example.meta_json`) and never the reference text, and
shares no code with the heuristic scorers, which read the answer as a task's format wants it. Pure.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from assay.records import Example


def toy_truth(example: Example, prediction: str) -> float:
    """How right the content of an answer is, in [0, 1], whether it is terse or a whole sentence.

    - label, span: 1 when it says the right one and no wrong one, 1/2 when it says both (a span only), else 0
    - number: 1 when the last number is right, else 0
    - entities: F1 of the (type, name) pairs, read from JSON or from a sentence
    - words: share of the words that must be there, less a penalty for words that must not
    - ordered: longest common subsequence with the right words, less the same penalty
    - members: share of the asked number of distinct members of the kind, less wrong or superfluous ones

    Raises:
        ValueError: the example carries no truth of the toy world.
    """
    try:
        truth = json.loads(example.meta_json)
        grade = _GRADES[truth["kind"]]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"example {example.example_id!r} carries no truth of the toy world") from None
    return grade(truth, prediction)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _says(words: Sequence[str], phrase: str) -> bool:
    """Whether the phrase stands in the words, as whole words in a row."""
    wanted = _words(phrase.lower())
    return any(list(words[start : start + len(wanted)]) == wanted for start in range(len(words) - len(wanted) + 1))


def _label(truth: dict[str, Any], prediction: str) -> float:
    words = _words(prediction.lower())
    return float(_says(words, truth["answer"]) and not any(_says(words, other) for other in truth["others"]))


def _span(truth: dict[str, Any], prediction: str) -> float:
    words = _words(prediction.lower())
    if not _says(words, truth["answer"]):
        return 0.0
    return 0.5 if any(_says(words, other) for other in truth["others"]) else 1.0


def _number(truth: dict[str, Any], prediction: str) -> float:
    numbers = [word for word in _words(prediction) if word.isdecimal() and len(word) < 10]
    return float(bool(numbers) and int(numbers[-1]) == truth["answer"])


_CUES = {
    "PER": ("person", "people", "per"),
    "LOC": ("place", "places", "loc"),
    "ORG": ("company", "companies", "org"),
}
_NO_NAME = {"no", "the", "and", "are", "is", "names", "text", "of", "in", "none", "a", "has", "for"}


def _entities(truth: dict[str, Any], prediction: str) -> float:
    wanted = {(kind, name) for kind, names in truth["answer"].items() for name in names}
    got = _entities_of_json(prediction)
    if got is None:
        got = _entities_of_prose(prediction)
    if not wanted and not got:
        return 1.0
    return 2 * len(wanted & got) / (len(wanted) + len(got))


def _entities_of_json(prediction: str) -> set[tuple[str, str]] | None:
    start, end = prediction.find("{"), prediction.rfind("}")
    try:
        data = json.loads(prediction[start : end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    return {
        (kind, " ".join(name.split()))
        for kind, names in data.items()
        if isinstance(names, list)
        for name in names
        if isinstance(name, str)
    }


def _entities_of_prose(prediction: str) -> set[tuple[str, str]]:
    """Names after the word for their type: "the people Anna Moss and Bob, the place Lirona and no company"."""
    found: set[tuple[str, str]] = set()
    kind, name = "", []
    cue_of = {word: kind for kind, words in _CUES.items() for word in words}
    for token in [*re.findall(r"\w+|[^\w\s]", prediction), "."]:
        if token[0].isupper() and token.lower() not in _NO_NAME and token.lower() not in cue_of:
            name.append(token)
            continue
        if name and kind:
            found.add((kind, " ".join(name)))
        name = []
        kind = cue_of.get(token.lower(), kind)
    return found


PENALTY = 0.25
"""Taken off for each different word that must not be there."""


def _less_penalty(share: float, truth: dict[str, Any], words: Sequence[str]) -> float:
    wrong = len({other.lower() for other in truth.get("others", [])} & set(words))
    return max(0.0, share - PENALTY * wrong)


def _must_words(truth: dict[str, Any], prediction: str) -> float:
    words = _words(prediction.lower())
    wanted = Counter(word.lower() for word in truth["answer"])
    share = sum((wanted & Counter(words)).values()) / sum(wanted.values())
    return _less_penalty(share, truth, words)


def _ordered(truth: dict[str, Any], prediction: str) -> float:
    words = _words(prediction.lower())
    wanted = [word.lower() for word in truth["answer"]]
    return _less_penalty(_common_subsequence(wanted, words) / len(wanted), truth, words)


def _common_subsequence(wanted: Sequence[str], words: Sequence[str]) -> int:
    row = [0] * (len(words) + 1)
    for want in wanted:
        above = row
        row = [0]
        for column, word in enumerate(words):
            row.append(above[column] + 1 if word == want else max(above[column + 1], row[column]))
    return row[-1]


def _members(truth: dict[str, Any], prediction: str) -> float:
    after = prediction.lower().rpartition(":")[2]  # the names of the person and of the kind stand before the list
    listed = [word for word in _words(after) if word not in {"and", "a", "the"}]
    right = set(listed) & set(truth["answer"])
    wrong = len(listed) - len(right)
    number = int(truth["number"])
    hits = min(len(right), number)
    return max(0.0, (hits - 0.5 * (wrong + len(right) - hits)) / number)


_GRADES: dict[str, Callable[[dict[str, Any], str], float]] = {
    "label": _label,
    "span": _span,
    "number": _number,
    "entities": _entities,
    "words": _must_words,
    "ordered": _ordered,
    "members": _members,
}
