"""Drafts are taken off before anything is read; thinking that never ends has no answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.scoring.judges.parsing.thinking import spoken_part
from support.linear_time import WORSE_THAN_LINEAR, growth


@pytest.mark.parametrize(
    ("reply", "spoken"),
    [
        ("<think>\nOutput (a) is better in style.\n</think>\n\nOutput (b)", "Output (b)"),
        ("<think>... Score: 4? ...\n</think>\n\n8", "8"),
        ("the draft: (a)\n</think>\nOutput (b)", "Output (b)"),
        ("[THINK]perhaps 4[/THINK]7", "7"),
        ("<Reasoning effort='high'>4</REASONING>7", "7"),
        ("<seed:think>4</seed:think>7", "7"),
        ("<scratchpad>4</scratchpad>\n<answer>8</answer>", "8"),
        ("◁think▷4◁/think▷8", "8"),
        ("<|begin_of_thought|>4<|end_of_thought|><|begin_of_solution|>8<|end_of_solution|>", "8"),
        ("<|START_THINKING|>4<|END_THINKING|><|START_RESPONSE|>8<|END_RESPONSE|>", "8"),
        ('<details type="reasoning" done="true"><summary>Thought</summary>4</details>8', "8"),
        ("analysisWe need 4 or 5.assistantfinal7", "7"),
        ("analysis\n4 or 5\nfinal\n8", "8"),
        ("<|channel|>analysis<|message|>4<|end|><|start|>assistant<|channel|>final<|message|>8<|return|>", "8"),
        ("Here is my thought process: 4\nHere is my response: 8", "8"),
        ("<think>the tag <think> opens it</think>9", "9"),
        ("<think>a</think>7<think>b</think>", "7"),
        ("<reasoning><think>a</think>4</reasoning>7", "7"),
        ("<think></think>", ""),
    ],
)
def test_the_answer_is_what_stands_beside_the_thinking(reply: str, spoken: str) -> None:
    found = spoken_part(reply)
    assert found.text == spoken
    assert found.thinking_chars > 0
    assert not found.is_unfinished


@pytest.mark.parametrize(
    "reply",
    [
        "<think>my choice is [[A]] or [[C]], let me see",
        "7\n<think>or rather",
        "<reasoning><think>a</think> draft: 4",
        "[THINK]4",
        "<|channel|>analysis<|message|>Score: 4",
        "analysisWe need to give 4",
        '<details type="reasoning">4',
    ],
)
def test_thinking_that_never_ends_is_no_answer(reply: str) -> None:
    assert spoken_part(reply) == ("", len(reply), True)


@pytest.mark.parametrize(
    "reply",
    [
        "Score: 7",
        "Analysis: sound. Score: 7",
        "The answer leaks a `<think>` tag. 3",
        "<answer>7</answer>",
        "I think (a) is better. [[A]]",
        "a < b and c > d",
        "The <details>visible</details> part: 7",
        "[Reasoning]\nBoth are short.\n[Verdict]\nOutput (b)",
        "**[Thoughts]** Both are short.\n\n7",
        "[Thinking] Output (b) is better.",
        "[REASONING]\n4 is too low.\n[RESULT] 5",
        "Here is my thought process: (a) lies. Output (b) is better.",
    ],
)
def test_a_reply_without_thinking_comes_back_as_it_is(reply: str) -> None:
    assert spoken_part(reply) == (reply, 0, False)


@pytest.mark.parametrize("reply", ["[Reasoning]\nScore: 4", "Here is my thought process: Score: 4"])
def test_a_heading_is_thinking_where_the_budget_ended_it(reply: str) -> None:
    assert spoken_part(reply, is_cut=True) == ("", len(reply), True)
    assert spoken_part("Score: 4", is_cut=True) == ("Score: 4", 0, False)


@pytest.mark.parametrize("reply", ["[Reasoning]4[/Reasoning]7", "[thoughts] 4 [/thoughts]\n7"])
def test_a_heading_with_its_end_is_a_block(reply: str) -> None:
    assert spoken_part(reply).text == "7"


TAGS = ("<think>", "</think>", "[THINK]", "[/THINK]", "<reasoning>", "</reasoning>", "`", "<|channel|>final<|message|>")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(TAGS), st.text(max_size=8)), max_size=40).map("".join))
def test_what_is_read_came_after_some_thinking_or_had_none(reply: str) -> None:
    found = spoken_part(reply)
    assert len(found.text) <= len(reply)
    assert not (found.is_unfinished and found.text)
    if found.thinking_chars == 0:
        assert found.text == reply


@given(st.text(alphabet="ab (.7\n", max_size=60), st.text(alphabet="ab (.7", min_size=1, max_size=20))
def test_no_draft_changes_the_answer(draft: str, answer: str) -> None:
    assert spoken_part(f"<think>{draft}</think>{answer}").text == answer.strip()


@pytest.mark.parametrize("piece", ["<think>", "</think>", "<details reasoning>", "</details>", "<|channel|>a", "<"])
def test_hostile_thinking_is_read_in_linear_time(piece: str) -> None:
    assert growth(spoken_part, piece, 200_000) < WORSE_THAN_LINEAR
