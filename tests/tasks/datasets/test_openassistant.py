"""OpenAssistant trees and flat messages as examples."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from assay.errors import DataError
from assay.records import Example
from assay.tasks.datasets.loaders import load_examples
from assay.tasks.datasets.sources import SourceSpec


def message(name: str, parent: str | None, role: str, text: str, **more: Any) -> dict[str, Any]:
    return {"message_id": name, "parent_id": parent, "role": role, "text": text, "lang": "en", **more}


FLAT = [
    message("q", None, "prompter", "What is a bee?"),
    message("worse", "q", "assistant", "No idea.", rank=1),
    message("best", "q", "assistant", "A bee is an insect.", rank=0),
    message("gone", "q", "assistant", "Spam.", rank=None, deleted=True),
    message("more", "best", "prompter", "Does it fly?"),
    message("yes", "more", "assistant", "It does."),
    message("frage", None, "prompter", "Was ist eine Biene?", lang="de"),
    message("antwort", "frage", "assistant", "Ein Insekt.", lang="de"),
]


def tree(name: str) -> dict[str, Any]:
    (found,) = [row for row in FLAT if row["message_id"] == name]
    return {**found, "replies": [tree(row["message_id"]) for row in FLAT if row["parent_id"] == name]}


TREES = [{"message_tree_id": name, "prompt": tree(name)} for name in ("q", "frage")]


def load(folder: Path, rows: list[dict[str, Any]], **fields: Any) -> list[Example]:
    with gzip.open(folder / "oasst.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    source = SourceSpec(loader="openassistant", path="oasst.jsonl.gz", split_rule="strict", **fields)
    return load_examples(source, folder)


@pytest.mark.parametrize("rows", [TREES, FLAT, FLAT[::-1]], ids=["trees", "flat", "flat, children first"])
def test_the_best_ranked_path_is_the_conversation(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    found = load(tmp_path, rows, languages=["en"], turns="each")
    assert [(row.instruction, row.reference) for row in found] == [
        ("What is a bee?", "A bee is an insect."),
        ("Does it fly?", "It does."),
    ]


@pytest.mark.parametrize(("turns", "answer"), [("first", "A bee is an insect."), ("last", "It does.")])
def test_first_or_last_exchange(tmp_path: Path, turns: str, answer: str) -> None:
    assert load(tmp_path, TREES, languages=["en"], turns=turns)[0].reference == answer


def test_all_languages_unless_told(tmp_path: Path) -> None:
    assert len(load(tmp_path, FLAT)) == 2


def test_trees_and_their_flat_messages_give_the_same_examples(tmp_path: Path) -> None:
    assert load(tmp_path, TREES, turns="each") == load(tmp_path, FLAT, turns="each")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"instruction": "x"}, "expected an OpenAssistant tree"),
        (message("a", "nobody", "assistant", "x"), "which is not in the file"),
        (message("a", None, "robot", "x"), "saw the role 'robot'"),
        ({"prompt": {"role": "prompter", "text": 3}}, "expected an object with text"),
    ],
)
def test_other_rows_are_refused_with_their_line(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=r"oasst\.jsonl\.gz:1: ") as caught:
        load(tmp_path, [row])
    assert says in str(caught.value)


def test_a_tree_without_an_answer_is_skipped_when_told(tmp_path: Path) -> None:
    alone = [{"prompt": message("q", None, "prompter", "Anybody?")}]
    with pytest.raises(DataError, match="without an answered user turn"):
        load(tmp_path, alone)
    assert len(load(tmp_path, [*alone, *TREES], on_unanswered="skip")) == 2
