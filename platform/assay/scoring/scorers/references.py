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
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from assay.records import Mode, Outcome, Rating, Unscored
from assay.scoring.protocol import Scorer, ScoreRequest, ScorerSpec
from assay.scoring.scorers.literals import UNREADABLE, read_json
from assay.scoring.scorers.script_tokens import answer_tokens, script_tokens, with_blanks

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
    says nothing, the order of lists does. For "code_block" tasks the text between the first fences is compared, line
    by line, blanks at line ends aside. Case counts unless `ignore_case`. `compat`: the same characters, white
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
        compare = _COMPARISONS.get(request.task.answer_format, _same_text)
        prediction = self._case(request.prediction)
        return Rating(max(compare(prediction, self._case(reference)) for reference in references_of(request)))

    def _case(self, text: str) -> str:
        return text.casefold() if self._fold else text


def code_of(text: str) -> str:
    """The text between the first code fences, or all of it, without blanks at line ends and empty lines around it."""
    match = _FENCED.search(text)
    lines = (match.group(1) if match else text).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def normalise_space(text: str) -> str:
    """NFC, white space collapsed to single blanks, none at the ends nor beside punctuation."""
    text = text if text.isascii() else unicodedata.normalize("NFC", text)
    return _BESIDE_PUNCTUATION.sub(r"\1", " ".join(text.split()))


def squad_tokens(text: str) -> list[str]:
    """SQuAD's normalisation: lower case, ASCII punctuation and the articles a, an, the removed, split at blanks."""
    return [word for word in text.lower().translate(_NO_PUNCTUATION).split() if word not in _ARTICLES]


def token_f1(prediction: str, reference: str, mode: Mode = "strict") -> float:
    """F1 over the bags of tokens, in [0, 1].

    `compat`: SQuAD's tokens; 0 where one side has none. `strict`: tokens of any script, numbers whole, without articles
    unless one side has nothing else (the answer "A"); 1 where neither has any.
    """
    if mode == "compat":
        return squad_f1(prediction, reference, mode)
    tokens, gold = answer_tokens(prediction), list(_answer_tokens(reference))
    bare, bare_gold = _without_articles(tokens), _without_articles(gold)
    if not bare or not bare_gold:
        bare, bare_gold = tokens, gold
    return _bag_f1(bare, Counter(bare_gold), len(bare_gold), of_nothing=1.0)


def squad_f1(prediction: str, reference: str, mode: Mode) -> float:
    """F1 over SQuAD's tokens; `strict`: as the evaluation script of SQuAD v2, 1 where neither side has any.

    `compat`: 0 there, and articles beside a mark that is not ASCII ("the”") stay.
    """
    if mode == "compat":
        return _bag_f1(squad_tokens(prediction), *_squad_bag(reference), of_nothing=0.0)
    return _bag_f1(official_squad_tokens(prediction), *_official_bag(reference), of_nothing=1.0)


def official_squad_tokens(text: str) -> list[str]:
    """Tokens as SQuAD's evaluation script takes them: articles go wherever a word boundary stands on both sides."""
    return _ARTICLE_WORDS.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def _bag_f1(tokens: Sequence[str], counts: Counter[str], size: int, *, of_nothing: float) -> float:
    if not tokens or not size:
        return of_nothing if not tokens and not size else 0.0
    common = sum(min(count, counts[token]) for token, count in Counter(tokens).items() if token in counts)
    return 2 * common / (len(tokens) + size)  # = 2PR / (P + R)


def _without_articles(tokens: Sequence[str]) -> list[str]:
    return [token for token in tokens if token not in _ARTICLES]


