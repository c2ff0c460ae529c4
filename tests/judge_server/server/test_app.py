"""What the server's other routes answer when something is wrong with the request, and when with the server."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from assay.judge_server.config import JudgeServerConfig
from assay.judge_server.server.app import make_app


def _status(path: str) -> int:
    statuses: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(int(str(message["status"])))

    async def get() -> None:
        app = make_app(JudgeServerConfig())
        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "root_path": ""}
        with contextlib.suppress(KeyError):
            await app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(get())
    return statuses[0]


def test_what_does_not_exist_is_not_found() -> None:
    assert _status("/v1/files/file-1") == 404
    assert _status("/v1/batches/batch_1") == 404


def test_a_fault_of_the_server_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A KeyError anywhere in a handler was once answered 404, so that a client took its batch for gone."""

    def broken(self: object) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr("assay.judge_server.server.billing.Invoice.as_json", broken)
    assert _status("/assay/invoice") == 500
