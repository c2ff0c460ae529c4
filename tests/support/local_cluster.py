"""A Ray cluster of several nodes on this machine, whose nodes a test may kill."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

from support.faults import TITLES, Victim, named
from support.tiny_study import environment

SCRIPT = Path(__file__).with_name("cluster_process.py")


class LocalCluster:
    """Ray's `cluster_utils.Cluster` in a process of its own: a head without CPUs, and nodes that do the work."""

    def __init__(self, nodes: int, cpus: float = 1.0) -> None:
        self.environment = environment(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the cluster
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(nodes), str(cpus)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=self.environment,
        )  # fmt: skip
        began = self._answer()
        self.address: str = began["address"]
        self.raylets: list[int] = began["nodes"]

    def kill(self, node: int) -> float:
        """The node's raylet gets SIGKILL, and its workers end with it; seconds until it ended."""
        return float(self._tell(f"kill {node}")["after_s"])

    def notice(self, node: int) -> float:
        """The node's raylet gets SIGTERM, as from a cloud that takes a spot machine back; seconds until it ended."""
        return float(self._tell(f"term {node}")["after_s"])

    def kill_head(self) -> None:
        """The head's processes get SIGKILL: the control store, its raylet, all that a lost head machine takes along."""
        self._tell("kill head")

    def add(self) -> None:
        """One more node."""
        self.raylets.append(self._tell("add")["added"])

    def node_of(self, victim: Victim) -> int | None:
        """The number of a node that runs such a worker now; None where none does."""
        for number, pid in enumerate(self.raylets):
            with suppress(psutil.NoSuchProcess):
                if named(psutil.Process(pid).children(recursive=True), TITLES[victim]):
                    return number
        return None

    def close(self) -> None:
        """End all nodes, by their process ids."""
        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid).children(recursive=True)
        with suppress(OSError, subprocess.TimeoutExpired):
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(30)
        for process in (*family, psutil.Process(self._process.pid)) if self._process.poll() is None else family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(30)
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        self._log.seek(0)
        raise AssertionError(self._log.read()[-3000:])
