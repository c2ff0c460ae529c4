"""Servers on this machine that are not ours: a name of their own, a price, and step headers only where asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.judge_server.launch import start_judge_server
from assay.llm.endpoint import EndpointSpec, with_reported_name
from assay.llm.opening import open_gateway
from assay.llm.prices import price_of
from assay.llm.requests import Answer, ChatRequest, Message


class Foreign(ThreadingHTTPServer):
    """An OpenAI-compatible server whose replies depend on X-Assay-Protocol."""

    told: str = "gpt-4"
    """The name that it gives at /healthz."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[dict[str, str]] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Foreign

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items() if name.lower().startswith("x-assay")}
        self.server.seen.append(headers)
        message = {"role": "assistant", "content": f"reply to {headers.get('x-assay-protocol', 'nobody')}"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        self._say({"choices": choices, "usage": {"prompt_tokens": 1000, "completion_tokens": 1000}})

    def do_GET(self) -> None:
        self._say({"status": "ok", "name": self.server.told})

    def _say(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    with Foreign() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def texts_of(spec: EndpointSpec, folder: Path, protocols: list[str]) -> list[str]:
    async with open_gateway(spec, ledger_url=f"sqlite:///{folder}/ledger.db", limiter="process") as gateway:
        replies = [await gateway.ask(ChatRequest("", (Message("user", "x"),), protocol=name)) for name in protocols]
    assert all(isinstance(reply, Answer) for reply in replies)
    return [reply.text for reply in replies if isinstance(reply, Answer)]


def test_only_names_of_our_servers_are_taken(foreign: Foreign) -> None:
    spec = with_reported_name(EndpointSpec(base_url=foreign.base_url, model="m"))
    assert (spec.endpoint_name, spec.ours) == (f"127.0.0.1:{foreign.server_port}", False)
    with start_judge_server() as server:
        spec = with_reported_name(EndpointSpec(base_url=server.base_url, model="m"))
        assert (spec.endpoint_name, spec.ours) == (server.name, True)
        named = with_reported_name(EndpointSpec(base_url=server.base_url, model="m", name="mine"))
        assert (named.endpoint_name, named.ours) == ("mine", True)


@pytest.mark.parametrize("told", ["assay-\n", "assay-" + "x" * 200, "assay", 7, None])
def test_names_that_are_none_are_not_taken(foreign: Foreign, told: object) -> None:
    foreign.told = told  # type: ignore[assignment]
    assert not with_reported_name(EndpointSpec(base_url=foreign.base_url, model="m")).ours


async def test_a_server_that_is_not_ours_gets_no_step_headers_unless_asked_for(
    foreign: Foreign, tmp_path: Path
) -> None:
    spec = EndpointSpec(base_url=foreign.base_url, model="m")
    assert await texts_of(spec, tmp_path, ["cot", "swap"]) == ["reply to nobody"] * 2
    assert foreign.seen == [{}], "one text, one reply"
    told = spec.replace(step_headers=True, name="replay")
    assert await texts_of(told, tmp_path, ["cot", "swap", "cot"]) == ["reply to cot", "reply to swap", "reply to cot"]
    assert [headers["x-assay-protocol"] for headers in foreign.seen[1:]] == ["cot", "swap"]


async def test_a_proxy_on_this_machine_is_not_free(foreign: Foreign, tmp_path: Path) -> None:
    spec = EndpointSpec(base_url=foreign.base_url, model="gpt-4o")
    price = price_of(with_reported_name(spec))
    assert price is not None
    assert price.usd(10**6, 0) == 2.5
    with pytest.raises(ConfigError, match="price of 'mystery'"):
        open_gateway(
            spec.replace(model="mystery"), ledger_url=f"sqlite:///{tmp_path}/l.db", budget_usd=1.0, limiter="process"
        )


def test_a_server_of_ours_is_free() -> None:
    with start_judge_server() as server:
        price = price_of(with_reported_name(EndpointSpec(base_url=server.base_url, model="gpt-4o")))
    assert price is not None
    assert price.usd(10**6, 10**6) == 0
