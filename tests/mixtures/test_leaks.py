from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.mixtures.leaks import Leak, find_leaks
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


def test_another_instruction_or_history_is_another_row() -> None:
    held = [row("a b")]
    assert find_leaks([row("a b", "Else."), row("a b", history='[["user", "x"]]')], held, SPEC) == []


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


def test_fifty_thousand_rows_take_seconds() -> None:
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"w{number}" for number in range(20_000)])
    texts = [" ".join(vocabulary[rng.integers(0, 20_000, 30)]) for _ in range(52_000)]
    rows, held = [row(text) for text in texts[:50_000]], [row(text) for text in texts[49_990:]]
    start = time.perf_counter()
    assert len(find_leaks(rows, held, LeakSpec())) == 10
    assert time.perf_counter() - start < 15  # about 1.2 s on a quiet core


@pytest.mark.parametrize("policy", ["drop", "refuse", "ignore"])
def test_policies_are_known(policy: str) -> None:
    assert LeakSpec.model_validate({"policy": policy}).policy == policy
