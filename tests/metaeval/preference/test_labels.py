"""How labels follow length."""

from __future__ import annotations

import math

import pytest

from assay.metaeval.preference.answers import Label
from assay.metaeval.preference.labels import label_row
from assay.preference.rows import PreferenceRow, Prompt


def row(number: int, chosen: int, rejected: int, gap: float | None) -> PreferenceRow:
    scores = None if gap is None else (gap, 0.0)
    return PreferenceRow(f"r{number}", Prompt("ask"), ("good " * chosen, "bad " * rejected), scores)


def test_longer_chosen_answers_are_counted_and_correlated() -> None:
    rows = [row(0, 5, 1, 4.0), row(1, 4, 1, 3.0), row(2, 2, 2, 2.0), row(3, 1, 2, 1.0)]
    found = label_row("tiny", "plain", Label("truth", 0.1), rows, {"equal sides": 2}, kind="sampled")
    assert found["longer_share"] == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert found["low"] < found["longer_share"] < found["high"]
    assert found["length_correlation"] == pytest.approx(1.0)
    assert (found["num_rows"], found["num_scored"], found["left_out"]) == (4, 4, '{"equal sides": 2}')


def test_rows_without_scores_have_no_correlation() -> None:
    found = label_row("tiny", "given", Label("human", named="given"), [row(0, 2, 1, None)], {}, kind="given")
    assert (found["label"], found["num_scored"]) == ("given", 0)
    assert math.isnan(found["length_correlation"])
