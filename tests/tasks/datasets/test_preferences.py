"""Preference files in the layouts of five sources: prompts, order, scores, and what is left out."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from assay.errors import DataError
from assay.preference.rows import KIND, Prompt, read_rows
from assay.store import Store
from assay.tasks.datasets.preference_formats import Stated, read_preference
from assay.tasks.datasets.preferences import SUMMARY_FILE, given_pairs_key, load_preferences, materialise_pairs
from assay.tasks.datasets.sources import SourceSpec

ASK = {"role": "user", "content": "Name a fruit."}
GOOD, BAD = {"role": "assistant", "content": "A pear."}, {"role": "assistant", "content": "No."}
PEAR = Stated(Prompt("Name a fruit."), ("A pear.", "No."))
SHARED = Path(os.environ.get("ASSAY_SHARED", Path(__file__).resolve().parents[4] / "shared"))


@pytest.mark.parametrize(
    ("style", "row", "stated"),
    [
        ("trl", {"prompt": "Name a fruit.", "chosen": "A pear.", "rejected": "No."}, PEAR),
        ("trl", {"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]}, PEAR),
        ("trl", {"chosen": [ASK, GOOD], "rejected": [ASK, BAD]}, PEAR),
        ("trl", {"prompt": "Name a fruit.", "chosen": [ASK, GOOD], "rejected": [ASK, BAD]}, PEAR),
        ("trl", {"prompt": "Name a fruit.", "chosen": [GOOD], "rejected": [BAD]}, PEAR),
        (
            "trl",
            {"chosen": "The sky is blue.", "rejected": "The sky is black."},
            Stated(Prompt("The sky is"), ("blue.", "black.")),
        ),
        (
            "trl",
            {"prompt": "Name a fruit.", "completion": "No.", "label": False},
            Stated(Prompt("Name a fruit."), ("No.",), (0.0,)),
        ),
        (
            "hh",
            {
                "chosen": "\n\nHuman: Hi.\n\nAssistant: Yes?\n\nHuman: Name a fruit.\n\nAssistant: A pear.",
                "rejected": "\n\nHuman: Hi.\n\nAssistant: Yes?\n\nHuman: Name a fruit.\n\nAssistant: No.",
            },
            Stated(Prompt("Name a fruit.", "", '[["user", "Hi."], ["assistant", "Yes?"]]'), ("A pear.", "No.")),
        ),
        (
            "ultrafeedback",
            {
                "prompt": "Name a fruit.",
                "chosen": [ASK, GOOD],
                "rejected": [ASK, BAD],
                "score_chosen": 8.0,
                "score_rejected": 3.5,
            },
            Stated(PEAR.prompt, PEAR.answers, (8.0, 3.5)),
        ),
        (
            "ultrafeedback",
            {
                "instruction": "Name a fruit.",
                "completions": [
                    {"response": "No.", "overall_score": 2.0},
                    {"response": "A pear.", "overall_score": 9.0},
                    {"response": "A plum.", "overall_score": 9.0},
                ],
            },
            Stated(Prompt("Name a fruit."), ("A pear.", "A plum.", "No."), (9.0, 9.0, 2.0)),
        ),
        (
            "shp",
            {
                "history": "Name a fruit.",
                "human_ref_A": "No.",
                "human_ref_B": "A pear.",
                "labels": 0,
                "score_A": 2,
                "score_B": 7,
            },
            Stated(PEAR.prompt, PEAR.answers, (7.0, 2.0)),
        ),
        (
            "llama_factory",
            {
                "conversations": [{"from": "human", "value": "Name a fruit."}],
                "chosen": {"from": "gpt", "value": "A pear."},
                "rejected": {"from": "gpt", "value": "No."},
            },
            PEAR,
        ),
        (
            "llama_factory",
            {"instruction": "Name", "input": "a fruit.", "chosen": "A pear.", "rejected": "No.", "system": "Be kind."},
            Stated(Prompt("Name", "a fruit.", '[["system", "Be kind."]]'), PEAR.answers),
        ),
        ("llama_factory", {"instruction": "Name a fruit.", "output": ["A pear.", "No."]}, PEAR),
        (
            "llama_factory",
            {"messages": [ASK, GOOD], "label": True},
            Stated(Prompt("Name a fruit."), ("A pear.",), (1.0,)),
        ),
        (
            "llama_factory",
            {"instruction": "Name a fruit.", "output": "No.", "kto_tag": False},
            Stated(Prompt("Name a fruit."), ("No.",), (0.0,)),
        ),
    ],
)
def test_layouts_are_read(style: Any, row: dict[str, Any], stated: Stated) -> None:
    found = read_preference(style, row, "file:1")
    # where texts are cut apart, white space stays with the answers: the model is trained on what stands there
    assert Stated(found.prompt, tuple(text.strip() for text in found.answers), found.scores, found.fault) == stated


@pytest.mark.parametrize(
    ("style", "row"),
    [
        ("trl", {"prompt": "x", "chosen": "y"}),
        ("trl", {"prompt": "x", "chosen": "y", "rejected": [GOOD]}),
        ("trl", {"chosen": [GOOD], "rejected": [BAD]}),
        ("trl", {"prompt": "x", "completion": "y", "label": "maybe"}),
        ("hh", {"chosen": "plain", "rejected": "text"}),
        ("hh", {"chosen": "\n\nHuman: x", "rejected": "\n\nHuman: x"}),
        ("ultrafeedback", {"instruction": "x", "completions": "y"}),
        ("shp", {"history": "x", "human_ref_A": "a", "human_ref_B": "b", "labels": 2}),
        ("llama_factory", {"messages": [ASK], "label": True}),
        ("llama_factory", {"instruction": "x", "output": "y"}),
    ],
)
def test_what_is_not_laid_out_so_is_an_error_of_one_line(style: Any, row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"^file:7: .*expected") as caught:
        read_preference(style, row, "file:7")
    assert "\n" not in str(caught.value)


def source(path: str, **fields: Any) -> SourceSpec:
    return SourceSpec(
        loader="jsonl", path=path, name="pairs", **{"split_rule": "strict", "preference": "trl", **fields}
    )


def test_rows_without_a_preference_are_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "chosen": "yes", "rejected": "no"},
        {"prompt": "a", "chosen": "yes", "rejected": "no"},
        {"prompt": "a", "chosen": "yes", "rejected": "yes "},
        {"prompt": "a", "chosen": "yes", "rejected": " "},
        {"prompt": "b", "chosen": "one", "rejected": "two"},
        {"prompt": [ASK], "chosen": [ASK, GOOD], "rejected": [{**ASK, "content": "Sing."}, BAD]},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load_preferences(source("p.jsonl"), tmp_path)
    assert [row.answers for row in found.rows] == [("yes", "no"), ("one", "two")]
    assert found.left_out == {"copy of another row": 1, "empty side": 1, "equal sides": 1, "prompts differ": 1}


def test_all_pairs_of_a_prompt_are_on_one_side(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"prompt {place}", "chosen": f"yes {answer}", "rejected": "no"}
        for place in range(60)
        for answer in range(3)
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load_preferences(source("p.jsonl"), tmp_path).rows
    splits = {row.prompt: row.split for row in found}
    assert all(splits[row.prompt] == row.split for row in found)
    assert len(set(splits.values())) == 3


def test_splits_are_read_from_files_and_rows(tmp_path: Path) -> None:
    row = {"prompt": "a", "chosen": "yes", "rejected": "no", "split": "dev"}
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    assert load_preferences(source("p.jsonl", split_rule="files"), tmp_path).rows[0].split == "validation"
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    assert load_preferences(source("test.jsonl", split_rule="files"), tmp_path).rows[0].split == "test"
    (tmp_path / "p.jsonl").write_text(json.dumps({**row, "split": "moon"}))
    with pytest.raises(DataError, match=r"p\.jsonl:1: saw the split 'moon'"):
        load_preferences(source("p.jsonl", split_rule="files"), tmp_path)


def test_pairs_are_an_artifact_known_by_content(tmp_path: Path) -> None:
    row = {"prompt": "a", "chosen": "yes", "rejected": "no"}
    for name in ("one.jsonl", "two.jsonl"):
        (tmp_path / name).write_text(json.dumps(row))
    store = Store(str(tmp_path / "store"))
    key = materialise_pairs(store, source("one.jsonl"), tmp_path)
    assert key == given_pairs_key(source("two.jsonl"), tmp_path)
    assert key != given_pairs_key(source("two.jsonl", preference="llama_factory"), tmp_path)
    assert [row.chosen for row in read_rows(store, key)] == ["yes"]
    assert store.read_json(KIND, key, SUMMARY_FILE)["left_out"] == {}


def test_a_source_without_a_layout_gives_no_pairs(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("{}")
    with pytest.raises(DataError, match="saw no preference layout"):
        load_preferences(source("p.jsonl", preference="none"), tmp_path)
    with pytest.raises(ValueError, match="loaders jsonl and hub"):
        SourceSpec(loader="alpaca", path="p.jsonl", preference="trl")


@pytest.mark.skipif(not (SHARED / "data" / "preference").is_dir(), reason="the shared data is not here")
def test_real_files_of_llama_factory() -> None:
    root = SHARED / "data"
    pairs = load_preferences(source("preference/dpo_en_demo.json.gz", preference="llama_factory"), root)
    assert len(pairs.rows) + sum(pairs.left_out.values()) == 300
    assert all(len(row.answers) == 2 and row.scores is None for row in pairs.rows)
    labels = load_preferences(source("preference/kto_en_demo.json.gz", preference="llama_factory"), root)
    assert len(labels.rows) + sum(labels.left_out.values()) == 300
    assert set(Counter(row.scores for row in labels.rows)) == {(1.0,), (0.0,)}
