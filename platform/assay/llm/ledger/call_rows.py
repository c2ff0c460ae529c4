"""Rows of the ledger's `calls` table: made from a request and what came back, and turned into replies again. Pure."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

from assay.llm.endpoint import EndpointSpec
from assay.llm.ledger.service import StoredCall
from assay.llm.ledger.tables import FINAL
from assay.llm.prices import Price
from assay.llm.requests import Answer, ChatRequest, Failure, Message, Reply
from assay.llm.transports.chat import Exchange, storable


def completed(request: ChatRequest, endpoint: EndpointSpec) -> ChatRequest:
    """The request as it is sent: with a model, and without what no database column holds."""
    changes: dict[str, Any] = {}
    if not request.model:
        changes["model"] = endpoint.model
    if not all(message.content.isascii() for message in request.messages):
        changes["messages"] = tuple(Message(message.role, storable(message.content)) for message in request.messages)
    return dataclasses.replace(request, **changes) if changes else request


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


def usd_of(exchange: Exchange, price: Price | None) -> float | None:
    """What an attempt cost; None where usage or price is not known."""
    if price is None or exchange.prompt_tokens is None or exchange.completion_tokens is None:
        return None
    return price.usd(exchange.prompt_tokens, exchange.completion_tokens)


def reply_row(
    row: dict[str, Any], exchange: Exchange, *, usd: float | None, number: int, seconds: float
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


def reply_of(exchange: Exchange, key: str, *, usd: float | None, number: int) -> Reply:
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
