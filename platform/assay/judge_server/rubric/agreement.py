"""How far a response says what the reference says, whatever form it says it in. Pure; in [0, 1].

The shape of the reference decides the rule: a JSON object of name lists, a number, a label among others, a short
span, free text. A right answer inside a sentence counts nearly as much as a bare one; a second, contradicting
label or a different final number does not.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w])")
Item = TypeVar("Item")

_ARTICLES = frozenset({"a", "an", "the"})
_NEGATIONS = frozenset({"not", "never", "isn't", "isnt", "wasn't", "no", "neither", "nor", "hardly", "n't", "doesn't"})

_ONES = WORD.findall(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = WORD.findall("twenty thirty forty fifty sixty seventy eighty ninety")
_NUMBER_WORDS: dict[str, int] = {word: value for value, word in enumerate(_ONES)}
_NUMBER_WORDS.update({word: 10 * (index + 2) for index, word in enumerate(_TENS)})

_LABEL_GROUPS: tuple[tuple[str, ...], ...] = (
    ("positive", "negative"),
    ("yes", "no"),
    ("true", "false"),
    ("correct", "incorrect"),
    ("entailment", "contradiction", "neutral"),
    ("answerable", "unanswerable"),
    ("subjective", "objective"),
    ("spam", "ham"),
    ("happy", "sad"),
    ("good", "bad"),
    ("equivalent", "different"),
)
_LABELS = {label: group for group in _LABEL_GROUPS[:8] for label in group if label not in ("yes", "no", "true")}
"""Words that tell a class wherever they stand, and the group of each."""
_GRAMMAR = frozenset(
    WORD.findall(
        "a an the of to in on at for and or but with by from as is are was were be been it its this that these those i "
        "you he she we they his her their our your my do does did not no so than then there here now some any"
    )
)
_GRAMMAR_WEIGHTS = dict.fromkeys(_GRAMMAR, 0.2)
_NAME = re.compile(r"\b[A-Z][\w-]+")
_SYNONYMS: dict[str, str] = {
    "entails": "entailment",
    "entailed": "entailment",
    "entail": "entailment",
    "contradicts": "contradiction",
    "contradictory": "contradiction",
    "contradicted": "contradiction",
    "favorable": "positive",
    "favourable": "positive",
    "positively": "positive",
    "unfavorable": "negative",
    "unfavourable": "negative",
    "negatively": "negative",
}
_TYPE_WORDS: dict[str, str] = {
    "loc": "LOC", "location": "LOC", "locations": "LOC", "place": "LOC", "places": "LOC",
    "city": "LOC", "cities": "LOC", "country": "LOC", "town": "LOC",
    "per": "PER", "person": "PER", "persons": "PER", "people": "PER", "name": "PER", "names": "PER",
    "org": "ORG", "organization": "ORG", "organizations": "ORG", "organisation": "ORG", "organisations": "ORG",
    "company": "ORG", "companies": "ORG", "group": "ORG",
}  # fmt: skip


def agreement(response: str, reference: str, context: str = "") -> float:
    """Agreement of `response` with `reference`, in [0, 1].

    Args:
        response: what is judged.
        reference: the gold answer.
        context: instruction and input; tells which labels there are and which numbers were given.
    """
    gold = reference.strip()
    answer = response.strip()
    if not gold:
        return 1.0 if not answer else 0.3
    if not answer:
        return 0.0
    if _squash(answer) == _squash(gold):
        return 1.0
    copied = _squash(answer)
    if len(copied) > 20 and copied in {_squash(line) for line in context.splitlines()}:
        return 0.3  # the input handed back, which holds the answer without being one
    lists = read_lists(gold)
    if lists is not None:
        return _lists_agreement(answer, lists)
    if _NUMBER.fullmatch(gold.rstrip(".")) or gold.lower().rstrip(".") in _NUMBER_WORDS:
        return _number_agreement(answer, _numbers(gold)[0], context)
    gold_words = words(gold)
    if len(gold_words) <= 3:
        labels = _labels_of(gold, context)
        if labels:
            return _label_agreement(answer, " ".join(gold_words), labels)
    if len(gold_words) <= 12:
        return _span_agreement(answer, gold, gold_words, context)
    return _text_agreement(answer, gold, gold_words, context)


def words(text: str) -> list[str]:
    """Lower-case words and numbers, articles left out; "seven" and "7" are the same word."""
    return list(_words(text))


@lru_cache(maxsize=64)  # the rules of one judgement look at the same few texts again and again
def _words(text: str) -> tuple[str, ...]:
    found = []
    for word in WORD.findall(text.lower()):
        if word in _ARTICLES:
            continue
        value = _NUMBER_WORDS.get(word)
        found.append(str(value) if value is not None else word)
    return tuple(found)


def read_lists(text: str) -> dict[str, list[str]] | None:
    """The first JSON object in `text` that maps names to lists of strings; None where there is none."""
    start = text.find("{")
    decoder = json.JSONDecoder()
    while start >= 0:
        for candidate in (text[start:], text[start:].replace("'", '"')):
            try:
                value, _ = decoder.raw_decode(candidate)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict) and all(
                isinstance(item, (list, str)) or item is None for item in value.values()
            ):
                return {str(key): _strings(item) for key, item in value.items()}
        start = text.find("{", start + 1)
    return None


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value.strip() else []
    return [str(item) for item in value] if isinstance(value, list) else []


def _squash(text: str) -> str:
    return "".join(text.lower().split()).rstrip(".!")


def _lists_agreement(answer: str, gold: dict[str, list[str]]) -> float:
    wanted = Counter((key.upper(), _squash(item)) for key, items in gold.items() for item in items)
    given_lists = read_lists(answer)
    if given_lists is not None:
        given = Counter((key.upper(), _squash(item)) for key, items in given_lists.items() for item in items)
        strict = _f1(given, wanted)
        loose = _f1(_names_of(given), _names_of(wanted))
        return 0.8 * strict + 0.2 * loose
    mentions = _mentions(answer, wanted)
    extra = _unknown_names(answer, wanted)
    if not wanted:
        return 0.95 if not extra else max(0.1, 0.5 - 0.15 * extra)
    found = sum(mentions.values())
    total = sum(wanted.values())
    precision = found / (sum(wanted[name] for name in mentions) + extra) if mentions else 0.0
    recall = found / total
    return 0.95 * (2 * precision * recall / (precision + recall)) if precision + recall else 0.05


def _mentions(answer: str, wanted: Counter[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Credit for each gold name found in a sentence: 1 with its own type word, .3 with another's, .5 without any.

    Type words stand before their names ("the place is Paris") or after ("Paris is a place"), throughout a text: the
    reading with more credit counts.
    """
    lowered = " ".join(answer.lower().split())
    type_words = [(match.start(), _TYPE_WORDS[match.group()]) for match in _TYPE_WORD.finditer(lowered)]
    before: dict[tuple[str, str], float] = {}
    after: dict[tuple[str, str], float] = {}
    for (kind, name), count in wanted.items():
        pattern = r"(?<!\w)" + r"\s*".join(re.escape(char) for char in name) + r"(?!\w)"
        for match in re.finditer(pattern, lowered):
            place = match.start()
            earlier = next((word for start, word in reversed(type_words) if start < place), None)
            later = next((word for start, word in type_words if start > place), None)
            for credit, word in ((before, earlier), (after, later)):
                value = count * (1.0 if word == kind else 0.3 if type_words else 0.5)
                credit[(kind, name)] = max(credit.get((kind, name), 0.0), value)
    return before if sum(before.values()) >= sum(after.values()) else after


