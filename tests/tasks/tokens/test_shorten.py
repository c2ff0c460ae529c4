"""What goes when a prompt is too long: the middle of its longest field, never a question."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.records import Example
from assay.tasks.templates import render_prompt
from assay.tasks.tokens.shorten import GAP, shorten

LONG = " ".join(f"word{number}" for number in range(200))


def row(instruction: str = "Answer.", text: str = "", history: list[list[str]] | None = None) -> Example:
    past = json.dumps(history) if history else ""
    return Example("e", "toy", "train", instruction, text, "yes", history_json=past)


def cut(example: Example, limit: int) -> Example:
    return shorten(example, lambda shorter: len(render_prompt(shorter)) <= limit)


@pytest.mark.parametrize("text", [f"Context: {LONG}\nQuestion: Who?", f"Question: Who?\nContext: {LONG}"])
def test_the_long_field_loses_its_middle_and_the_question_stays(text: str) -> None:
    shorter = cut(row(text=text), 300)
    assert len(render_prompt(shorter)) in (299, 300)
    assert "Question: Who?" in shorter.input
    assert "Context: word0 " in shorter.input
    assert GAP in shorter.input
    assert "word199" in shorter.input


def test_a_long_question_is_left_whole_and_the_row_refused() -> None:
    with pytest.raises(ValueError, match="its question"):
        cut(row(text=f"Context: short\nQuestion: {LONG}"), 300)


def test_an_instruction_without_input_loses_its_middle() -> None:
    shorter = cut(row(f"Write about {LONG} in rhyme."), 200)
    assert shorter.instruction.startswith("Write about")
    assert shorter.instruction.endswith("in rhyme.")


def test_an_instruction_beside_an_input_is_never_cut() -> None:
    shorter = cut(row(LONG, f"Article: {LONG}"), len(LONG) + 150)
    assert shorter.instruction == LONG


def test_the_longest_earlier_turn_goes_first() -> None:
    shorter = cut(row("And now?", history=[["user", LONG], ["assistant", "Yes."]]), 300)
    assert json.loads(shorter.history_json)[1] == ["assistant", "Yes."]
    assert shorter.instruction == "And now?"


def test_several_fields_go_together_where_one_does_not_suffice() -> None:
    shorter = cut(row(text=f"Premise: {LONG}\nContext: {LONG}\nQuestion: Who?"), 200)
    assert shorter.input.endswith("Question: Who?")


@given(st.integers(120, 2000), st.sampled_from(["Context", "Article", "Text"]), st.text(max_size=20))
def test_what_comes_out_fits_and_is_as_long_as_can_be(limit: int, label: str, asked: str) -> None:
    example = row(text=f"{label}: {LONG}\nQuestion: {asked.replace(chr(10), ' ')}?")
    if len(render_prompt(example)) <= limit:
        return
    shorter = cut(example, limit)
    assert limit - 1 <= len(render_prompt(shorter)) <= limit
