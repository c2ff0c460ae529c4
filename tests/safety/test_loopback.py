"""Servers bind to loopback unless told otherwise, and then only with a token."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from assay.cli import run_app
from assay.errors import AssayError
from assay.judge_server.config import TOKEN_ENV, JudgeServerConfig
from assay.judge_server.launch import start_judge_server
from assay.studies.results.tracked import ui_command


def listening_addresses(port: int) -> set[str]:
    """Addresses that this port is bound to, from the kernel's own table (IPv4, in hex, lowest byte first)."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with Path(table).open() as lines:
            for line in list(lines)[1:]:
                address, state = line.split()[1], line.split()[3]
                host, _, at = address.partition(":")
                if state == "0A" and int(at, 16) == port:
                    found.add(host)
    return found


def test_the_judge_server_listens_on_loopback_alone() -> None:
    with start_judge_server() as server:
        port = int(server.root_url.rsplit(":", 1)[1])
        assert server.root_url == f"http://127.0.0.1:{port}"
        assert listening_addresses(port) == {"0100007F"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_another_address_needs_a_token(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(TOKEN_ENV, raising=False)
    assert JudgeServerConfig().host == "127.0.0.1"
    assert run_app(["judge-server", "--host", host]) == 2
    assert TOKEN_ENV in capsys.readouterr().err
    with pytest.raises(AssayError, match=TOKEN_ENV), start_judge_server(host=host):
        raise AssertionError("it started")


@pytest.mark.slow
def test_the_command_that_shows_the_runs_leaves_mlflow_on_its_own_default_address() -> None:
    """MLflow binds to 127.0.0.1 unless --host says otherwise, and Assay starts no tracking server itself."""
    from mlflow.cli import server

    (host,) = [option for option in server.params if option.name == "host"]
    default = host.default() if callable(host.default) else host.default
    assert default in ("127.0.0.1", "localhost", None)
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    assert "--host" not in ui_command("sqlite:////runs/mlflow.db")
