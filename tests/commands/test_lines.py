"""What commands print fits 100 columns, however long the names are."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.cli import run_app
from assay.commands import score, study
from assay.errors import LINE_WIDTH, fitted
from assay.scoring.table import SHIPPED_SCORERS


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_words_go_to_the_next_line_and_no_path_is_cut() -> None:
    path = "/a" * 80
    told = fitted(f"  report       {'word ' * 30}{path} end", 15)
    assert path in told
    assert all(len(line) <= LINE_WIDTH for line in told.splitlines() if path not in line)
    assert all(line.startswith(" " * 15) for line in told.splitlines()[1:])


def test_scores_with_long_names_many_rows_and_reasons_fit(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = {f"a reason that says rather much, number {number}": 10_000_000 for number in range(4)}
    row = {"scorer": "a_scorer_of_a_plug_in_with_a_long_name", "mean": -12345.67891, "low": -12346.0, "high": -12345.0}
    score._print_summary([{**row, "asked": 50_000_000, "scored": 10_000_000, "reasons": reasons, "num_cut": 1_000_000}])
    told = lines_of(capsys)
    assert max(map(len, told)) <= LINE_WIDTH
    assert sum("a reason that says" in line for line in told) >= 1
    assert "50,000,000" in told[2]  # the name has a line of its own, and the columns stand


def test_the_list_of_scorers_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["score", "--list"]) == 0
    told = lines_of(capsys)
    assert max(map(len, told)) <= LINE_WIDTH
    assert {line.split()[0] for line in told if line[:1] != " "} == {"scorer", *SHIPPED_SCORERS.names, "judge"}


def test_status_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    event = {"stage": "training", "event": "error", "cell": "arm " * 30, "error": "why " * 40, "time": "12:00:00"}
    status = {
        "study": "s" * 60,
        "storage": "runs",
        "finished": False,
        "stages": [{"stage": "predictions", "wanted": 10_000_000, "done": 9_999_999}],
        "decisions": ["toy_sentiment on a base, after 3 draws and 200 items: best so far " + "an arm; " * 20],
        "last": event,
        "report": None,
    }
    monkeypatch.setattr("assay.studies.status.stored_status", lambda store, reference: status)
    study.status_command("s", [], str(tmp_path), as_json=False)
    told = lines_of(capsys)
    assert max(map(len, told)) <= LINE_WIDTH
    assert sum(line.count("arm;") for line in told) == 20  # nothing is cut off
