"""The batch transport against the local server's files and batches; killed between upload and ingest."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3
import urllib.request
from pathlib import Path

import pytest

from assay.errors import EndpointError, LimitReached
from assay.judge_server.launch import JudgeServer, start_judge_server
from assay.llm.batch.gateway import BatchGateway, BatchProgress
from assay.llm.endpoint import EndpointSpec
from assay.llm.gateway import open_gateway
from assay.llm.ledger.report import summarise
from assay.llm.requests import Answer, ChatRequest, Message, Reply, Sampling


def question(number: int) -> ChatRequest:
    return ChatRequest("", (Message("user", f"Rate answer {number} from 0 to 9: naïve."),), Sampling(max_tokens=8))


REQUESTS = [question(i) for i in range(30)]


def batch_gateway(server: JudgeServer, folder: Path, **changes: object) -> BatchGateway:
    spec = EndpointSpec(
        base_url=server.base_url, name="judge", model="rubric-judge",
        usd_per_million_input=1000.0, usd_per_million_output=1000.0,
    )  # fmt: skip
    options = {"ledger_url": f"sqlite:///{folder}/ledger.db", "study": "s", "poll_s": 0.05, **changes}
    return BatchGateway(spec, **options)  # type: ignore[arg-type]


async def ask_all(gateway: BatchGateway, requests: list[ChatRequest]) -> list[Reply]:
    replies = {index: reply async for index, reply in gateway.ask_many(requests)}
    return [replies[index] for index in range(len(requests))]


def provider_batches(server: JudgeServer) -> int:
    with urllib.request.urlopen(server.base_url + "/batches") as response:
        return len(json.load(response)["data"])


def ledger(folder: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(folder / "ledger.db")
    with connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


async def test_a_batch_answers_everything_at_half_the_price_and_serves_the_other_transport(tmp_path: Path) -> None:
    seen: list[BatchProgress] = []
    with start_judge_server(batch_delay_s=0.2) as server:
        async with batch_gateway(server, tmp_path, on_progress=seen.append) as gateway:
            replies = await ask_all(gateway, [*REQUESTS, REQUESTS[0]])
        assert provider_batches(server) == 1
        spec = EndpointSpec(base_url=server.base_url, name="judge", model="rubric-judge")
        async with open_gateway(spec, ledger_url=f"sqlite:///{tmp_path}/ledger.db", limiter="process") as chat:
            assert (await chat.ask(REQUESTS[7])).cached
    assert all(isinstance(reply, Answer) for reply in replies)
    assert replies[30] == dataclasses.replace(replies[0], cached=True)
    assert not replies[0].cached
    first = replies[0]
    assert first.usd == pytest.approx((first.prompt_tokens + first.completion_tokens) * 1000 / 1e6 / 2)
    assert seen[-1].status == "completed"
    found = summarise(f"sqlite:///{tmp_path}/ledger.db", ("transport",))
    assert [(row.group, row.calls) for row in found.rows] == [("batch", 30)]
    assert found.usd_attempts == pytest.approx(found.total.usd)
    assert found.unseen.attempts == 0


@pytest.mark.parametrize("died", ["uploaded", "created", "created but not recorded"])
async def test_a_process_that_dies_between_upload_and_ingest_is_continued(tmp_path: Path, died: str) -> None:
    with start_judge_server(batch_delay_s=1.0) as server:
        async with batch_gateway(server, tmp_path, poll_s=60.0) as gateway:
            work = asyncio.create_task(ask_all(gateway, REQUESTS))
            while not gateway_has_created(tmp_path):
                await asyncio.sleep(0.05)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        if died != "created":  # a minute ago, or its process might still be at it
            ledger(tmp_path, "update batches set updated_at = updated_at - 61")
            ledger(tmp_path, "update batches set status = 'uploaded', provider_id = ''")
        if died == "uploaded":  # as if the provider had never heard of the batch: it carries another tag
            ledger(tmp_path, "update batch_items set batch_id = 'other'")
            ledger(tmp_path, "update batches set id = 'other'")
        async with batch_gateway(server, tmp_path) as gateway:
            replies = await ask_all(gateway, REQUESTS)
        assert provider_batches(server) == (2 if died == "uploaded" else 1)
    assert all(isinstance(reply, Answer) for reply in replies)
    assert ledger(tmp_path, "select status from batches") == [("ingested",)]


async def test_two_processes_at_once_send_each_request_in_one_batch(tmp_path: Path) -> None:
    with start_judge_server(batch_delay_s=2.0) as server:
        async with batch_gateway(server, tmp_path) as first, batch_gateway(server, tmp_path) as second:
            create, is_uploaded = first._client.create, asyncio.Event()

            async def slowly(*arguments: str) -> str:
                is_uploaded.set()
                await asyncio.sleep(1.5)
                return await create(*arguments)

            first._client.create = slowly  # type: ignore[method-assign]
            work = asyncio.create_task(ask_all(first, REQUESTS))
            await is_uploaded.wait()
            found = [await ask_all(second, REQUESTS), await work]
            assert all(isinstance(reply, Answer) for replies in found for reply in replies)
            # whoever looked first when the batch was over took its replies in; the other had them from the ledger
            assert sorted(sum(not reply.cached for reply in replies) for replies in found) == [0, 30]
            assert (first.stats().attempts, second.stats().attempts) in ((30, 0), (0, 30))
        assert provider_batches(server) == 1
    assert ledger(tmp_path, "select count(*), count(distinct key) from attempts") == [(30, 30)]


async def test_a_creation_whose_response_is_lost_is_found_among_more_than_a_page_of_batches(tmp_path: Path) -> None:
    import httpx2
    import openai

    with start_judge_server() as server:
        async with batch_gateway(server, tmp_path) as gateway:
            file_id = await gateway._client.upload("mine", b"")
            batches = gateway._client._open().client.batches
            create = batches.create

            async def lost(**options: object) -> None:
                await create(**options)  # type: ignore[arg-type]
                for number in range(120):
                    await create(**{**options, "metadata": {"assay_batch": f"other {number}"}})  # type: ignore[arg-type]
                batches.create = create  # type: ignore[method-assign]
                raise openai.APIConnectionError(request=httpx2.Request("POST", server.base_url))

            batches.create = lost  # type: ignore[method-assign]
            found = await gateway._client.create("mine", file_id)
            assert (await batches.retrieve(found)).metadata == {"assay_batch": "mine"}
        with urllib.request.urlopen(server.base_url + "/batches?limit=100") as response:
            assert json.load(response)["has_more"]


def gateway_has_created(folder: Path) -> bool:
    return (folder / "ledger.db").exists() and ledger(folder, "select count(*) from batches where status = 'created'")[
        0
    ] == (1,)


async def test_single_questions_gather_into_one_batch(tmp_path: Path) -> None:
    with start_judge_server(batch_delay_s=0.1) as server:
        async with batch_gateway(server, tmp_path) as gateway:
            replies = await asyncio.gather(*(gateway.ask(request) for request in REQUESTS))
            assert gateway.stats().answered == 30
        assert provider_batches(server) == 1
    assert all(isinstance(reply, Answer) and not reply.cached for reply in replies)


async def test_failed_lines_are_asked_again_in_another_batch(tmp_path: Path) -> None:
    with start_judge_server(batch_delay_s=0.05, faults={"5xx": 1.0}) as server:
        async with batch_gateway(server, tmp_path) as gateway:
            replies = await ask_all(gateway, REQUESTS[:5])
        assert provider_batches(server) == 3
    assert {reply.reason for reply in replies} == {"server error"}
    assert ledger(tmp_path, "select status, count(*) from calls group by 1") == [("failed", 5)]


async def test_a_batch_that_would_pass_the_budget_is_not_begun(tmp_path: Path) -> None:
    with start_judge_server() as server:
        async with batch_gateway(server, tmp_path, budget_usd=0.01) as gateway:
            with pytest.raises(LimitReached, match="max-usd"):
                await ask_all(gateway, REQUESTS)
        assert provider_batches(server) == 0


async def test_an_endpoint_without_batches_says_so(tmp_path: Path) -> None:
    with start_judge_server() as server:
        spec = EndpointSpec(base_url=server.base_url + "/nothing", name="judge", model="m")
        async with BatchGateway(spec, ledger_url=f"sqlite:///{tmp_path}/l.db") as gateway:
            with pytest.raises(EndpointError, match="transport=chat"):
                await ask_all(gateway, REQUESTS)
