"""The gateway against the local judge server over real HTTP: faults, limits, budgets, resuming."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from assay.errors import EndpointError, LimitReached
from assay.judge_server.launch import JudgeServer, start_judge_server
from assay.llm.endpoint import EndpointSpec
from assay.llm.gateway import Gateway
from assay.llm.opening import open_gateway
from assay.llm.requests import Answer, ChatRequest, Failure, Message, Reply, Sampling
from assay.llm.transports.chat import Attempted


def question(number: int, **changes: object) -> ChatRequest:
    text = f"Rate the answer to question {number} from 0 to 9. Answer: it is {number * number}."
    return ChatRequest("", (Message("user", text),), Sampling(max_tokens=16), **changes)  # type: ignore[arg-type]


def endpoint_of(server: JudgeServer, **changes: object) -> EndpointSpec:
    fields = {"base_url": server.base_url, "model": "rubric-judge", "max_concurrency": 32, "timeout_s": 10.0, **changes}
    return EndpointSpec.model_validate(fields)


def gateway_to(server: JudgeServer, folder: Path, **changes: object) -> Gateway:
    spec = {name: changes.pop(name) for name in list(changes) if name in EndpointSpec.model_fields}
    return open_gateway(
        endpoint_of(server, **spec), ledger_url=f"sqlite:///{folder}/ledger.db", study="s", limiter="process", **changes
    )  # type: ignore[arg-type]


async def ask_all(gateway: Gateway, requests: list[ChatRequest]) -> list[Reply]:
    replies = {index: reply async for index, reply in gateway.ask_many(requests)}
    return [replies[index] for index in range(len(requests))]


def invoice_of(server: JudgeServer) -> dict:
    with urllib.request.urlopen(server.root_url + "/assay/invoice") as response:
        return json.load(response)


def rows(folder: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(folder / "ledger.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def test_a_reply_is_paid_once_whatever_the_port(tmp_path: Path) -> None:
    requests = [question(i) for i in range(20)]
    with start_judge_server() as server:
        async with gateway_to(server, tmp_path) as gateway:
            first = await ask_all(gateway, requests)
    with start_judge_server() as other:
        async with gateway_to(other, tmp_path) as gateway:
            second = await ask_all(gateway, requests)
            assert gateway.stats().attempts == 0
    assert all(isinstance(reply, Answer) and not reply.cached for reply in first)
    assert [r.text for r in first] == [r.text for r in second]
    assert all(reply.cached for reply in second)


async def test_a_known_reply_needs_no_server(tmp_path: Path) -> None:
    with start_judge_server() as server:
        spec = endpoint_of(server, name="judge")
        url = f"sqlite:///{tmp_path}/ledger.db"
        async with open_gateway(spec, ledger_url=url, limiter="process") as gateway:
            await gateway.ask(question(1))
    async with open_gateway(spec, ledger_url=url, limiter="process") as gateway:
        assert (await gateway.ask(question(1))).cached


async def test_equal_requests_in_flight_are_sent_once_and_replicates_are_not_equal(tmp_path: Path) -> None:
    with start_judge_server(latency_ms=50) as server:
        async with gateway_to(server, tmp_path) as gateway:
            replies = await asyncio.gather(*(gateway.ask(question(1)) for _ in range(10)))
            assert gateway.stats().attempts == 1
            assert sorted(reply.cached for reply in replies) == [False] + [True] * 9
            await asyncio.gather(*(gateway.ask(question(1, replicate=r)) for r in range(4)))
            assert gateway.stats().attempts == 4


async def test_an_asker_that_is_cancelled_leaves_the_others_their_reply(tmp_path: Path) -> None:
    with start_judge_server(latency_ms=300, latency_shape="constant") as server:
        async with gateway_to(server, tmp_path) as gateway:
            first = asyncio.create_task(gateway.ask(question(1)))
            await asyncio.sleep(0.1)
            second = asyncio.create_task(gateway.ask(question(1)))
            await asyncio.sleep(0.05)
            first.cancel()
            assert isinstance(await second, Answer)
    assert Counter(outcome for (outcome,) in rows(tmp_path, "select outcome from attempts")) == {
        "cancelled": 1,
        "answered": 1,
    }


@pytest.mark.parametrize("asked", [400, pytest.param(10_000, marks=pytest.mark.study)])
async def test_faults_leave_no_gap_and_no_surprise_on_the_invoice(tmp_path: Path, asked: int) -> None:
    faults = dict.fromkeys(("reset", "truncated", "empty"), 0.03) | dict.fromkeys(("429", "refusal", "filter"), 0.02)
    faults |= {"5xx": 0.04, "hang": 0.01}
    requests = [question(i) for i in range(asked)]
    with start_judge_server(faults=faults, seed=3) as server:
        async with gateway_to(server, tmp_path, timeout_s=2.0) as gateway:
            replies = await ask_all(gateway, requests)
            stats = gateway.stats()
        bill = invoice_of(server)
    num_answered = sum(isinstance(reply, Answer) for reply in replies)
    unscored = Counter(reply.reason for reply in replies if isinstance(reply, Failure))
    assert num_answered + sum(unscored.values()) == asked
    assert set(unscored) <= {"filtered", "empty"}
    assert 0.005 * asked <= unscored["filtered"] <= 0.05 * asked
    assert stats.attempts > 1.1 * asked
    # the usage that the ledger books is what the server billed where it could tell; where this machine was so slow
    # that an answer came after its timeout, the server thinks that it was seen
    timeouts = rows(tmp_path, "select count(*) from attempts where outcome = 'timeout'")[0][0]
    late = timeouts - bill["by_status"]["hang"]["calls"]
    booked = rows(tmp_path, "select sum(prompt_tokens), sum(completion_tokens), count(prompt_tokens) from attempts")[0]
    seen = tuple(bill["seen"][kind] for kind in ("prompt_tokens", "completion_tokens", "calls"))
    assert booked == seen if late == 0 else (booked < seen and seen[2] - booked[2] <= late)
    # what it billed unseen is bounded by the attempts that ended blindly
    blind = "select count(*) from attempts where outcome in ('timeout', 'connection', 'malformed')"
    assert 0 < bill["unseen"]["calls"] <= rows(tmp_path, blind)[0][0]
    assert rows(tmp_path, "select count(*) from attempts where outcome is null") == [(0,)]


async def test_refused_and_filtered_are_final_but_failed_is_asked_again(tmp_path: Path) -> None:
    # a refusal has a field of its own where a JSON schema was asked for; else it is a text like any other
    schema = {"type": "json_schema", "json_schema": {"name": "r", "schema": {"type": "object"}}}
    refusable = dataclasses.replace(question(1), sampling=Sampling(response_format=schema))
    with start_judge_server(faults={"refusal": 1.0}) as server:
        async with gateway_to(server, tmp_path, name="judge") as gateway:
            assert (await gateway.ask(refusable)).reason == "refused"
    with start_judge_server(faults={"filter": 1.0}) as server:
        async with gateway_to(server, tmp_path, name="judge") as gateway:
            assert (await gateway.ask(question(2))).reason == "filtered"
    with start_judge_server(faults={"5xx": 1.0}) as server:
        async with gateway_to(server, tmp_path, name="judge", max_attempts=2) as gateway:
            failed = await gateway.ask(question(3))
    assert (failed.reason, failed.attempts, failed.is_final) == ("server error", 2, False)
    with start_judge_server() as server:
        async with gateway_to(server, tmp_path, name="judge") as gateway:
            replies = await ask_all(gateway, [refusable, question(2), question(3)])
            assert gateway.stats().attempts == 1
    assert [type(reply) for reply in replies] == [Failure, Failure, Answer]
    assert [reply.cached for reply in replies] == [True, True, False]
    assert rows(tmp_path, "select status, count(*) from calls group by status order by status") == [
        ("answered", 1),
        ("filtered", 1),
        ("refused", 1),
    ]


@pytest.mark.parametrize("window", ["fixed", "bucket"])
async def test_limits_are_learned_from_headers_and_kept(tmp_path: Path, window: str) -> None:
    # a window of 2 s holds 40 requests: were they sent as fast as they come, most would be refused
    with start_judge_server(rpm=1200, window=window, window_s=2.0, burst_s=2.0) as server:
        async with gateway_to(server, tmp_path) as gateway:
            started = time.monotonic()
            await ask_all(gateway, [question(i) for i in range(100)])
            seconds = time.monotonic() - started
            stats = gateway.stats()
    assert stats.limit_per_min == 1200
    assert stats.rate_limited <= 3
    assert 4.5 <= seconds <= 9.0  # 100 requests at 20 a second take 5 s; the upper end is for a loaded machine


async def test_a_row_larger_than_the_limit_fails_alone_and_at_once(tmp_path: Path) -> None:
    large = ChatRequest("", (Message("user", "Rate this from 0 to 9. " * 120),), Sampling(max_tokens=16))
    requests = [question(1), large, question(2), large]
    with start_judge_server(tpm=500, window="fixed") as server:
        async with gateway_to(server, tmp_path) as gateway, asyncio.timeout(30.0):
            replies = await ask_all(gateway, requests)
            assert gateway.stats().rate_limited == 0, "nobody else waits for a limit that did not run out"
    assert [type(reply) for reply in replies] == [Answer, Failure, Answer, Failure]
    assert replies[1].reason == "rejected"
    assert "Limit 500, Requested" in replies[1].detail
    assert rows(tmp_path, "select status, finish_reason, num_attempts from calls where status = 'failed'") == [
        ("failed", "rejected", 1)
    ]


class Filtering:
    """A content filter that cuts every reply short."""

    async def send(self, request: ChatRequest, attempt: int) -> Attempted:
        return Attempted("filtered", 200, {}, "Output (a) is", "content_filter", prompt_tokens=9, completion_tokens=4)

    async def close(self) -> None:
        pass


async def test_what_a_filter_left_of_a_reply_is_kept_beside_the_failure(tmp_path: Path) -> None:
    spec = EndpointSpec(base_url="http://127.0.0.1:9/v1", name="e", model="m")
    for cached in (False, True):
        async with open_gateway(spec, ledger_url=f"sqlite:///{tmp_path}/ledger.db", limiter="process") as gateway:
            gateway._transport = Filtering()
            reply = await gateway.ask(question(1))
        assert isinstance(reply, Failure)
        assert (reply.reason, reply.text, reply.cached) == ("filtered", "Output (a) is", cached)


class Refusing:
    """Refuses what says so with a bare 429, and answers all else."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers

    async def send(self, request: ChatRequest, attempt: int) -> Attempted:
        await asyncio.sleep(0.01)
        if "refuse" in request.messages[0].content:
            return Attempted("rate limited", 429, self.headers, detail="HTTP 429: slow down")
        return Attempted("answered", 200, self.headers, "7", "stop", prompt_tokens=9, completion_tokens=1)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"x-ratelimit-limit-tokens": "150", "x-ratelimit-remaining-tokens": "50"}, "rejected"),
        ({"retry-after-ms": "10"}, "rate limited"),
    ],
)
async def test_one_row_that_is_always_refused_ends_while_others_pass(
    tmp_path: Path, headers: dict[str, str], reason: str
) -> None:
    # of 4 characters a token the large one is above the told limit of 150 tokens a minute
    refused = ChatRequest("", (Message("user", "refuse " * 100),), Sampling(max_tokens=16))
    spec = EndpointSpec(base_url="http://127.0.0.1:9/v1", name="e", model="m", give_up_s=1.0, max_concurrency=4)
    async with open_gateway(spec, ledger_url=f"sqlite:///{tmp_path}/ledger.db", limiter="process") as gateway:
        gateway._transport = Refusing(headers)
        is_over = False

        async def others() -> None:
            number = 0
            while not is_over:
                number += 1
                await gateway.ask(ChatRequest("", (Message("user", f"{number}"),), Sampling(max_tokens=1)))

        beside = asyncio.create_task(others())
        async with asyncio.timeout(30.0):
            reply = await gateway.ask(refused)
        is_over = True
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)
    assert isinstance(reply, Failure)
    assert reply.reason == reason
    assert "slow down" in reply.detail


