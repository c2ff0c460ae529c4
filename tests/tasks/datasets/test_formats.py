"""Files and conversations as people have them: tools, weights, CSV and Parquet, values that are none, one side each."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.errors import DataError
from assay.fingerprint import artifact_key, file_hash
from assay.tasks.datasets.loaders import dataset_key, has_history, load_examples
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.datasets.splits import content_split, split_line
from assay.tasks.templates import history, messages, render_prompt


def jsonl(path: str = "a.jsonl", **more: Any) -> SourceSpec:
    return SourceSpec(**{"loader": "jsonl", "path": path, "split_rule": "strict", **more})


def row(number: int, **more: Any) -> str:
    return json.dumps({"instruction": "Add.", "input": f"{number} + 1", "output": str(number + 1), **more}) + "\n"


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def conversation(*turns: tuple[str, str], **fields: object) -> str:
    return json.dumps({"conversations": [{"from": role, "value": text} for role, text in turns], **fields}) + "\n"


def test_every_exchange_of_a_conversation_is_on_one_side(tmp_path: Path) -> None:
    """65 of 200 two-turn conversations stood on both sides."""
    lines = [
        conversation(("human", f"Q{n}"), ("gpt", f"A{n}"), ("human", f"And {n}?"), ("gpt", f"So {n}"))
        for n in range(200)
    ]
    write(tmp_path / "a.jsonl", "".join(lines))
    rows = load_examples(jsonl(loader="sharegpt", turns="each", split_rule="strict"), tmp_path)
    sides = [{rows[2 * n].split, rows[2 * n + 1].split} for n in range(200)]
    assert all(len(side) == 1 for side in sides)
    assert {split for side in sides for split in side} == {"train", "validation", "test"}


def test_rows_of_one_alpaca_conversation_are_on_one_side_and_others_stay_where_they_were(tmp_path: Path) -> None:
    lines = []
    for n in range(100):
        lines.append(json.dumps({"instruction": f"Q{n}", "output": f"A{n}"}))
        lines.append(json.dumps({"instruction": f"And {n}?", "output": "So", "history": [[f"Q{n}", f"A{n}"]]}))
    write(tmp_path / "a.jsonl", "\n".join(lines))
    rows = load_examples(jsonl(loader="alpaca", split_rule="strict"), tmp_path)
    assert [row.split for row in rows[::2]] == [row.split for row in rows[1::2]]
    assert rows[0].split == content_split(split_line("Q0", "", "A0"), "strict")


def test_a_key_says_that_rows_are_split_by_conversation_only_where_there_are_some(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", row(1))
    plain, by_content = jsonl(loader="alpaca", split_rule="files"), jsonl(loader="alpaca", split_rule="strict")
    content = {"rows": file_hash(tmp_path / "a.jsonl")}
    for source in (plain, by_content):
        assert dataset_key(source, tmp_path) == artifact_key("dataset", 1, source.dataset_identity(), content)
    write(tmp_path / "a.jsonl", row(1, history=[["Hi", "Hello"]]))
    content = {"rows": file_hash(tmp_path / "a.jsonl")}
    assert dataset_key(plain, tmp_path) == artifact_key("dataset", 1, plain.dataset_identity(), content)
    assert dataset_key(by_content, tmp_path) != artifact_key("dataset", 1, by_content.dataset_identity(), content)


def test_turns_of_tools_are_kept_and_never_trained(tmp_path: Path) -> None:
    turns = (
        ("human", "Weather?"),
        ("function_call", '{"name": "look"}'),
        ("observation", "Rain"),
        ("gpt", "It rains."),
    )
    write(tmp_path / "a.jsonl", conversation(*turns, tools='[{"name": "look"}]'))
    (only,) = load_examples(jsonl(loader="sharegpt", turns="each"), tmp_path)
    assert (only.instruction, only.reference) == ("", "It rains.")
    assert json.loads(only.history_json) == [
        ["system", '[{"name": "look"}]'], ["user", "Weather?"], ["assistant", '{"name": "look"}'], ["tool", "Rain"],
    ]  # fmt: skip
    assert [turn["role"] for turn in messages(only)] == ["system", "user", "assistant", "tool"]
    assert "### Instruction:\nWeather?" in render_prompt(only)
    assert render_prompt(only).endswith("### Tool:\nRain\n\n### Response:\n")


def test_content_null_beside_tool_calls_is_a_call(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    turns = [
        {"role": "user", "content": "Hi"}, call, {"role": "tool", "content": "42"},
        {"role": "assistant", "content": "It is 42."},
    ]  # fmt: skip
    write(tmp_path / "a.jsonl", json.dumps({"messages": turns}))
    (only,) = load_examples(jsonl(loader="messages", turns="each"), tmp_path)
    assert only.reference == "It is 42."
    assert json.loads(only.history_json) == [["user", "Hi"], ["assistant", '[{"id": "1"}]'], ["tool", "42"]]


def test_two_answers_in_a_row_are_one_and_a_system_turn_before_an_answer_is_told_first(tmp_path: Path) -> None:
    write(
        tmp_path / "a.jsonl", conversation(("human", "Hi"), ("system", "Be kind."), ("gpt", "Hello."), ("gpt", "Well?"))
    )
    (only,) = load_examples(jsonl(loader="sharegpt", turns="each"), tmp_path)
    assert (only.instruction, only.reference) == ("Hi", "Hello.\n\nWell?")
    assert json.loads(only.history_json) == [["system", "Be kind."]]


def test_a_turn_that_is_not_to_be_trained_is_kept_as_a_turn(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "1"}, {"role": "assistant", "content": "one", "weight": 0},
        {"role": "user", "content": "2"}, {"role": "assistant", "content": "two", "weight": 1},
        {"role": "user", "content": "3"}, {"role": "assistant", "content": "three", "train": False},
    ]  # fmt: skip
    write(tmp_path / "a.jsonl", json.dumps({"messages": turns}))
    (only,) = load_examples(jsonl(loader="messages", turns="each"), tmp_path)
    assert (only.instruction, only.reference) == ("2", "two")
    assert json.loads(only.history_json) == [["user", "1"], ["assistant", "one"]]
    turns[1]["weight"] = 0.5  # type: ignore[assignment]
    write(tmp_path / "a.jsonl", json.dumps({"messages": turns}))
    with pytest.raises(DataError, match=r"turn 2: saw weight 0.5; expected 0 or 1"):
        load_examples(jsonl(loader="messages"), tmp_path)


def test_nan_is_null_and_a_list_may_follow_blank_lines(tmp_path: Path) -> None:
    write(tmp_path / "a.json", '\n\n \n[{"instruction": "Hi", "input": NaN, "output": "Yo", "category": -Infinity}]')
    (only,) = load_examples(jsonl("a.json"), tmp_path)
    assert (only.input, only.category) == ("", "")
    write(tmp_path / "a.json", '{"instruction": "Hi", "output": NaN}')
    with pytest.raises(DataError, match="expected text for the output"):
        load_examples(jsonl("a.json"), tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.parquet"])
def test_csv_and_parquet_by_path(tmp_path: Path, name: str) -> None:
    rows = [
        {"id": "1", "instruction": 'Say "hi", \n twice', "output": "hi hi"},
        {"id": "2", "instruction": "Ü", "output": "u"},
    ]
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter="\t" if ".tsv" in name else ",")
        writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    found = load_examples(jsonl(name), tmp_path)
    assert [(row.example_id, row.instruction, row.reference) for row in found] == [tuple(row.values()) for row in rows]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("instruction,output\na\n", "a.csv:1: saw fewer cells"),
        ("instruction,output\na,b,c\n", "a.csv:1: saw more cells"),
        ("instruction,\na,b\n", "first line without names"),
        ('instruction,output\n"a,b\n', "cannot be read behind row 0"),
        ("instruction,output\na,\n", "a.csv:1: saw no 'output'"),
    ],
)
def test_a_broken_csv_names_its_row(tmp_path: Path, text: str, seen: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=re.escape(seen)):
        load_examples(jsonl("a.csv"), tmp_path)


def test_no_parquet_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"a.parquet: cannot be read .*expected a Parquet file"):
        load_examples(jsonl("a.parquet"), tmp_path)


def test_a_real_file_of_tool_calls_is_read(shared_data: Path) -> None:
    source = jsonl("chats/toolcall_en_demo.json.gz", loader="sharegpt", turns="each", split_rule="strict")
    rows = load_examples(source, shared_data)
    assert len(rows) > 300
    assert {role for row in rows for role, _ in history(row)} == {"system", "user", "assistant", "tool"}


def test_a_damaged_packed_csv_is_told_in_one_line(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"instruction,output\n" + b"".join(b"Say %d.,a\n" % n for n in range(5000))))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "a.csv.gz").write_bytes(packed)
    with pytest.raises(DataError, match="cannot be read behind row"):
        load_examples(jsonl("a.csv.gz"), tmp_path)


def test_the_word_history_in_a_value_is_no_conversation(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {n}.", "output": "a", "category": "history"} for n in range(3)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({**row, "history": []}) + "\n" for row in rows))
    assert not has_history(jsonl("a.jsonl"), tmp_path)
    assert has_history(jsonl("b.jsonl"), tmp_path)
