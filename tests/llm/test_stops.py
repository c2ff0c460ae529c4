"""Whatever stops a run, the replies in flight are stored first; refused parameters are paid for once."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from assay.errors import EndpointError
from assay.llm.endpoint import EndpointSpec
from assay.llm.gateway import Gateway
from assay.llm.ledger.report import changed_versions, versions_text
from assay.llm.opening import open_gateway
from assay.llm.requests import Answer, ChatRequest, Failure, Message, Sampling
from assay.llm.transports.chat import Attempted
from assay.records import Mode
from assay.scoring.judges.calls import JudgeCall, JudgeReply, run_protocol
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.protocols.geval import DIMENSIONS, GEvalJudge
from assay.scoring.judges.protocols.pointwise import PointwiseInstance

SPEC = EndpointSpec(base_url="http://127.0.0.1:9/v1", model="m", timeout_s=5)
REFUSED_NAME = "HTTP 400: Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."


class Scripted:
    """A transport whose answers are given by the text that is asked."""

    def __init__(self) -> None:
        self.sent: list[ChatRequest] = []

    async def send(self, request: ChatRequest, attempt: int) -> Attempted:
        self.sent.append(request)
        text = request.messages[0].content
        if text == "bad key":
            await asyncio.sleep(0.05)
            return Attempted("unusable", 401, {}, error=EndpointError("the key is refused"))
        if request.sampling.max_tokens is not None and text == "strange":
            return Attempted("rejected", 400, {}, detail=REFUSED_NAME)
        if text == "thinking" and (request.sampling.max_tokens or 0) < 4096:
            return Attempted("cut", 200, {}, "", "length", "", 5, 64, reasoning_tokens=64, detail="cut at 64 tokens")
        if text == "G-Eval" and request.sampling.logprobs:
            return Attempted("rejected", 403, {}, detail="HTTP 403: You are not allowed to request logprobs.")
        if text == "refused":
            return Attempted("refused", 200, {}, "I will not.", "stop", "", 5, 3)
        if text == "cut":
            return Attempted("cut", 200, {}, "", "length", "", 5, 64, detail="cut at 64 tokens")
        await asyncio.sleep(0.3 if text.startswith("slow") else 0)
        return Attempted("answered", 200, {}, f"reply to {text}", "stop", "", 5, 2)

    async def close(self) -> None:
        pass


def request(text: str) -> ChatRequest:
    return ChatRequest("m", (Message("user", text),), Sampling(max_tokens=64))


def gateway_to(transport: Scripted, folder: Path, mode: Mode = "strict", **fields: float) -> Gateway:
    gateway = open_gateway(SPEC.replace(**fields), ledger_url=f"sqlite:///{folder}/l.db", limiter="process", mode=mode)
    assert isinstance(gateway, Gateway)
    gateway._open_transport = lambda: transport  # type: ignore[method-assign]
    return gateway


def test_no_reply_in_flight_is_lost_when_a_run_stops(tmp_path: Path) -> None:
    slow = [request(f"slow {number}") for number in range(20)]
    first, second = Scripted(), Scripted()

    async def stopped() -> None:
        async with gateway_to(first, tmp_path) as gateway:
            async for _ in gateway.ask_many(
                [*slow, request("bad key"), *[request(f"late {n}") for n in range(50)]], 21
            ):
                pass

    with pytest.raises(EndpointError, match="key is refused"):
        asyncio.run(stopped())

    async def again() -> list[bool]:
        async with gateway_to(second, tmp_path) as gateway:
            replies = [reply async for _, reply in gateway.ask_many(slow)]
        return [isinstance(reply, Answer) and reply.cached for reply in replies]

    assert asyncio.run(again()) == [True] * 20
    assert second.sent == []


def test_nothing_new_is_sent_after_a_stop(tmp_path: Path) -> None:
    transport = Scripted()

    async def run() -> None:
        async with gateway_to(transport, tmp_path) as gateway:
            with pytest.raises(EndpointError):
                await gateway.ask(request("bad key"))
            with pytest.raises(EndpointError, match="key is refused"):
                await gateway.ask(request("another"))

    asyncio.run(run())
    assert len(transport.sent) == 1


def test_a_refused_parameter_costs_one_refusal_and_no_second_reply(tmp_path: Path) -> None:
    transport, later = Scripted(), Scripted()

    async def ask(to: Scripted) -> list[object]:
        async with gateway_to(to, tmp_path) as gateway:
            return [await gateway.ask(request(text)) for text in ("strange", "plain")]

    replies = asyncio.run(ask(transport))
    assert all(isinstance(reply, Answer) for reply in replies)
    assert [sent.sampling.max_tokens for sent in transport.sent] == [64, None, None]
    assert transport.sent[1].sampling.extra == {"max_completion_tokens": 64}
    assert all(isinstance(reply, Answer) and reply.cached for reply in asyncio.run(ask(later)))
    assert later.sent == []  # the key is of what was asked


def test_a_cut_reply_is_asked_for_once_and_a_thinking_model_gets_room(tmp_path: Path) -> None:
    transport = Scripted()

    async def run() -> list[object]:
        async with gateway_to(transport, tmp_path) as gateway:
            return [await gateway.ask(request(text)) for text in ("cut", "cut", "thinking")]

    cut, again, thought = asyncio.run(run())
    assert isinstance(cut, Failure) and (cut.reason, cut.attempts) == ("cut", 1)
    assert isinstance(again, Failure) and again.cached
    assert isinstance(thought, Answer) and '"not_honoured": ["max_tokens"]' in thought.extra
    assert [sent.messages[0].content for sent in transport.sent] == ["cut", "thinking", "thinking"]


def test_a_run_tells_what_it_paid_for_replies_that_were_no_answers(tmp_path: Path) -> None:
    transport = Scripted()

    async def run() -> tuple[float | None, int, int]:
        async with gateway_to(transport, tmp_path, usd_per_million_input=1e6, usd_per_million_output=1e6) as gateway:
            for text in ("cut", "refused", "plain", "plain"):
                await gateway.ask(request(text))
            stats = gateway.stats()
        return stats.usd, stats.prompt_tokens, stats.completion_tokens

    # 5 in and 64 out, 5 in and 3 out, 5 in and 2 out; the last one is in the ledger
    assert asyncio.run(run()) == (84.0, 15, 69)


def test_compat_pays_for_a_cut_reply_once_too(tmp_path: Path) -> None:
    transport = Scripted()

    async def run() -> object:
        async with gateway_to(transport, tmp_path, mode="compat") as gateway:
            return await gateway.ask(request("cut"))

    reply = asyncio.run(run())
    assert isinstance(reply, Failure) and reply.reason == "cut"
    assert len(transport.sent) == 1


def test_geval_asks_for_samples_where_log_probabilities_are_refused(tmp_path: Path) -> None:
    transport = Scripted()
    judge = GEvalJudge(dimension=DIMENSIONS["fluency"], logprobs=True, samples=3)

    async def run() -> PointwiseJudgement:
        async with gateway_to(transport, tmp_path) as gateway:

            async def ask(call: JudgeCall) -> JudgeReply:
                reply = await gateway.ask(ChatRequest("m", (Message("user", "G-Eval"),), call.sampling, call.replicate))
                return dataclasses.replace(reply, text="4") if isinstance(reply, Answer) else reply

            return await run_protocol(judge, PointwiseInstance("Say hi.", "hi", "hi"), ask)

    judgement = asyncio.run(run())
    assert (judgement.score, judgement.parts) == (4.0, {"samples": 3.0, "parsed": 3.0, "mass": 0.0})
    assert [sent.sampling.logprobs for sent in transport.sent] == [True, False, False, False, False]


def test_the_version_that_answered_is_kept_and_a_change_under_a_study_is_told(tmp_path: Path) -> None:
    class Moving(Scripted):
        async def send(self, request: ChatRequest, attempt: int) -> Attempted:
            found = await super().send(request, attempt)
            late = request.messages[0].content == "late"
            return dataclasses.replace(found, served_model="m-2" if late else "m", system_fingerprint="fp_1")

    url = f"sqlite:///{tmp_path}/l.db"

    async def run(*texts: str) -> list[str]:
        async with gateway_to(Moving(), tmp_path) as gateway:
            replies = [await gateway.ask(request(text)) for text in texts]
        return [reply.extra for reply in replies if isinstance(reply, Answer)]

    assert asyncio.run(run("early", "middle")) == ['{"system_fingerprint": "fp_1"}'] * 2
    assert changed_versions(url, "") == []
    assert asyncio.run(run("late")) == ['{"served_model": "m-2", "system_fingerprint": "fp_1"}']
    versions = changed_versions(url, "")
    assert [(version.model, version.calls) for version in versions] == [("m", 2), ("m-2", 1)]
    assert "m fp_1 (2 replies" in versions_text(versions)