async def test_a_budget_stops_cleanly_and_the_same_command_goes_on(tmp_path: Path) -> None:
    prices = {"usd_per_million_input": 1000.0, "usd_per_million_output": 1000.0}
    requests = [question(i) for i in range(200)]
    with start_judge_server(latency_ms=20) as server:
        async with gateway_to(server, tmp_path, budget_usd=2.0, max_concurrency=8, **prices) as gateway:
            with pytest.raises(LimitReached, match=r"max-usd 2") as stopped:
                await ask_all(gateway, requests)
        assert stopped.value.exit_code == 3
        spent, dearest = rows(tmp_path, "select sum(usd), max(usd) from calls")[0]
        assert 2.0 - 8 * dearest <= spent <= 2.0 + 8 * dearest
        done = rows(tmp_path, "select count(*) from calls")[0][0]
        async with gateway_to(server, tmp_path, budget_usd=100.0, max_concurrency=8, **prices) as gateway:
            replies = await ask_all(gateway, requests)
            assert gateway.stats().attempts == 200 - done
    assert all(isinstance(reply, Answer) for reply in replies)


async def test_an_endpoint_that_is_down_says_so_at_once(tmp_path: Path) -> None:
    spec = EndpointSpec(base_url="http://127.0.0.1:9/v1", model="m")
    started = time.monotonic()
    async with open_gateway(spec, ledger_url=f"sqlite:///{tmp_path}/l.db", limiter="process") as gateway:
        with pytest.raises(EndpointError, match=r"nothing answers at http://127.0.0.1:9/v1") as down:
            await ask_all(gateway, [question(i) for i in range(100)])
    assert time.monotonic() - started < 15
    assert "\n" not in str(down.value)


async def test_a_refused_key_ends_the_work_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ASSAY_JUDGE_TOKEN", "right")
    with start_judge_server() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-secret")
        async with gateway_to(server, tmp_path, name="judge") as gateway:
            with pytest.raises(EndpointError, match=r"HTTP 401.*OPENAI_API_KEY") as refused:
                await gateway.ask(question(1))
    seen = str(refused.value) + caplog.text + (tmp_path / "ledger.db").read_bytes().decode("latin-1")
    assert "sk-wrong-secret" not in seen


async def test_an_endpoint_that_dies_ends_the_work_after_its_patience(tmp_path: Path) -> None:
    with start_judge_server() as server:
        async with gateway_to(server, tmp_path, give_up_s=1.0, max_attempts=50) as gateway:
            await gateway.ask(question(1))
            server.close()
            with pytest.raises(EndpointError, match="no usable reply for"):
                await ask_all(gateway, [question(i) for i in range(2, 40)])
