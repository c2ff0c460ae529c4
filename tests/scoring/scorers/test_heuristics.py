from __future__ import annotations

import json

import pytest

from assay.errors import ConfigError
from assay.records import Example, Rating, Unscored
from assay.scoring.protocol import ScoreRequest
from assay.tasks.catalog import Task
from support.shipped import get_task, make_scorer

PER = '{"LOC": ["Rome"], "PER": ["Ann", "Bob"], "ORG": []}'
TOO_DEEP = "[" * 3000


def rate(task: str, prediction: str, reference: str, mode: str = "strict", meta: str = "") -> float:
    example = Example("1", task, "test", "i", "x", reference, meta_json=meta)
    (outcome,) = make_scorer("heuristic", mode).score([ScoreRequest(example, get_task(task), prediction)])  # type: ignore[arg-type]
    assert isinstance(outcome, Rating)
    return outcome.value


# task, prediction, reference, strict, compat: worked by reading the rules, not the code
VECTORS = [
    # MNLI: the label whose first seven letters (contrad, entailm, neutral) occur earliest
    ("mnli", "Entailment", "Entailment", 1, 1),
    ("mnli", "It is neutral, not a contradiction.", "Neutral", 1, 1),
    ("mnli", "This contradicts the premise, so no entailment", "Contradiction", 1, 1),
    ("mnli", "The premise entails it", "Entailment", 0, 0),  # "entails" lacks the m of "entailm"
    ("mnli", "NEUTRALITY", "neutral", 1, 1),
    ("mnli", "", "Neutral", 0, 0),
    ("mnli", "Entailment or neutral", "Neutral", 0, 0),
    ("mnli", " " * 9_999 + "neutral", "Neutral", 1, 1),  # place 9,999: the last that compat sees
    ("mnli", " " * 10_000 + "neutral", "Neutral", 1, 0),
    # QNLI
    ("qnli", "unanswerable", "unanswerable", 1, 1),
    ("qnli", "The context does not say", "unanswerable", 1, 1),
    ("qnli", "answerable", "answerable", 1, 1),
    ("qnli", "It is answerable.", "unanswerable", 0, 0),
    ("qnli", "not answerable", "unanswerable", 1, 0),  # compat: no "unanswerable", so answerable
    ("qnli", "not answerable", "answerable", 0, 1),
    ("qnli", "", "answerable", 0, 1),  # compat credits an empty answer
    ("qnli", "Yes", "answerable", 0, 1),
    ("qnli", "Yes", "unanswerable", 0, 0),
    ("qnli", "UNANSWERABLE", "Unanswerable", 1, 1),
    # SST-2
    ("sst2", "positive", "positive", 1, 1),
    ("sst2", "The sentence is Negative.", "negative", 1, 1),
    ("sst2", "negative or positive", "positive", 0, 0),  # undecided
    ("sst2", "negative or positive", "negative", 0, 0),
    ("sst2", "", "positive", 0, 1),  # compat credits an empty answer
    ("sst2", "I like it", "positive", 0, 1),
    ("sst2", "I like it", "negative", 0, 0),
    ("sst2", "Positive", "negative", 0, 0),
    # STS-B: the first number
    ("stsb", "4", "4", 1, 1),
    ("stsb", "Score: 4.0 of 5", "4", 1, 1),
    ("stsb", "4.5", "4", 0, 0),
    ("stsb", "-4", "4", 0, 1),  # compat loses the sign of whole numbers
    ("stsb", "-4.0", "4", 0, 0),
    ("stsb", "From 1 to 5: 4", "4", 0, 0),
    ("stsb", "four", "4", 0, 0),
    ("stsb", "1-5", "1", 1, 1),
    ("stsb", ".5", "0.5", 1, 1),
    ("stsb", "9" * 400, "4", 0, 0),
    # CoNLL
    ("conll", PER, PER, 1, 1),
    ("conll", '{"PER": ["Ann", "Bob"], "LOC": ["Rome"], "ORG": []}', PER, 1, 1),  # the order of keys says nothing
    ("conll", '{"LOC": ["Rome"], "PER": ["Bob", "Ann"], "ORG": []}', PER, 1, 0),  # a set; compat compares lists
    ("conll", '{"LOC": ["Rome"], "PER": ["Ann", "Bob", "Ann"], "ORG": []}', PER, 1, 0),
    ("conll", '{"LOC": ["Rome"], "PER": ["Ann", "Bob"]}', PER, 1, 0),  # a missing type is an empty one
    ("conll", "{'LOC': ['Rome'], 'PER': ['Ann', 'Bob'], 'ORG': []}", PER, 1, 1),  # a Python literal
    ("conll", f"```{PER}```", PER, 1, 1),
    ("conll", f"```json\n{PER}\n```", PER, 1, 0),  # the language name is no part of a literal
    ("conll", f"Here you are: {PER} Good?", PER, 1, 0),
    ("conll", '{"LOC": ["Rome"], "PER": ["Ann"], "ORG": []}', PER, 0, 0),
    ("conll", '{"LOC": ["Rome"], "PER": ["Ann", "Bob"], "ORG": ["UN"]}', PER, 0, 0),
    ("conll", '{"LOC": "Rome", "PER": ["Ann", "Bob"], "ORG": []}', PER, 1, 0),
    ("conll", '{"LOC": [" Rome "], "PER": ["Ann", "Bob"], "ORG": []}', PER, 1, 0),
    ("conll", '{"LOC": [1], "PER": ["Ann", "Bob"], "ORG": []}', PER, 0, 0),
    ("conll", "", PER, 0, 0),
    ("conll", "__import__('os').getcwd()", PER, 0, 0),
    ("conll", TOO_DEEP, PER, 0, 0),
    ("conll", '{"LOC": ["Ro' + "me" * 20_000 + '"]}', PER, 0, 0),
    # SQuAD v2: token F1. "in Rome" against "Rome": P = 1/2, R = 1, F1 = 2/3
    ("squadv2", "Rome", "rome.", 1, 1),
    ("squadv2", "in Rome", "Rome", 2 / 3, 2 / 3),
    ("squadv2", "Paris", "Rome", 0, 0),
    ("squadv2", "the", "a", 1, 0),  # only articles on both sides
    ("squadv2", "unanswerable", "unanswerable", 1, 1),
    ("squadv2", "The answer is unanswerable.", "unanswerable", 0.5, 0.5),  # 3 tokens against 1: 2 * 1 / 4
    ("squadv2", "", "Rome", 0, 0),
    ("squadv2", "the", "Rome", 0, 0),
    ("squadv2", "Rome Rome", "Rome", 2 / 3, 2 / 3),  # a bag: one of both counts
    ("squadv2", "U.S.A.", "USA", 1, 1),
    ("squadv2", "re-entry", "reentry", 1, 1),  # punctuation is dropped, not replaced by a blank
    ("squadv2", "ROME, Italy", "Italy Rome", 1, 1),  # order says nothing
    ("squadv2", "an apple a day", "apple day", 1, 1),
    ("squadv2", "10 to 20", "10", 0.5, 0.5),
    ("squadv2", "“the Rome”", "“ Rome”", 1, 0.5),  # SQuAD's script: an article ends at any word boundary
    ("squadv2", "Denver Broncos won", "The Denver Broncos", 0.8, 0.8),
    ("squadv2", "one two three four", "one two", 2 / 3, 2 / 3),
    ("squadv2", "naïve", "naive", 0, 0),
    # XSum: ROUGE-2. bigrams ab bc against ab bc cd: P = 1, R = 2/3, F1 = .8
    ("xsum", "one two three", "one two three four", 0.8, 0.8),
    ("xsum", "four three", "one two three four", 0, 0),
    ("xsum", "One two three.", "one two three", 1, 1),
    ("xsum", "", "one two three", 0, 0),
    ("xsum", "one", "one", 0, 0),  # no bigram on either side
    ("xsum", "two one", "one two", 0, 0),
    ("xsum", "a b c d", "a b x d", 1 / 3, 1 / 3),  # ab of three on both sides
    ("xsum", "a b a b", "a b", 0.5, 0.5),  # P = 1/3, R = 1
    ("xsum", "the cat, the hat", "the cat the hat", 1, 1),
    ("xsum", "don't stop", "don t stop", 1, 1),
    ("xsum", "cats run", "cat run", 0, 0),  # no stemming
    # toy tasks
    ("toy_sentiment", "The review is positive, as it calls the film lovely.", "positive", 1, 1),
    ("toy_arithmetic", "After this Ann has 7 apples.", "7", 1, 1),
    ("toy_arithmetic", "After this Ann has 17 apples.", "7", 0, 0),
    ("toy_question", "The text says that Ann Hill lives in Lirona.", "Lirona", 1, 1),
    ("toy_question", "The text says that Ann lives in Lironast.", "Lirona", 0, 0),
    ("toy_entities", "The text names the people Ann and Bob, the place Rome and no company.", PER, 1, 1),
    ("toy_entities", "The text names the person Ann and the place Rome.", PER, 0, 0),
    ("toy_entities", PER, PER, 1, 1),
]


