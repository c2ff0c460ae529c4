"""Hand-made rules that look for the right answer in free text, whatever its format. Pure.

The published study calls these scores human; they are called heuristic here, in every output. Rules and quirks:
Faysse et al. 2023, section B.2, and the behaviour of its public code (`compat`). `strict` gives no credit to an answer
that names no label and compares entities as sets. Answers are parsed as JSON or as a Python literal, never run. The
case of a reference never counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Literal

from assay.errors import ConfigError
from assay.records import Mode, Outcome, Rating, Unscored
from assay.scoring.named import check_names_differ
from assay.scoring.protocol import Scorer, ScoreRequest, ScorerSpec
from assay.scoring.scorers.literals import UNREADABLE, find_object, find_reference_object, read_value
from assay.scoring.scorers.references import (
    MAX_CHARS,
    NO_REFERENCE,
    TOO_LONG,
    references_of,
    rouge_comparison,
    squad_f1,
    squad_tokens,
)
from assay.scoring.scorers.rules import apply_rule

Heuristic = Callable[[ScoreRequest, Mode], Outcome]
NO_LABEL = "no label"
"""Detail of a rating of 0 for an answer that names no label."""


def mnli(request: ScoreRequest, mode: Mode) -> Rating:
    """The label whose first seven letters occur earliest is the answer. `compat` looks at 10,000 characters only."""
    text = request.prediction.lower()
    text = text[: 10_000 + 6] if mode == "compat" else text
    found = [(place, label) for label in _MNLI_LABELS if (place := text.find(label[:7])) >= 0]
    return _label(min(found)[1] if found else None, request)


def qnli(request: ScoreRequest, mode: Mode) -> Rating:
    """An answer with "unanswerable" or "does not" means unanswerable.

    `compat`: all else means answerable, the empty answer too. `strict`: "not answerable" means unanswerable as well,
    else the word "answerable" must be there.
    """
    text = request.prediction.lower()
    if "unanswerable" in text or "does not" in text:
        return _label("unanswerable", request)
    if mode == "compat":
        return _label("answerable", request)
    if "not answerable" in text:
        return _label("unanswerable", request)
    return _label("answerable" if "answerable" in text else None, request)


def sst2(request: ScoreRequest, mode: Mode) -> Rating:
    """Both words: wrong, as nothing was decided. "negative": negative. `compat`: all else is positive, even nothing."""
    text = request.prediction.lower()
    is_negative, is_positive = "negative" in text, "positive" in text
    if is_negative and is_positive:
        return Rating(0.0, "undecided")
    if is_negative:
        return _label("negative", request)
    return _label("positive" if is_positive or mode == "compat" else None, request)


def stsb(request: ScoreRequest, mode: Mode) -> Rating:
    """The first number of the answer equals the reference.

    `compat` loses the sign of whole numbers ("-4" reads as 4), as the published pattern did.
    """
    match = (_COMPAT_NUMBER if mode == "compat" else _NUMBER).search(request.prediction)
    if match is None:
        return Rating(0.0, "no number")
    gold = _number(request.example.reference)
    return Rating(float(gold is not None and _number(match.group()) == gold), match.group()[:40])


def conll(request: ScoreRequest, mode: Mode) -> Rating:
    """The answer is the reference's object.

    `compat`: the whole answer, without the marks of code fences, must be a literal equal to the reference: order and
    repeats of names count. `strict`: the first object in the answer must name the same set of (type, name) pairs;
    white space is collapsed, a missing type is an empty one, and a single string counts as a list of one.
    """
    if mode == "compat":
        value = read_value(request.prediction.replace("```", ""))
        gold = _reference_value(request.example.reference)
        return Rating(float(value is not UNREADABLE and gold is not UNREADABLE and value == gold))
    gold_pairs = _pairs(find_reference_object(request.example.reference))
    found = find_object(request.prediction)
    if found is None:
        return Rating(0.0, "no object")
    return Rating(float(gold_pairs is not None and _pairs(found) == gold_pairs))


def squadv2(request: ScoreRequest, mode: Mode) -> Rating:
    """Token F1, in `strict` the best over all references."""
    golds = (request.example.reference,) if mode == "compat" else references_of(request)
    return Rating(max(squad_f1(request.prediction, gold, mode) for gold in golds))


def xsum(request: ScoreRequest, mode: Mode) -> Rating:
    """ROUGE-2 F-measure without stemming, in `strict` the best over all references."""
    golds = (request.example.reference,) if mode == "compat" else references_of(request)
    return Rating(max(_rouge2()(request.prediction, gold) for gold in golds))


def first_number(request: ScoreRequest, mode: Mode) -> Rating:
    """The rule of `stsb` for any task whose answer is a number."""
    return stsb(request, mode)


def mentions(request: ScoreRequest, mode: Mode) -> Rating:
    """Entities without a required format: an object is compared as `conll` does, prose must contain every name."""
    if find_object(request.prediction) is not None:
        return conll(request, mode)
    names = [name for _, name in _pairs(find_reference_object(request.example.reference)) or ()]
    return Rating(float(bool(names) and all(_contains(request.prediction, name) for name in names)), "prose")


def contains_span(request: ScoreRequest, mode: Mode) -> Rating:
    """A reference stands in the answer as a run of whole words, after SQuAD's normalisation."""
    golds = (request.example.reference,) if mode == "compat" else references_of(request)
    return Rating(float(any(_contains(request.prediction, gold) for gold in golds)))


