"""`start_judge_server`: the server as a subprocess that ends with its parent."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from assay.errors import EndpointError
from assay.judge_server.config import JudgeServerConfig

START_TIMEOUT_S = 60.0
"""Importing and indexing take about a second; a loaded machine may need many times that."""


class JudgeServer:
    """A running server; a context manager. Threads of one process may share it."""

    def __init__(self, config: JudgeServerConfig) -> None:
        self.config = config
        self.name = config.endpoint_name()
        """Name for the ledger: the same for the same rules or recordings, whatever the port."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        package_root = str(Path(__file__).resolve().parents[2])
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package_root, environment.get("PYTHONPATH")]))
        environment["PYTHONUNBUFFERED"] = "1"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "assay.judge_server", "--watch-parent", *config.command_line()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        try:
            self.base_url = self._first_line()
            """Of the OpenAI API: http://127.0.0.1:PORT/v1."""
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    @property
    def root_url(self) -> str:
        """Without /v1: the place of /assay/invoice and /healthz."""
        return self.base_url.removesuffix("/v1")

    def close(self) -> None:
        """Ends the server by its process id."""
        with contextlib.suppress(OSError, ValueError):
            if self._process.stdin:
                self._process.stdin.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _first_line(self) -> str:
        assert self._process.stdout is not None
        fd, deadline, seen = self._process.stdout.fileno(), time.monotonic() + START_TIMEOUT_S, b""
        while b"\n" not in seen:
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            block = os.read(fd, 4096) if ready else b""
            if not block:
                raise EndpointError(f"judge server did not start: {self._complaint(timed_out=not ready)}")
            seen += block
        return seen.split(b"\n", 1)[0].decode().strip()

    def _complaint(self, *, timed_out: bool) -> str:
        if timed_out:
            return f"no answer within {START_TIMEOUT_S:.0f} s; the machine may be overloaded, try again"
        self._process.wait(10)
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with code {self._process.returncode}"


def start_judge_server(config: JudgeServerConfig | None = None, **changes: Any) -> JudgeServer:
    """Starts the server and waits until it answers. Use it in a `with` block.

    Args:
        config: what the server does; the rubric judge on a free port of loopback by default.
        changes: fields of the configuration to set on top.

    Raises:
        ConfigError: the configuration does not hold together (pydantic's ValidationError for `changes`).
        EndpointError: the server did not start; the message holds its last line.
    """
    base = config or JudgeServerConfig()
    return JudgeServer(base.replace(**changes) if changes else base)
