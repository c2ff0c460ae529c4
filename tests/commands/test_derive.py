"""`assay tag` and `assay synthesize` on files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.cli import run_app

ASKS = ("Translate this into French:", "Summarize the text about", "Calculate how many", "Rewrite the sentence:")
WORDS = ("rain", "trains", "friends", "hills", "seas", "clocks", "bread", "snow", "letters", "songs")


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def instructions(count: int) -> list[dict[str, str]]:
    return [
        {"id": f"i{n}", "instruction": f"{ASKS[n % 4]} {WORDS[n % 10]} {n}", "input": "", "output": "x"}
        for n in range(count)
    ]


def test_a_file_is_tagged_and_the_agreement_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = written(tmp_path / "rows.jsonl", instructions(160))
    gold = written(tmp_path / "gold.jsonl", [{"id": f"i{n}", "category": "Translate"} for n in range(8)])
    out = tmp_path / "tagged.jsonl"
    code = run_app(
        ["tag", "--data", str(data), "--out", str(out), "--judge-rows", "80", "--gold", str(gold), "--storage",
         str(tmp_path / "runs")]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert code == 0, said
    assert "80 rows tagged by rubric, 80 by a classifier that agrees with it on" in said
    assert "agreement with the labelled sample: 0.250" in said  # every fourth of them is a translation
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["category"] for row in rows if row["instruction"].startswith("Translate")} == {"Translate"}
    summary = json.loads(out.with_suffix(".summary.json").read_text())
    assert summary["classifier"]["num_held_out"] == 16
    assert summary["agreement"]["num_rows"] == 8


def test_rows_are_written_into_a_file_that_loads_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": f"h{n}", "input": f"Sentence: {' '.join(WORDS[(n * k + k) % 10] for k in (1, 3, 4, 7, 9, 2))} {n}",
         "output": ("negative", "positive")[n % 2], "split": "train"}
        for n in range(40)
    ]  # fmt: skip
    data = written(tmp_path / "human.jsonl", rows)
    out = tmp_path / "synthetic.jsonl"
    arguments = ["synthesize", "--data", str(data), "--task", "sst2", "--rows", "12", "--shown", "10"]
    assert run_app([*arguments, "--out", str(out), "--storage", str(tmp_path / "runs")]) == 0, capsys.readouterr()
    made = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(made) == 12
    assert {row["split"] for row in made} == {"train"}
    assert not {row["input"] for row in made} & {row["input"] for row in rows}


def test_a_search_of_a_study_without_weights_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_app(["search", "quickstart", "--storage", str(tmp_path)]) == 2
    assert "expected mixture or weights" in capsys.readouterr().err
