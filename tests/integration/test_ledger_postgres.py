"""The ledger on a real PostgreSQL server, started from Debian's package in a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assay.llm.ledger.report import export_parquet, summarise
from assay.llm.ledger.service import Begin, Finish, LedgerService, Lookup, Store, StoredCall


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URL of an empty database."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL programs (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra 'postgres')")
    as_user: list[str] = []
    with tempfile.TemporaryDirectory(prefix="assay-pg-", dir="/tmp") as name:
        folder = Path(name)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            if not shutil.which("runuser") or subprocess.run(["id", "postgres"], capture_output=True).returncode:
                pytest.skip("running as root, and there is no user 'postgres' to run the server as")
            as_user = ["runuser", "-u", "postgres", "--"]
            shutil.chown(folder, "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        data = folder / "data"
        subprocess.run(
            [*as_user, programs / "initdb", "-D", data, "-A", "trust", "-U", "assay", "-E", "UTF8", "--no-sync"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        control = [*as_user, programs / "pg_ctl", "-D", data, "-w", "-t", "60"]
        subprocess.run(
            [*control, "-o", options, "-l", folder / "log", "start"], check=True, capture_output=True, cwd="/"
        )
        try:
            yield f"postgresql://assay@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/")


def call(key: str, status: str = "answered") -> dict[str, object]:
    return {
        "key": key, "endpoint": "e", "model": "m", "protocol": "p", "step": "s", "replicate": 0, "status": status,
        "finish_reason": "stop", "reply": "naïve \U0001f600 ünïcode", "extra": "", "detail": "", "prompt_tokens": 10,
        "completion_tokens": 2, "usd": 0.5, "transport": "chat", "study": "s1", "judge": "j",
        "request_json": '{"nul": "\\u0000"}', "created_at": 1.7e9, "latency_s": 0.1, "num_attempts": 1,
    }  # fmt: skip


def test_calls_attempts_budget_and_reports_work_on_postgres(postgres: str, tmp_path: Path) -> None:
    service = LedgerService(postgres)
    assert service.process("a", [Lookup("k")]) == [None]
    assert service.process("a", [Begin("a-1", "k", 1, "chat", "s1", 12, 0.1, 9.0)]) == [None]
    service.process("a", [Finish("a-1", "answered", 200, 10, 2, 0.5, call("k"))])
    stored = service.process("a", [Lookup("k")])[0]
    assert isinstance(stored, StoredCall)
    assert stored.reply == "naïve \U0001f600 ünïcode"
    service.process("a", [Store({**call("k"), "reply": "another"})])
    assert service.process("a", [Lookup("k")]) == [stored]
    service.process("a", [Begin("a-2", "k2", 1, "chat", "s1", 12)])
    found = summarise(postgres, ("study", "day"))
    assert (found.total.calls, found.total.usd, found.usd_attempts, found.unseen.attempts) == (1, 0.5, 0.5, 1)
    assert found.rows[0].group == "s1 / 2023-11-14"
    assert export_parquet(postgres, tmp_path)["calls.parquet"] == 1
    service.close()


def test_two_writers_of_one_database_do_not_disturb_each_other(postgres: str) -> None:
    services = [LedgerService(postgres) for _ in range(4)]

    def write(number: int) -> None:
        for i in range(50):  # all four store the same keys, in opposite orders
            keys = [f"shared-{i}-{j}" for j in range(5)]
            services[number].process(str(number), [Store(call(key)) for key in (keys if number % 2 else keys[::-1])])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    found = services[0].process("x", [Lookup(f"shared-{i}-{j}") for i in range(50) for j in range(5)])
    assert all(isinstance(result, StoredCall) for result in found)
    for service in services:
        service.close()
