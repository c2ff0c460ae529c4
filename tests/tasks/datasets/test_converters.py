"""Answers that have to be made of several columns, against the local files that were made by the same rules."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from assay.errors import DataError
from assay.tasks.datasets.converters import convert, entities

DATA = Path(os.environ.get("ASSAY_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "data" / "tasks"


@pytest.mark.parametrize(
    ("label", "expected"),
    [(0.0, "1"), (0.4, "1"), (1.5, "2"), (2.499, "2"), (2.5, "3"), (4.5, "5"), (5.0, "5")],
)
def test_similarity_is_rounded_half_up_and_clipped(label: float, expected: str) -> None:
    row = convert("stsb", {"label": label, "sentence1": "a", "sentence2": "b"}, "x:1")
    assert (row["input"], row["output"]) == ("Sentence1: a\nSentence2: b", expected)


def test_entities_of_both_tag_schemes() -> None:
    tokens = ["U.N.", "official", "Rolf", "Ekeus", "heads", "for", "Baghdad", "Iraq", "."]
    iob2 = ["B-ORG", "O", "B-PER", "I-PER", "O", "O", "B-LOC", "B-LOC", "O"]
    iob1 = ["I-ORG", "O", "I-PER", "I-PER", "O", "O", "I-LOC", "B-LOC", "O"]
    expected = [("ORG", "U.N."), ("PER", "Rolf Ekeus"), ("LOC", "Baghdad"), ("LOC", "Iraq")]
    assert entities(tokens, iob2) == entities(tokens, iob1) == expected
    assert entities(["a", "b"], ["B-PER", "I-LOC"]) == [("PER", "a"), ("LOC", "b")]


def test_tag_numbers_and_names_give_one_answer() -> None:
    numbers = convert("conll", {"tokens": ["In", "Rome", "EU"], "ner_tags": [0, 5, 3]}, "x:1")
    names = convert("conll", {"tokens": ["In", "Rome", "EU"], "tags": ["O", "B-LOC", "B-ORG"]}, "x:1")
    assert numbers["output"] == names["output"] == '{"LOC": ["Rome"], "PER": [], "ORG": ["EU"]}'
    assert numbers["input"] == "Text: In Rome EU"


def test_summaries_keep_all_their_references() -> None:
    row = convert("scitldr", {"source": ["One.", "Two."], "target": ["short", "brief"]}, "x:1")
    assert (row["input"], row["output"], row["references"]) == ("Article: One. Two.", "short", ["short", "brief"])


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("stsb", {"sentence1": "a", "sentence2": "b", "label": None}),
        ("conll", {"tokens": ["a"], "ner_tags": [99]}),
        ("conll", {"tokens": ["a", "b"], "ner_tags": [0]}),
        ("scitldr", {"source": ["a"]}),
    ],
)
def test_other_columns_are_one_clear_line(name: str, row: dict[str, object]) -> None:
    with pytest.raises(DataError, match=rf"x:1: cannot be read as {name}"):
        convert(name, row, "x:1")  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["stsb", "conll"])
def test_real_rows_come_out_as_the_local_files_have_them(task: str) -> None:
    path = DATA / task / "test.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no {path}: the public data is not at hand")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        made = convert(task, {name: row[name] for name in row if name not in ("input", "output")}, "x")  # type: ignore[arg-type]
        assert made["input"] == row["input"]
        assert json.loads(made["output"]) == json.loads(row["output"])
