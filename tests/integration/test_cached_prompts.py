"""Input that an endpoint has cached: samples of one question come after the first, and the share is told and paid."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from assay.judge_server.launch import start_judge_server
from assay.judge_server.server.prefix_cache import PrefixCache
from assay.llm.endpoint import EndpointSpec
from assay.llm.figures import GatewayStats
from assay.llm.ledger.report import summarise
from assay.llm.opening import open_gateway
from assay.scoring.judges.calls import JudgeCall, JudgeReply, run_protocol, to_request
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from support.shipped import make_protocol

WORDS = "Apples, pears and plums are fruit; a carrot is none, whatever the cook may say of its taste. "


async def judged(folder: Path, name: str, *, one_leads: bool) -> GatewayStats:
    protocol = make_protocol(name)
    with start_judge_server(cache_tokens=16, latency_ms=30) as server:
        spec = EndpointSpec(
            base_url=server.base_url, model="m", usd_per_million_input=10, usd_per_million_cached=1,
            usd_per_million_output=0,
        )  # fmt: skip
        async with open_gateway(spec, ledger_url=f"sqlite:///{folder}/l.db", limiter="process") as gateway:

            async def ask(call: JudgeCall) -> JudgeReply:
                return await gateway.ask(to_request(call, protocol.name))

            async def judge(number: int) -> object:
                text = f"{number}. " + WORDS * 4
                instance = PairInstance(text, WORDS, "No.") if name == "faireval" else PointwiseInstance(text, WORDS)
                return await run_protocol(protocol, instance, ask, one_leads=one_leads)

            await asyncio.gather(*(judge(number) for number in range(6)))
            return gateway.stats()


@pytest.mark.parametrize("name", ["geval_fluency", "faireval"])
async def test_most_input_of_samples_is_cached_where_one_goes_ahead(tmp_path: Path, name: str) -> None:
    led = await judged(tmp_path / "led", name, one_leads=True)
    at_once = await judged(tmp_path / "at_once", name, one_leads=False)
    assert led.cached_tokens >= 0.6 * led.prompt_tokens
    assert led.cached_tokens > 1.5 * at_once.cached_tokens
    assert led.usd == pytest.approx((10 * (led.prompt_tokens - led.cached_tokens) + led.cached_tokens) / 1e6)
    summary = summarise(f"sqlite:///{tmp_path}/led/l.db")
    assert summary.cached_share == pytest.approx(led.cached_tokens / led.prompt_tokens)


def test_a_block_is_known_with_all_that_stands_before_it_alone() -> None:
    cache = PrefixCache(4)  # 16 bytes
    cache.remember([("user", "x" * 42)])  # 48 with the role: three blocks
    assert cache.known_tokens([("user", "x" * 42)]) == 12
    assert cache.known_tokens([("user", "x" * 30 + "y" * 20)]) == 8
    assert cache.known_tokens([("user", "y" + "x" * 42)]) == 0
