from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from assay.errors import ConfigError, DataError
from assay.tasks.datasets.loaders import dataset_key, load_examples
from assay.tasks.datasets.sources import SourceSpec, hub_source

datasets = pytest.importorskip("datasets")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["negative", "positive"])}
    )
    splits: dict[str, Any] = {
        "train": datasets.Dataset.from_dict({"sentence": ["good", "bad"], "label": [1, 0]}, features=features),
        "validation": datasets.Dataset.from_dict({"sentence": ["fine"], "label": [1]}, features=features),
    }
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "sst"))
    return tmp_path


def source(**more: Any) -> SourceSpec:
    columns = {"input": "Sentence: {sentence}", "output": "label"}
    return SourceSpec(**{"loader": "hub", "hub": "sst", "task": "sst2", "columns": columns, **more})


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_saved_folder_loads_with_class_names(saved: Path) -> None:
    examples = load_examples(source(), saved)
    assert [(e.split, e.input, e.reference) for e in examples] == [
        ("train", "Sentence: good", "positive"),
        ("train", "Sentence: bad", "negative"),
        ("validation", "Sentence: fine", "positive"),
    ]
    renamed = load_examples(source(hub_splits={"test": "validation"}), saved)
    assert [(e.split, e.input) for e in renamed] == [("test", "Sentence: fine")]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_folder_of_files_loads_and_is_named_by_content(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", saved / "cache")
    (saved / "plain").mkdir()
    (saved / "plain" / "train.jsonl").write_text('{"sentence": "good", "label": "positive"}\n')
    plain = source(hub="plain")
    assert [e.input for e in load_examples(plain, saved)] == ["Sentence: good"]
    shutil.copytree(saved / "plain", saved / "moved")
    assert dataset_key(plain, saved) == dataset_key(source(hub="moved"), saved)
    (saved / "moved" / "train.jsonl").write_text('{"sentence": "bad", "label": "negative"}\n')
    assert dataset_key(plain, saved) != dataset_key(source(hub="moved"), saved)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_split_that_is_not_there_is_named(saved: Path) -> None:
    with pytest.raises(DataError, match=r"saw the splits train, validation; expected 'test'.*hub_splits"):
        load_examples(source(hub_splits={"test": "test"}), saved)


def test_offline_is_one_clear_line(tmp_path: Path) -> None:
    # tests/conftest.py sets HF_HUB_OFFLINE
    for call in (load_examples, dataset_key):
        with pytest.raises(DataError, match="hub dataset 'nyu-mll/glue': cannot be read") as caught:
            call(source(hub="nyu-mll/glue", hub_config="sst2"), tmp_path)
        assert "\n" not in str(caught.value)


def test_a_commit_needs_no_network_for_its_key(tmp_path: Path) -> None:
    pinned = source(hub="nyu-mll/glue", hub_revision="b" * 40)
    assert dataset_key(pinned, tmp_path) == dataset_key(pinned, None)
    assert dataset_key(pinned, None) != dataset_key(pinned.replace(hub_revision="c" * 40), None)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("task", "labels", "row", "text", "reference"),
    [
        ("sst2", ["negative", "positive"], {"sentence": "Good.", "label": 1, "idx": 0}, "Sentence: Good.", "positive"),
        (
            "mnli",
            ["entailment", "neutral", "contradiction"],
            {"premise": "P", "hypothesis": "H", "label": 2, "idx": 0},
            "Premise: P\nHypothesis: H",
            "Contradiction",
        ),
        (
            "qnli",
            ["entailment", "not_entailment"],
            {"question": "Q?", "sentence": "S.", "label": 1, "idx": 0},
            "Question: Q?\nContext: S.",
            "unanswerable",
        ),
        (
            "squadv2",
            None,
            {"id": "1", "context": "C", "question": "Q?", "answers": {"text": [], "answer_start": []}},
            "Context: C\nQuestion: Q?",
            "unanswerable",
        ),
        ("xsum", None, {"id": "1", "document": "D", "summary": "S"}, "Article: D", "S"),
    ],
)
def test_hub_tasks_read_the_hubs_columns(
    tmp_path: Path, task: str, labels: list[str] | None, row: dict[str, Any], text: str, reference: str
) -> None:
    hub = hub_source(task)
    splits = {"train": datasets.Dataset.from_list([{**row, "id": "0"}]), "held": datasets.Dataset.from_list([row])}
    if labels:
        splits = {name: split.cast_column("label", datasets.ClassLabel(names=labels)) for name, split in splits.items()}
    splits[hub.hub_splits["validation"]] = splits.pop("held")
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / str(hub.hub)))
    examples = load_examples(hub, tmp_path)
    assert len({example.example_id for example in examples}) == 2
    assert {(e.input, e.reference, e.task) for e in examples} == {(text, reference, task)}


