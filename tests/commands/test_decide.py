"""`assay decide` from a table to its record, and what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from assay.cli import run_app


def table(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(["arm,draw,score", *rows]) + "\n")
    return path


def rows(draws: int = 5) -> list[str]:
    rng = np.random.default_rng(0)
    truth = {"good": 0.8, "fair": 0.6, "bad": 0.2}
    return [f"{arm},{draw},{mean + 0.02 * rng.normal():.4f}" for arm, mean in truth.items() for draw in range(draws)]


def decide(path: Path, *more: str) -> int:
    return run_app(["decide", "--table", str(path), "--out", str(path.parent / "out.json"), "--looks", "2,3,5", *more])


def test_the_best_arm_is_found_before_the_last_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(table(tmp_path / "runs.csv", rows())) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["is_answered"] and found["rounds"][-1]["leader"] == "good" and found["rounds"][-1]["look"] < 5
    assert set(found["rounds"][0]["dropped"]) | set(found["rounds"][-1]["dropped"]) == {"fair", "bad"}
    said = capsys.readouterr().out
    assert "fair is worse" in said and "against good" in said and "answered after" in said


def test_equal_evidence_gives_an_equal_record_whatever_the_order_of_rows(tmp_path: Path) -> None:
    records = set()
    for seed in range(5):
        shuffled = rows()
        random.Random(seed).shuffle(shuffled)
        decide(table(tmp_path / "runs.csv", shuffled))
        records.add((tmp_path / "out.json").read_bytes())
    assert len(records) == 1


def test_before_the_first_round_nothing_is_decided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(table(tmp_path / "runs.csv", rows(1))) == 0
    assert "no round yet" in capsys.readouterr().out


def test_undecided_says_what_it_would_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    close = ["a,0,0.50", "b,0,0.51", "a,1,0.55", "b,1,0.53", "a,2,0.52", "b,2,0.54"]
    assert decide(table(tmp_path / "runs.csv", close)) == 0
    said = capsys.readouterr().out
    assert "a is undecided, would take about" in said and "open: next round at 5 draws" in said


def test_items_of_two_adapters(tmp_path: Path) -> None:
    scores = [f"{arm},{item},{int(item % 10 < wins)}" for arm, wins in (("a", 8), ("b", 2)) for item in range(60)]
    path = table(tmp_path / "runs.csv", scores)
    assert decide(path, "--unit", "items", "--order", "draw", "--looks", "20,40,60", "--num-items", "200") == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["is_answered"] and found["rounds"][-1]["leader"] == "a"


@pytest.mark.parametrize(
    ("lines", "more", "complaint"),
    [
        (rows(), ["--looks", "3,2"], "increasing whole numbers"),
        (rows(), ["--question", "baseline", "--baseline", "x"], "--baseline one of them"),
        (rows(), ["--score", "other"], "no column 'other'"),
        (rows()[:5], [], "expected two or more"),
        ([*rows(), "bad,0,0.3"], [], "saw 'bad' twice"),
        ([*rows()[1:], "other,7,0.3"], [], "without an early draw"),
        (["a,0,", "b,0,1"], [], "no empty cell"),
        (["a,0,3", "b,0,1", "a,1,3", "b,1,2"], ["--unit", "items", "--order", "draw"], "in [0, 1]"),
    ],
)
def test_what_cannot_be_decided_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str], more: list[str], complaint: str
) -> None:
    assert decide(table(tmp_path / "runs.csv", lines), *more) == 2
    said = capsys.readouterr().err.strip()
    assert complaint in said and "\n" not in said
