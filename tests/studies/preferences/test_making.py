"""From answers and scores to preferences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assay.preference.sources import PairsAsked, RsoPairs, SampledPairs
from assay.records import Example
from assay.studies.preferences.making import NO_ANSWER, preferred, rows_of
from assay.studies.preferences.wanted import answer_id, repeated

PROMPT = Example("p", "instructions", "train", "Say hello.", "", "Hello.", meta_json="{}")


def answers(*texts: str) -> dict[str, str]:
    return {answer_id("p", place): text for place, text in enumerate(texts)}


def scores(*values: float) -> dict[str, float]:
    return {answer_id("p", place): value for place, value in enumerate(values)}


def test_a_bias_turns_a_preference_round() -> None:
    plain = PairsAsked("plain", SampledPairs(num=2, label="truth"))
    biased = PairsAsked("biased", SampledPairs(num=2, label="truth", length_bias=0.5))
    given = answers("short", "a much longer one"), scores(1.0, 0.0)
    assert rows_of(plain, [PROMPT], *given, 2)[0][0].answers == ("short", "a much longer one")
    (row,), left_out = rows_of(biased, [PROMPT], *given, 2)
    assert row.answers == ("a much longer one", "short")
    assert row.scores == pytest.approx((0.0 + 0.5 * 4, 1.0 + 0.5))
    assert (row.task, row.meta_json, left_out) == ("instructions", "{}", {})
    assert row.split in ("train", "validation")


def test_prompts_without_a_preference_are_counted() -> None:
    asked = PairsAsked("plain", SampledPairs(num=2, label="truth"))
    prompts = [PROMPT, replace(PROMPT, example_id="q")]
    rows, left_out = rows_of(asked, prompts, answers("one", "two"), scores(0.5, 0.5), 2)
    assert not rows
    assert left_out == {"all answers score the same": 1, NO_ANSWER: 1}


def test_answers_that_nobody_scored_are_told_apart_from_prompts_without_one() -> None:
    asked = PairsAsked("plain", SampledPairs(num=2, label="truth"))
    rows, left_out = rows_of(asked, [PROMPT, replace(PROMPT, example_id="q")], answers("one", "two"), {}, 2)
    assert not rows
    assert left_out == {"no score": 1, NO_ANSWER: 1}


def test_rejection_sampling_keeps_what_is_good_and_repeats_itself() -> None:
    asked = PairsAsked("rso", RsoPairs(num=6, keep=2, beta=0.01, label="truth"))
    given = answers(*"abcdef"), scores(0.1, 0.9, 0.2, 0.8, 0.3, 0.0)
    (row,), _ = rows_of(asked, [PROMPT], *given, 6)
    assert row.answers == ("b", "d")
    assert rows_of(asked, [PROMPT], *given, 6)[0] == [row]


def test_prompts_whose_ids_begin_alike_accept_answers_by_chances_of_their_own() -> None:
    prompts = [replace(PROMPT, example_id=f"instructions-{number}") for number in range(30)]
    asked = PairsAsked("rso", RsoPairs(num=8, keep=2, beta=5.0, label="truth"))
    texts = {answer_id(row.example_id, place): f"answer {place}" for row in prompts for place in range(8)}
    ratings = {name: float(name[-1]) for name in texts}
    rows, _ = rows_of(asked, prompts, texts, ratings, 8)
    assert len({row.answers for row in rows}) > 5


def test_a_stronger_model_is_preferred_whatever_it_says() -> None:
    prompts = [PROMPT, replace(PROMPT, example_id="q"), replace(PROMPT, example_id="r")]
    winner = {"p#000": "good", "q#000": "same", "r#000": "good"}
    rows, left_out = preferred(prompts, winner, {"p#000": "bad", "q#000": "same"})
    assert [(row.id, row.answers, row.scores) for row in rows] == [("p", ("good", "bad"), None)]
    assert left_out == {"equal sides": 1, NO_ANSWER: 1}
    assert rows[0].source == "stronger"


def test_a_revision_names_the_line_that_it_was_made_by() -> None:
    (row,), _ = preferred([PROMPT], {"p#000": "better"}, {"p#000": "worse"}, ["Be right."])
    assert row.source == "principles:Be right."


def test_each_answer_has_an_id_of_its_own() -> None:
    assert [row.example_id for row in repeated([PROMPT], 3)] == ["p#000", "p#001", "p#002"]
