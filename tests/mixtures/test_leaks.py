from __future__ import annotations

import dataclasses
import json
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.mixtures.leaks import Leak, find_copies, find_leaks
from assay.mixtures.likeness import normal_form
from assay.mixtures.spec import LeakSpec
from assay.records import Example

SPEC = LeakSpec(ngram_words=3, min_overlap=0.5, common_rows=2)


def row(text: str, instruction: str = "Do.", history: str = "") -> Example:
    return Example("x", "t", "train", instruction, text, "out", history_json=history)


def leaks(rows: list[str], held_out: list[str], spec: LeakSpec = SPEC) -> list[Leak]:
    return find_leaks([row(text) for text in rows], [row(text) for text in held_out], spec)


def test_case_and_white_space_do_not_hide_a_copy() -> None:
    assert leaks(["a b", "A  B\n", "a c"], ["a b"]) == [Leak(0, 0, 1.0), Leak(1, 0, 1.0)]


def test_punctuation_does_not_make_short_rows_equal() -> None:
    assert leaks(["3 + 4"], ["3 - 4"]) == []


def test_another_instruction_is_another_row_and_another_history_is_not() -> None:
    held = [row("a b")]
    assert find_leaks([row("a b", "Else.")], held, SPEC) == []
    assert find_leaks([row("a b", history='[["user", "x"]]')], held, SPEC) == [Leak(0, 0, 1.0)]
    assert find_leaks([row("a b")], [row("a b", history='[["user", "x"]]')], SPEC) == [Leak(0, 0, 1.0)]


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_held_out_question_inside_a_training_conversation_is_a_leak(role: str) -> None:
    past = json.dumps([["user", "Hello"], [role, "Do.  A b"]])
    assert find_leaks([row("else", history=past)], [row("a b")], SPEC) == [Leak(0, 0, 1.0)]
    system = json.dumps([["system", "Do. a b"]])
    assert find_leaks([row("else", history=system)], [row("a b")], SPEC) == []
    near = json.dumps([[role, "say a b c d e f and no more"]])
    (leak,) = find_leaks([row("else", history=near)], [row("a b c d e f")], SPEC)
    assert leak.overlap < 1


def test_an_answer_that_gives_a_long_reference_away_is_a_leak_and_a_label_is_none() -> None:
    held = dataclasses.replace(row("held"), reference="a b c d e")
    assert find_leaks([dataclasses.replace(row("mine"), reference="A b c d e.")], [held], SPEC) == [Leak(0, 0, 1.0)]
    label = dataclasses.replace(row("held"), reference="yes")
    assert find_leaks([dataclasses.replace(row("mine"), reference="yes")], [label], SPEC) == []


