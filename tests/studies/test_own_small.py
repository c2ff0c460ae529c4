"""The study of one's own that the docs walk through: cut from public rows by the documented command, and planned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assay.studies.catalog import load_study
from assay.studies.planning.estimate import plan
from assay.tasks.datasets.loaders import load_examples

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def my_data(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cut") / "my_data"
    subprocess.run([sys.executable, ROOT / "jobs" / "cut_own_small.py", shared_data, folder], check=True)
    return folder


def test_the_cut_is_three_formats_of_short_rows(my_data: Path) -> None:
    fields = {}
    for path in my_data.iterdir():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(rows) == 1200
        assert max(len(json.dumps(row, ensure_ascii=False)) for row in rows) < 700
        fields[path.stem] = set(rows[0])
    assert fields == {
        "chat": {"instruction", "input", "output"},
        "squad": {"question", "article", "described"},
        "papers": {"messages"},
    }


def test_the_study_is_planned_as_its_page_says_and_both_tasks_read_one_file(my_data: Path) -> None:
    study = load_study(str(ROOT / "jobs" / "studies" / "own_small.yaml"), [f"data.root={my_data}"])
    made = plan(study)
    assert (made.cells, made.distinct_trainings, made.predictions, made.judge_calls) == (16, 16, 2560, 0)
    for task, answers in (("article", {"Immune system", "Yuan dynasty", "Force"}), ("described", None)):
        rows = load_examples(study.data.sources[task], my_data, study.registry.tasks)
        assert len(rows) == 1200
        if answers:
            assert {row.reference for row in rows} == answers
        else:
            assert {frozenset(json.loads(row.reference)) for row in rows} == {frozenset(("asks", "about"))}
