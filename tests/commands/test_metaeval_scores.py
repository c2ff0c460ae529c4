"""`assay metaeval scores`: what a table must look like, and which of its columns are scorers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.cli import run_app

HEADER = "id,task,doc_id,seed,draw,n,human,good"
LINES = [f"{i},{'ab'[i % 2]},{i // 3},{i % 2},{i % 3},{(i % 4 > 1) * 64},{i},{i + i % 3}" for i in range(24)]


def table(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("\n".join([HEADER, *LINES, *lines]) + "\n")
    return path


def command(path: Path, *more: str) -> list[str]:
    return ["metaeval", "scores", "--table", str(path), "--human", "human", "--out", str(path.parent / "o.json"), *more]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    assert run_app(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_numbers_that_name_rows_are_no_scorers_unless_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path)
    assert run_app(command(path)) == 0
    assert list(json.loads((tmp_path / "o.json").read_text())["scorers"]) == ["good"]
    assert (
        "scorer columns taken: good; no scores by their names: id, doc_id, seed, draw, n (" in capsys.readouterr().out
    )
    assert run_app(command(path, "--scorer", "seed")) == 0
    assert list(json.loads((tmp_path / "o.json").read_text())["scorers"]) == ["seed"]
    assert "scorer columns taken" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--scorer", "good", "--scorer", "good"], "--scorer good: saw it a second time"),
        (["--scorer", "human"], "--scorer human: saw the column of --human"),
        (["--scorer", "task", "--task", "task"], "--scorer task: saw the column of --task"),
        (["--target-rows", "n"], "--target-rows: saw no --task"),
        (["--run", "seed"], "--run: saw no --target-rows"),
        (["--task", "task", "--target-rows", "none"], "saw no column 'none'"),
        (["--task", "task", "--target-rows", "task"], "saw 'a' in row 0; expected a whole number"),
    ],
)
def test_columns_with_the_wrong_part_are_refused(
    more: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, command(table(tmp_path), *more))


@pytest.mark.parametrize("option", ["--task", "--group"])
def test_an_empty_label_is_named(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, "24,,8,0,0,0,5,5", '25,"",8,0,0,0,5,5')
    assert "column 'task': saw nothing in row 24" in refused(capsys, command(path, option, "task"))


def test_two_columns_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("human,a,a\n1,2,3\n2,3,4\n")
    assert "saw two columns named 'a'" in refused(capsys, command(path))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_bad_byte_is_named_by_its_line(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(b"human,a\n1,2\n2,\xff\n" if suffix == "csv" else b'{"human": 1}\n{"human": 2}\n{"a": "\xff"}\n')
    assert f"{path}:3: saw the byte 0xff" in refused(capsys, command(path))


def test_tfa_is_shown_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(command(table(tmp_path), "--task", "task", "--target-rows", "n")) == 0
    report = json.loads((tmp_path / "o.json").read_text())
    # a: 0, 4, ... 20 -> 2, 6, ... 22; b: the same plus 1; each gains 2, from 10 and from 11
    assert report["human_tfa"]["tfa_absolute"]["value"] == pytest.approx(2.0)
    assert report["human_tfa"]["tfa_relative"]["value"] == pytest.approx((2 / 10 + 2 / 11) / 2)
    assert set(report["scorers"]["good"]) >= {"tfa_relative", "tfa_absolute", "cit"}
    shown = capsys.readouterr().out
    assert "TFA: gain from N = 0 to the largest N, mean over tasks" in shown
    assert "human (human)         0.191 [" in shown
