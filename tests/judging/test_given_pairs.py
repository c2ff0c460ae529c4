"""Preference files as pairs with a gold choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.errors import ConfigError, DataError
from assay.judging.given_pairs import read_given_pairs


def written(tmp_path: Path, rows: list[dict[str, object]]) -> Path:
    path = tmp_path / "liked.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_what_was_chosen_is_right_wherever_it_stands(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"prompt": f"Q{n}", "chosen": f"good {n}", "rejected": "bad"} for n in range(40)]
    (given,) = read_given_pairs([written(tmp_path, rows)], "trl")
    assert all((item.output_1, item.output_2)[(item.gold or 0) - 1].startswith("good") for item in given.pairs.items)
    first = sum(item.gold == 1 for item in given.pairs.items)
    assert 10 < first < 30  # about half, by content
    assert read_given_pairs([tmp_path / "liked.jsonl"], "trl", limit=3)[0].pairs.items == given.pairs.items[:3]


def test_earlier_turns_are_shown_with_who_spoke(tmp_path: Path) -> None:
    begin = "\n\nHuman: Hi.\n\nAssistant: Yes?\n\nHuman: Name a fruit.\n\nAssistant: "
    (given,) = read_given_pairs([written(tmp_path, [{"chosen": f"{begin}A pear.", "rejected": f"{begin}No."}])], "hh")
    assert given.pairs.items[0].input == "User: Hi.\n\nAssistant: Yes?\n\nUser: Name a fruit."


def test_of_a_list_the_best_and_the_worst_are_compared(tmp_path: Path) -> None:
    said = [{"response": text, "overall_score": score} for text, score in (("so", 5.0), ("best", 9.0), ("worst", 1.0))]
    (given,) = read_given_pairs([written(tmp_path, [{"instruction": "Q", "completions": said}])], "ultrafeedback")
    (item,) = given.pairs.items
    assert {item.output_1, item.output_2} == {"best", "worst"}


def test_labels_of_single_answers_are_no_pairs(tmp_path: Path) -> None:
    path = written(tmp_path, [{"prompt": "Q", "completion": "a", "label": True}])
    with pytest.raises(DataError, match="1 rows of one answer and no pair"):
        read_given_pairs([path], "trl")
    with pytest.raises(ConfigError, match="expected one of trl, hh, ultrafeedback, shp, llama_factory"):
        read_given_pairs([path], "alpaca")
