from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from assay.config import validate
from assay.errors import ConfigError, DataError
from assay.records import Example
from assay.store import Store
from assay.tasks.catalog import SHIPPED_TASKS, Task
from assay.tasks.datasets import reading
from assay.tasks.datasets.loaders import dataset_key, load_examples, materialise_dataset, read_dataset
from assay.tasks.datasets.sources import SourceSpec


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"instruction": "Add.", "input": f"{number} + 1", "output": str(number + 1), **more}


def jsonl(path: str = "a.jsonl", **more: Any) -> SourceSpec:
    return SourceSpec(**{"loader": "jsonl", "path": path, "split_rule": "strict", **more})


# --- formats -------------------------------------------------------------------------------------------------


def test_alpaca_rows_from_lines_and_from_a_list_are_the_same(tmp_path: Path) -> None:
    rows = [row(1), row(2, input="")]
    write(tmp_path / "a.jsonl", *rows)
    write(tmp_path / "b.json", json.dumps(rows, indent=1))
    write(tmp_path / "c.json.gz", json.dumps(rows))
    loaded = [load_examples(SourceSpec(loader="alpaca", path=name, split_rule="strict"), tmp_path)
              for name in ("a.jsonl", "b.json", "c.json.gz")]  # fmt: skip
    assert loaded[0] == loaded[1] == loaded[2]
    first = loaded[0][0]
    assert (first.task, first.instruction, first.input, first.reference) == ("instructions", "Add.", "1 + 1", "2")
    assert loaded[0][1].input == ""


