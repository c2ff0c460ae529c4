"""An exported folder goes onto a hub: the real client against a hub of our own on loopback."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import huggingface_hub
import pytest

from assay.errors import ConfigError, InputError, StorageError
from assay.studies.results.pushed import check_push, push_folder


class Hub(ThreadingHTTPServer):
    """Takes repositories and commits of small files, from one token."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.created: list[dict[str, Any]] = []
        self.files: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer good":
            self._say(401, {"error": "Invalid token"})
        elif self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self._say(200, {"url": f"{self.server.url}/me/winner", "name": "me/winner"})
        elif "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            self._say(200, {"files": files})
        elif "/commit/" in self.path:
            rows = [json.loads(line) for line in body.splitlines()]
            self.server.files = sorted(row["value"]["path"] for row in rows if row["key"] == "file")
            self._say(200, {"commitUrl": f"{self.server.url}/me/winner/commit/1", "commitOid": "1", "success": True})
        else:
            self._say(200, {"errors": [], "warnings": []})

    def do_GET(self) -> None:
        is_known = self.headers.get("Authorization") == "Bearer good"
        told = {"id": "me/winner", "sha": "0", "siblings": []} if is_known else {"error": "Invalid token"}
        self._say(200 if is_known else 401, told)

    def _say(self, status: int, told: dict[str, Any]) -> None:
        data = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


def reach(monkeypatch: pytest.MonkeyPatch, url: str, token: str) -> None:
    client = functools.partial(huggingface_hub.HfApi, endpoint=url, token=token)
    monkeypatch.setattr(huggingface_hub, "HfApi", client)


def winner(folder: Path) -> Path:
    folder.mkdir()
    (folder / "README.md").write_text("# card\n")
    (folder / "adapter_config.json").write_text("{}")
    return folder


def test_a_folder_is_uploaded_into_a_private_repository(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reach(monkeypatch, hub.url, "good")
    said = push_folder(winner(tmp_path / "out"), "me/winner")
    assert "me/winner" in said
    assert hub.files == ["README.md", "adapter_config.json"]
    (created,) = hub.created
    assert (created["name"], created["organization"]) == ("winner", "me")
    assert created.get("private", created.get("visibility")) in (True, "private")


def test_a_hub_that_refuses_or_is_down_loses_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = winner(tmp_path / "out")
    reach(monkeypatch, hub.url, "bad")
    with pytest.raises(InputError, match=r"the hub answers 401 .* what was exported is in"):
        push_folder(out, "me/winner")
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    reach(monkeypatch, "http://127.0.0.1:9", "good")
    with pytest.raises(StorageError, match=r"cannot reach the hub .* what was exported is in"):
        push_folder(out, "me/winner")
    assert (out / "README.md").exists()


def test_no_token_and_no_name_are_told_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(InputError, match=r"saw no token of the hub; .*HF_TOKEN"):
        check_push("me/winner")
    with pytest.raises(ConfigError, match="expected OWNER/NAME"):
        check_push("winner")
