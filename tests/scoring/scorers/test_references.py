from __future__ import annotations

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.records import Example, Rating, Unscored
from assay.scoring.protocol import Scorer, ScoreRequest, ScorerSpec
from assay.scoring.scorers.references import normalise_space, rouge_comparison, squad_tokens, token_f1
from support.shipped import get_task, make_scorer, scorer_spec

LOCAL = ("exact_match", "token_f1", "rouge1", "rouge2", "rougeL", "bleu")


def request(
    prediction: str, reference: str, task: str = "squadv2", references: list[str] | None = None
) -> ScoreRequest:
    meta = json.dumps({"references": references}) if references else ""
    return ScoreRequest(Example("1", task, "test", "i", "x", reference, meta_json=meta), get_task(task), prediction)


def value(scorer: str | ScorerSpec, prediction: str, reference: str, mode: str = "strict", **more: object) -> float:
    (outcome,) = make_scorer(scorer, mode).score([request(prediction, reference, **more)])  # type: ignore[arg-type]
    assert isinstance(outcome, Rating)
    return outcome.value


@pytest.mark.parametrize(
    ("task", "prediction", "reference", "strict", "compat"),
    [
        ("sst2", "positive", "positive", 1, 1),
        ("sst2", " positive\n", "positive", 1, 1),
        ("sst2", "Positive", "positive", 0, 0),
        ("sst2", "positive.", "positive", 0, 0),
        ("sst2", "", "positive", 0, 0),
        ("squadv2", "the  French king", "the French king", 1, 0),
        ("squadv2", "$ 3 . 5 million", "$3.5 million", 1, 0),
        ("squadv2", "rock 'n' roll", "rock ' n ' roll", 1, 0),
        ("squadv2", "New York", "NewYork", 0, 0),
        ("squadv2", "cafe\u0301", "caf\u00e9", 1, 0),  # e + accent is the same letter
        ("conll", '{ "LOC" : [ "Rome" ] , "PER" : [ ] }', '{"PER": [], "LOC": ["Rome"]}', 1, 0),
        ("conll", '{"LOC": ["New  York", "U . S ."]}', '{"LOC": ["New York", "U.S."]}', 1, 0),
        ("conll", '{"LOC": ["b", "a"]}', '{"LOC": ["a", "b"]}', 0, 0),  # lists have an order
        ("conll", "{'LOC': []}", '{"LOC": []}', 0, 0),  # Python, not JSON: another format
        ("conll", '```{"LOC": []}```', '{"LOC": []}', 0, 0),
        ("conll", '{"LOC": 1}', '{"LOC": true}', 0, 0),
        ("conll", '{"LOC": 1e0}', '{"LOC": 1}', 1, 0),  # one number of JSON
        ("conll", '{"LOC": Infinity}', '{"LOC": 1e999}', 0, 0),  # no JSON
        ("conll", '{"LOC": [', '{"LOC": []}', 0, 0),
        ("conll", "no json", "no  json", 1, 0),  # a reference that is no JSON is text
    ],
)
def test_exact_match_asks_for_answer_and_format(
    task: str, prediction: str, reference: str, strict: int, compat: int
) -> None:
    assert value("exact_match", prediction, reference, task=task) == strict
    assert value("exact_match", prediction, reference, "compat", task=task) == compat


def test_exact_match_may_ignore_case() -> None:
    loose = scorer_spec("exact_match", ignore_case=True)
    assert value(loose, "POSITIVE", "positive", task="sst2") == 1
    assert value(loose, '{"loc": ["ROME"]}', '{"LOC": ["Rome"]}', task="conll") == 1


def test_white_space_beside_punctuation_goes() -> None:
    assert normalise_space(' { " a " :  [ 1 , 2 ] }\n') == '{"a":[1,2]}'
    assert normalise_space("a_b  c") == "a_b c"


def test_squad_normalisation() -> None:
    assert squad_tokens("The U.S. is a 'great'  place, an honour!") == ["us", "is", "great", "place", "honour"]
    assert squad_tokens("theatre another") == ["theatre", "another"]


@pytest.mark.parametrize(
    ("prediction", "reference", "f1"),
    [
        ("in the city of Rome", "Rome city", 2 * (2 / 4) * 1 / (2 / 4 + 1)),  # in city of rome: P 2/4, R 2/2
        ("Rome Rome", "Rome", 2 * (1 / 2) * 1 / (1 / 2 + 1)),  # a word counts as often as the other side has it
        ("Rome", "Paris", 0.0),
        ("", "Rome", 0.0),
        ("The", "an", 0.0),
        ("A", "A", 1.0),
        ("The answer is A", "A", 2 * 1 / (4 + 1)),
        ("", "", 1.0),
        ("3.14", "314", 0.0),
        ("-1", "1", 0.0),
        ("3.14.", "3.14", 1.0),
        ("Привет, мир", "привет мир", 1.0),
        ("今日は雨", "今日は雨", 1.0),
        ("नमस्ते दुनिया", "नमस्ते", 2 / 3),
        ("caf\u00e9", "cafe\u0301", 1.0),
    ],
)
def test_token_f1_by_hand(prediction: str, reference: str, f1: float) -> None:
    assert token_f1(prediction, reference) == pytest.approx(f1)


