"""Rows of the ledger's `calls` table: made from a request and what came back, and turned into replies again. Pure."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from assay.llm.endpoint import EndpointSpec
from assay.llm.ledger.service import StoredCall
from assay.llm.ledger.tables import FINAL
from assay.llm.prices import Price
from assay.llm.requests import Answer, ChatRequest, Failure, Message, Reply, Sampling
from assay.llm.transports.chat import Attempted, storable

SERVED_MODEL, FINGERPRINT, CACHED = "served_model", "system_fingerprint", "cached_tokens"
"""Fields of a row's `extra`."""


def completed(request: ChatRequest, endpoint: EndpointSpec) -> ChatRequest:
    """The request as it is asked: with a model, the endpoint's own settings, and nothing that no column can hold."""
    changes: dict[str, Any] = {}
    if settings := _settings(request, endpoint):
        changes["sampling"] = request.sampling.replace(**settings)
    if not request.model:
        changes["model"] = endpoint.model
    if not all(message.content.isascii() for message in request.messages):
        changes["messages"] = tuple(Message(message.role, storable(message.content)) for message in request.messages)
    return dataclasses.replace(request, **changes) if changes else request


def _settings(request: ChatRequest, endpoint: EndpointSpec) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if endpoint.max_reply_tokens is not None:
        found["max_tokens"] = endpoint.max_reply_tokens
    if endpoint.reasoning_effort is not None:
        found["extra"] = {**request.sampling.extra, "reasoning_effort": endpoint.reasoning_effort}
    return found


def request_row(request: ChatRequest, key: str, *, endpoint: EndpointSpec, study: str, judge: str) -> dict[str, Any]:
    """What is known before the reply."""
    messages = [[message.role, message.content] for message in request.messages]
    return {
        "key": key,
        "endpoint": endpoint.endpoint_name,
        "model": request.model,
        "protocol": request.protocol,
        "step": request.step,
        "replicate": request.replicate,
        "transport": endpoint.transport,
        "study": study,
        "judge": judge,
        "request_json": json.dumps(
            {"messages": messages, "sampling": request.sampling.body}, ensure_ascii=False, separators=(",", ":")
        ),
    }


def request_of(row: Mapping[str, Any]) -> ChatRequest:
    """The request that a row of `request_row` was made from."""
    told = json.loads(row["request_json"])
    fields = dict(told["sampling"])
    known = {name: fields.pop(name) for name in Sampling.model_fields if name in fields}
    sampling = Sampling.model_validate({"temperature": None, **known, "extra": fields})
    messages = tuple(Message(role, content) for role, content in told["messages"])
    return ChatRequest(row["model"], messages, sampling, row["replicate"], row["protocol"], row["step"])


def usd_of(exchange: Attempted, price: Price | None, estimate: float | None = None) -> float | None:
    """What an attempt cost; None where usage or price is not known.

    Args:
        exchange: what came back.
        price: of the model.
        estimate: our own figure of its dollars, which stands where a reply came without its usage, so that a cap works.
    """
    if price is None:
        return None
    if exchange.prompt_tokens is None or exchange.completion_tokens is None:
        return estimate if is_billed_unseen(exchange) else None
    return price.usd(exchange.prompt_tokens, exchange.completion_tokens, exchange.cached_tokens)


def is_billed_unseen(exchange: Attempted) -> bool:
    """Whether a reply came that was worked for and whose usage the endpoint did not tell."""
    worked = exchange.http_status == 200 and exchange.outcome in ("answered", "refused", "filtered", "empty", "cut")
    return worked and exchange.prompt_tokens is None


def told_beside(
    exchange: Attempted, price: Price | None, not_honoured: Sequence[str], estimate: float | None, model: str = ""
) -> Attempted:
    """The exchange with what its row must say beside the reply.

    That is: the model that answered, where it has another name than the one asked, and its fingerprint; parameters not
    honoured; dollars that we estimated; cached and reasoning tokens.

    Args:
        exchange: what came back.
        price: of the model.
        not_honoured: names of parameters.
        estimate: our own figure of its dollars.
        model: that was asked.
    """
    notes: dict[str, Any] = {}
    if exchange.served_model not in ("", model):
        notes[SERVED_MODEL] = exchange.served_model
    if exchange.system_fingerprint:
        notes[FINGERPRINT] = exchange.system_fingerprint
    if not_honoured:
        notes["not_honoured"] = list(not_honoured)
    if price is not None and estimate is not None and is_billed_unseen(exchange):
        notes["usd"] = "estimated"
    if exchange.cached_tokens:
        notes[CACHED] = exchange.cached_tokens
    if exchange.reasoning_tokens:
        notes["reasoning_tokens"] = exchange.reasoning_tokens
    if not notes:
        return exchange
    return dataclasses.replace(exchange, extra=json.dumps({**json.loads(exchange.extra or "{}"), **notes}))


def reply_row(
    row: dict[str, Any], exchange: Attempted, *, usd: float | None, number: int, seconds: float
) -> dict[str, Any]:
    """The whole row: `row` of `request_row` with what the last attempt brought."""
    final = exchange.outcome in FINAL
    return {
        **row,
        "status": exchange.outcome if final else "failed",
        "finish_reason": exchange.finish_reason if final else exchange.outcome,
        "reply": exchange.text,
        "extra": exchange.extra,
        "detail": exchange.detail,
        "prompt_tokens": exchange.prompt_tokens or 0,
        "completion_tokens": exchange.completion_tokens or 0,
        "usd": usd,
        "created_at": time.time(),
        "latency_s": seconds,
        "num_attempts": number,
    }


def reply_of(exchange: Attempted, key: str, *, usd: float | None, number: int) -> Reply:
    """What the asker gets for the last attempt's outcome."""
    if exchange.outcome != "answered":
        text = exchange.text if exchange.outcome == "filtered" else ""
        return Failure(exchange.outcome, exchange.detail or exchange.text[:200], key, number, text=text)
    return Answer(
        exchange.text, exchange.finish_reason, exchange.prompt_tokens or 0, exchange.completion_tokens or 0, usd, False,
        key, exchange.extra,
    )  # fmt: skip


def stored_reply(stored: StoredCall, key: str) -> Reply:
    """What the asker gets for a final row."""
    if stored.status == "answered":
        return Answer(
            stored.reply, stored.finish_reason, stored.prompt_tokens, stored.completion_tokens, stored.usd, True, key,
            stored.extra,
        )  # fmt: skip
    text = stored.reply if stored.status == "filtered" else ""
    return Failure(stored.status, stored.detail or stored.reply[:200], key, stored.num_attempts, cached=True, text=text)
