from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from assay.config import validate
from assay.studies.first_file.guess import Guess, answer_format, guess_rows
from assay.studies.first_file.text import study_text
from assay.studies.spec import Study


def guess(rows: list[dict[str, Any]], **more: Any) -> Guess:
    found = guess_rows("mine", "mine.jsonl", rows, **more)
    assert isinstance(found, Guess), found
    return found


@pytest.mark.parametrize(
    ("answers", "shape", "labels"),
    [
        (["yes", "no"] * 50, "label", ("no", "yes")),
        (["1", "2", "3"] * 40, "integer", ("1", "2", "3")),
        ([str(n) for n in range(100)], "integer", ()),
        ([f"{n}.5" for n in range(100)], "number", ()),
        (['{"a": 1}', "[]"] + [json.dumps({"a": n}) for n in range(98)], "json", ()),
        ([f"```python\nf({n})\n```" for n in range(100)], "code_block", ()),
        ([f"word{n}" for n in range(100)], "span", ()),
        ([f"something else {n}" for n in range(100)], "free", ()),
        (["Yes", "yes", "no"] * 40, "free", ()),  # labels that differ in case alone are none
    ],
)
def test_the_shape_of_answers(answers: list[str], shape: str, labels: tuple[str, ...]) -> None:
    inputs = [f"a text with word{n} in it" for n in range(len(answers))]
    assert answer_format(answers, inputs)[:2] == (shape, labels)


def test_questions_without_an_answer_in_the_text_are_spans_all_the_same() -> None:
    answers = ["unanswerable" if n % 3 == 0 else f"word{n}" for n in range(90)]
    shape, _, unsure = answer_format(answers, [f"a text with word{n} in it" for n in range(90)])
    assert shape == "span"
    assert "'unanswerable'" in unsure[0]


def test_columns_are_found_by_their_names() -> None:
    made = guess([{"Text": f"t {n}", "Team": ("a", "b")[n % 2], "n": n} for n in range(100)])
    assert made.columns == {"input": "Text", "output": "Team"}
    assert (made.answer, made.labels, made.num_test) == ("label", ("a", "b"), 7)
    assert made.unsure == ("what the model is asked: write the instruction",)
    refused = guess_rows("m", "m", [{"foo": "x", "bar": "y"}])
    assert isinstance(refused, str)
    assert refused.startswith("no columns of question and answer among foo, bar")


def test_instruction_sets_conversations_and_preferences_are_told_apart() -> None:
    rows = [{"instruction": f"Do {n}.", "input": "", "output": f"done {n}"} for n in range(50)]
    assert not guess(rows).is_task
    one = [{"instruction": "Do it.", "input": f"{n}", "output": f"done {n}"} for n in range(50)]
    assert guess(one).instruction == "Do it."
    assert guess([{"messages": [{"role": "user", "content": "x"}]}] * 3).loader == "messages"
    assert guess([{"conversations": []}] * 3).loader == "sharegpt"
    told = guess_rows("m", "m", [{"prompt": "x", "chosen": "a", "rejected": "b"}])
    assert isinstance(told, str)
    assert told.startswith("preferences")


def test_splits_that_rows_name_are_taken() -> None:
    rows = [{"input": f"t {n}", "output": f"o {n}", "split": ("train", "test")[n % 5 == 0]} for n in range(50)]
    made = guess(rows)
    assert (made.has_splits, made.num_test) == (True, 10)
    assert guess(rows, num_test=3).num_test == 3


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.lists(st.text(max_size=2), max_size=2)
)
NAMES = st.sampled_from(["input", "text", "output", "label", "instruction", "split", "messages", "odd", "Answer"])


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=5), max_size=12))
def test_whatever_rows_hold_the_study_is_valid_or_nothing_is_guessed(rows: list[dict[str, Any]]) -> None:
    found = guess_rows("mine", "mine.jsonl", rows)
    if isinstance(found, str):
        assert "\n" not in found
        return
    if found.num_test == 0 and found.has_splits:
        return
    text = study_text("s", "/data", [found])
    made = validate(Study, yaml.safe_load(text), "s")
    assert made.data.root == "/data"
    for label in found.labels:
        assert label in made.registry.tasks.get("mine").labels
