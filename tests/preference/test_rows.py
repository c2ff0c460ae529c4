"""Preference rows: what is refused, and that a file holds what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import DataError
from assay.preference.rows import (
    KIND,
    PreferenceRow,
    Prompt,
    from_jsonl,
    read_rows,
    sides_fault,
    to_jsonl,
    write_rows,
)
from assay.store import Store

ASK = Prompt("Say hello.", "to Ann", '[["system", "Be kind."]]')

TEXT = st.text(min_size=1, max_size=20).filter(
    lambda text: text.strip() and not any("\ud800" <= c <= "\udfff" for c in text)
)


@given(st.lists(TEXT, min_size=2, max_size=5, unique=True), st.floats(-5, 5), TEXT)
def test_rows_survive_a_file(answers: list[str], best: float, name: str) -> None:
    rows = [
        PreferenceRow("a", ASK, tuple(answers), tuple(best - place for place in range(len(answers))), name),
        PreferenceRow("b", Prompt(name), tuple(answers), None, split="validation", meta_json='{"x": 1}'),
    ]
    assert from_jsonl(to_jsonl(rows), "file") == rows


def test_rows_are_kept_in_the_store(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    rows = [PreferenceRow("a", ASK, ("good", "bad"), (1.0, 0.0), "given"), PreferenceRow("b", ASK, ("so",), (0.0,))]
    with store.writing(KIND, "0" * 32) as artifact:
        write_rows(artifact, rows)
    assert read_rows(store, "0" * 32) == rows


@pytest.mark.parametrize(
    ("answers", "scores", "said"),
    [
        ((), None, "blank"),
        (("yes", " "), None, "blank"),
        (("yes", "yes"), None, "twice"),
        (("yes",), None, "without a score"),
        (("yes",), (0.5,), "single answer"),
        (("yes", "no"), (0.1,), "1 scores"),
        (("yes", "no"), (float("nan"), 0.1), "finite"),
        (("yes", "no"), (0.1, 0.2), "rise"),
    ],
)
def test_what_is_no_preference_is_refused(
    answers: tuple[str, ...], scores: tuple[float, ...] | None, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        PreferenceRow("a", ASK, answers, scores)


def test_a_damaged_line_is_named() -> None:
    whole = to_jsonl([PreferenceRow("a", ASK, ("good", "bad"))])
    for line in (b"{}\n", b"[1]\n", b'"x"\n', b"{\n", whole.replace(b'"good"', b"3")):
        with pytest.raises(DataError, match=r"^file:2: "):
            from_jsonl(to_jsonl([PreferenceRow("b", ASK, ("good", "bad"))]) + line, "file")
    with pytest.raises(DataError, match="UTF-8"):
        from_jsonl(b"\xff" + whole, "file")
    with pytest.raises(DataError, match="second time"):
        from_jsonl(whole + whole, "file")


def test_an_example_is_the_prompt_with_one_answer() -> None:
    row = PreferenceRow("a", ASK, ("good", "bad"), task="toy", meta_json="{}")
    assert [row.example(place).reference for place in (0, 1)] == [row.chosen, row.rejected] == ["good", "bad"]
    assert (row.example().instruction, row.example().input, row.example().history_json) == (
        ASK.instruction,
        ASK.input,
        ASK.history_json,
    )
    assert len(row.answers) == 2


@pytest.mark.parametrize(
    ("answers", "fault"),
    [(["a", "b"], ""), (["a", ""], "empty side"), (["a", "a "], "equal sides"), (["a"], "one side")],
)
def test_sides_that_make_no_preference_have_a_reason(answers: list[str], fault: str) -> None:
    assert sides_fault(answers) == fault
