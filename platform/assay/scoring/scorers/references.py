"""Scorers that compare a prediction with the reference text: exact match, token F1, ROUGE-1/2/L and BLEU.

Pure. `strict` takes the best of all references that a row carries (`references` in its `meta_json`); `compat` knows
the one reference, as the published study did. An empty prediction is an answer and scores low.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from assay.records import Mode, Outcome, Rating, Unscored
from assay.scoring.protocol import Scorer, ScoreRequest, ScorerSpec
from assay.scoring.scorers.literals import UNREADABLE, read_json

MAX_CHARS = 200_000
"""Longer predictions are left unscored: comparing them would hold up all the others."""
MAX_CHARS_ROUGE_L = 20_000
"""The same for ROUGE-L, whose time grows with the product of both lengths."""
TOO_LONG = Unscored("too long")
NO_REFERENCE = Unscored("no reference")


def references_of(request: ScoreRequest) -> tuple[str, ...]:
    """All references of a row, the stored one first."""
    example = request.example
    if '"references"' not in example.meta_json:
        return (example.reference,)
    further = _references_in(example.meta_json)
    return (example.reference, *(text for text in further if text != example.reference))


class ReferenceScorer:
    """Compares prediction and reference by a function of two texts, row by row."""

    def __init__(self, spec: ScorerSpec, compare: Callable[[str, str], float], *, max_chars: int = MAX_CHARS) -> None:
        """A scorer of this spec around `compare(prediction, reference)`."""
        self.spec = spec
        self._compare = compare
        self._max_chars = max_chars

    def score(self, batch: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, same order."""
        return [self._one(request) if request.has_reference else NO_REFERENCE for request in batch]

    def _one(self, request: ScoreRequest) -> Outcome:
        prediction = request.prediction
        if len(prediction) > self._max_chars:
            return TOO_LONG
        if self.spec.mode == "compat":
            return Rating(self._compare(prediction, request.example.reference))
        return Rating(max(self._compare(prediction, reference) for reference in references_of(request)))


class ExactMatchScorer(ReferenceScorer):
    """1 where prediction and reference are the same answer in the same format, else 0.

    `strict`: compared in Unicode form NFC, with white space collapsed and none beside punctuation (a word-level
    tokenizer puts blanks there). For "json" tasks both must be JSON, and their values are compared: the order of keys
    says nothing, the order of lists does. Case counts unless `ignore_case`. `compat`: the same characters, white
    space at the ends aside.
    """

    def __init__(self, spec: ScorerSpec) -> None:
        """A scorer of this spec; parameter `ignore_case`."""
        super().__init__(spec, _same_text)
        self._fold = bool(spec.params.get("ignore_case"))

    def _one(self, request: ScoreRequest) -> Outcome:
        if self.spec.mode == "compat":
            return Rating(float(self._case(request.prediction.strip()) == self._case(request.example.reference)))
        if len(request.prediction) > MAX_CHARS:
            return TOO_LONG
        compare = _same_json if request.task.answer_format == "json" else _same_text
        prediction = self._case(request.prediction)
        return Rating(max(compare(prediction, self._case(reference)) for reference in references_of(request)))

    def _case(self, text: str) -> str:
        return text.casefold() if self._fold else text


def normalise_space(text: str) -> str:
    """NFC, white space collapsed to single blanks, none at the ends nor beside punctuation."""
    text = text if text.isascii() else unicodedata.normalize("NFC", text)
    return _BESIDE_PUNCTUATION.sub(r"\1", " ".join(text.split()))


def squad_tokens(text: str) -> list[str]:
    """SQuAD's normalisation: lower case, ASCII punctuation and the articles a, an, the removed, split at blanks."""
    return [word for word in text.lower().translate(_NO_PUNCTUATION).split() if word not in _ARTICLES]


def token_f1(prediction: str, reference: str, mode: Mode = "strict") -> float:
    """F1 over the bags of SQuAD tokens, in [0, 1].

    Where one side has no tokens, `strict` gives 1 if neither has any (SQuAD v2's script), `compat` gives 0.
    """
    counts, size = _reference_bag(reference)
    tokens = squad_tokens(prediction)
    if not tokens or not size:
        return float(mode == "strict" and not tokens and not size)
    common = 0
    for token, count in Counter(tokens).items():
        if token in counts:
            common += min(count, counts[token])
    return 2 * common / (len(tokens) + size)  # = 2PR / (P + R)


