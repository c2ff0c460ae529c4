"""A judge's worker that is stopped waits for the replies in flight and sends nothing more; no cluster needed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from assay.errors import EndpointError
from assay.llm.endpoint import EndpointSpec
from assay.llm.gateway import Gateway
from assay.llm.opening import open_gateway
from assay.llm.requests import ChatRequest
from assay.llm.transports.chat import Attempted
from assay.records import Example, Prediction
from assay.scoring.jobs import JudgeSetup, judge_spec
from assay.scoring.judges.protocols.pointwise import IftevalJudge


class Transport:
    """Refuses the key at the row called "stop"; all others take a while."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, request: ChatRequest, attempt: int) -> Attempted:
        self.sent += 1
        if "stop" in request.messages[-1].content:
            while self.sent < 4:
                await asyncio.sleep(0.01)
            return Attempted("unusable", 401, {}, error=EndpointError("the key is refused"))
        await asyncio.sleep(2.2)  # longer than calls in flight were once given
        return Attempted("answered", 200, {}, "8, 7", "stop", "", 5, 2)

    async def close(self) -> None:
        pass


async def test_rows_in_flight_are_scored_and_the_rest_is_never_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.scoring.ray_judge import JudgeActor

    endpoint = EndpointSpec(base_url="http://127.0.0.1:9/v1", model="m", timeout_s=5)
    protocol = IftevalJudge()
    url = f"sqlite:///{tmp_path}/l.db"
    actor: Any = JudgeActor.__new__(JudgeActor)
    actor._judge = JudgeSetup(judge_spec("judge", protocol, endpoint), protocol, endpoint, url, None, "s")
    actor._room, actor._stop, actor._settling, actor._judged = asyncio.Semaphore(4), None, None, 0
    gateway = open_gateway(endpoint, ledger_url=url, limiter="process")
    assert isinstance(gateway, Gateway)
    transport = Transport()
    gateway._open_transport = lambda: transport  # type: ignore[method-assign]
    actor._gateway = gateway
    names = ["slow 1", "slow 2", "slow 3", "stop", *(f"late {number}" for number in range(20))]
    examples = {name: Example(name, "task", "test", f"Say {name}.", "", "x") for name in names}
    tasks = [
        asyncio.create_task(actor._judge_row(gateway, "key", Prediction(name, name, "stop", 1, 1), examples))
        for name in names
    ]
    actor._tasks = set(tasks)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    await gateway.close()
    assert [row is not None and not isinstance(row, BaseException) for row in found] == [True] * 3 + [False] * 21
    assert transport.sent == 4
