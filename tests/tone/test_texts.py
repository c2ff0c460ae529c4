"""How dialogues become texts of the tone classifier: laws of cutting, holding out and normalising."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import DataError
from assay.ifs.prompts import STYLES, ifs_prompts, is_partial
from assay.records import TEST, Example
from assay.tasks.templates import render_prompt
from assay.tone.texts import (
    Dialogue,
    case_rule,
    cut,
    dialogues_of,
    normalise,
    one_of_each_label,
    split_dialogues,
    tone_texts,
)

TEXT = st.text(max_size=120)
WORDS = st.lists(st.text("abcXYZ?.", min_size=1, max_size=6), min_size=2, max_size=12).map(" ".join)


def dialogues(count: int) -> list[Dialogue]:
    return [Dialogue(f"Tell me the name of thing {n} please", f"The name of thing {n} is known.") for n in range(count)]


@given(WORDS, st.integers(0, 100))
def test_a_cut_gives_the_text_back(instruction: str, seed: int) -> None:
    parts = cut(instruction, seed)
    assert parts is not None
    assert parts.fragment and parts.continuation
    assert f"{parts.fragment} {parts.continuation}" == instruction.strip()


@given(TEXT, st.integers(0, 5))
def test_a_cut_never_fails_and_never_loses_a_character(instruction: str, seed: int) -> None:
    parts = cut(instruction, seed)
    if parts is None:
        assert len(instruction.split()) <= 1
    else:
        assert [*parts.fragment.split(), *parts.continuation.split()] == instruction.split()


def test_cuts_fall_everywhere_and_by_seed() -> None:
    instruction = "one two three four five"
    found = {cut(instruction, seed).fragment for seed in range(60)}  # type: ignore[union-attr]
    assert found == {"one", "one two", "one two three", "one two three four"}
    assert cut(instruction, 3) == cut(instruction, 3)


def test_a_dialogue_gives_three_texts_of_which_one_is_an_answer() -> None:
    texts = list(tone_texts([Dialogue("Name a colour", "It is red.", "of an apple")], seed=0))
    assert [text.kind for text in texts] == ["response", "continuation", "continuation_response"]
    assert [text.is_answer_like for text in texts] == [True, False, False]
    assert texts[1].text.endswith("\n\nof an apple")  # the input is never cut
    assert texts[2].text.startswith(texts[1].text) and texts[2].text.endswith("It is red.")


def test_one_word_has_no_continuation() -> None:
    assert [text.kind for text in tone_texts([Dialogue("Hello", "Hello to you.")], seed=0)] == ["response"]


@given(st.permutations(range(30)), st.integers(0, 3))
def test_sides_do_not_depend_on_the_order_and_never_share_a_question(order: list[int], seed: int) -> None:
    all_of_them = dialogues(30) + [Dialogue(d.instruction.upper(), "Another answer.") for d in dialogues(30)]
    learned, held_out = split_dialogues(all_of_them, 0.3, seed)
    shuffled = [all_of_them[place] for place in order]
    again, _ = split_dialogues(shuffled, 0.3, seed)
    assert set(again) <= set(learned)
    assert not {normalise(d.instruction) for d in learned} & {normalise(d.instruction) for d in held_out}
    assert len(learned) + len(held_out) == 60


def test_a_held_out_dialogue_is_counted_once_per_label() -> None:
    texts = one_of_each_label(list(tone_texts(dialogues(200), 0)), 0)
    assert len(texts) == 400
    kinds = [text.kind for text in texts]
    assert 60 < kinds.count("continuation") < 140  # by seed, about half
    assert kinds.count("response") == 200


@given(TEXT)
def test_normalising_is_idempotent_and_knows_no_case(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.lower()
    assert not once or (once[0].isalnum() and once[-1].isalnum())


def test_the_case_rule_is_what_the_spec_says() -> None:
    assert [case_rule(text) for text in ("Yes.", " it is", "42", "")] == [True, False, True, True]


def test_the_first_exchange_of_a_conversation_is_taken() -> None:
    history = json.dumps([["system", "Be kind."], ["user", "First?"], ["assistant", "One."]])
    later = Example("1", "instructions", TEST, "Second?", "", "Two.", history_json=history)
    plain = Example("2", "instructions", TEST, "Sum up", "this text", "Done.")
    empty = Example("3", "instructions", TEST, "Say nothing", "", " ")
    found = dialogues_of([later, plain, plain, empty])
    assert found == [Dialogue("First?", "One."), Dialogue("Sum up", "Done.", "this text")]


def test_prompts_are_half_fragments_distinct_and_the_same_for_a_seed() -> None:
    prompts = ifs_prompts(dialogues(300), 101, seed=4)
    assert prompts == ifs_prompts(list(reversed(dialogues(300))), 101, seed=4)
    assert prompts != ifs_prompts(dialogues(300), 101, seed=5)
    assert sum(map(is_partial, prompts)) == 50
    assert len({prompt.example_id for prompt in prompts}) == 101
    assert len({json.loads(prompt.meta_json)["dialogue"] for prompt in prompts}) == 101
    whole = {dialogue.question for dialogue in dialogues(300)}
    for prompt in prompts:
        assert (prompt.instruction in whole) != is_partial(prompt)


def test_too_few_questions_are_refused() -> None:
    with pytest.raises(DataError, match="saw 10 distinct questions"):
        ifs_prompts(dialogues(10), 11, seed=0)


def test_a_model_sees_the_wrapper_the_suffix_or_nothing() -> None:
    row = Example("1", "instructions", TEST, "Name a", "", "")
    # "chat" is the model's own template, which no text stands for
    rendered = {name: render_prompt(row, spec) for name, spec in STYLES.items() if spec.style != "chat"}
    assert rendered == {
        "A": "Below is an instruction that describes a task. Write a response that appropriately completes the "
        "request.\n\n### Instruction:\nName a\n\n### Response:\n",
        "B": "Name a\n\n### Response:\n",
        "C": "Name a",
        "assay": "### Instruction:\nName a\n\n### Response:\n",
    }