_TYPE_WORD = re.compile(r"(?<!\w)(?:" + "|".join(sorted(_TYPE_WORDS, key=len, reverse=True)) + r")(?!\w)")
_CAPITALISED = re.compile(r"(?<![.!?\w] )(?<!^)(?<!\w)[A-Z][\w-]+(?: [A-Z][\w-]+)*")
_COMMON_CAPITALS = frozenset(
    WORD.findall("i the there they none no it loc per org json person people place location organization")
)


def _unknown_names(answer: str, wanted: Counter[tuple[str, str]]) -> int:
    """Capitalised names inside sentences that are no part of any gold name."""
    gold = " ".join(name for _, name in wanted)
    names = {match.group() for match in _CAPITALISED.finditer(" ".join(answer.split()))}
    return sum(1 for name in names if _squash(name) not in gold and name.lower() not in _COMMON_CAPITALS)


def _names_of(pairs: Counter[tuple[str, str]]) -> Counter[str]:
    names: Counter[str] = Counter()
    for (_, name), count in pairs.items():
        names[name] += count
    return names


def _f1(given: Counter[Item], wanted: Counter[Item]) -> float:
    """F1 of two bags; 1 where both are empty."""
    total = given.total() + wanted.total()
    return 2 * sum(min(count, wanted[item]) for item, count in given.items()) / total if total else 1.0