@dataclass(frozen=True)
class Heuristics:
    """Rules by the name that a task's `heuristic` field holds. Immutable."""

    entries: tuple[tuple[str, Heuristic], ...]

    def get(self, name: str, task: str) -> Heuristic:
        """The rule of this name.

        Raises:
            ConfigError: there is none; the message names the task that asks for it.
        """
        if name not in self._by_name:
            known = ", ".join(sorted(self._by_name))
            raise ConfigError(f"task {task!r}: saw the heuristic {name!r}; expected one of {known}")
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def extended(self, further: Iterable[tuple[str, Heuristic]]) -> Heuristics:
        """These and further ones.

        Raises:
            ConfigError: a name is taken.
        """
        added = (*self.entries, *further)
        check_names_differ("heuristic", (name for name, _ in added))
        return Heuristics(added)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all rules, sorted."""
        return tuple(sorted(self._by_name))

    @cached_property
    def _by_name(self) -> dict[str, Heuristic]:
        return dict(self.entries)


SHIPPED_HEURISTICS = Heuristics(
    (
        ("mnli", mnli),
        ("qnli", qnli),
        ("sst2", sst2),
        ("stsb", stsb),
        ("conll", conll),
        ("squadv2", squadv2),
        ("xsum", xsum),
        ("first_number", first_number),
        ("mentions", mentions),
        ("contains_span", contains_span),
    )
)
"""What Assay brings."""


class HeuristicScorer:
    """Each row by its task's `correct_if` or heuristic; rows of tasks without one stay unscored."""

    def __init__(self, spec: ScorerSpec, heuristics: Heuristics = SHIPPED_HEURISTICS) -> None:
        """A scorer of this spec, whose mode picks the variant of the rules that tasks name."""
        self.spec = spec
        self._heuristics = heuristics

    def score(self, batch: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, same order.

        Raises:
            ConfigError: a task names a heuristic that does not exist.
        """
        return [self._one(request) for request in batch]

    def _one(self, request: ScoreRequest) -> Outcome:
        said, name = request.task.correct_if, request.task.heuristic
        if said is None and not name:
            return Unscored("no heuristic for this task", request.task.name)
        if not request.has_reference:
            return NO_REFERENCE
        if len(request.prediction) > MAX_CHARS:
            return TOO_LONG
        if said is not None:
            return apply_rule(said, request)
        return self._heuristics.get(name, request.task.name)(request, self.spec.mode)


class TruthScorer:
    """The toy world's truth, which plays the human there; rows of other worlds stay unscored."""

    def __init__(self, spec: ScorerSpec) -> None:
        """A scorer of this spec."""
        self.spec = spec

    def score(self, batch: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, same order."""
        return [self._one(request) for request in batch]

    def _one(self, request: ScoreRequest) -> Outcome:
        from assay.tasks.toyworld.world import toy_truth

        try:
            return Rating(float(toy_truth(request.example, request.prediction)))
        except ValueError:
            return Unscored("no truth for this row")


def _label(found: str | None, request: ScoreRequest) -> Rating:
    if found is None:
        return Rating(0.0, NO_LABEL)
    return Rating(float(found == request.example.reference.strip().lower()), found)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@lru_cache(maxsize=8192)
def _reference_value(text: str) -> object:
    return read_value(text)


def _pairs(found: dict[object, object] | None) -> set[tuple[str, str]] | None:
    """(type, name) pairs of an object of lists; None where it is something else."""
    if found is None:
        return None
    pairs = set()
    for kind, names in found.items():
        listed = [names] if isinstance(names, str) else [] if names is None else names
        if not isinstance(kind, str) or not isinstance(listed, (list, tuple, set)):
            return None
        for name in listed:
            if not isinstance(name, str):
                return None
            pairs.add((" ".join(kind.split()), " ".join(name.split())))
    return pairs


def _contains(text: str, span: str) -> bool:
    words, sought = squad_tokens(text), squad_tokens(span)
    return bool(sought) and f" {' '.join(sought)} " in f" {' '.join(words)} "


@lru_cache(maxsize=1)
def _rouge2() -> Callable[[str, str], float]:
    return rouge_comparison("rouge2", use_stemmer=False, mode="compat")


_MNLI_LABELS = ("contradiction", "entailment", "neutral")
_COMPAT_NUMBER = re.compile(r"[-+]?\d*\.\d+|\d+")
_NUMBER = re.compile(r"(?:(?<![\w.])[-+])?\d+(?:\.\d+)?|(?<!\d)\.\d+")


def _spec(name: str, kind: Literal["heuristic", "human"], mode: Mode) -> ScorerSpec:
    version = 2 if mode == "strict" and name == "heuristic" else 1  # 2: SQuAD's own tokens
    return ScorerSpec(name=name, version=version, kind=kind, mode=mode)


SCORERS: tuple[tuple[str, Callable[[Mode], ScorerSpec], Callable[[ScorerSpec], Scorer]], ...] = (
    ("heuristic", partial(_spec, "heuristic", "heuristic"), HeuristicScorer),
    ("truth", partial(_spec, "truth", "human"), TruthScorer),
)
