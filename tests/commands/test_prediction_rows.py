"""Rows of predictions: what counts as a reference, and that every bad row is named by file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from assay.cli import run_app
from assay.commands.prediction_rows import prediction_rows

OBJECT = {"PER": ["Ada"], "LOC": ["Paris"]}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def scored(
    tmp_path: Path, row: dict[str, Any], scorers: str = "exact_match", task: str = "instructions", code: int = 0
) -> Any:
    source, out = write(tmp_path / "p.jsonl", row), tmp_path / "o.jsonl"
    command = ["score", "--predictions", str(source), "--scorers", scorers, "--out", str(out), "--task", task]
    assert run_app(command) == code
    return json.loads(out.read_text())


@pytest.mark.parametrize("row", [{}, {"reference": None}, {"reference": []}, {"output": None, "answers": {"text": []}}])
@pytest.mark.parametrize("prediction", ["None", ""])
def test_no_reference_is_missing_data_and_never_a_number(row: dict[str, Any], prediction: str, tmp_path: Path) -> None:
    names = ("exact_match", "token_f1", "rouge1", "rougeL", "bleu", "heuristic")
    found = scored(
        tmp_path, {**row, "prediction": prediction}, ",".join(names), "xsum", code=2
    )  # told, and written all the same
    assert {found[name] for name in names} == {None}
    assert {found[f"{name}_unscored"] for name in names} == {"no reference"}
    (first, *_) = json.loads((tmp_path / "o.summary.json").read_text())
    assert (first["asked"], first["scored"], first["reasons"]) == (1, 0, {"no reference": 1})


def test_an_empty_reference_is_a_reference(tmp_path: Path) -> None:
    assert scored(tmp_path, {"prediction": "", "reference": ""})["exact_match"] == 1.0


@pytest.mark.parametrize(
    "row",
    [
        {"reference": ["no", "yes"]},
        {"output": "no", "references": ["no", "yes"]},
        {"reference": "no", "references": ["yes"]},
        {"references": ["yes"]},
        {"answers": ["no", "yes"]},
        {"answers": {"text": ["no", "yes"], "answer_start": [1, 2]}},
        {"reference": "no", "meta": {"references": ["yes"]}},
    ],
)
def test_the_best_of_several_references_counts(row: dict[str, Any], tmp_path: Path) -> None:
    assert scored(tmp_path, {**row, "prediction": "yes"})["exact_match"] == 1.0


def test_an_object_is_compared_as_json(tmp_path: Path) -> None:
    row = {"prediction": json.dumps(dict(reversed(OBJECT.items()))), "reference": OBJECT, "task": "conll"}
    found = scored(tmp_path, row, "exact_match,heuristic")
    assert (found["exact_match"], found["heuristic"]) == (1.0, 1.0)
    assert found["reference"] == OBJECT, "rows are written as they were read"


def test_nulls_and_objects_are_no_text(tmp_path: Path) -> None:
    row = {"prediction": "a", "id": None, "task": None, "instruction": None, "input": {"text": "ü"}, "reference": 4}
    ((_, request),) = prediction_rows(write(tmp_path / "p.jsonl", row), "xsum")
    example = request.example
    assert (example.example_id, example.task, example.instruction) == ("1", "xsum", "")
    assert (example.input, example.reference) == ('{"text": "ü"}', "4")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prediction": 3}', "saw 3 as prediction; expected text"),
        ('{"prediction": "\\ud800", "reference": "a"}', "lone surrogate"),
        ('{"prediction": "a", "note": {"deep": ["\\udfff"]}}', "lone surrogate"),
        ('{"prediction": "a", "task": "nothing"}', "saw 'nothing'"),
        ('{"prediction": "a", "reference": ["b", 3]}', "expected text, an object or a list of texts"),
        ('{"prediction": "a"', "no valid JSON"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "p.jsonl", tmp_path / "o.jsonl"
    source.write_text('{"prediction": "a", "reference": "a"}\n\n' + line + "\n")
    assert run_app(["score", "--predictions", str(source), "--scorers", "exact_match", "--out", str(out)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert f"{source}:3: " in error and said in error
    assert not out.exists()


def test_a_bad_byte_is_named_by_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "p.jsonl"
    source.write_bytes(b'{"prediction": "a"}\n{"prediction": "\xff"}\n')
    command = ["score", "--predictions", str(source), "--scorers", "exact_match", "--out", str(tmp_path / "o")]
    assert run_app(command) == 2
    assert f"{source}:2: saw the byte 0xff" in capsys.readouterr().err


def test_a_byte_order_mark_and_gzip_are_read(tmp_path: Path) -> None:
    source, out = tmp_path / "p.jsonl.gz", tmp_path / "o.jsonl"
    source.write_bytes(gzip.compress(b'\xef\xbb\xbf{"prediction": "a", "reference": "a"}\n'))
    assert run_app(["score", "--predictions", str(source), "--scorers", "exact_match", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["exact_match"] == 1.0


@pytest.mark.parametrize("out", [".", "..", "{tmp}"])
def test_a_folder_as_out_is_one_line(out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "p.jsonl", {"prediction": "a"})
    out = out.replace("{tmp}", str(tmp_path))
    assert run_app(["score", "--predictions", str(source), "--scorers", "exact_match", "--out", out]) == 2
    assert f"--out {out}: saw a folder; expected a file" in capsys.readouterr().err


def test_an_unknown_task_option_and_a_file_without_rows_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "p.jsonl")
    command = ["score", "--predictions", str(source), "--scorers", "exact_match", "--out", str(tmp_path / "o")]
    assert run_app([*command, "--task", "nothing"]) == 2
    assert "saw 'nothing'" in capsys.readouterr().err
    assert run_app(command) == 2
    assert "saw no rows" in capsys.readouterr().err