def test_tasks_without_a_hub_source_are_said_to_be() -> None:
    with pytest.raises(ConfigError, match=r"saw the task 'toy_question'; expected one of conll, mnli"):
        hub_source("toy_question")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_parquet_branch_has_a_folder_for_each_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # refs/convert/parquet: CONFIG/SPLIT/0000.parquet, and no metadata that names the configs
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    hub = hub_source("scitldr")
    for config in ("Abstract", "FullText"):
        for split in ("train", "validation", "test"):
            folder = tmp_path / str(hub.hub) / config / split
            folder.mkdir(parents=True)
            row = {"source": [f"{config} {split}."], "target": [f"Of {split}."]}
            datasets.Dataset.from_list([row]).to_parquet(str(folder / "0000.parquet"))
    examples = load_examples(hub.replace(split_rule="files"), tmp_path)
    assert [(e.split, e.reference) for e in examples] == [
        (split, f"Of {split}.") for split in ("train", "validation", "test")
    ]
    assert all(f"Abstract {e.split}." in e.input for e in examples)
    with pytest.raises(DataError, match="hub dataset 'allenai/scitldr': cannot be read") as caught:
        load_examples(hub.replace(hub_config="Nothing"), tmp_path)
    assert "\n" not in str(caught.value)


def saved_rows(folder: Path, rows: dict[str, Any], features: Any = None) -> None:
    made = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": made}).save_to_disk(str(folder))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_row_without_its_label_is_no_row_with_the_answer_minus_one(tmp_path: Path) -> None:
    labels = datasets.ClassLabel(names=["negative", "positive"])
    features = datasets.Features({"sentence": datasets.Value("string"), "label": labels})
    saved_rows(tmp_path / "sst", {"sentence": ["good", "bad"], "label": [1, -1]}, features)
    with pytest.raises(DataError, match=r"split 'train', row 2: saw no label \(-1\) in 'label'.*hub_splits"):
        load_examples(source(), tmp_path)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_lists_of_class_labels_are_names(tmp_path: Path) -> None:
    labels = datasets.ClassLabel(names=["N", "V"])
    features = datasets.Features({"text": datasets.Value("string"), "tags": datasets.List(labels)})
    saved_rows(tmp_path / "tagged", {"text": ["time flies"], "tags": [[0, 1]]}, features)
    columns = {"instruction": "text", "output": "tags.1", "id": ""}
    (only,) = load_examples(SourceSpec(loader="hub", hub="tagged", columns=columns, meta_columns=("tags",)), tmp_path)
    assert only.reference == "V"
    assert only.meta_json == '{"tags": ["N", "V"]}'


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_rows_with_a_history_are_split_by_conversation_and_the_key_says_so(tmp_path: Path) -> None:
    rows: dict[str, list[Any]] = {"instruction": [], "output": [], "history": []}
    for n in range(60):
        for question, history in ((f"Q{n}", []), (f"And {n}?", [[f"Q{n}", f"A{n}"]])):
            rows["instruction"].append(question)
            rows["output"].append(f"A{n}")
            rows["history"].append(history)
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)}).save_to_disk(tmp_path / "talk")
    told = SourceSpec(loader="hub", hub="talk", split_rule="strict", conversation="history")
    found = load_examples(told, tmp_path)
    assert [row.split for row in found[::2]] == [row.split for row in found[1::2]]
    untold = told.replace(conversation="none")
    assert dataset_key(told, tmp_path) != dataset_key(untold, tmp_path)
    with pytest.raises(DataError, match="set conversation: history"):
        load_examples(untold, tmp_path)
    by_file = load_examples(untold.replace(split_rule="files"), tmp_path)
    assert {row.split for row in by_file} == {"train"}


def test_conversations_on_the_hub_are_read_as_conversations(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    saved_rows(tmp_path / "chats", {"messages": [turns]})
    plain = SourceSpec(loader="hub", hub="chats")
    told = plain.replace(conversation="messages")
    (only,) = load_examples(told, tmp_path)
    assert (only.instruction, only.reference) == ("Hi", "Hello")
    assert dataset_key(told, tmp_path) != dataset_key(plain, tmp_path)
    assert "conversation" not in plain.dataset_identity()
    with pytest.raises(DataError, match="conversation: messages"):
        load_examples(plain, tmp_path)