def test_alpaca_history_and_system_become_earlier_turns(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", row(1, system="Be brief.", history=[["Hi", "Hello"]]))
    (told,) = load_examples(jsonl(), tmp_path)
    assert json.loads(told.history_json) == [["system", "Be brief."], ["user", "Hi"], ["assistant", "Hello"]]


def test_a_folder_gives_its_splits_in_order(tmp_path: Path) -> None:
    write(tmp_path / "d/test.jsonl", row(3))
    write(tmp_path / "d/train.jsonl.gz", row(1), row(2))
    write(tmp_path / "d/val.json", row(4))
    write(tmp_path / "d/notes.txt", "ignored")
    examples = load_examples(jsonl("d", split_rule="files"), tmp_path)
    assert [(e.split, e.input) for e in examples] == [
        ("train", "1 + 1"), ("train", "2 + 1"), ("validation", "4 + 1"), ("test", "3 + 1"),
    ]  # fmt: skip


def test_a_split_field_is_read_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", row(1, split="dev"), row(2, fold="train"))
    with pytest.raises(DataError, match=r"a\.jsonl:2: saw no split; .*split_rule: strict"):
        load_examples(jsonl(split_rule="files"), tmp_path)
    write(tmp_path / "a.jsonl", row(1, fold="valid"))
    (only,) = load_examples(jsonl(split_rule="files", columns={"split": "fold"}), tmp_path)
    assert only.split == "validation"


def test_columns_templates_and_values(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", {"premise": "It {rains}.", "hypothesis": "Wet.", "label": 1, "idx": 7})
    source = SourceSpec(
        loader="jsonl", path="test.jsonl", task="mnli",
        columns={"id": "idx", "input": "Premise: {premise}\nHypothesis: {hypothesis}", "output": "label"},
        values={"output": {"0": "Entailment", "1": "Neutral", "2": "Contradiction"}},
    )  # fmt: skip
    (only,) = load_examples(source, tmp_path)
    assert (only.example_id, only.split, only.task) == ("7", "test", "mnli")
    assert only.input == "Premise: It {rains}.\nHypothesis: Wet."
    assert only.reference == "Neutral"
    assert only.instruction.startswith("Classify the following relationship")


def test_nested_columns_and_all_references(tmp_path: Path) -> None:
    rows = [
        {"context": "c", "answers": {"text": ["Paris", "in Paris"], "answer_start": [1, 2]}},
        {"context": "d", "answers": {"text": [], "answer_start": []}},
    ]
    write(tmp_path / "test.jsonl", *rows)
    source = SourceSpec(
        loader="jsonl", path="test.jsonl", task="squadv2", columns={"input": "context", "output": "answers.text.0"},
        values={"output": {"": "unanswerable"}},
    )  # fmt: skip
    first, second = load_examples(source, tmp_path)
    assert json.loads(first.meta_json) == {"references": ["Paris", "in Paris"]}
    assert (first.reference, second.reference, second.meta_json) == ("Paris", "unanswerable", "")


def test_numbers_are_text_and_other_things_are_not(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", row(1, output=2.5))
    assert load_examples(jsonl(), tmp_path)[0].reference == "2.5"
    write(tmp_path / "a.jsonl", row(1, output=["x"]))
    with pytest.raises(DataError, match=r"a\.jsonl:1: saw \['x'\] in 'output'; expected text for the output"):
        load_examples(jsonl(), tmp_path)


def test_sharegpt_takes_the_last_exchange_and_keeps_what_came_before(tmp_path: Path) -> None:
    talk = [("gpt", "Welcome"), ("human", "Hi"), ("gpt", "Hello"), ("human", "Bye"), ("gpt", "Ciao"), ("human", "?")]
    write(tmp_path / "a.jsonl", {"id": "t", "conversations": [{"from": who, "value": what} for who, what in talk]})
    (last,) = load_examples(jsonl(loader="sharegpt"), tmp_path)
    assert (last.example_id, last.instruction, last.reference) == ("t", "Bye", "Ciao")
    assert json.loads(last.history_json) == [["assistant", "Welcome"], ["user", "Hi"], ["assistant", "Hello"]]
    each = load_examples(jsonl(loader="sharegpt", turns="each"), tmp_path)
    assert [(e.example_id, e.instruction) for e in each] == [("t#1", "Hi"), ("t#2", "Bye")]


def test_messages_with_a_system_turn(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    turns = [("system", "Be kind."), ("user", "Hi"), ("assistant", parts)]
    write(tmp_path / "a.json", json.dumps([{"messages": [{"role": r, "content": c} for r, c in turns]}]))
    (only,) = load_examples(jsonl("a.json", loader="messages"), tmp_path)
    assert (only.instruction, only.reference, only.history_json) == ("Hi", "Hello", '[["system", "Be kind."]]')


def test_an_unanswered_conversation_is_an_error_or_skipped(tmp_path: Path) -> None:
    unanswered = {"messages": [{"role": "user", "content": "Hi"}]}
    answered = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}
    write(tmp_path / "a.jsonl", answered, unanswered)
    with pytest.raises(DataError, match=r"a\.jsonl:2: .*on_unanswered: skip"):
        load_examples(jsonl(loader="messages"), tmp_path)
    assert len(load_examples(jsonl(loader="messages", on_unanswered="skip"), tmp_path)) == 1


@pytest.mark.parametrize(
    ("loader", "bad", "said"),
    [
        ("sharegpt", {"messages": []}, "saw no list 'conversations'"),
        ("sharegpt", {"conversations": ["x"]}, "turn 1: saw 'x'"),
        ("messages", {"messages": [{"role": "robot", "content": "x"}]}, "turn 1: saw the role 'robot'"),
        ("messages", {"messages": [{"role": "user", "content": 3}]}, "turn 1: saw content 3"),
        ("messages", {"messages": [{"role": ["user"], "content": "x"}]}, "turn 1: saw the role"),
        ("alpaca", row(1, history=[["one"]]), "history entry"),
        ("alpaca", {"instruction": "x", "text": "y"}, r"saw no 'output' \(fields: instruction, text\)"),
    ],
)
def test_a_row_of_another_shape_is_one_clear_line(tmp_path: Path, loader: str, bad: dict[str, Any], said: str) -> None:
    write(tmp_path / "a.jsonl", bad)
    with pytest.raises(DataError, match=rf"a\.jsonl:1: .*{said}") as caught:
        load_examples(jsonl(loader=loader), tmp_path)
    assert "\n" not in str(caught.value)


# --- hostile files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{not json}", "saw no valid JSON at column 2"),
        (b"[1]", "element 1: saw a number"),
        (b'"text"', "saw a text; expected a JSON object"),
        (b'{"instruction": "\xff"}', "saw the byte 0xff"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"instruction": ' + b"9" * 5000 + b"}", "cannot be read"),
        (b'{"instruction": "\\ud800", "output": "x"}', "lone surrogate"),
    ],
)
def test_an_unreadable_line_names_file_and_line(tmp_path: Path, line: bytes, said: str) -> None:
    good = json.dumps(row(1)).encode() + b"\n\n"  # an empty line counts as a line
    (tmp_path / "a.jsonl").write_bytes(line if line == b"[1]" else good + line + b"\n")
    with pytest.raises(DataError, match=said) as caught:
        load_examples(jsonl(), tmp_path)
    assert str(caught.value).startswith("a.jsonl: element 1" if line == b"[1]" else "a.jsonl:3: ")
    assert "\n" not in str(caught.value)


def test_control_characters_and_byte_order_mark_are_data_and_no_data(tmp_path: Path) -> None:
    text = "\x00\x1b[31m\u202e\u0085\r\n"
    data = b"\xef\xbb\xbf" + json.dumps(row(1, output=text)).encode() + b"\r\n"
    (tmp_path / "a.jsonl").write_bytes(data)
    store = Store(str(tmp_path / "store"))
    stored = read_dataset(store, materialise_dataset(store, jsonl(), tmp_path).key)
    assert stored[0].reference == text


def test_a_row_beyond_max_chars_is_refused_not_cut(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", row(1), row(2, output="x" * 10_000_000))
    with pytest.raises(DataError, match=r"a\.jsonl:2: saw a row of 100000\d\d characters; .*raise max_chars"):
        load_examples(jsonl(), tmp_path)
    with pytest.raises(DataError, match=r"a\.jsonl:2: saw a line of more than 66736 bytes"):
        load_examples(jsonl(max_chars=100), tmp_path)


def test_a_gzip_bomb_is_refused_while_it_unfolds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b" " * 999 + b"\n") * 1)
    monkeypatch.setattr(reading, "MAX_RATIO_FREE_BYTES", 1 << 20)
    bomb = gzip.compress((b" " * 999 + b"\n") * 5000)
    (tmp_path / "a.jsonl.gz").write_bytes(bomb)
    with pytest.raises(DataError, match="unfolds to more than 200 times its size"):
        load_examples(jsonl("a.jsonl.gz"), tmp_path)
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 1000)
    write(tmp_path / "b.jsonl", *[row(n) for n in range(40)])
    with pytest.raises(DataError, match="unfolds to more than"):
        load_examples(jsonl("b.jsonl"), tmp_path)
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 1 << 30)
    monkeypatch.setattr(reading, "MAX_LIST_BYTES", 1000)
    write(tmp_path / "b.json", json.dumps([row(n) for n in range(40)], indent=0))
    with pytest.raises(DataError, match="one object a line"):
        load_examples(jsonl("b.json"), tmp_path)


