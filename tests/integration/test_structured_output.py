"""Structured output over HTTP: honoured, or refused with 400 and asked again without, once per endpoint."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from assay.judge_server.launch import JudgeServer, start_judge_server
from assay.llm.endpoint import EndpointSpec
from assay.llm.figures import GatewayStats
from assay.llm.opening import open_gateway
from assay.scoring.judges.calls import JudgeCall, JudgeReply, run_protocol, to_request
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from support.shipped import make_protocol

INSTANCES = [PointwiseInstance(f"Name {n} colours.", "Red, green and blue.", "Red and blue.") for n in range(6)]
NAMES = ("ifteval", "ifteval_alone", "geval_relevance", "objecqa")


async def judged(
    server: JudgeServer, folder: Path, name: str, transport: str = "chat", **params: object
) -> tuple[list[PointwiseJudgement], GatewayStats]:
    protocol = make_protocol(name, **params)
    spec = EndpointSpec.model_validate(
        {"base_url": server.base_url, "model": "m", "max_concurrency": 1, "transport": transport}
    )
    url = f"sqlite:///{folder}/ledger.db"
    async with open_gateway(spec, ledger_url=url, limiter="process") as gateway:

        async def ask(call: JudgeCall) -> JudgeReply:
            return await gateway.ask(to_request(call, protocol.name))

        first = await run_protocol(protocol, INSTANCES[0], ask)
        rest = await asyncio.gather(*(run_protocol(protocol, instance, ask) for instance in INSTANCES[1:]))
        return [first, *rest], gateway.stats()


@pytest.mark.parametrize("name", NAMES)
async def test_a_schema_changes_the_form_of_a_reply_and_not_the_score(tmp_path: Path, name: str) -> None:
    few = {"samples": 2} if name.startswith("geval") else {}
    with start_judge_server() as server:
        plain, _ = await judged(server, tmp_path, name, **few)
        structured, _ = await judged(server, tmp_path, name, structured=True, **few)
    assert [j.status for j in structured] == ["ok"] * len(INSTANCES)
    assert [(j.score, j.label) for j in structured] == [(j.score, j.label) for j in plain]
    assert all(isinstance(json.loads(e.text or ""), dict) for j in structured for e in j.exchanges)


@pytest.mark.parametrize("transport", ["chat", "batch"])
async def test_an_endpoint_without_structured_output_is_asked_again_without_it(tmp_path: Path, transport: str) -> None:
    with start_judge_server(response_format="refuse", batch_delay_s=0.05) as server:
        plain, _ = await judged(server, tmp_path / "plain", "ifteval")
        found, stats = await judged(server, tmp_path, "ifteval", transport, structured=True)
    assert [j.score for j in found] == [j.score for j in plain]
    if transport == "chat":
        assert stats.attempts == len(INSTANCES) + 1, "refused once, then known"
        assert (stats.asked, stats.answered, stats.failed) == (len(INSTANCES), len(INSTANCES), {})
