"""`ray start --head`, then `ray job submit`: the same study as `assay run`, on a cluster of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.judge_server import start_judge_server
from support.ray_head import Head, started_head
from support.tiny_study import (
    PATIENCE_S,
    Finished,
    artifact_files,
    finished_study,
    ledger_calls,
    link_artifacts,
    settings,
    table_bytes,
)

pytestmark = pytest.mark.timeout(3 * PATIENCE_S)
KEPT_OUT = {".venv", ".git", "runs", ".mypy_cache", ".pytest_cache", ".hypothesis", ".ruff_cache"}


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with started_head() as running:
        yield running


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_study(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def storage(expected: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage for the jobs, with the base model in it; all else they do themselves."""
    folder = tmp_path_factory.mktemp("job-storage")
    link_artifacts(expected, folder, ["base"])
    return folder


@pytest.fixture(scope="module")
def first(head: Head, storage: Path) -> Finished:
    return head.submit("python", "jobs/run_study.py", "quickstart", "--storage", str(storage), *settings())


def test_a_job_gives_the_tables_of_assay_run(first: Finished, expected: Path, storage: Path) -> None:
    assert first.code == 0, first.out + first.err
    assert table_bytes(storage) == table_bytes(expected)
    assert (storage / "studies" / "tiny" / "report.html").is_file()
    assert (storage / "mlflow.db").is_file()


def test_the_second_job_has_nothing_to_do(first: Finished, head: Head, storage: Path) -> None:
    assert first.code == 0, first.out + first.err
    before = artifact_files(storage), ledger_calls(storage)
    again = head.submit("python", "jobs/run_study.py", "quickstart", "--storage", str(storage), *settings())
    assert again.code == 0, again.out + again.err
    assert "nothing to do" in again.out
    assert (artifact_files(storage), ledger_calls(storage)) == before


def test_the_upload_leaves_environment_history_and_results_at_home(first: Finished, head: Head) -> None:
    packages = head.packages()
    assert packages  # one per state of the working tree: an edit between two jobs makes a second
    for package in packages:
        held = {path.name for path in package.iterdir()}
        assert {"jobs", "platform", "pyproject.toml"} <= held
        assert not held & KEPT_OUT
        size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
        assert size < 20_000_000


def test_a_judge_command_in_a_job_shares_limits_and_ledger_with_the_cluster(head: Head, tmp_path: Path) -> None:
    data = tmp_path / "Mine.json"
    data.write_text(json.dumps([{"input": "Say 1.", "output_1": "It is 1.", "output_2": "No.", "label": 1}]))
    with start_judge_server() as server:
        flags = ["--data", str(data), "--judge", "rubric", "--base-url", server.base_url, "--tracking", "none"]
        flags += ["--storage", str(tmp_path / "store"), "--out", str(tmp_path / "report.json")]
        done = head.submit("python", "jobs/metaeval.py", "llmbar", *flags)
    assert done.code == 0, done.out + done.err
    assert json.loads((tmp_path / "report.json").read_text())["calls"]["calls"] == 2
    logs = [path.read_text(errors="replace") for path in head.temp.glob("session_latest/logs/worker-*.out")]
    for actor in ("LedgerActor", "LimiterActor"):
        assert any(f":actor_name:{actor}" in log for log in logs), actor


@pytest.fixture(scope="module")
def refused(head: Head, first: Finished, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Finished, Path]:
    """Two jobs at once that ask for what is not to be had (relative storage, a GPU), and the storage of the latter."""
    folder = tmp_path_factory.mktemp("nogpu")
    gpu = settings({"name": "nogpu", "resources.training.gpus_per_worker": "1"})
    run = ("python", "jobs/run_study.py", "quickstart", "--storage")
    jobs = [head.submitting(*run, "runs"), head.submitting(*run, str(folder), *gpu)]
    ended = [(job.communicate(timeout=PATIENCE_S), job.returncode) for job in jobs]
    relative, without_gpu = (Finished(code, out, err) for (out, err), code in ended)
    return relative, without_gpu, folder


def test_relative_storage_is_refused_in_a_job(refused: tuple[Finished, Finished, Path]) -> None:
    relative, _, _ = refused
    assert relative.code != 0
    assert "saw a relative path inside a Ray job" in relative.out
    assert "exit code 2" in relative.out + relative.err


def test_a_gpu_that_the_cluster_lacks_is_refused_at_once_in_a_job(refused: tuple[Finished, Finished, Path]) -> None:
    _, without_gpu, folder = refused
    assert without_gpu.code != 0
    assert "the largest node has 2 CPU and 0 GPU" in without_gpu.out
    assert "exit code 2" in without_gpu.out + without_gpu.err
    assert not (folder / "artifacts" / "base").exists()
    assert not os.path.lexists(folder / "studies" / "nogpu" / "done.json")
