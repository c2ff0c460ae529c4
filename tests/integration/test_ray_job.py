"""`ray start --head`, then `ray job submit`: the same study as `assay run`, on a cluster of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from integration.tiny_study import (
    PATIENCE_S,
    ROOT,
    Finished,
    artifact_files,
    environment,
    finished_study,
    ledger_calls,
    link_artifacts,
    settings,
    table_bytes,
)

pytestmark = pytest.mark.timeout(3 * PATIENCE_S)
KEPT_OUT = {".venv", ".git", "runs", ".mypy_cache", ".pytest_cache", ".hypothesis", ".ruff_cache"}


@dataclass(frozen=True)
class Head:
    """A Ray head of this test alone."""

    url: str
    """Of the job server."""
    temp: Path
    environment: dict[str, str]

    def submit(self, *entrypoint: str) -> Finished:
        """`ray job submit` of this checkout, as somebody types it who activated the virtual environment."""
        ended = subprocess.run(
            ["ray", "job", "submit", "--address", self.url, "--working-dir", ".", "--", *entrypoint],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Finished(ended.returncode, ended.stdout, ended.stderr)

    def packages(self) -> list[Path]:
        """Copies of the working directory that jobs ran in."""
        return [
            path for path in self.temp.glob("session_latest/runtime_resources/working_dir_files/*") if path.is_dir()
        ]


def free_ports(count: int) -> list[int]:
    """Different free ports of loopback."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Starts a head and ends its processes by their ids."""
    gcs, dashboard, agent, client = free_ports(4)
    variables = environment(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    with tempfile.TemporaryDirectory(prefix="ray-job-", ignore_cleanup_errors=True) as temp:  # a short path: sockets
        command = [
            *("ray", "start", "--head", "--block", "--node-ip-address", "127.0.0.1", "--port", str(gcs)),
            *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard), "--temp-dir", temp),
            *("--dashboard-agent-listen-port", str(agent), "--ray-client-server-port", str(client)),
            *("--num-cpus", "2", "--num-gpus", "0", "--object-store-memory", "300000000", "--disable-usage-stats"),
        ]
        log = Path(temp) / "head.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=temp, env=variables, stdout=output, stderr=output, start_new_session=True
            )
        try:
            url = f"http://127.0.0.1:{dashboard}"
            _wait_for(url + "/api/version", process, log)
            yield Head(url, Path(temp), variables)
        finally:
            _end(process)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 180
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        with suppress(OSError), opener.open(url, timeout=5):
            return
        time.sleep(0.3)


def _end(process: subprocess.Popen[bytes]) -> None:
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for member in family:  # psutil compares start times: a process id given to somebody else is not met
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(20)


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
    started = time.monotonic()
    again = head.submit("python", "jobs/run_study.py", "quickstart", "--storage", str(storage), *settings())
    assert again.code == 0, again.out + again.err
    assert "nothing to do" in again.out
    assert time.monotonic() - started < 120  # 8 s on a quiet machine
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


def test_relative_storage_is_refused_in_a_job(first: Finished, head: Head) -> None:
    refused = head.submit("python", "jobs/run_study.py", "quickstart", "--storage", "runs")
    assert refused.code != 0
    assert "saw a relative path inside a Ray job" in refused.out
    assert "exit code 2" in refused.out + refused.err


def test_a_gpu_that_the_cluster_lacks_is_refused_at_once_in_a_job(head: Head, tmp_path: Path) -> None:
    gpu = settings({"name": "nogpu", "resources.training.gpus_per_worker": "1"})
    refused = head.submit("python", "jobs/run_study.py", "quickstart", "--storage", str(tmp_path), *gpu)
    assert refused.code != 0
    assert "the largest node has 2 CPU and 0 GPU" in refused.out
    assert "exit code 2" in refused.out + refused.err
    assert not (tmp_path / "artifacts" / "base").exists()
    assert not os.path.lexists(tmp_path / "studies" / "nogpu" / "done.json")
