"""The structured log: one JSON object per event with study, stage and cell, on a disk and in an object store."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from assay.commands.log_lines import LoggedProgress, study_log
from assay.errors import LimitReached
from assay.hooks import EVENTS, SilentProgress, log_event
from assay.store import Store
from assay.studies.folder import StudyFolder


@pytest.fixture(params=["local", "remote"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> StudyFolder:
    uri = str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}"
    return StudyFolder(Store(uri), "tiny", "k")


def lines(folder: StudyFolder) -> list[dict[str, object]]:
    """Of all logs of the study, in order of their start."""
    found = []
    for name in folder.store.study_files("tiny", "side/log"):
        text = folder.store.read_study_bytes("tiny", name).decode()
        found += [json.loads(line) for line in text.splitlines()]
    return found


def test_events_bear_study_stage_and_cell(folder: StudyFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    with study_log(folder, copy):
        progress = LoggedProgress(SilentProgress())
        progress.start("training", 6, done=2, unit="trainings")
        log_event("training", "trained", cell="toy N=8 0 0", key="a" * 32, loss=float("nan"), error=None)
        progress.advance("training", loss=1.0)
        progress.finish("training")
    found = lines(folder)
    assert [line["event"] for line in found] == ["run", "start", "trained", "finish", "done"]
    assert {line["study"] for line in found} == {"tiny"}
    assert found[1] | {"time": ""} == {
        "time": "", "level": "info", "study": "tiny", "stage": "training", "event": "start", "done": 2, "total": 6,
        "unit": "trainings",
    }  # fmt: skip
    assert (found[2]["cell"], found[2]["loss"]) == ("toy N=8 0 0", "nan")
    assert found[3]["done"] == 3
    assert copy.read_text().count("\n") == len(found)


def test_a_stop_and_a_failure_say_so_with_the_exit_code(folder: StudyFolder) -> None:
    with pytest.raises(LimitReached), study_log(folder):
        raise LimitReached("budget\x1b[31m spent")
    with pytest.raises(ZeroDivisionError), study_log(folder):
        raise ZeroDivisionError
    ends = [line for line in lines(folder) if "exit_code" in line]
    assert [(line["event"], line["exit_code"]) for line in ends] == [("stopped", 3), ("failed", 1)]
    assert ends[0]["error"] == "budget [31m spent"


def test_without_a_run_events_go_nowhere(folder: StudyFolder, caplog: pytest.LogCaptureFixture) -> None:
    with study_log(folder):
        pass
    log_event("training", "trained")
    assert not EVENTS.handlers
    assert not EVENTS.isEnabledFor(logging.INFO)
    assert not caplog.records
