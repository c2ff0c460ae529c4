"""The command line: exit codes, one line per mistake, and files that are whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.cli import run_app
from assay.commands.compare import compare_rows
from assay.commands.progress import LineProgress
from assay.store import Store
from assay.studies.folder import StudyFolder

ROW = {"id": "a", "task": "sst2", "prediction": "positive", "reference": "positive"}


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err.strip()
    assert error.startswith("assay: ")
    assert "\n" not in error
    return error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "nothing"], "nothing"),
        (["plan", "none.yaml"], "no such file"),
        (["plan", "quickstart", "--set", "grid.draws=0"], "grid.draws"),
        (["run", "quickstart", "--until", "lunch"], "--until lunch"),
        (["report", "quickstart", "--storage", "{tmp}"], "no such study"),
        (["compare", "a", "b", "--storage", "{tmp}"], "no such study"),
        (["run", "quickstart", "--storage", "{tmp}/file/below"], "cannot write"),
        (["run", "quickstart", "--set", "resources.training.gpus_per_worker=1", "--storage", "{tmp}"], "GPU"),
        (["run", "quickstart", "--set", "base_models=[{tmp}]", "--storage", "{tmp}/s"], "base model"),
        (["score", "--predictions", "{tmp}/none", "--scorers", "exact_match", "--out", "{tmp}/o"], "no such file"),
        (["metaeval", "scores", "--table", "{tmp}/none.csv", "--human", "h", "--out", "{tmp}/o"], "no such file"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / "file").write_text("")
    assert run_app([part.replace("{tmp}", str(tmp_path)) for part in arguments]) == 2
    assert said in one_line(capsys)


def test_relative_storage_inside_a_job_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_JOB_ID", "01000000")
    assert run_app(["run", "quickstart", "--storage", "runs"]) == 2
    assert "thrown away" in one_line(capsys)


def test_score_writes_a_field_per_scorer_and_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [ROW, {**ROW, "id": "b", "prediction": "It is positive."}, {**ROW, "id": "c", "prediction": "negative"}]
    source = write_lines(tmp_path / "p.jsonl", *rows)
    out = tmp_path / "scored.jsonl"
    command = ["score", "--predictions", str(source), "--scorers", "exact_match,heuristic", "--out", str(out)]
    assert run_app(command) == 0
    scored = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["exact_match"] for row in scored] == [1.0, 0.0, 0.0]
    assert [row["heuristic"] for row in scored] == [1.0, 1.0, 0.0]
    summary = {row["scorer"]: row for row in json.loads((tmp_path / "scored.summary.json").read_text())}
    assert summary["heuristic"]["mean"] == pytest.approx(2 / 3)
    assert (summary["heuristic"]["asked"], summary["heuristic"]["scored"]) == (3, 3)
    assert "exact_match" in capsys.readouterr().out


def test_score_takes_parameters_and_rows_of_any_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prediction": f"The runner {n}", "reference": f"the runners {n % 7}"} for n in range(600)]
    source = write_lines(tmp_path / "p.jsonl", *rows)
    means = []
    for override in ("false", "true"):
        out = tmp_path / f"{override}.jsonl"
        command = ["score", "--predictions", str(source), "--scorers", "rouge1", "--out", str(out)]
        assert run_app([*command, "--set", f"rouge1.use_stemmer={override}"]) == 0
        (summary,) = json.loads((tmp_path / f"{override}.summary.json").read_text())
        values = [json.loads(line)["rouge1"] for line in out.read_text().splitlines()]
        assert (summary["asked"], summary["scored"], len(values)) == (600, 600, 600)
        assert summary["mean"] == pytest.approx(sum(values) / 600, abs=1e-6)
        assert summary["low"] < summary["mean"] < summary["high"]
        means.append(summary["mean"])
    assert means[0] < means[1]
    capsys.readouterr()
    command = ["score", "--predictions", str(source), "--scorers", "rouge1", "--out", str(tmp_path / "o")]
    for override in ("rouge2.use_stemmer=true", "rouge1.stem=1", "judge=x"):
        assert run_app([*command, "--set", override]) == 2
        assert override.split("=")[0].split(".")[0] in one_line(capsys)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(("o", "."))) == []


def test_score_list_says_what_each_scorer_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["score", "--list", "--json"]) == 0
    listed = {spec["name"]: spec for spec in json.loads(capsys.readouterr().out)}
    assert {listed[name]["cost"] for name in ("rouge1", "sbert", "judge")} == {"cpu", "model", "call"}
    assert (listed["reward"]["low"], listed["bleu"]["high"], listed["bleu"]["direction"]) == (None, 1.0, "higher")
    assert run_app(["score"]) == 2
    assert "--list" in one_line(capsys)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", ":2: saw no valid JSON"),
        ("[1]", "expected a JSON object"),
        ('{"prediction": 3}', ":2: saw 3 as prediction"),
    ],
)
def test_a_bad_prediction_line_is_named_and_nothing_is_written(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_lines(tmp_path / "p.jsonl", ROW, line)
    out = tmp_path / "o.jsonl"
    assert run_app(["score", "--predictions", str(source), "--scorers", "exact_match", "--out", str(out)]) == 2
    assert said in one_line(capsys)
    assert not out.exists()


def test_metaeval_scores_compares_columns_with_the_human_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["human,good,bad,task", *(f"{i},{i * 2 + i % 3},{-i},{'ab'[i % 2]}" for i in range(30))]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(lines) + "\n")
    out = tmp_path / "o.json"
    assert (
        run_app(["metaeval", "scores", "--table", str(table), "--human", "human", "--task", "task", "--out", str(out)])
        == 0
    )
    report = json.loads(out.read_text())
    assert report["scorers"]["good"]["spearman"]["value"] > 0.99
    assert report["scorers"]["bad"]["spearman"]["value"] == pytest.approx(-1.0)
    shown = capsys.readouterr().out.splitlines()
    assert {"CIT", "CAT", "Kendall"} <= set(shown[0].split())
    assert any(line.startswith("bad - good: -1.99") for line in shown), "the two scorers are compared"


def test_mixtures_are_written_with_provenance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--set", "grid.draws=1", "--set", "grid.tasks=[toy_sentiment]", "--set", "grid.sizes=[0, 4]"]
    assert run_app(["mixtures", "quickstart", *small, "--out", str(tmp_path / "m")]) == 0
    listed = json.loads((tmp_path / "m/mixtures.json").read_text())
    assert {row["arm"] for row in listed} == {"instructions only", "toy_sentiment N=4"}
    larger = next(row for row in listed if row["arm"] != "instructions only")
    lines = (tmp_path / "m" / str(larger["folder"]) / "train.jsonl").read_text().splitlines()
    components = [json.loads(line)["provenance"]["component"] for line in lines]
    assert components.count("toy_sentiment") == 4
    assert len(lines) == larger["train_rows"]


def test_status_counts_what_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["status", "quickstart", "--storage", str(tmp_path), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["finished"] is False
    assert {row["stage"]: row["done"] for row in status["stages"]} == dict.fromkeys(
        ["base", "mixtures", "trainings", "predictions", "scores"], 0
    )
    assert list(tmp_path.iterdir()) == []


def test_status_of_a_folder_needs_the_store_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, key = Store(str(tmp_path)), "0" * 32
    store.write_study_json("theirs", "study.json", {"key": "k", "study": {"data": {"root": "/not/here"}}})
    store.write_study_json("theirs", "side/artifacts.json", {"adapter": [key, "1" * 32], "scores": []})
    store.write_study_bytes("theirs", "side/log/1.jsonl", b'{"event": "old"}\n')
    store.write_study_bytes("theirs", "side/log/2.jsonl", b'{"stage": "training", "event": "trained"}\n{"cut sho')
    with store.writing("adapter", key) as artifact:
        artifact.json("x", {})
    assert run_app(["status", "theirs", "--storage", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "theirs: not finished" in said
    assert "trainings           1 of        2   50.0 %" in said
    assert "last event   training trained at ?" in said


def test_compare_says_apart_only_where_intervals_do_not_touch() -> None:
    key = ("tiny", "t", "exact_match", 64)
    low = {"mean": 0.1, "low": 0.0, "high": 0.2}
    high = {"mean": 0.5, "low": 0.3, "high": 0.7}
    (row,) = compare_rows({key: low}, {key: high, ("tiny", "u", "exact_match", 64): high})
    assert (row["apart"], row["difference"]) == (True, pytest.approx(0.4))
    (row,) = compare_rows({key: low}, {key: {**high, "low": 0.15}})
    assert row["apart"] is False


def test_studies_of_preferences_are_compared_method_by_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa

    store = Store(str(tmp_path))
    for name, shift in (("one", 0.0), ("two", 0.3)):
        measured = [
            {"base_model": "tiny", "pairs": "plain", "method": method, "measure": "truth", "value": value + shift,
             "low": value + shift - 0.1, "high": value + shift + 0.1}
            for method, value in (("dpo", 0.4), ("kto", 0.2))
        ]  # fmt: skip
        folder = StudyFolder(store, name, "0" * 32)
        store.write_study_json(name, "study.json", {"key": folder.key, "study": {}})
        folder.write_tables({"preference_measures": pa.Table.from_pylist(measured)})
        folder.finish(tables=["preference_measures"], mlflow="")
    assert run_app(["compare", "one", "two", "--storage", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["method"], row["measure"], row["apart"]) for row in rows] == [
        ("dpo", "truth", True), ("kto", "truth", True),
    ]  # fmt: skip
    assert [row["difference"] for row in rows] == pytest.approx([0.3, 0.3])
    assert run_app(["compare", "one", "two", "--storage", str(tmp_path)]) == 0
    assert "0.400 [0.300, 0.500]" in capsys.readouterr().out


def test_plain_progress_says_start_and_end(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress()
    progress.start("train", 10, done=4, unit="trials")
    progress.advance("train", 6, loss=1.23456, rate=30_000)
    progress.finish("train", "all good")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train: 10 trials, 4 already in the store"
    assert lines[-1].startswith("train: done in")
    assert "loss 1.235, rate 30,000; all good" in lines[-1]


def _paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    parts = getattr(command, "commands", None)
    if parts is None:
        yield path
    for name in parts or ():
        yield from _paths(parts[name], (*path, name))


def test_no_help_shows_a_values_type_as_python_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    from assay.cli import whole_app

    for path in _paths(typer.main.get_command(whole_app())):
        assert run_app([*path, "--help"]) == 0
        assert " range>" not in capsys.readouterr().out, path
