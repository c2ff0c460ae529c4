from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from assay.cli import run_app
from assay.studies.catalog import load_study
from assay.studies.planning.estimate import plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "My Data"
    made.mkdir()
    with gzip.open(made / "chats.jsonl.gz", "wt") as file:
        for n in range(200):
            turns = [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": f"{n}!"}]
            file.write(json.dumps({"messages": turns}) + "\n")
    with (made / "Tickets.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "team"])
        rows.writerows([f"ticket {n}, urgent", ("billing", "shipping")[n % 2]] for n in range(300))
    (made / "notes.txt").write_text("no rows")
    (made / "pairs.jsonl").write_text(json.dumps({"chosen": "a", "rejected": "b"}) + "\n")
    (made / "broken.jsonl").write_text("{")
    return made


def test_a_folder_becomes_a_study_that_can_be_planned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["init", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "Tickets.csv" in said
    assert "task, answers: label (billing, shipping)" in said
    assert "could not tell what the model is asked" in said
    assert "pairs.jsonl" in said
    assert "left out: preferences" in said
    assert "broken.jsonl" in said
    made = load_study(str(folder / "study.yaml"))
    assert made.name == "my_data"
    assert made.data.instructions == "chats"
    task = made.registry.tasks.get("tickets")
    assert (task.labels, task.max_new_tokens) == (("billing", "shipping"), 8)
    assert plan(made).trainings_per_base > 0


def test_nothing_is_overwritten_and_nothing_half_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "study.yaml").write_text("mine")
    assert run_app(["init", str(folder)]) == 2
    assert (folder / "study.yaml").read_text() == "mine"
    assert "saw " in capsys.readouterr().err
    assert run_app(["init", str(folder), "--out", str(folder / "no" / "such.yaml")]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert run_app(["init", str(folder / "nowhere")]) == 2
    empty = folder / "empty"
    empty.mkdir()
    assert run_app(["init", str(empty)]) == 2
    assert "saw nothing to train on" in capsys.readouterr().err
    assert not list(empty.iterdir())


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"input": f"i{n}", "output": f"o{n}"}) + "\n" for n in range(100))
    for name in ("a.jsonl", "A b.jsonl", "a-b.jsonl", "instructions.jsonl", "shares.jsonl"):
        (tmp_path / name).write_text(rows)
    assert run_app(["init", str(tmp_path)]) == 0
    names = set(load_study(str(tmp_path / "study.yaml")).data.sources)
    assert len(names) == 5
    assert not {"instructions", "shares"} & names


def test_tasks_with_split_files_need_a_test_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(json.dumps({"input": f"i{n}", "output": ("x", "y")[n % 2]}) + "\n" for n in range(100))
    for name, splits in (("whole", ("train", "test")), ("half", ("train",))):
        (tmp_path / name).mkdir()
        for split in splits:
            (tmp_path / name / f"{split}.jsonl").write_text(rows)
    assert run_app(["init", str(tmp_path)]) == 0
    assert "left out: no test file" in capsys.readouterr().out
    assert set(load_study(str(tmp_path / "study.yaml")).data.sources) == {"whole"}
