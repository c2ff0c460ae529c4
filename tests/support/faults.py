"""A study in a process of its own, and the processes of it that a test may kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

import psutil

from assay.judge_server.launch import JudgeServer, start_judge_server
from support.tiny_study import BIN, PATIENCE_S, ROOT, closed_port, environment

Victim = Literal["driver", "trial worker", "engine actor", "judge worker", "limiter", "ledger", "judge server"]
TITLES: Mapping[Victim, tuple[str, ...]] = {
    "trial worker": ("ResidentTrial", "Trainable"),  # Tune's own name for it comes and goes
    "engine actor": ("EngineActor",),
    "judge worker": ("JudgeActor",),
    "limiter": ("LimiterActor",),
    "ledger": ("LedgerActor",),
}
"""What Ray calls the process of each, in its command line: one of these."""


class RunningStudy:
    """`assay run` as a child of the test; a context manager that leaves nothing behind."""

    def __init__(self, storage: Path, settings: Sequence[str], *, study: str = "quickstart", **environ: str) -> None:
        self._said = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115 - closed with the study
        self.process = subprocess.Popen(
            [str(BIN / "assay"), "run", study, "--storage", str(storage), *settings],
            cwd=ROOT, env=environment(**environ), stdout=subprocess.DEVNULL, stderr=self._said,
        )  # fmt: skip

    @property
    def said(self) -> str:
        """Its standard error so far."""
        return Path(self._said.name).read_text()

    def is_over(self) -> bool:
        return self.process.poll() is not None

    def processes(self, victim: Victim) -> list[psutil.Process]:
        """Those of this kind that run now, the oldest first: below the driver, as its Ray is private."""
        if victim == "driver":
            return [] if self.is_over() else [psutil.Process(self.process.pid)]
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            return sorted(named(children, TITLES[victim]), key=lambda child: child.create_time())
        return []

    def kill(self, victim: Victim) -> bool:
        """SIGKILL one process of this kind; whether there was one."""
        for process in self.processes(victim):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
                if victim == "driver":
                    self.process.wait(60)
                return True
        return False

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        return self.process.wait(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(60)
        self._said.close()


class KillableJudge:
    """A judge server on one port, which may be killed and started again there."""

    def __init__(self, *, latency_ms: int) -> None:
        self.port, self._latency_ms = closed_port(), latency_ms
        self._server = self._start()
        self.base_url = self._server.base_url

    def _start(self) -> JudgeServer:
        return start_judge_server(latency_ms=self._latency_ms, port=self.port)

    def kill(self) -> None:
        os.kill(self._server.pid, signal.SIGKILL)
        self._server.close()
        self._server = self._start()

    def close(self) -> None:
        self._server.close()


def named(processes: Sequence[psutil.Process], titles: Sequence[str]) -> list[psutil.Process]:
    """Ray workers with one of these in their title."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            line = " ".join(process.cmdline())
            if line.startswith("ray::") and any(title in line for title in titles):
                found.append(process)
    return found


def age_s(process: psutil.Process) -> float:
    """Seconds since the process started; 0 where it is gone."""
    with suppress(psutil.NoSuchProcess):
        return time.time() - process.create_time()
    return 0.0


def stored(storage: Path, kind: str) -> int:
    """How many artifacts of a kind are whole."""
    return len(list((storage / "artifacts" / kind).glob("*/manifest.json")))


def attempts(storage: Path) -> dict[str, Counter[str]]:
    """Requests that were sent, by the key of their call and how they ended; "unseen" where nobody knows."""
    path = storage / "ledger.db"
    if not path.exists():
        return {}
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)
    found: dict[str, Counter[str]] = {}
    try:
        for key, outcome in connection.execute("select key, coalesce(outcome, 'unseen') from attempts"):
            found.setdefault(key, Counter())[outcome] += 1
    except sqlite3.OperationalError:  # its tables are not made yet
        return {}
    finally:
        connection.close()
    return found
