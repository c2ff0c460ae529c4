"""A file is hashed once on one machine, and again whenever its content may be another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assay import file_hashes
from assay.file_hashes import known_file_hash
from assay.fingerprint import file_hash
from assay.model_folders import find_model
from assay.studies.catalog import load_study
from assay.studies.prepared import prepare_study


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Files that were read, in order."""
    asked: list[Path] = []

    def counted(path: Path) -> str:
        asked.append(path)
        return file_hash(path)

    monkeypatch.setattr(file_hashes, "file_hash", counted)
    monkeypatch.setattr(file_hashes, "SETTLED_NS", 0)
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    return asked


def test_a_file_is_read_once(tmp_path: Path, read: list[Path]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("one")
    assert known_file_hash(path) == known_file_hash(path) == file_hash(path)
    assert read == [path]


def test_the_same_size_and_a_time_set_back_do_not_hide_other_content(tmp_path: Path, read: list[Path]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("one")
    stat = path.stat()
    first = known_file_hash(path)
    path.write_text("two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert known_file_hash(path) == file_hash(path) != first


def test_a_file_that_changed_just_now_is_not_remembered(
    tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_hashes, "SETTLED_NS", 10**12)
    path = tmp_path / "rows.jsonl"
    path.write_text("one")
    known_file_hash(path)
    known_file_hash(path)
    assert read == [path, path]


def test_a_memory_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder is wanted")
    monkeypatch.setenv("ASSAY_CACHE", str(blocked))
    path = tmp_path / "rows.jsonl"
    path.write_text("one")
    assert known_file_hash(path) == known_file_hash(path)
    assert read == [path, path]


def test_a_study_hashes_each_input_once(tmp_path: Path, read: list[Path]) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text('{"model_type": "llama"}')
    (base / "tokenizer.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"weights")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Say it.", "input": "a", "output": "b"}\n')
    study = load_study(
        "quickstart",
        [
            f"base_models=[{base}]",
            "tiny_base=null",
            f"data.root={tmp_path}",
            "data.sources.instructions={loader: alpaca, path: rows.jsonl, split_rule: strict}",
            "scorers=[exact_match]",
            "statistics.human=exact_match",
        ],
    )
    first = prepare_study(study, "judge")
    assert prepare_study(study, "judge").key == first.key
    find_model(str(base), "base model")
    assert sorted(read) == sorted([*base.iterdir(), rows])