def _numbers(text: str) -> list[float]:
    """Numbers in the order they come, digits and words alike ("twenty one" is 21)."""
    found: list[float] = []
    pending: int | None = None
    for match in re.finditer(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)|[a-z]+|[^\w\s-]", text.lower()):
        token = match.group()
        value = _NUMBER_WORDS.get(token)
        if value is not None:
            if pending is not None and pending >= 20 and 0 < value < 10:
                found[-1] = pending + value
                pending = None
            else:
                found.append(float(value))
                pending = value if value >= 20 else None
            continue
        pending = None
        if token[-1].isdigit():
            found.append(float(token.replace(",", "")))
    return found


_CONCLUSION = re.compile(
    r"(?:=|equals?|answer(?: is| are|:)?|result(?: is|:)?|total(?: is| of|:)?|makes?|gives?|gets?|leaves?|"
    r"there (?:are|is)|ha(?:s|ve)|is|are|be)\W*"
    r"(?:now |left with |exactly |about )?(-?\d[\d,]*(?:\.\d+)?|[a-z]+(?:[- ][a-z]+)?)",
    re.IGNORECASE,
)


def _number_agreement(answer: str, gold: float, context: str) -> float:
    numbers = _numbers(answer)
    if not numbers:
        return 0.05
    if len(set(numbers)) == 1:
        return 1.0 if numbers[0] == gold else _near(numbers[0], gold)
    concluded = [value for match in _CONCLUSION.finditer(answer) for value in _numbers(match.group(1))[:1]]
    given = Counter(_numbers(context))
    own = [number for number in numbers if not given[number]]
    final = concluded[-1] if concluded and not given[concluded[-1]] else (own or numbers)[-1]
    if final == gold:
        return 0.95
    if gold in numbers and numbers[-1] == gold:
        return 0.85
    if gold in numbers:
        return 0.45
    return _near(final, gold)


def _near(value: float, gold: float) -> float:
    """Credit below one half for a number that is wrong but close."""
    return 0.4 * max(0.0, 1.0 - abs(value - gold) / max(3.0, 0.5 * abs(gold)))


@lru_cache(maxsize=4096)
def _labels_of(gold: str, context: str) -> tuple[str, ...]:
    """The labels that `gold` is one of, in lower case; empty where it is none."""
    label = " ".join(words(gold))
    for group in _LABEL_GROUPS:
        if label in group:
            return group
    options = re.compile(
        r"((?:[\w'-]+(?: [\w'-]+)?, )*[\w'-]+(?: [\w'-]+)?,? or (?:as )?[\w'-]+(?: [\w'-]+)?)", re.IGNORECASE
    )
    for match in options.finditer(context[:2000]):
        parts = [" ".join(words(part)) for part in re.split(r",|\bor\b", match.group(1))]
        named = [
            next((word for word in (part, part.split(" ")[-1], part.split(" ")[0]) if word == label), part)
            for part in parts
        ]
        if label in named:
            return tuple(part if part == label else part.split(" ")[-1] for part in named if part)
    return ()


def _label_agreement(answer: str, gold: str, labels: tuple[str, ...]) -> float:
    said = [_SYNONYMS.get(word, word) for word in words(answer)]
    votes: list[str] = []
    for index, word in enumerate(said):
        if word not in labels:
            continue
        denied = any(before in _NEGATIONS or before.endswith("n't") for before in said[max(0, index - 2) : index])
        if not denied:
            votes.append(word)
        elif len(labels) == 2:
            votes.append(labels[1] if word == labels[0] else labels[0])
    if not votes:
        return 0.08 if gold not in said else 0.15
    if set(votes) == {gold}:
        return 1.0 if len(said) <= 25 else 0.9
    if gold not in votes:
        return 0.0
    return 0.4 if votes[-1] == gold else 0.2


