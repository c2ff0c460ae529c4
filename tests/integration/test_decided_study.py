"""A whole study under `decide`: fewer trainings than its grid, the same decisions again, and the grid after all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.tiny_study import artifact_files, assay, run_tiny, table_bytes

pytestmark = pytest.mark.slow

THREE = {"grid.draws": "3", "training_seeds_at_zero": "[0, 1, 2]"}
DECIDE = {**THREE, "decide": "{scorer: truth, rounds: [2, 3], margin: 1.0}"}
"""With a margin as wide as the scale, the first round that can decide does."""


def adapters(storage: Path) -> int:
    return sum(path.endswith("manifest.json") for path in artifact_files(storage, ["adapter"]))


def test_rounds_end_early_repeat_nothing_and_leave_the_grid_open(tmp_path: Path) -> None:
    ended = run_tiny(tmp_path, changes=DECIDE)
    assert ended.code == 0, ended.err
    record = json.loads((tmp_path / "studies" / "tiny" / "side" / "decisions.json").read_text())
    assert [one["task"] for one in record["families"]] == ["toy_arithmetic", "toy_sentiment"]
    is_early = all(one["is_answered"] and len(one["rounds"]) == 1 for one in record["families"])
    # two draws of two tasks and two seeds at N = 0; a base that answers nothing right has no spread and goes on
    assert adapters(tmp_path) == (6 if is_early else 9)
    files, tables = artifact_files(tmp_path), table_bytes(tmp_path)
    decisions = (tmp_path / "studies" / "tiny" / "side" / "decisions.json").read_bytes()

    again = run_tiny(tmp_path, changes=DECIDE)
    assert again.code == 0, again.err
    assert artifact_files(tmp_path) == files and table_bytes(tmp_path) == tables
    assert (tmp_path / "studies" / "tiny" / "side" / "decisions.json").read_bytes() == decisions

    whole = run_tiny(tmp_path, changes={**THREE, "name": "whole"})
    assert whole.code == 0, whole.err
    assert adapters(tmp_path) == 9
    assert {path: state for path, state in artifact_files(tmp_path, ["adapter"]).items() if path in files}.items() <= (
        files.items()
    )


def test_what_cannot_be_decided_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    ended = run_tiny(tmp_path, changes={"decide": "{scorer: truth, rounds: [2, 3]}"})
    assert ended.code == 2 and "raise grid.draws" in ended.one_line()
    assert not adapters(tmp_path)
    assert assay("run", "quickstart", "--set", "decide={scorer: nobody, rounds: [2]}").code == 2