def test_a_damaged_gzip_file_is_said_to_be_one(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(json.dumps(row(n)).encode() + b"\n" for n in range(2000)))
    for damaged in (whole[:-20], b"plain text", whole[:500] + b"\x00" * 50 + whole[550:]):
        (tmp_path / "a.jsonl.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.jsonl\.gz: saw a damaged gzip file"):
            load_examples(jsonl("a.jsonl.gz"), tmp_path)


@pytest.mark.parametrize("path", ["../secret.jsonl", "/etc/passwd", "a/../../b", "C:\\x", "..\\x", "", "a\0b"])
def test_paths_stay_below_the_data_root(path: str) -> None:
    with pytest.raises(ConfigError, match="path"):
        validate(SourceSpec, {"loader": "jsonl", "path": path}, "data")


def test_missing_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"saw no data root; .*--set data\.root"):
        dataset_key(jsonl(), None)
    with pytest.raises(DataError, match="saw no file or folder"):
        load_examples(jsonl("nowhere"), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="saw no file of a split"):
        load_examples(jsonl("empty"), tmp_path)
    write(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="saw no rows"):
        load_examples(jsonl(), tmp_path)
    write(tmp_path / "two/train.jsonl", row(1))
    write(tmp_path / "two/train.json", row(1))
    with pytest.raises(DataError, match="expected one file a split"):
        load_examples(jsonl("two"), tmp_path)


# --- ids, limits, keys ----------------------------------------------------------------------------------------


