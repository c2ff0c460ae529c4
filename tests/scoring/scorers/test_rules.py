"""Rules of `correct_if`: worked by hand, against the catalogue's own heuristics, and laws that always hold."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.records import Example, Outcome, Rating, Unscored
from assay.scoring.protocol import ScoreRequest
from assay.scoring.scorers.rules import chosen_letter, find_json, named_labels, numbers_in, same_json
from assay.tasks.catalog import Task
from assay.tasks.correct_if import CorrectIf
from support.shipped import get_task, make_scorer

LABELS = ("billing", "shipping", "technical")


def rate(rule: str, prediction: str, reference: str, labels: tuple[str, ...] = (), meta: str = "") -> Outcome:
    task = Task(
        name="mine", instruction="i", answer_format="free", labels=labels, correct_if=CorrectIf.model_validate(rule)
    )
    example = Example("1", "mine", "test", "i", "x", reference, meta_json=meta)
    (outcome,) = make_scorer("heuristic").score([ScoreRequest(example, task, prediction)])
    return outcome


def value(*arguments: Any, **named: Any) -> float:
    outcome = rate(*arguments, **named)
    assert isinstance(outcome, Rating), outcome
    return outcome.value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It goes to Billing.", ["billing"]),
        ("rebilling", []),
        ("billing, or shipping", ["billing", "shipping"]),
        ("BILLING billing", ["billing"]),
        ("", []),
    ],
)
def test_labels_are_named_as_whole_words(text: str, found: list[str]) -> None:
    assert named_labels(text, LABELS) == found


def test_a_label_inside_a_longer_one_does_not_count() -> None:
    labels = ("spam", "not spam")
    assert named_labels("This is not  spam.", labels) == ["not spam"]
    assert named_labels("spam", labels) == ["spam"]
    assert named_labels("not spam, spam", labels) == ["spam", "not spam"]
    assert named_labels("it is unanswerable", ("answerable", "unanswerable")) == ["unanswerable"]


def test_scripts_without_blanks_need_no_edge_of_a_word() -> None:
    assert named_labels("这是积极的。", ("积极", "消极")) == ["积极"]
    assert named_labels("E\u0301te\u0301", ("été",)) == ["été"]
    assert named_labels("C++ it is", ("C++", "C")) == ["C++"]


def test_an_answer_decides_for_one_label() -> None:
    assert value("label_in_text", "I would send it to shipping", "shipping", LABELS) == 1
    assert value("label_in_text", "shipping", "Billing", LABELS) == 0
    assert rate("label_in_text", "shipping or billing", "billing", LABELS) == Rating(0.0, "undecided")
    assert rate("label_in_text", "who knows", "billing", LABELS) == Rating(0.0, "no label")
    assert rate("label_in_text", "billing", "sales", LABELS) == Unscored("reference is no label", "sales")


@pytest.mark.parametrize("task", ["mnli", "qnli", "sst2"])
def test_on_answers_that_name_one_label_it_agrees_with_the_catalogue(task: str) -> None:
    shipped = get_task(task)
    ours = shipped.replace(correct_if="label_in_text", heuristic="")
    rng = random.Random(0)
    frames = ["{}", "The answer is {}.", "{}!", "I think: {}", "label={}", "**{}**"]
    scorer = make_scorer("heuristic")
    for _ in range(200):
        gold, said = rng.choice(shipped.labels), rng.choice(frames).format(rng.choice(shipped.labels))
        example = Example("1", task, "test", "i", "x", gold)
        theirs, mine = (scorer.score([ScoreRequest(example, each, said)])[0] for each in (shipped, ours))
        assert isinstance(theirs, Rating)
        assert isinstance(mine, Rating)
        assert theirs.value == mine.value, said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,234.5 and -2", [1234.5, -2.0]),
        ("\u22123 or .5", [-3.0, 0.5]),
        ("1e3", [1000.0]),
        ("v2 3.14.15 9", [3.14, 9.0]),
        ("12,34", [12.0, 34.0]),
        ("$40 (50%)", [40.0, 50.0]),
        ("none", []),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, found: list[float]) -> None:
    assert numbers_in(text) == found


def test_numbers_within_the_tolerance_count() -> None:
    assert value("number", "It is 4.", "4.0") == 1
    assert value("number(0.05)", "3.96", "4") == 1
    assert value("number(0.05)", "3.94", "4") == 0
    assert value("number(last)", "2 + 2 makes 4", "4") == 1
    assert value("number", "2 + 2 makes 4", "4") == 0
    assert rate("number", "four", "4") == Rating(0.0, "no number")
    assert rate("number", "4", "four") == Unscored("reference has no number", "four")
    assert value("number", "7", "4", meta=json.dumps({"references": ["4", "7"]})) == 1


@given(st.floats(-1e12, 1e12, allow_nan=False), st.floats(0, 10))
def test_a_number_is_right_against_itself_and_wrong_beyond_the_tolerance(number: float, tolerance: float) -> None:
    rule = f"number(tolerance={tolerance!r})"
    assert value(rule, repr(number), repr(number)) == 1
    beyond = number + 2 * tolerance + 1 + abs(number) * 1e-9
    assert value(rule, repr(beyond), repr(number)) == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.randoms())
def test_json_equality_is_blind_to_order_of_keys_and_only_where_asked_of_lists(found: Any, rng: random.Random) -> None:
    def shuffled(part: Any) -> Any:
        if isinstance(part, dict):
            items = [(key, shuffled(inner)) for key, inner in part.items()]
            rng.shuffle(items)
            return dict(items)
        return [shuffled(inner) for inner in part] if isinstance(part, list) else part

    def mixed(part: Any) -> Any:
        if isinstance(part, list):
            inner = [mixed(each) for each in part]
            rng.shuffle(inner)
            return inner
        return {key: mixed(inner) for key, inner in part.items()} if isinstance(part, dict) else part

    assert same_json(found, shuffled(found))
    assert same_json(found, mixed(found), ignore_order=True)
    assert same_json([found], [found, found], ignore_order=True) is False


def test_json_is_found_and_compared_by_value() -> None:
    assert find_json('Sure: ```json\n{"a": 1}\n``` done') == {"a": 1}
    assert find_json("here [1, 2] it is") == [1, 2]
    assert find_json("{'a': 'b'}") == {"a": "b"}
    assert same_json({"a": 1}, {"a": 1.0})
    assert not same_json({"a": 1}, {"a": True})
    assert not same_json([1, 2], [2, 1])
    assert same_json({"a": 1, "b": 2}, {"a": 1, "c": 3}, keys=("a",))
    assert not same_json({"b": 2}, {"a": None}, keys=("a",))
    assert value("json_equal", 'It is {"b": [1], "a": "x"}', '{"a": "x", "b": [1]}') == 1
    assert value("json_equal(ignore_order)", '{"b": [2, 1]}', '{"b": [1, 2]}') == 1
    assert value("json_equal", '{"b": [2, 1]}', '{"b": [1, 2]}') == 0
    assert rate("json_equal", "no", '{"a": 1}') == Rating(0.0, "no JSON")
    assert rate("json_equal", '{"a": 1}', "no") == Unscored("reference is no JSON", "no")


def test_references_inside_answers() -> None:
    assert value("contains_reference", "It was the Eiffel Tower.", "Eiffel Tower") == 1
    assert value("contains_reference", "Towers", "Tower") == 0
    assert value("contains_reference", "anything", "") == 0
    # tokens (the, a dropped): answer {in, paris, france}, gold {paris}: P 1/3, R 1, F1 1/2
    assert value("span_f1(0.5)", "In Paris, France", "Paris") == 1
    assert value("span_f1(0.51)", "In Paris, France", "Paris") == 0


def test_patterns() -> None:
    assert value('regex("^(yes|no)")', "yes, surely", "YES") == 1
    assert value('regex("^(yes|no)")', "no", "yes") == 0
    assert value('regex("[0-9]{4}")', "in 1999", "whatever") == 1
    assert rate('regex("[0-9]{4}")', "never", "x") == Rating(0.0, "not found")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(c)", "C"),
        ("D. Paris", "D"),
        ("**A**", "A"),
        ("The answer is (B).", "B"),
        ("Answer: C because A is wrong", "C"),
        ("A dog barks", None),
        ("I think it is (D), the last", "D"),
        ("between (A) and (B)", None),
        ("Because", None),
        ("", None),
    ],
)
def test_letters(text: str, letter: str | None) -> None:
    assert chosen_letter(text, "ABCD") == letter


def test_the_chosen_letter_is_the_references() -> None:
    assert value("choice_letter", "The answer is B", "B) Paris") == 1
    assert value("choice_letter", "The answer is B", "C") == 0
    assert rate("choice_letter", "B", "Paris") == Unscored("reference has no letter", "Paris")


def test_none_says_nothing() -> None:
    assert rate("none", "x", "x") == Unscored("no heuristic for this task", "mine")


@given(st.text(max_size=200), st.text(max_size=50))
@pytest.mark.parametrize("rule", ["number(1)", "json_equal(ignore_order)", "contains_reference", "span_f1(0.5)",
                                  'regex("^(yes|no)")', "choice_letter", "label_in_text"])  # fmt: skip
def test_no_text_makes_a_rule_fail(rule: str, prediction: str, reference: str) -> None:
    outcome = rate(rule, prediction, reference, LABELS)
    assert isinstance(outcome, Unscored) or outcome.value in (0.0, 1.0)