class _ScriptTokenizer:
    """What rouge-score asks of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        return script_tokens(text)


def rouge_comparison(kind: str, *, use_stemmer: bool, mode: Mode = "strict") -> Callable[[str, str], float]:
    """F-measure of ROUGE ("rouge1", "rouge2", "rougeL") by the rouge-score package, in [0, 1].

    `strict` splits by script, on ASCII text as the package does. The package's own rule (`compat`, and wherever its
    English stemmer is asked for) drops all letters that are not ASCII.

    The package is imported at the first comparison: it brings nltk, which takes seconds.
    """
    scorer: Any = None

    def compare(prediction: str, reference: str) -> float:
        nonlocal scorer
        if scorer is None:
            from rouge_score import rouge_scorer

            tokenizer = None if mode == "compat" or use_stemmer else _ScriptTokenizer()
            scorer = rouge_scorer.RougeScorer([kind], use_stemmer=use_stemmer, tokenizer=tokenizer)
        return float(scorer.score(reference, prediction)[kind].fmeasure)

    return compare


def _same_text(prediction: str, reference: str) -> float:
    return float(prediction == reference or normalise_space(prediction) == _normal_reference(reference))


def _same_json(prediction: str, reference: str) -> float:
    gold = _json_reference(reference)
    if gold is UNREADABLE:
        return _same_text(prediction, reference)
    value = read_json(prediction, strictly=True)
    return float(value is not UNREADABLE and _same_value(_plain(value), gold))


def _same_value(first: Any, second: Any) -> bool:
    """Equality that tells 1 from true; 1, 1.0 and 1e0 are one number of JSON."""
    if _is_number(first) and _is_number(second):
        return bool(first == second)
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same_value(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_same_value, first, second))
    return bool(first == second)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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
    value = read_json(reference, strictly=True)
    return value if value is UNREADABLE else _plain(value)


@lru_cache(maxsize=16384)
def _squad_bag(reference: str) -> tuple[Counter[str], int]:
    tokens = squad_tokens(reference)
    return Counter(tokens), len(tokens)


@lru_cache(maxsize=16384)
def _official_bag(reference: str) -> tuple[Counter[str], int]:
    tokens = official_squad_tokens(reference)
    return Counter(tokens), len(tokens)


@lru_cache(maxsize=16384)
def _answer_tokens(reference: str) -> tuple[str, ...]:
    return tuple(answer_tokens(reference))


@lru_cache(maxsize=16384)
def _references_in(meta_json: str) -> tuple[str, ...]:
    meta = json.loads(meta_json)
    further = meta.get("references") if isinstance(meta, dict) else None
    return tuple(text for text in further if isinstance(text, str)) if isinstance(further, list) else ()


_BESIDE_PUNCTUATION = re.compile(r" ?([^\w ]) ?")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = frozenset({"a", "an", "the"})
_ARTICLE_WORDS = re.compile(r"\b(?:a|an|the)\b")


def _make_token_f1(spec: ScorerSpec) -> Scorer:
    return ReferenceScorer(spec, partial(token_f1, mode=spec.mode))


def _make_rouge(spec: ScorerSpec) -> Scorer:
    limit = MAX_CHARS_ROUGE_L if spec.name == "rougeL" else MAX_CHARS
    compare = rouge_comparison(spec.name, use_stemmer=bool(spec.params.get("use_stemmer")), mode=spec.mode)
    return ReferenceScorer(spec, compare, max_chars=limit)


class BleuScorer:
    """Sentence BLEU by sacrebleu, divided by 100: exponential smoothing, effective order, its 13a tokenizer.

    `strict` sets characters of scripts without blanks (Chinese, Japanese, Thai) apart first: 13a takes a sentence of
    them for one word.
    """

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
        prediction = request.prediction
        if self.spec.mode == "strict":
            prediction, golds = with_blanks(prediction), [with_blanks(gold) for gold in golds]
        value = self._bleu.sentence_score(prediction, golds).score / 100
        return Rating(min(1.0, max(0.0, value)))  # sacrebleu gives 100.00000000000004 for equal texts


def _spec(name: str, params: dict[str, str | int | float | bool | None], mode: Mode) -> ScorerSpec:
    version = 2 if mode == "strict" else 1  # 2: tokens by script; of exact_match: numbers of JSON are equal by value
    return ScorerSpec(name=name, version=version, kind="reference", mode=mode, params=params)


_FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_COMPARISONS: Mapping[str, Callable[[str, str], float]] = {
    "json": _same_json,
    "code_block": lambda prediction, reference: float(code_of(prediction) == code_of(reference)),
}
"""Answer format -> how two answers are compared; all others as texts."""
SCORERS: tuple[tuple[str, Callable[[Mode], ScorerSpec], Callable[[ScorerSpec], Scorer]], ...] = (
    ("exact_match", partial(_spec, "exact_match", {"ignore_case": False}), ExactMatchScorer),
    ("token_f1", partial(_spec, "token_f1", {}), _make_token_f1),
    ("rouge1", partial(_spec, "rouge1", {"use_stemmer": False}), _make_rouge),
    ("rouge2", partial(_spec, "rouge2", {"use_stemmer": False}), _make_rouge),
    ("rougeL", partial(_spec, "rougeL", {"use_stemmer": False}), _make_rouge),
    ("bleu", partial(_spec, "bleu", {"smooth_method": "exp", "tokenize": "13a"}), BleuScorer),
)
