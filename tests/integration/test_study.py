"""A whole study through the real engines, by the command line: Ray, Tune, DeepSpeed, vLLM, Ray Data, a judge server."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from assay.judge_server.launch import JudgeServer, start_judge_server
from assay.scoring.judges.protocols.repeats import REPEAT_REPLICATES
from support.tiny_study import (
    PATIENCE_S,
    Finished,
    artifact_files,
    assay,
    closed_port,
    finished_study,
    ledger_calls,
    run_tiny,
    settings,
    table,
    table_bytes,
)

pytestmark = pytest.mark.timeout(3 * PATIENCE_S)
ENGINES = ("ray", "torch", "vllm", "deepspeed", "mlflow", "transformers", "peft")
SCORERS = {"exact_match", "token_f1", "rouge1", "rougeL", "heuristic", "judge", "truth"}


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_study(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def without_engines(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder for PYTHONPATH whose engines end the process that imports them."""
    folder = tmp_path_factory.mktemp("no-engines")
    for name in ENGINES:
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name} was imported')\n")
    return str(folder)


def invoice(server: JudgeServer) -> int:
    with urllib.request.urlopen(server.root_url + "/assay/invoice") as response:
        return int(json.load(response)["calls"])


def tracked_runs(storage: Path, experiment: str) -> dict[str, list[dict[str, str]]]:
    """Tags of the MLflow runs of a study, by role."""
    connection = sqlite3.connect(storage / "mlflow.db")
    try:
        rows = connection.execute(
            "select t.run_uuid, t.key, t.value from tags t join runs r on r.run_uuid = t.run_uuid "
            "join experiments e on e.experiment_id = r.experiment_id where e.name = ? and r.status = 'FINISHED'",
            (experiment,),
        ).fetchall()
    finally:
        connection.close()
    runs: dict[str, dict[str, str]] = {}
    for run, key, value in rows:
        runs.setdefault(run, {"run": run})[key] = value
    by_role: dict[str, list[dict[str, str]]] = {}
    for tags in runs.values():
        by_role.setdefault(tags["assay.role"], []).append(tags)
    return by_role


def test_a_study_leaves_a_report_that_needs_nothing_else(storage: Path) -> None:
    folder = storage / "studies" / "tiny"
    page = (folder / "report.html").read_text()
    assert page.count("<svg ") >= 3
    for outside in ('src="http', "src='http", '<link rel="stylesheet" href="http', "@import", "url(http"):
        assert outside not in page
    tables = json.loads((folder / "done.json").read_text())["tables"]
    assert {"leaderboard", "curves", "forgetting", "similarity", "metaeval", "coverage", "run_scores"} <= set(tables)
    for name in tables:
        assert (folder / "tables" / f"{name}.parquet").is_file()
        json.loads((folder / "tables" / f"{name}.json").read_text())


def test_every_row_asked_is_scored_or_unscored_for_a_reason(storage: Path) -> None:
    rows = table(storage, "coverage")
    # 4 adapters trained on a task's rows and 2 without: each task answered by 2 + 2 adapters, instructions by all 6
    asked = {"toy_sentiment": 4 * 12, "toy_arithmetic": 4 * 12, "instructions": 6 * 12}
    assert {(row["evaluation_set"], row["scorer"]) for row in rows} == {(a, s) for a in asked for s in SCORERS}
    for row in rows:
        reasons = json.loads(str(row["unscored"]))
        assert row["num_asked"] == asked[str(row["evaluation_set"])]
        assert row["num_asked"] == int(str(row["num_scored"])) + sum(reasons.values())


def test_curves_have_a_point_for_every_task_scorer_and_size(storage: Path) -> None:
    points = {(row["task"], row["scorer"], row["num_target"]) for row in table(storage, "curves")}
    tasks = ("toy_sentiment", "toy_arithmetic")
    assert points == {(task, scorer, size) for task in tasks for scorer in SCORERS for size in (0, 8)}


def test_runs_are_tracked_as_parent_children_and_meta_evaluation(storage: Path) -> None:
    runs = tracked_runs(storage, "tiny")
    assert {role: len(found) for role, found in runs.items()} == {"study": 1, "cell": 6, "metaeval": 1}
    parent = runs["study"][0]["run"]
    assert {tags["mlflow.parentRunId"] for tags in [*runs["cell"], *runs["metaeval"]]} == {parent}
    connection = sqlite3.connect(storage / "mlflow.db")
    cells = [tags["run"] for tags in runs["cell"]]
    marks = ",".join("?" * len(cells))
    logged = dict(
        connection.execute(
            f"select run_uuid, max(step) from metrics where key = 'train/loss' and run_uuid in ({marks}) group by 1",
            cells,
        )
    )
    connection.close()
    assert set(logged) == set(cells)
    assert min(logged.values()) >= 2


