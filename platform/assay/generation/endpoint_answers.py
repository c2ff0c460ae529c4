"""Answers of a model behind an OpenAI-compatible endpoint, through the gateway: within its limits, each paid once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.cluster.joining import cluster_of_this_job
from assay.hooks import Progress
from assay.llm.endpoint import EndpointSpec
from assay.llm.requests import Answer, ChatRequest, Failure, Message, Reply
from assay.records import Example, Prediction
from assay.stoppable import run_stoppable
from assay.tasks.templates import messages

if TYPE_CHECKING:
    from assay.llm.figures import GatewayStats

TOOL = "Tool: "
"""Begins the user's turn that a tool's reply is sent as: endpoints refuse the role without the call that it answers."""


@dataclass(frozen=True)
class AskedEndpoint:
    """Which model is asked, and what its calls are booked under."""

    name: str
    """What people call it."""
    endpoint: EndpointSpec
    ledger_url: str
    study: str
    max_usd: float | None = None
    """Stop, to be continued, before all calls under `study` have cost more than this."""


@dataclass(frozen=True)
class Replies:
    """What came back."""

    replies: tuple[Reply, ...]
    """In the order of the requests."""
    stats: GatewayStats


def ask_endpoint(asked: AskedEndpoint, requests: Sequence[ChatRequest], progress: Progress) -> Replies:
    """A reply for each request; known ones come from the ledger, so the same call continues where it was stopped.

    Raises:
        EndpointError: nothing answers, or key or model are refused.
        LimitReached: the dollars are used up.
        ConfigError: dollars are capped and the model's price is not known.
    """
    with cluster_of_this_job():
        return run_stoppable(_ask(asked, requests, progress))


async def _ask(asked: AskedEndpoint, requests: Sequence[ChatRequest], progress: Progress) -> Replies:
    from assay.llm.opening import open_gateway

    stage = f"answers of {asked.name}"
    progress.start(stage, len(requests), unit="prompts")
    found: dict[int, Reply] = {}
    async with open_gateway(
        asked.endpoint,
        ledger_url=asked.ledger_url,
        budget_usd=asked.max_usd,
        study=asked.study,
        judge=asked.endpoint.model,
    ) as gateway:
        async for number, reply in gateway.ask_many(requests):
            found[number] = reply
            progress.advance(stage)
        stats = gateway.stats()
    progress.finish(stage)
    return Replies(tuple(found[number] for number in range(len(requests))), stats)


def chat_turns(example: Example) -> tuple[Message, ...]:
    """The conversation that an endpoint is sent: system text, earlier turns, the question.

    Raises:
        DataError: `history_json` is no list of [role, text].
    """
    return tuple(
        Message("user", TOOL + turn["content"]) if turn["role"] == "tool" else Message(turn["role"], turn["content"])  # type: ignore[arg-type]
        for turn in messages(example)
    )


def prediction_of(example: Example, reply: Reply) -> Prediction:
    """A reply as a row like those of the engines; a model that writes nothing has answered nothing, and answered."""
    if isinstance(reply, Answer):
        end = "length" if reply.finish_reason == "length" else "stop"
        return Prediction(example.example_id, reply.text.strip(), end, reply.prompt_tokens, reply.completion_tokens)
    if reply.reason == "empty":
        return Prediction(example.example_id, "", "stop", 0, 0)
    return Prediction(example.example_id, "", "error", 0, 0, f"{reply.reason}: {reply.detail}")


def silence(replies: Sequence[Reply]) -> str | None:
    """What the endpoint said to the last request, where it answered none of them; None where it answered some."""
    failures = [reply for reply in replies if isinstance(reply, Failure)]
    if len(failures) < len(replies) or any(reply.reason == "empty" for reply in failures):
        return None
    return failures[-1].detail if failures else None