@pytest.mark.parametrize(("task", "prediction", "reference", "strict", "compat"), VECTORS)
def test_a_heuristic_reads_an_answer_as_its_rule_says(
    task: str, prediction: str, reference: str, strict: float, compat: float
) -> None:
    assert rate(task, prediction, reference, "strict") == pytest.approx(strict)
    assert rate(task, prediction, reference, "compat") == pytest.approx(compat)


def test_strict_takes_the_best_reference_and_compat_the_one() -> None:
    meta = json.dumps({"references": ["Latin", "the Latin language"]})
    assert rate("squadv2", "latin language", "Latin", "strict", meta) == 1
    assert rate("squadv2", "latin language", "Latin", "compat", meta) == pytest.approx(2 / 3)


def test_a_task_without_a_heuristic_stays_unscored() -> None:
    example = Example("1", "instructions", "test", "i", "", "ref")
    (outcome,) = make_scorer("heuristic").score([ScoreRequest(example, get_task("instructions"), "x")])
    assert outcome == Unscored("no heuristic for this task", "instructions")


def test_a_task_with_an_unknown_heuristic_is_a_mistake() -> None:
    task = Task(name="odd", instruction="", answer_format="free", heuristic="guess")
    with pytest.raises(ConfigError, match=r"saw the heuristic 'guess'; expected one of conll"):
        make_scorer("heuristic").score([ScoreRequest(Example("1", "odd", "test", "i", "", "r"), task, "x")])


def test_what_the_rating_rests_on_is_kept() -> None:
    example = Example("1", "sst2", "test", "i", "", "negative")
    outcomes = make_scorer("heuristic").score(
        [ScoreRequest(example, get_task("sst2"), text) for text in ("It is negative.", "Good.", "positive negative")]
    )
    assert outcomes == [Rating(1.0, "negative"), Rating(0.0, "no label"), Rating(0.0, "undecided")]


def test_truth_scores_toy_rows_and_no_others() -> None:
    from assay.tasks.toyworld.world import toy_task_examples

    (toy,) = toy_task_examples("toy_sentiment", {"test": 1}, 0)
    real = Example("1", "sst2", "test", "i", "", "negative", meta_json='{"references": ["negative"]}')
    scorer = make_scorer("truth")
    assert scorer.spec.kind == "human"
    assert scorer.score([ScoreRequest(toy, get_task(toy.task), toy.reference)]) == [Rating(1.0)]
    assert scorer.score([ScoreRequest(toy, get_task(toy.task), "")]) == [Rating(0.0)]
    assert scorer.score([ScoreRequest(real, get_task("sst2"), "negative")]) == [Unscored("no truth for this row")]
