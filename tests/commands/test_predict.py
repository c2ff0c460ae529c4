"""`assay predict` from tables to its report, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from assay.cli import run_app

PARTS = ("a", "b", "c")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, count, first in (("train", 9, 0), ("test", 20, 100)):
        shares = rng.dirichlet(np.ones(3), count)
        score = shares[:, 0] + 0.5 * shares[:, 1] + 0.01 * rng.normal(size=count)
        write(tmp_path / f"{name}_mix.csv", ["run", *PARTS], [[first + i, *row] for i, row in enumerate(shares)])
        rows = [[first + i, value, 1 - value] for i, value in enumerate(score)]
        write(tmp_path / f"{name}_scores.csv", ["run", "score", "kept"], rows[::-1])
    return tmp_path


def write(path: Path, head: list[str], rows: list[list[float]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def predict(folder: Path, *more: str) -> int:
    tables = ["--mixtures", str(folder / "train_mix.csv"), "--scores", str(folder / "train_scores.csv")]
    return run_app(["predict", *tables, "--column", "score", "--out", str(folder / "out.json"), *more])


def test_report_predicts_further_mixtures_and_proposes_within_bounds(
    tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = ["--test-mixtures", str(tables / "test_mix.csv"), "--test-scores", str(tables / "test_scores.csv")]
    assert predict(tables, *test, "--at-most", "a=0.5", "--keep", "kept=0.3") == 0
    report = json.loads((tables / "out.json").read_text())
    assert report["test"]["rank_correlation"] > 0.9
    assert [row["key"] for row in report["predictions"]] == list(range(100, 120))
    best = report["best"]["shares"]
    assert best["a"] <= 0.5 and best["a"] + 0.5 * best["b"] <= 0.72  # "kept" is 1 - score
    assert report["best"]["low"] <= report["best"]["mean"] <= report["best"]["high"]
    assert "20 further mixtures: rank correlation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--at-most", "d=0.5"], "no such component"),
        (["--at-most", "a"], "expected NAME=NUMBER"),
        (["--at-least", "a=0.6", "--at-least", "b=0.6"], "no mixture keeps"),
        (["--keep", "kept=5"], "no mixture is predicted to keep"),
        (["--keep", "other=1"], "no column 'other'"),
        (["--key", "id"], "--key id"),
        (["--test-mixtures", "x.csv"], "expected both or none"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tables: Path, capsys: pytest.CaptureFixture[str], more: list[str], complaint: str
) -> None:
    assert predict(tables, *more) == 2
    said = capsys.readouterr().err.strip()
    assert complaint in said and "\n" not in said


def test_a_table_with_holes_is_refused(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (tables / "train_mix.csv").read_text().splitlines()
    (tables / "train_mix.csv").write_text("\n".join([*lines, "77,0.2,,0.8"]) + "\n")
    assert predict(tables) == 2
    assert "no scores for run=77" in capsys.readouterr().err