def test_a_rerun_imports_no_engine_and_changes_nothing(storage: Path, without_engines: str) -> None:
    before = artifact_files(storage), ledger_calls(storage), table_bytes(storage)
    again = run_tiny(storage, PYTHONPATH=without_engines)
    assert again.code == 0, again.err
    assert "nothing to do" in again.out
    assert (artifact_files(storage), ledger_calls(storage), table_bytes(storage)) == before


def test_status_counts_everything_as_done(storage: Path, without_engines: str) -> None:
    told = assay("status", "quickstart", "--json", "--storage", str(storage), *settings(), PYTHONPATH=without_engines)
    status = json.loads(told.out)
    assert status["finished"] is True
    assert {row["stage"]: row["wanted"] for row in status["stages"]} == {
        "base": 1, "mixtures": 5, "trainings": 6, "predictions": 14, "scores": 7
    }  # fmt: skip
    assert all(row["done"] == row["wanted"] for row in status["stages"])


def test_answers_go_out_to_annotators_without_an_engine(storage: Path, without_engines: str, tmp_path: Path) -> None:
    told = assay(
        *("label", "export", "--study", "quickstart", "--rows", "10", "--out", str(tmp_path / "sheets")),
        *("--storage", str(storage), *settings()),
        PYTHONPATH=without_engines,
    )
    assert told.code == 0, told.err
    items = json.loads((tmp_path / "sheets" / "key.json").read_text())["items"]
    assert len(items) == 10
    assert all(item["from"] for item in items.values())
    assert "toy_sentiment N=8" not in (tmp_path / "sheets" / "annotator_1.csv").read_text()


def test_the_report_is_made_again_from_what_is_stored(storage: Path) -> None:
    path = storage / "studies" / "tiny" / "report.html"
    before = path.read_bytes()
    path.unlink()
    told = assay("report", "tiny", "--storage", str(storage))
    assert told.code == 0, told.err
    assert path.read_bytes() == before


# --- another judge on the same answers: nothing is trained or generated again ----------------------------------


@pytest.fixture(scope="session")
def misread(storage: Path) -> Iterator[tuple[Path, list[Finished], list[int]]]:
    """The study "misread": most replies of its judge cannot be read; first under a limit in dollars, then without."""
    with start_judge_server(faults={"format": 0.9}) as server:
        changes = {
            "name": "misread",
            "judge.base_url": server.base_url,
            "judge.endpoint": "misread-judge",
            "judge.usd_per_million_input": "1000",
            "judge.usd_per_million_output": "1000",
            "judge.max_concurrency": "4",
        }
        runs, bills = [], []
        for further in (["--max-usd", "1.5"], []):
            runs.append(run_tiny(storage, *further, changes=changes))
            bills.append(invoice(server))
        yield storage, runs, bills


def test_a_limit_in_dollars_stops_the_study_with_code_3_and_the_same_command_continues(
    misread: tuple[Path, list[Finished], list[int]],
) -> None:
    _, (stopped, continued), (calls_before, calls) = misread
    assert stopped.code == 3, stopped.err
    assert "1.5" in stopped.one_line()
    assert continued.code == 0, continued.err
    assert 0 < calls_before < calls


def test_replies_that_cannot_be_read_are_unscored_rows_and_the_study_ends(
    misread: tuple[Path, list[Finished], list[int]],
) -> None:
    storage, (_, continued), _ = misread
    assert continued.code == 0, continued.err
    rows = {row["evaluation_set"]: row for row in table(storage, "coverage", "misread") if row["scorer"] == "judge"}
    for row in rows.values():
        reasons = json.loads(str(row["unscored"]))
        assert sum(reasons.values()) == row["num_asked"] - row["num_scored"] > 0
        assert all(reasons)
    assert (storage / "studies" / "misread" / "report.html").is_file()


def test_another_judge_trains_and_generates_nothing(
    storage: Path, misread: tuple[Path, list[Finished], list[int]]
) -> None:
    said = "".join(run.err for run in misread[1])
    assert "training:" not in said
    assert "generation:" not in said
    assert "base:" not in said


def test_two_studies_are_compared_point_by_point(
    storage: Path, misread: tuple[Path, list[Finished], list[int]]
) -> None:
    told = assay("compare", "tiny", "misread", "--json", "--storage", str(storage))
    assert told.code == 0, told.err
    rows = json.loads(told.out)["rows"]
    # the judge of "misread" scored few rows; all else is the same answers
    assert {row["scorer"] for row in rows} >= SCORERS - {"judge"}
    assert {row["difference"] for row in rows if row["scorer"] != "judge"} == {0.0}
    assert "exact_match" in assay("compare", "tiny", "misread", "--storage", str(storage)).out


@pytest.mark.slow
def test_judging_twice_pays_for_the_second_time_alone_and_tells_the_judges_own_variance(storage: Path) -> None:
    once = paid_calls(storage)
    twice = run_tiny(storage, changes={"name": "twice", "judge.repeats": "2"})
    assert twice.code == 0, twice.err
    assert "training:" not in twice.err and "generation:" not in twice.err
    assert set(once) == {0}
    assert paid_calls(storage) == {0: once[0], REPEAT_REPLICATES: once[0]}
    factors = {row["factor"] for row in table(storage, "variance", "twice") if row["scorer"] == "judge"}
    assert factors == {"draw", "training_seed", "draw x training_seed", "item", "judge_repeat", "residual"}
    assert not [row for row in table(storage, "variance") if row["factor"] == "judge_repeat"]