def rouge_comparison(kind: str, *, use_stemmer: bool) -> Callable[[str, str], float]:
    """F-measure of ROUGE ("rouge1", "rouge2", "rougeL") by the rouge-score package, in [0, 1].

    The package is imported at the first comparison: it brings nltk, which takes seconds.
    """
    scorer: Any = None

    def compare(prediction: str, reference: str) -> float:
        nonlocal scorer
        if scorer is None:
            from rouge_score import rouge_scorer

            scorer = rouge_scorer.RougeScorer([kind], use_stemmer=use_stemmer)
        return float(scorer.score(reference, prediction)[kind].fmeasure)

    return compare


def _same_text(prediction: str, reference: str) -> float:
    return float(prediction == reference or normalise_space(prediction) == _normal_reference(reference))


def _same_json(prediction: str, reference: str) -> float:
    gold = _json_reference(reference)
    if gold is UNREADABLE:
        return _same_text(prediction, reference)
    value = read_json(prediction)
    return float(value is not UNREADABLE and _same_value(_plain(value), gold))


def _same_value(first: Any, second: Any) -> bool:
    """Equality that tells 1 from true."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same_value(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_same_value, first, second))
    return bool(first == second)


def _plain(value: Any) -> Any:
    """A JSON value with white space normalised inside its strings and keys."""
    if isinstance(value, str):
        return normalise_space(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {normalise_space(key): _plain(item) for key, item in value.items()}
    return value


_normal_reference = lru_cache(maxsize=16384)(normalise_space)


@lru_cache(maxsize=16384)
def _json_reference(reference: str) -> Any:
    value = read_json(reference)
    return value if value is UNREADABLE else _plain(value)


@lru_cache(maxsize=16384)
def _reference_bag(reference: str) -> tuple[Counter[str], int]:
    tokens = squad_tokens(reference)
    return Counter(tokens), len(tokens)


@lru_cache(maxsize=16384)
def _references_in(meta_json: str) -> tuple[str, ...]:
    meta = json.loads(meta_json)
    further = meta.get("references") if isinstance(meta, dict) else None
    return tuple(text for text in further if isinstance(text, str)) if isinstance(further, list) else ()


_BESIDE_PUNCTUATION = re.compile(r" ?([^\w ]) ?")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = frozenset({"a", "an", "the"})


def _make_token_f1(spec: ScorerSpec) -> Scorer:
    return ReferenceScorer(spec, partial(token_f1, mode=spec.mode))


def _make_rouge(spec: ScorerSpec) -> Scorer:
    limit = MAX_CHARS_ROUGE_L if spec.name == "rougeL" else MAX_CHARS
    compare = rouge_comparison(spec.name, use_stemmer=bool(spec.params.get("use_stemmer")))
    return ReferenceScorer(spec, compare, max_chars=limit)


class BleuScorer:
    """Sentence BLEU by sacrebleu, divided by 100: exponential smoothing, effective order, its 13a tokenizer."""

    def __init__(self, spec: ScorerSpec) -> None:
        """A scorer of this spec; parameters `smooth_method` and `tokenize`, as sacrebleu names them."""
        self.spec = spec
        self._bleu: Any = None

    def score(self, batch: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, same order."""
        return [self._one(request) if request.has_reference else NO_REFERENCE for request in batch]

    def _one(self, request: ScoreRequest) -> Outcome:
        if len(request.prediction) > MAX_CHARS:
            return TOO_LONG
        if self._bleu is None:
            from sacrebleu.metrics import BLEU

            self._bleu = BLEU(effective_order=True, **dict(self.spec.params))
        golds = [request.example.reference] if self.spec.mode == "compat" else list(references_of(request))
        value = self._bleu.sentence_score(request.prediction, golds).score / 100
        return Rating(min(1.0, max(0.0, value)))  # sacrebleu gives 100.00000000000004 for equal texts


def _spec(name: str, params: dict[str, str | int | float | bool | None], mode: Mode) -> ScorerSpec:
    return ScorerSpec(name=name, kind="reference", mode=mode, params=params)


SCORERS: tuple[tuple[str, Callable[[Mode], ScorerSpec], Callable[[ScorerSpec], Scorer]], ...] = (
    ("exact_match", partial(_spec, "exact_match", {"ignore_case": False}), ExactMatchScorer),
    ("token_f1", partial(_spec, "token_f1", {}), _make_token_f1),
    ("rouge1", partial(_spec, "rouge1", {"use_stemmer": False}), _make_rouge),
    ("rouge2", partial(_spec, "rouge2", {"use_stemmer": False}), _make_rouge),
    ("rougeL", partial(_spec, "rougeL", {"use_stemmer": False}), _make_rouge),
    ("bleu", partial(_spec, "bleu", {"smooth_method": "exp", "tokenize": "13a"}), BleuScorer),
)
