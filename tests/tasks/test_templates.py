from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import DataError
from assay.records import Example
from assay.tasks.templates import (
    RESPONSE_MARKER,
    messages,
    prompt_after_input,
    prompt_before_input,
    render_prompt,
    truncate_example,
    truncate_output,
)


def example(instruction: str = "Do.", text: str = "", history: str = "") -> Example:
    return Example("1", "t", "test", instruction, text, "ref", history_json=history)


def test_prompt_with_input() -> None:
    assert render_prompt(example("Do.", "x")) == "### Instruction:\nDo.\n\n### Input:\nx\n\n### Response:\n"


def test_prompt_without_input_has_no_input_part() -> None:
    assert render_prompt(example("Do.")) == "### Instruction:\nDo.\n\n### Response:\n"


def test_braces_in_text_are_text() -> None:
    assert "{input} {0} {{" in render_prompt(example("{input} {0} {{", "{instruction}"))


def test_earlier_turns_come_first() -> None:
    told = example("And now?", history='[["system", "Be kind."], ["user", "Hi"], ["assistant", "Hello"]]')
    assert render_prompt(told) == (
        "Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHello\n\n### Instruction:\nAnd now?\n\n### Response:\n"
    )
    assert messages(told) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "And now?"},
    ]


def test_messages_join_instruction_and_input() -> None:
    assert messages(example("Do.", "x")) == [{"role": "user", "content": "Do.\n\nx"}]


@pytest.mark.parametrize("history", ["{}x", '[["robot", "x"]]', '[["user", 1]]', "[1]", '"ab"', "3"])
def test_a_history_that_is_none_is_refused(history: str) -> None:
    with pytest.raises(DataError, match="expected a JSON list"):
        render_prompt(example(history=history))


@given(st.text(max_size=30), st.text(max_size=200), st.integers(3, 80))
def test_text_truncation_keeps_the_marker_and_the_limit(instruction: str, text: str, limit: int) -> None:
    def count(prompt: str) -> int:
        return len(prompt.split())

    row = example(instruction, text)
    cut = truncate_example(row, limit, count)
    assert count(cut) <= limit
    assert cut.endswith(RESPONSE_MARKER)
    if count(render_prompt(row)) <= limit:
        assert cut == render_prompt(row)


def test_text_truncation_keeps_as_much_input_as_fits() -> None:
    # "### Instruction: Do." 3 words, "### Input:" 2, "### Response:" 2: 7 of 10 words, so 3 of the input's 5 stay
    assert truncate_example(example("Do.", "a b c d e"), 10, lambda text: len(text.split())) == (
        "### Instruction:\nDo.\n\n### Input:\na b c \n\n### Response:\n"
    )
    with pytest.raises(ValueError, match="response marker takes 2"):
        truncate_example(example("Do.", "a"), 1, lambda text: len(text.split()))


def test_the_three_parts_are_the_prompt() -> None:
    for row in (example("Do.", "x"), example("Do.")):
        assert prompt_before_input(row) + row.input + prompt_after_input(row) == render_prompt(row)


@pytest.mark.parametrize(
    ("text", "strict", "compat"),
    [
        (" positive \n", "positive", "positive"),
        ("yes\n### Instruction: more", "yes\n### Instruction: more", "yes"),
        ("### Title\ntext", "### Title\ntext", ""),
        ("a # b ## c", "a # b ## c", "a # b ## c"),
        ("", "", ""),
    ],
)
def test_only_compat_cuts_at_a_further_heading(text: str, strict: str, compat: str) -> None:
    assert truncate_output(text, "strict") == strict
    assert truncate_output(text, "compat") == compat
