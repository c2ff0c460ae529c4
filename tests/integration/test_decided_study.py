"""A whole study under `decide`: fewer trainings than its grid, the same decisions again, and the grid after all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.tiny_study import artifact_files, assay, ledger_calls, link_artifacts, run_tiny, table, table_bytes

pytestmark = pytest.mark.slow

THREE = {"grid.draws": "3", "training_seeds_at_zero": "[0, 1, 2]"}
DECIDE = {**THREE, "decide": "{scorer: heuristic, spend: {rounds: [2, 3]}, margin: 1.0}"}
"""With a margin as wide as the scale, the first round that can decide does."""
ONE_TASK = {"grid.tasks": "[toy_sentiment]", "grid.draws": "2"}
IN_PARTS = {**ONE_TASK, "decide": "{scorer: heuristic, spend: {rounds: [2, 2], items: [6, 12]}}"}
"""No margin: nothing is decided early, and every item is asked for."""


def keys(storage: Path, kind: str) -> set[str]:
    return {Path(path).parts[2] for path in artifact_files(storage, [kind])}


def record(storage: Path, study: str = "tiny") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((storage / "studies" / study / "side" / "decisions.json").read_text())
    return found


@pytest.mark.study
def test_rounds_end_early_repeat_nothing_and_leave_the_grid_open(tmp_path: Path) -> None:
    ended = run_tiny(tmp_path, changes=DECIDE)
    assert ended.code == 0, ended.err
    decided = record(tmp_path)
    assert [one["task"] for one in decided["families"]] == ["toy_arithmetic", "toy_sentiment"]
    ends = {one["task"]: len(one["rounds"]) for one in decided["families"] if one["is_answered"]}
    # two draws of two tasks and two seeds at N = 0; a task whose answers have no spread goes on with its own arms
    open_tasks = 2 - sum(rounds == 1 for rounds in ends.values())
    assert len(keys(tmp_path, "adapter")) == 6 + open_tasks + bool(open_tasks)
    assert keys(tmp_path, "decision") == set(decided["decisions"])
    files, tables = artifact_files(tmp_path), table_bytes(tmp_path)
    decisions = (tmp_path / "studies" / "tiny" / "side" / "decisions.json").read_bytes()
    page = (tmp_path / "studies" / "tiny" / "report.html").read_text()
    assert "What was decided" in page and "draws and seeds" in page

    told = assay("status", "tiny", "--storage", str(tmp_path))
    assert told.code == 0 and "after 2 draws" in told.out and "best so far" in told.out

    (tmp_path / "studies" / "tiny" / "done.json").unlink()
    again = run_tiny(tmp_path, changes=DECIDE)
    assert again.code == 0, again.err
    assert artifact_files(tmp_path) == files and table_bytes(tmp_path) == tables
    assert (tmp_path / "studies" / "tiny" / "side" / "decisions.json").read_bytes() == decisions

    whole = run_tiny(tmp_path, changes={**THREE, "name": "whole"})
    assert whole.code == 0, whole.err
    assert len(keys(tmp_path, "adapter")) == 9
    assert {path: artifact_files(tmp_path).get(path) for path in files} == files


@pytest.mark.study
def test_items_in_rounds_are_answered_and_judged_once(tmp_path: Path) -> None:
    ended = run_tiny(tmp_path / "parts", changes=IN_PARTS)
    assert ended.code == 0, ended.err
    decided = record(tmp_path / "parts")
    assert all([one["items"] for one in family["rounds"]] == [6, 12] for family in decided["families"])
    # four adapters: 6 items in each of two parts, joined to 12, and what was forgotten
    parts, joined, forgetting = 8, 4, 4
    assert len(keys(tmp_path / "parts", "predictions")) == parts + joined + forgetting

    link_artifacts(tmp_path / "parts", tmp_path / "whole", ["dataset", "base", "mixture", "adapter"])
    whole = run_tiny(tmp_path / "whole", changes=ONE_TASK)
    assert whole.code == 0, whole.err
    # the same answers to the same items: as many judge calls, the same ones, and the same means
    assert set(ledger_calls(tmp_path / "parts")) == set(ledger_calls(tmp_path / "whole"))
    means = [
        {
            (row["adapter_key"], row["evaluation_set"], row["scorer"]): (row["num_scored"], row["mean"])
            for row in table(tmp_path / side, "run_scores")
        }
        for side in ("parts", "whole")
    ]
    assert means[0] == means[1]


def test_what_cannot_be_decided_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    ended = run_tiny(tmp_path, changes={"decide": "{scorer: truth, spend: {rounds: [2, 3]}}"})
    assert ended.code == 2 and "raise grid.draws" in ended.one_line()
    ended = run_tiny(tmp_path, changes={**THREE, "decide": "{scorer: truth, spend: {rounds: [2], items: [13]}}"})
    assert ended.code == 2 and "decide.spend.items: the last asks for 13 'toy_" in ended.one_line()
    ended = run_tiny(tmp_path, "--keep", "nobody", changes=DECIDE)
    assert ended.code == 2 and "--keep nobody: saw no such arm" in ended.one_line()
    ended = run_tiny(tmp_path, "--keep", "nobody")
    assert ended.code == 2 and "--keep: saw a study without decide" in ended.one_line()
    assert not keys(tmp_path, "adapter")
    assert assay("run", "quickstart", "--set", "decide={scorer: nobody, spend: {rounds: [2]}}").code == 2