def paid_calls(storage: Path) -> dict[int, int]:
    """Calls to the embedded judge in the ledger, by replicate number."""
    query = "select replicate, count(*) from calls where endpoint like 'assay-rubric-%' group by replicate"
    with closing(sqlite3.connect(f"file:{storage}/ledger.db?mode=ro", uri=True, timeout=60)) as connection:
        return dict(connection.execute(query).fetchall())


# --- stages, and what is refused -------------------------------------------------------------------------------


def test_until_data_stores_datasets_alone(tmp_path: Path, without_engines: str) -> None:
    ended = run_tiny(tmp_path, "--until", "data", PYTHONPATH=without_engines)
    assert ended.code == 0, ended.err
    assert "without --until" in ended.out
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == ["dataset"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("until", "made"),
    [
        ("base", set()),
        ("train", {"lengths", "mixture", "adapter"}),
        ("generate", {"lengths", "mixture", "adapter", "predictions"}),
        ("score", {"lengths", "mixture", "adapter", "predictions", "scores"}),
    ],
)
def test_until_a_stage_makes_what_it_names_and_no_more(
    storage: Path, tmp_path: Path, until: str, made: set[str]
) -> None:
    from support.tiny_study import link_artifacts

    link_artifacts(storage, tmp_path, ["dataset", "base"])
    changes = {"grid.tasks": "[toy_sentiment]", "grid.draws": "1", "training_seeds_at_zero": "[0]"}
    ended = run_tiny(tmp_path, "--until", until, changes=changes)
    assert ended.code == 0, ended.err
    kinds = {path.name for path in (tmp_path / "artifacts").iterdir()}
    assert kinds == {"dataset", "base"} | made
    assert not (tmp_path / "studies" / "tiny" / "done.json").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"judge.base_url": "http://127.0.0.1:{closed}/v1"}, "nothing is listening there"),
        ({"judge.model": "gpt-4o", "judge.api_key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY"),
        ({"grid.sizes": "[0, 41]"}, "asks for 41 'toy_sentiment' examples but the train split holds 40"),
        ({"evaluation.target_rows": "101"}, "asks for 101 'toy_sentiment' test rows but the test split holds 100"),
        ({"resources.training.gpus_per_worker": "1"}, "asks for 1 GPU"),
        ({"grid.shapes": "[1]"}, "grid.shapes"),
    ],
)
def test_bad_input_is_one_line_and_code_2_before_anything_is_trained(
    changes: dict[str, str], said: str, tmp_path: Path, without_engines: str
) -> None:
    if "resources.training.gpus_per_worker" in changes:
        from assay.commands.doctor import has_gpu

        if has_gpu():
            pytest.skip("a GPU is here")
    changes = {name: value.replace("{closed}", str(closed_port())) for name, value in changes.items()}
    ended = run_tiny(tmp_path, changes=changes, PYTHONPATH=without_engines)
    assert ended.code == 2, ended.err
    assert said in ended.one_line()
    assert not (tmp_path / "artifacts" / "base").exists()


def test_storage_that_cannot_be_written_is_one_line_and_code_2(tmp_path: Path, without_engines: str) -> None:
    (tmp_path / "file").write_text("")
    ended = run_tiny(tmp_path / "file" / "below", PYTHONPATH=without_engines)
    assert ended.code == 2
    assert "cannot write" in ended.one_line()


@pytest.mark.slow
def test_a_judge_that_dies_while_it_is_asked_ends_the_study_with_code_2_and_keeps_its_replies(
    storage: Path, tmp_path: Path
) -> None:
    """The judge answers one request a second and is gone after a few."""
    import os
    import subprocess

    from support.tiny_study import BIN, ROOT, environment, link_artifacts

    link_artifacts(storage, tmp_path, ["dataset", "base", "mixture", "adapter", "predictions"])
    with start_judge_server(latency_ms=1000) as server:
        changes = {"judge.base_url": server.base_url, "judge.endpoint": "mortal", "judge.max_concurrency": "2"}
        changes |= {"judge.give_up_s": "20"}  # else three minutes
        command = [str(BIN / "assay"), "run", "quickstart", "--storage", str(tmp_path), *settings(changes)]
        running = subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
        try:
            until = time.monotonic() + PATIENCE_S
            while len(ledger_calls(tmp_path)) < 4:
                assert running.poll() is None
                assert time.monotonic() < until
                time.sleep(0.2)
            os.kill(server.pid, 9)
            _, error = running.communicate(timeout=PATIENCE_S)
        finally:
            running.kill()
    assert running.returncode == 2, error
    assert "mortal" in Finished(2, "", error).one_line() or server.base_url in error
    assert len(ledger_calls(tmp_path)) >= 4
