"""A whole study with `exits`: the planted loser ends, the winner is the same, nothing is done twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.exits_study import NUM_STEPS, exits_study
from support.tiny_study import artifact_files, assay, table, table_bytes

pytestmark = pytest.mark.study
LOSER = "misjoined"


def record(storage: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((storage / "studies" / "ends" / "side" / "exits.json").read_text())
    return found


def summaries(storage: Path) -> dict[str, dict[str, Any]]:
    """Of every adapter, by key."""
    paths = (storage / "artifacts" / "adapter").glob("*/summary.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def best(storage: Path, study: str) -> set[str]:
    return {str(row["arm"]) for row in table(storage, "objective", study) if row["is_best"]}


def test_a_losing_arm_ends_and_nothing_else_changes(tmp_path: Path) -> None:
    storage, study = tmp_path / "runs", exits_study(tmp_path)
    ended = assay("run", study, "--storage", str(storage))
    assert ended.code == 0, ended.err

    rows = table(storage, "exits", "ends")
    assert {row["arm"] for row in rows} == {LOSER} and len(rows) == 2
    found, trained = record(storage), summaries(storage)
    for row in rows:
        kept = trained[found["ended"][row["adapter_key"]]]
        assert row["adapter_key"] not in trained
        assert (kept["steps"], kept["planned_steps"]) == (row["step"], row["planned_steps"])
        assert row["planned_steps"] == NUM_STEPS and row["step"] in (3, 6)
    assert Counter(one["steps"] for one in trained.values())[NUM_STEPS] == 6
    assert not list((storage / "artifacts").glob("checkpoint/*"))

    results = ("run_scores", "leaderboard", "objective", "shares", "curves")
    arms = {str(row["arm"]) for name in results for row in table(storage, name, "ends") if "arm" in row}
    assert arms == {"right", "natural", "uniform"}
    predictions = {row["predictions_key"] for row in table(storage, "run_scores", "ends")}
    assert len(predictions) == len(list((storage / "artifacts" / "predictions").glob("*/manifest.json"))) == 6
    page = (storage / "studies" / "ends" / "report.html").read_text()
    assert "What ended early" in page and f"{LOSER} ended after" in page

    told = assay("status", "ends", "--storage", str(storage))
    assert told.code == 0 and f"{LOSER} ended after" in " ".join(told.out.split()), told.out
    assert "8 of        8" in told.out and "finished" in told.out

    files, tables, decided = artifact_files(storage), table_bytes(storage, "ends"), record(storage)
    (storage / "studies" / "ends" / "done.json").unlink()
    again = assay("run", study, "--storage", str(storage))
    assert again.code == 0, again.err
    assert artifact_files(storage) == files and table_bytes(storage, "ends") == tables and record(storage) == decided

    whole = assay("run", study, "--storage", str(storage), "--set", "exits=null", "--set", "name=whole")
    assert whole.code == 0, whole.err
    assert best(storage, "whole") == best(storage, "ends") != {LOSER}
    assert {path: artifact_files(storage).get(path) for path in files} == files
    means = [
        {row["adapter_key"]: row["mean"] for row in table(storage, "run_scores", name) if row["scorer"] == "truth"}
        for name in ("ends", "whole")
    ]
    assert len(means[0]) == 6 and len(means[1]) == 8 and means[0].items() <= means[1].items()

    # the curves of whole trainings say what those of held ones said
    (storage / "studies" / "ends" / "done.json").unlink()
    after = assay("run", study, "--storage", str(storage))
    assert after.code == 0, after.err
    assert table_bytes(storage, "ends") == tables and record(storage)["decisions"] == decided["decisions"]
