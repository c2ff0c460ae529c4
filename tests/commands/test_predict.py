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


def test_shares_in_percent_are_refused_wherever_they_stand(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mixtures = tables / "test_mix.csv"
    head, *lines = mixtures.read_text().splitlines()
    percent = [",".join([run, *(str(100 * float(share)) for share in rest)]) for run, *rest in map(parts, lines)]
    mixtures.write_text("\n".join([head, *percent]) + "\n")
    test = ["--test-mixtures", str(mixtures), "--test-scores", str(tables / "test_scores.csv")]
    assert predict(tables, *test) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("assay: --test-mixtures: saw row") and "shares add up to 100.000" in said
    assert "\n" not in said
    assert not (tables / "out.json").exists()


def parts(line: str) -> list[str]:
    return line.split(",")


def test_scores_that_are_all_equal_give_null_and_say_why(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, count, first in (("train", 9, 0), ("test", 20, 100)):
        write(tables / f"{name}_scores.csv", ["run", "score"], [[first + i, 0.5] for i in range(count)])
    test = ["--test-mixtures", str(tables / "test_mix.csv"), "--test-scores", str(tables / "test_scores.csv")]
    assert predict(tables, *test) == 0
    text = (tables / "out.json").read_text()
    assert "NaN" not in text and json.loads(text)["out_of_fold_rank_correlation"] is None
    assert "not known (all their scores are equal)" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["mixtures", "scores", "test-mixtures", "test-scores"])
def test_a_missing_file_is_told_by_its_own_option(
    tables: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    given = {
        "mixtures": tables / "train_mix.csv",
        "scores": tables / "train_scores.csv",
        "test-mixtures": tables / "test_mix.csv",
        "test-scores": tables / "test_scores.csv",
        missing: tables / "absent.csv",
    }
    options = [part for name, path in given.items() for part in (f"--{name}", str(path))]
    assert run_app(["predict", *options, "--column", "score", "--out", str(tables / "out.json")]) == 2
    assert f"--{missing} {tables / 'absent.csv'}: saw no such file" in capsys.readouterr().err


def test_the_folder_of_the_report_is_made(tables: Path) -> None:
    assert predict(tables, "--out", str(tables / "new" / "deep" / "out.json")) == 0
    assert (tables / "new" / "deep" / "out.json").is_file()


def test_scores_that_are_no_numbers_are_refused(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tables / "train_scores.csv", ["run", "score"], [[i, float("inf") if i == 3 else 0.1 * i] for i in range(9)])
    assert predict(tables) == 2
    assert "column 'score': saw inf; expected finite numbers" in capsys.readouterr().err


def test_a_batch_is_proposed_and_queued_mixtures_that_cannot_win_are_named(
    tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tables / "queue.csv", ["name", *PARTS], [["good", 0.99, 0.01, 0.0], ["bad", 0.0, 0.02, 0.98]])  # type: ignore[list-item]
    for goal, lost in (("max", "bad"), ("min", "good")):
        assert predict(tables, "--batch", "3", "--queued", str(tables / "queue.csv"), "--goal", goal) == 0
        report = json.loads((tables / "out.json").read_text())
        assert len(report["next"]) == 3
        assert {row["key"]: row["cancel"] for row in report["queued"]}[lost]
        assert f"{lost}: " in capsys.readouterr().out


def test_a_queue_of_other_components_is_refused(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tables / "queue.csv", ["a", "b"], [[0.5, 0.5]])
    assert predict(tables, "--queued", str(tables / "queue.csv")) == 2
    assert "saw no column 'c'" in capsys.readouterr().err
    write(tables / "queue.csv", [*PARTS], [[50, 25, 25]])
    assert predict(tables, "--queued", str(tables / "queue.csv")) == 2
    assert "--queued: saw row 0: shares add up to 100" in " ".join(capsys.readouterr().err.split())