def test_token_f1_of_no_tokens_is_nothing_in_compat() -> None:
    assert token_f1("The", "an", "compat") == 0


texts = st.text(alphabet=string.ascii_lowercase[:4] + " .,", max_size=30)


@given(texts, texts)
def test_token_f1_is_symmetric_and_bounded(first: str, second: str) -> None:
    assert token_f1(first, second) == pytest.approx(token_f1(second, first))
    assert 0 <= token_f1(first, second) <= 1
    assert token_f1(first, first) == 1


def test_rouge_by_hand() -> None:
    # "the cat sat" against "the cat lay there": 1-grams 2 of 3 and of 4: F = 2*2/(3+4); 2-grams 1 of 2 and of 3: 2/5;
    # longest common subsequence "the cat" = 2: 4/7
    assert value("rouge1", "the cat sat", "the cat lay there") == pytest.approx(4 / 7)
    assert value("rouge2", "the cat sat", "the cat lay there") == pytest.approx(2 / 5)
    assert value("rougeL", "the cat sat", "the cat lay there") == pytest.approx(4 / 7)
    assert value("rougeL", "cat the", "the cat") == pytest.approx(1 / 2)


def test_rouge_stems_only_when_told_to() -> None:
    assert value("rouge1", "running", "runs") == 0
    assert value(scorer_spec("rouge1", use_stemmer=True), "running", "runs") == 1


def test_bleu_is_sacrebleus_sentence_bleu() -> None:
    assert value("bleu", "the cat is on the mat", "the cat is on the mat") == 1
    # brevity 1; precisions of "the cat the dog" against "the cat and the dog":
    # 4/4, 2/3, then none of 2 and none of 1: exponential smoothing counts 1/2 and 1/4: 1/4, 1/4
    # brevity penalty exp(1 - 5/4); (1 * 2/3 * 1/4 * 1/4) ** .25
    expected = 2.718281828459045 ** (1 - 5 / 4) * (1 * 2 / 3 * 1 / 4 * 1 / 4) ** 0.25
    assert value("bleu", "the cat the dog", "the cat and the dog") == pytest.approx(expected)
    assert value("bleu", "", "x") == 0


@pytest.mark.parametrize("name", LOCAL)
def test_strict_takes_the_best_reference_and_compat_the_one(name: str) -> None:
    further = ["one two three four five", "six seven eight nine ten"]
    assert value(name, "six seven eight nine ten", further[0], references=further) == 1
    assert value(name, "six seven eight nine ten", further[0], "compat", references=further) < 0.1


@pytest.mark.parametrize("name", LOCAL)
@given(prediction=st.text(max_size=20), reference=st.text(max_size=20))
def test_any_text_is_scored_in_range(name: str, prediction: str, reference: str) -> None:
    outcomes = _scorer(name).score([request(prediction, reference), request(reference, reference, "conll")])
    assert all(isinstance(outcome, Rating) and 0 <= outcome.value <= 1 for outcome in outcomes)


@pytest.mark.parametrize("name", LOCAL)
def test_order_is_kept_and_an_empty_answer_is_wrong(name: str) -> None:
    batch = [
        request(text, "one two three four") for text in ("one two three four", "", "x y z w", "one two three four")
    ]
    values = [outcome.value for outcome in make_scorer(name).score(batch) if isinstance(outcome, Rating)]
    assert values == [1, 0, 0, 1]


@pytest.mark.parametrize("name", LOCAL)
def test_an_endless_answer_is_left_unscored(name: str) -> None:
    assert make_scorer(name).score([request("word " * 2_000_000, "word")]) == [Unscored("too long")]


_made: dict[str, Scorer] = {}


def _scorer(name: str) -> Scorer:
    if name not in _made:
        _made[name] = make_scorer(name)
    return _made[name]


@pytest.mark.parametrize(
    "text", ["Быстрая лиса", "今日は雨です", "आज बारिश है", "วันนี้ฝนตก", "오늘 비가 온다", "اليوم ممطر", "Ça va bien ?"]
)
def test_equal_texts_of_any_script_are_equal_to_every_metric(text: str) -> None:
    for scorer in ("token_f1", "rouge1", "rougeL", "bleu"):
        assert value(scorer, text, text) == pytest.approx(1)
    assert value("rouge1", text, "x") == 0


def test_bleu_sees_parts_of_a_japanese_sentence() -> None:
    assert 0.3 < value("bleu", "今日は雨が降ります", "今日は雪が降ります") < 1


@given(st.text(alphabet=string.printable, max_size=60), st.text(alphabet=string.printable, max_size=60))
@settings(max_examples=60, deadline=None)
def test_ascii_texts_have_the_rouge_of_the_package(first: str, second: str) -> None:
    strict, package = (rouge_comparison("rougeL", use_stemmer=False, mode=mode) for mode in ("strict", "compat"))
    assert strict(first, second) == package(first, second)
