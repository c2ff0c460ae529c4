"""A model in this process as the judge."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.llm.endpoint import EndpointSpec
from assay.llm.local_model import LocalModel, LocalReply
from assay.llm.opening import open_gateway
from assay.llm.requests import Answer, ChatRequest, Failure, Message

SPEC = EndpointSpec(transport="local", name="tiny", model="tiny", max_attempts=2)


def question(number: int) -> ChatRequest:
    return ChatRequest("", (Message("user", f"question {number}"),))


class Echo:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, requests: Sequence[ChatRequest]) -> list[LocalReply]:
        self.sizes.append(len(requests))
        return [LocalReply(request.messages[0].content.upper(), "stop", 3, 2) for request in requests]


async def test_requests_gather_into_batches_and_are_kept(tmp_path: Path) -> None:
    echo, url = Echo(), f"sqlite:///{tmp_path}/ledger.db"
    async with open_gateway(SPEC, ledger_url=url, limiter="process", local=echo) as gateway:
        replies = await asyncio.gather(*(gateway.ask(question(i)) for i in range(40)))
        assert gateway.stats().usd == 0
    assert [reply.text for reply in replies if isinstance(reply, Answer)] == [f"QUESTION {i}" for i in range(40)]
    # the first question goes alone: before any reply nothing is known of the endpoint's limits
    assert len(echo.sizes) <= 4
    async with open_gateway(SPEC, ledger_url=url, limiter="process", local=echo) as gateway:
        assert (await gateway.ask(question(3))).cached
    assert sum(echo.sizes) == 40


async def test_a_model_that_fails_is_a_counted_failure(tmp_path: Path) -> None:
    def broken(requests: Sequence[ChatRequest]) -> list[LocalReply]:
        raise RuntimeError("out of memory")

    async with open_gateway(SPEC, ledger_url=f"sqlite:///{tmp_path}/l.db", limiter="process", local=broken) as gateway:
        reply = await gateway.ask(question(1))
    assert isinstance(reply, Failure)
    assert (reply.reason, reply.detail, reply.attempts) == ("server error", "RuntimeError: out of memory", 2)


async def test_several_replies_and_log_probabilities_are_kept(tmp_path: Path) -> None:
    logprobs = {"content": [{"token": "7", "logprob": -0.1, "top_logprobs": [{"token": "7", "logprob": -0.1}]}]}

    def model(requests: Sequence[ChatRequest]) -> list[LocalReply]:
        return [LocalReply("7", "stop", 3, 6, texts=("7", "8", "7"), logprobs=logprobs) for _ in requests]

    async with open_gateway(SPEC, ledger_url=f"sqlite:///{tmp_path}/l.db", limiter="process", local=model) as gateway:
        for _ in ("sent", "out of the ledger"):
            reply = await gateway.ask(question(1))
            assert isinstance(reply, Answer)
            assert (reply.texts, reply.logprobs) == (("7", "8", "7"), logprobs)
            assert reply.completion_tokens == 6


def test_what_names_no_type_is_read_in_the_one_that_its_device_is_fast_in() -> None:
    """bfloat16 was the default, also where a processor multiplies it tens of times slower than float32."""
    assert SPEC.replace(name=None).endpoint_name == "local float32"
    on_gpu = SPEC.replace(name=None, local=LocalModel(gpus=1))
    assert on_gpu.endpoint_name == "local bfloat16"
    assert on_gpu.replace(local=LocalModel(gpus=1, dtype="float16")).endpoint_name == "local float16"
    assert SPEC.replace(name=None, local=LocalModel(dtype="bfloat16")).endpoint_name == "local bfloat16"


def test_a_model_without_the_transport_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="transport=local"):
        open_gateway(EndpointSpec(), ledger_url=f"sqlite:///{tmp_path}/l.db", local=Echo())