def test_ids_are_the_rows_own_or_come_from_content(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", row(1), row(2), row(1), row(3, id=12))
    ids = [example.example_id for example in load_examples(jsonl(), tmp_path)]
    assert len(set(ids)) == 4
    assert ids[2] == f"{ids[0]}#2"
    assert ids[3] == "12"
    write(tmp_path / "moved.jsonl", row(2), row(1))
    assert [example.example_id for example in load_examples(jsonl("moved.jsonl"), tmp_path)] == [ids[1], ids[0]]


def test_a_repeated_id_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", row(1, id="x"), row(2, id="x"))
    with pytest.raises(DataError, match=r"a\.jsonl:2: saw the id 'x' a second time"):
        load_examples(jsonl(), tmp_path)


def test_the_limit_counts_each_split_and_stops_reading(tmp_path: Path) -> None:
    write(tmp_path / "d/train.jsonl", *[row(n) for n in range(5)], "broken")
    write(tmp_path / "d/test.jsonl", row(9))
    examples = load_examples(jsonl("d", split_rule="files", limit=2), tmp_path)
    assert Counter(example.split for example in examples) == {"train": 2, "test": 1}
    write(tmp_path / "a.jsonl", *[row(n) for n in range(300)])
    counts = Counter(example.split for example in load_examples(jsonl(limit=3), tmp_path))
    assert counts == {"train": 3, "validation": 3, "test": 3}


def test_data_keeps_its_key_when_it_moves_and_loses_it_when_it_changes(tmp_path: Path) -> None:
    write(tmp_path / "here/a.jsonl", row(1))
    write(tmp_path / "there/deep/b.jsonl", row(1))
    key = dataset_key(jsonl("here/a.jsonl"), tmp_path)
    assert key == dataset_key(jsonl("deep/b.jsonl", name="else"), tmp_path / "there")
    assert key != dataset_key(jsonl("here/a.jsonl", split_rule="compat"), tmp_path)
    assert key != dataset_key(jsonl("here/a.jsonl", limit=1), tmp_path)
    assert key != dataset_key(jsonl("here/a.jsonl", task="sst2"), tmp_path)
    write(tmp_path / "here/a.jsonl", row(2))
    assert key != dataset_key(jsonl("here/a.jsonl"), tmp_path)


def test_a_dataset_is_stored_once_and_read_back(tmp_path: Path) -> None:
    write(tmp_path / "d/train.jsonl", row(1, category="Code"), row(2))
    write(tmp_path / "d/test.jsonl", row(3))
    store = Store(str(tmp_path / "store"))
    source = jsonl("d", split_rule="files", name="sums")
    ref = materialise_dataset(store, source, tmp_path)
    assert (ref.name, ref.counts) == ("sums", {"train": 2, "validation": 0, "test": 1})
    assert read_dataset(store, ref.key) == load_examples(source, tmp_path)
    assert materialise_dataset(store, source, tmp_path) == ref
    assert store.keys("dataset") == {ref.key}


def test_a_task_that_nobody_defined_is_refused_where_its_instruction_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"input": "x", "output": "y", "split": "train"}\n')
    source = SourceSpec(loader="jsonl", path="a.jsonl", task="sst3")
    for read in (load_examples, dataset_key):
        with pytest.raises(ConfigError, match="saw 'sst3'"):
            read(source, tmp_path)
    mine = SHIPPED_TASKS.extended([Task(name="sst3", instruction="Say.", answer_format="free")])
    assert load_examples(source, tmp_path, mine)[0].instruction == "Say."
    other = mine.extended([mine.get("sst3").replace(instruction="Tell.")])
    assert dataset_key(source, tmp_path, mine) != dataset_key(source, tmp_path, other)


def test_source_fields_must_fit_the_loader() -> None:
    for bad, said in [
        ({"loader": "jsonl"}, "needs `path`"),
        ({"loader": "hub"}, "needs `hub`"),
        ({"loader": "jsonl", "path": "a", "columns": {"text": "x"}}, "columns: saw"),
    ]:
        with pytest.raises(ConfigError, match=said):
            validate(SourceSpec, bad, "data")


# --- other sources --------------------------------------------------------------------------------------------


def test_toyworld_sources_need_no_data_root(tmp_path: Path) -> None:
    source = SourceSpec(loader="toyworld", task="toy_sentiment", seed=3, num_train=8, num_validation=2, num_test=4)
    store = Store(str(tmp_path))
    ref = materialise_dataset(store, source, None)
    assert ref.counts == {"train": 8, "validation": 2, "test": 4}
    examples = read_dataset(store, ref.key)
    assert {example.task for example in examples} == {"toy_sentiment"}
    assert dataset_key(source.replace(seed=4), None) != ref.key
    instructions = load_examples(source.replace(task=None, limit=3), None)
    assert Counter(example.split for example in instructions) == {"train": 3, "validation": 2, "test": 3}
    assert {example.task for example in instructions} == {"instructions"}


def test_shared_tasks_load_with_their_own_splits(shared_data: Path) -> None:
    source = SourceSpec(loader="jsonl", path="tasks/sst2", task="sst2", limit=50)
    examples = load_examples(source, shared_data)
    assert Counter(example.split for example in examples) == {"train": 50, "validation": 50, "test": 50}
    assert isinstance(examples[0], Example)
    assert examples[0].example_id == "sst2-train-13"
    assert {example.reference for example in examples} == {"negative", "positive"}
    alpaca = SourceSpec(loader="alpaca", path="alpaca/alpaca_gpt4_10k.jsonl.gz", limit=10)
    assert len(load_examples(alpaca, shared_data)) == 30
