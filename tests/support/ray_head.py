"""A Ray head of a test alone, with a job server: what `ray start --head` gives somebody on a cluster."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from support.tiny_study import PATIENCE_S, ROOT, Finished, environment


@dataclass(frozen=True)
class Head:
    """A Ray head of this test alone."""

    url: str
    """Of the job server."""
    temp: Path
    environment: dict[str, str]
    pid: int
    """Of `ray start`, above all of its processes."""

    def submit(self, *entrypoint: str) -> Finished:
        """`ray job submit` of this checkout, as somebody types it who activated the virtual environment."""
        submitted = self.submitting(*entrypoint)
        out, err = submitted.communicate(timeout=PATIENCE_S)
        return Finished(submitted.returncode, out, err)

    def submitting(self, *entrypoint: str) -> subprocess.Popen[str]:
        """The same, and not waited for."""
        return subprocess.Popen(
            ["ray", "job", "submit", "--address", self.url, "--working-dir", ".", "--", *entrypoint],
            cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def packages(self) -> list[Path]:
        """Copies of the working directory that jobs ran in."""
        return [
            path for path in self.temp.glob("session_latest/runtime_resources/working_dir_files/*") if path.is_dir()
        ]


@contextmanager
def started_head() -> Iterator[Head]:
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
            yield Head(url, Path(temp), variables, process.pid)
        finally:
            _end(process)


def free_ports(count: int) -> list[int]:
    """Different free ports of loopback."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


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
    """Kill it and all of its processes at once: a clean end takes Ray 20 s, and nothing of it is looked at again."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:  # psutil compares start times: a process id given to somebody else is not met
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(20)