SENTENCE = "今天的天气很好我们去公园"
FORMS = {
    "one more character": (SENTENCE, SENTENCE + "吧"),
    "a final full stop": ("Who wrote it", "Who wrote it."),
    "a full-width stop": (SENTENCE, SENTENCE + "。"),
    "composed and decomposed": ("Caf\u00e9 na\u00efve", "Cafe\u0301 nai\u0308ve"),
    "full-width letters": ("Grade ABC 12", "Ｇｒａｄｅ　ＡＢＣ　１２"),
    "a character nobody sees": ("One two", "One\u200b two"),
    "case": ("STRASSE", "straße"),
    "Thai": ("สวัสดีครับวันนี้อากาศดีมาก", "สวัสดีครับวันนี้อากาศดีมากๆ"),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_one_text_do_not_escape(form: str) -> None:
    first, second = FORMS[form]
    assert len(leaks([first], [second], LeakSpec())) == 1
    assert len(leaks([second], [first], LeakSpec())) == 1


@given(st.text(min_size=1), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_no_unicode_form_hides_a_copy(text: str, form: str) -> None:
    other = unicodedata.normalize(form, text)
    assert normal_form(other) == normal_form(text)
    assert normal_form(normal_form(text)) == normal_form(text)


def test_copies_and_contradictions_are_counted() -> None:
    rows = [
        row("a b"),
        row("A  b."),  # a copy of the first
        dataclasses.replace(row("a b"), reference="another"),  # the same question, answered otherwise
        row("a b", history='[["user", "x"]]'),  # another conversation
        row("c"),
        dataclasses.replace(row("A B"), reference="Another"),  # a copy of the third
    ]
    assert find_copies(rows) == ([1, 5], 1)


def test_overlap_is_the_share_of_the_smaller_rows_shingles() -> None:
    # shingles of three words: held abc bcd cde def (4); row: abc bcd cdx (3), two of three shared: 2/3
    (leak,) = leaks(["a b c d x"], ["a b c d e f"])
    assert (leak.position, leak.seen_in, round(leak.overlap, 4)) == (0, 0, 0.6667)
    # row: abc bcx cxy (3), one shared: 1/3 < 1/2
    assert leaks(["a b c x y"], ["a b c d e f"]) == []
    # a part of a held-out row shares all of its own
    assert leaks(["c d e f"], ["a b c d e f g h i"]) == [Leak(0, 0, 0.9999)]


def test_the_closest_held_out_row_is_named() -> None:
    # against the first: abc of abc bcd cde = 1/3; against the second: abc bcd = 2/3
    (leak,) = leaks(["a b c d e"], ["a b c x y z", "a b c d y z"])
    assert leak.seen_in == 1


def test_wording_that_many_held_out_rows_share_is_no_evidence() -> None:
    held = ["give the sum of one", "give the sum of two", "give the sum of three"]
    # "give the sum", "the sum of" are in 3 > 2 rows; what is left differs
    assert leaks(["give the sum of nine"], held) == []
    assert len(leaks(["give the sum of nine"], held[:2])) == 1


def test_rows_without_input_are_compared_by_instruction() -> None:
    first, second = (Example("x", "t", "train", text, "", "o") for text in ("Name a b c d.", "Name a b c e."))
    # name-a-b, a-b-c, b-c-d against ... b-c-e: 2 of 3
    assert len(find_leaks([first], [second], SPEC)) == 1


def test_nothing_to_compare_is_no_leak() -> None:
    assert find_leaks([], [row("a")], SPEC) == find_leaks([row("a")], [], SPEC) == []
    assert leaks(["a b"], ["a b c d e"]) == []


words = st.lists(st.sampled_from("abcd"), min_size=0, max_size=9).map(" ".join)


@given(st.lists(words, max_size=6), st.lists(words, max_size=6), st.sampled_from([0.3, 0.5, 1.0]))
def test_the_index_finds_what_comparing_all_pairs_finds(rows: list[str], held: list[str], least: float) -> None:
    spec = LeakSpec(ngram_words=2, min_overlap=least, common_rows=2)
    assert {leak.position for leak in leaks(rows, held, spec)} == _by_all_pairs(rows, held, least)


def _by_all_pairs(rows: list[str], held: list[str], least: float) -> set[int]:
    def shingles(text: str) -> set[tuple[str, str]]:
        parts = text.split()
        return set(pairwise(parts))

    held_sets = [shingles(text) for text in held]
    common = {item for one in held_sets for item in one if sum(item in other for other in held_sets) > 2}
    found = set()
    for place, text in enumerate(rows):
        mine = shingles(text) - common
        for other, theirs in zip(held, held_sets, strict=True):
            shared = len(mine & (theirs - common))
            if text == other or (shared and shared / min(len(mine), len(theirs - common)) >= least):
                found.add(place)
    return found


def test_ten_copies_among_fifty_thousand_rows_are_found() -> None:
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"w{number}" for number in range(20_000)])
    texts = [" ".join(vocabulary[rng.integers(0, 20_000, 30)]) for _ in range(52_000)]
    rows, held = [row(text) for text in texts[:50_000]], [row(text) for text in texts[49_990:]]
    assert len(find_leaks(rows, held, LeakSpec())) == 10


@pytest.mark.parametrize("policy", ["drop", "refuse", "ignore"])
def test_policies_are_known(policy: str) -> None:
    assert LeakSpec.model_validate({"policy": policy}).policy == policy
