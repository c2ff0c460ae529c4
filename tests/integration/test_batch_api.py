"""The batch transport against the local server's files and batches; killed between upload and ingest."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from assay.errors import EndpointError, LimitReached
from assay.judge_server.launch import JudgeServer, start_judge_server
from assay.llm.batch.gateway import BatchGateway, BatchProgress
from assay.llm.endpoint import BatchLimits, EndpointSpec
from assay.llm.ledger.report import summarise
from assay.llm.opening import open_gateway
from assay.llm.requests import Answer, ChatRequest, Message, Reply, Sampling


def question(number: int) -> ChatRequest:
    return ChatRequest("", (Message("user", f"Rate answer {number} from 0 to 9: naïve."),), Sampling(max_tokens=8))


REQUESTS = [question(i) for i in range(30)]


def batch_gateway(
    server: JudgeServer, folder: Path, batch: BatchLimits | None = None, **changes: object
) -> BatchGateway:
    spec = EndpointSpec(
        base_url=server.base_url, name="judge", model="rubric-judge", batch=batch or BatchLimits(),
        usd_per_million_input=1000.0, usd_per_million_output=1000.0,
    )  # fmt: skip
    options = {"ledger_url": f"sqlite:///{folder}/ledger.db", "study": "s", "poll_s": 0.05, **changes}
    return BatchGateway(spec, **options)  # type: ignore[arg-type]


async def ask_all(gateway: BatchGateway, requests: list[ChatRequest]) -> list[Reply]:
    replies = {index: reply async for index, reply in gateway.ask_many(requests)}
    return [replies[index] for index in range(len(requests))]


def provider_batches(server: JudgeServer) -> int:
    return len(batches_there(server))


def batches_there(server: JudgeServer) -> list[dict[str, Any]]:
    with urllib.request.urlopen(server.base_url + "/batches?limit=100") as response:
        return json.load(response)["data"]  # type: ignore[no-any-return]


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


PROMPT_TOKENS = 18
"""Of one question, as the server counts."""


async def test_a_queue_that_is_full_is_waited_for_and_nothing_is_uploaded_twice(tmp_path: Path) -> None:
    seen: list[BatchProgress] = []
    with start_judge_server(batch_delay_s=1.0, batch_queue_tokens=31 * PROMPT_TOKENS) as server:
        async with (
            batch_gateway(server, tmp_path) as other,
            batch_gateway(server, tmp_path / "b", on_progress=seen.append) as gateway,
        ):
            theirs = asyncio.create_task(ask_all(other, [question(100 + i) for i in range(30)]))
            while not any(batch["status"] == "in_progress" for batch in batches_there(server)):
                await asyncio.sleep(0.02)
            replies = await ask_all(gateway, REQUESTS)
            await theirs
        there = batches_there(server)
    assert all(isinstance(reply, Answer) for reply in replies)
    assert any(progress.status.startswith("waiting") for progress in seen)
    ours = [batch for batch in there if batch["metadata"]["assay_batch"] == seen[0].batch_id]
    assert {batch["status"] for batch in ours} == {"failed", "completed"}
    assert len({batch["input_file_id"] for batch in ours}) == 1
    assert ledger(tmp_path / "b", "select count(*), count(outcome) from attempts") == [(30, 30)]


async def test_a_batch_above_what_the_queue_holds_is_sent_in_parts(tmp_path: Path) -> None:
    with start_judge_server(batch_delay_s=0.05, batch_queue_tokens=8 * PROMPT_TOKENS) as server:
        async with batch_gateway(server, tmp_path) as gateway:
            replies = await ask_all(gateway, REQUESTS)
            usd = gateway.stats().usd
        there = batches_there(server)
    assert all(isinstance(reply, Answer) for reply in replies)
    done = [batch["request_counts"]["total"] for batch in there if batch["status"] == "completed"]
    assert sum(done) == 30 and max(done) <= 8
    assert ledger(tmp_path, "select count(*) from attempts where outcome is null") == [(0,)]
    assert ledger(tmp_path, "select sum(usd) from attempts") == [(pytest.approx(usd),)]


async def test_what_was_told_of_the_queue_is_kept_to(tmp_path: Path) -> None:
    limits = BatchLimits(max_rows=4, max_enqueued_tokens=6 * PROMPT_TOKENS)
    with start_judge_server(batch_delay_s=0.1, batch_queue_tokens=9 * PROMPT_TOKENS) as server:
        async with batch_gateway(server, tmp_path, limits) as gateway:
            replies = await ask_all(gateway, REQUESTS[:12])
        there = batches_there(server)
    assert all(isinstance(reply, Answer) for reply in replies)
    assert {batch["status"] for batch in there} == {"completed"}
    assert max(batch["request_counts"]["total"] for batch in there) <= 4


async def test_a_request_above_the_whole_queue_is_given_up_and_told(tmp_path: Path) -> None:
    long = ChatRequest("", (Message("user", "word " * 2000),), Sampling(max_tokens=8))
    with start_judge_server(batch_delay_s=0.05, batch_queue_tokens=8 * PROMPT_TOKENS) as server:
        async with batch_gateway(server, tmp_path) as gateway:
            first, second = await ask_all(gateway, [long, REQUESTS[0]])
    assert first.reason == "rejected" and "queue holds 144" in first.detail
    assert isinstance(second, Answer)


async def test_a_batch_of_a_dead_process_waits_for_the_queue_too(tmp_path: Path) -> None:
    with start_judge_server(batch_delay_s=0.8, batch_queue_tokens=31 * PROMPT_TOKENS) as server:
        async with batch_gateway(server, tmp_path / "b") as other:
            theirs = asyncio.create_task(ask_all(other, [question(100 + i) for i in range(30)]))
            while not any(batch["status"] == "in_progress" for batch in batches_there(server)):
                await asyncio.sleep(0.02)
            async with batch_gateway(server, tmp_path, poll_s=60.0) as gateway:
                work = asyncio.create_task(ask_all(gateway, REQUESTS))
                while len(batches_there(server)) < 2:
                    await asyncio.sleep(0.02)
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
            ledger(tmp_path, "update batches set updated_at = updated_at - 61")
            async with batch_gateway(server, tmp_path) as gateway:
                replies = await ask_all(gateway, REQUESTS)
            await theirs
        files = {batch["input_file_id"] for batch in batches_there(server)}
    assert all(isinstance(reply, Answer) for reply in replies)
    assert len(files) == 2


async def test_parameters_that_a_batch_was_refused_for_are_left_out_of_the_next(tmp_path: Path) -> None:
    with start_judge_server(batch_delay_s=0.05, faults={"max_tokens": 1.0}) as server:
        async with batch_gateway(server, tmp_path) as gateway:
            replies = await ask_all(gateway, REQUESTS[:6])
        assert provider_batches(server) == 2
    assert all(isinstance(reply, Answer) for reply in replies)


async def test_replies_without_usage_are_booked_by_our_estimate_and_marked(tmp_path: Path) -> None:
    with start_judge_server(batch_delay_s=0.05, faults={"no_usage": 1.0}) as server:
        async with batch_gateway(server, tmp_path) as gateway:
            replies = await ask_all(gateway, REQUESTS[:6])
    assert all(isinstance(reply, Answer) and '"usd": "estimated"' in reply.extra for reply in replies)
    [(usd, marked)] = ledger(tmp_path, "select sum(usd), count(*) from attempts where prompt_tokens is null")
    assert usd > 0 and marked == 6