def _span_agreement(answer: str, reference: str, gold: list[str], context: str) -> float:
    said = words(answer)
    if not said:
        return 0.0
    weights = _weights(reference, answer, context)
    if _contains(said, gold):
        rest = (Counter(said) - Counter(gold)).elements()
        given = set(words(context))
        copied = sum(1 for word in rest if word in given and weights[word] >= 1)
        extra = len(said) - len(gold)
        if copied >= 3 and len(gold) <= 3:
            return 0.5  # the passage copied with the answer somewhere in it
        # a sentence around the span is free; a paragraph is not
        return 1.0 if extra == 0 else 0.97 if extra <= 14 else max(0.45, 0.97 - 0.02 * (extra - 14))
    return min(0.9 * _weighted_f1(said, gold, weights), _cap(answer, said, reference, gold, weights))


def _weights(reference: str, answer: str, context: str) -> defaultdict[str, float]:
    """What a word says: names, numbers and labels most; words of the question and of grammar least."""
    weights: defaultdict[str, float] = defaultdict(lambda: 1.0)
    asked = next((line for line in context.splitlines() if line.strip() and not line.startswith("###")), "")
    weights.update(_GRAMMAR_WEIGHTS)
    for word in words(reference) + words(answer):
        if word[0].isdigit() or word in _LABELS:
            weights[word] = 2.0
    given = set(words(context))
    for word in words(reference):
        if word in given and word not in _GRAMMAR:
            weights[word] = max(1.5, weights[word])  # taken from the input: what the answer is about
    for name in _NAME.findall(f"{reference}\n{answer}"):
        if name.lower() not in _GRAMMAR:
            weights[name.lower()] = 2.0
    for word in words(asked):
        weights[word] = min(0.6 if weights[word] == 2.0 else 0.3, weights[word])
    return weights


def _weighted_f1(said: list[str], gold: list[str], weights: defaultdict[str, float]) -> float:
    one, other = Counter(said), Counter(gold)
    total = sum(weights[word] * count for bag in (one, other) for word, count in bag.items())
    return 2 * sum(weights[word] * min(count, other[word]) for word, count in one.items()) / total if total else 0.0


def _recall(said: list[str], gold: list[str], weights: defaultdict[str, float]) -> float:
    found = set(said)
    total = sum(weights[word] for word in gold)
    return sum(weights[word] for word in gold if word in found) / total if total else 0.0


def _cap(answer: str, said: list[str], reference: str, gold: list[str], weights: defaultdict[str, float]) -> float:
    """The most that an answer can get whose label, numbers or names are not the reference's."""
    cap = 0.45 if _recall(said, gold, weights) < 0.45 else 1.0
    label = next((word for word in gold if word in _LABELS), None)
    if label is not None and len(gold) <= 8:
        cap = min(cap, max(0.1, _label_agreement(answer, label, _LABELS[label])))
    numbers = Counter(word for word in gold if word[0].isdigit())
    if numbers and not numbers <= Counter(said):
        cap = min(cap, 0.4)
    names = {name.lower() for name in _NAME.findall(reference)} - _GRAMMAR
    if names:
        cap = min(cap, 1.0 - 0.6 * len(names - set(said)) / len(names))
    return cap


def _contains(said: list[str], gold: list[str]) -> bool:
    return f" {' '.join(gold)} " in f" {' '.join(said)} "


def _text_agreement(answer: str, reference: str, gold: list[str], context: str) -> float:
    said = words(answer)
    if not said:
        return 0.0
    unigram = _weighted_f1(said, gold, _weights(reference, answer, context))
    bigram = _f1(Counter(pairwise(said)), Counter(pairwise(gold)))
    # free answers that share a third of their words with the gold one are usually fine
    return min(1.0, 1.15 * (0.7 * math.pow(unigram, 0.7) + 0.3 * math.sqrt(bigram)))
