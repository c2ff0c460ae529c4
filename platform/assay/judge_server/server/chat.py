"""One chat completion: read, limit, fault, answer, bill. Raw ASGI, since this is the server's hot path.

The clock is the event loop's; every random number comes from the request (`draws`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import math
import socket
import struct
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from assay.judge_server.config import REFUSED_PARAMETERS, JudgeServerConfig, token_digest
from assay.judge_server.rubric.draws import Draws
from assay.judge_server.server.billing import Invoice
from assay.judge_server.server.exchange import Judge, JudgeRequest, NoReplyError, Reply, content_key
from assay.judge_server.server.faults import (
    CUT_TOKENS,
    DRAFT,
    REASONING_TOKENS,
    REFUSAL,
    UNPAID,
    draw_fault,
    refusal,
    wrong_format,
)  # fmt: skip
from assay.judge_server.server.prefix_cache import PrefixCache
from assay.judge_server.server.rate_limits import Limits, Meter
from assay.judge_server.server.tokens import count_prompt, count_tokens, cut_tokens

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MAX_BODY_BYTES = 8_000_000
MAX_CHOICES = 128
_JSON = (b"content-type", b"application/json")


class BadRequestError(Exception):
    """The request is no valid chat completion request; the message says what was seen and expected."""


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer before it is sent."""

    body: dict[str, Any]
    prompt_tokens: int
    completion_tokens: int


class ChatService:
    """Answers chat completions, over HTTP (`__call__`, raw ASGI) and inside batches (`complete`)."""

    def __init__(self, config: JudgeServerConfig, judge: Judge, token: str | None = None) -> None:
        self.config = config
        self.judge = judge
        self.invoice = Invoice()
        self.limits = Limits()
        self.name = config.endpoint_name()
        self.set_limits(config.rpm, config.tpm)
        self._token = token_digest(token) if token else None
        self._attempts: dict[bytes, int] = {}
        self._in_work = 0
        self._cache = None if config.cache_tokens is None else PrefixCache(config.cache_tokens)
        self._latency_mu = (
            math.log(config.latency_ms / 1000.0) - config.latency_sigma**2 / 2 if config.latency_ms else 0.0
        )

    def set_limits(self, rpm: int | None, tpm: int | None) -> None:
        """Other limits from now on; None turns a limit off."""
        config, now = self.config, time.monotonic()
        span = config.window_s if config.window == "fixed" else config.burst_s
        for name, value in (("requests", rpm), ("tokens", tpm)):
            meter: Meter | None = getattr(self.limits, name)
            if value is None:
                setattr(self.limits, name, None)
            elif meter is None:
                setattr(self.limits, name, Meter(float(value), config.window, span))
            else:
                meter.change(float(value), now)

    def authorised(self, headers: Headers) -> bool:
        """Whether the bearer token is the server's, or none is needed."""
        if self._token is None:
            return True
        given = next((value for name, value in headers if name == b"authorization"), b"")
        return hmac.compare_digest(token_digest(given.decode("latin-1").removeprefix("Bearer ").strip()), self._token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/chat/completions."""
        headers: Headers = scope["headers"]
        body = await _read_body(receive)
        if not self.authorised(headers):
            await send_error(send, 401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
            return
        try:
            if body is None:
                raise BadRequestError(f"saw a body over {MAX_BODY_BYTES} bytes; expected less")
            data = json.loads(body)
            request = self.read(data, headers)
        except (BadRequestError, ValueError, RecursionError) as error:
            await send_error(send, 400, f"We could not read this request: {error}", "invalid_request_error", None)
            return
        if self.config.concurrency is not None and self._in_work >= self.config.concurrency:
            self.invoice.add(request.model, "rate_limited")
            await self._refuse(send, request.model, "requests", 1, 0.05)
            return
        self._in_work += 1
        try:
            await self._serve(data, request, headers, receive, send)
        finally:
            self._in_work -= 1

    async def _serve(
        self, data: dict[str, Any], request: JudgeRequest, headers: Headers, receive: Receive, send: Send
    ) -> None:
        now = time.monotonic()
        wait = self.limits.wait_for_request(now)
        if wait > 0:
            self.invoice.add(request.model, "rate_limited")
            await self._refuse(send, request.model, "requests", 1, wait)
            return
        draws = self._draws(request, headers)
        fault = draw_fault(self.config.faults, draws)
        if fault in REFUSED_PARAMETERS and not data.get(fault):
            fault = ""
        try:
            done = self.complete(data, request, draws, fault)
        except NoReplyError as error:
            self.limits.charge(0)
            self.invoice.add(request.model, "not_found")
            await send_error(send, 404, str(error), "not_found_error", "no_recorded_reply")
            return
        tokens = done.prompt_tokens + done.completion_tokens
        wait = self.limits.wait_for_tokens(tokens, now)
        if wait > 0:
            self.invoice.add(request.model, "rate_limited")
            await self._refuse(send, request.model, "tokens", tokens, wait)
            return
        self.limits.charge(tokens)
        if self.config.latency_ms:
            await asyncio.sleep(self._latency_s(draws))
        if fault:
            handled = await self._fail(fault, done, request, receive, send)
            if handled:
                return
        if self._cache is not None:
            self._cache.remember(request.messages)
        gone = getattr(getattr(receive, "__self__", None), "disconnected", False)
        status = "gone" if gone else fault or "answered"
        self.invoice.add(request.model, status, done.prompt_tokens, done.completion_tokens)
        payload = json.dumps(done.body, ensure_ascii=False).encode("utf-8", "replace")
        if fault == "truncated":
            payload = payload[: max(1, len(payload) // 2)]
        await send_bytes(
            send, 200, payload, [_JSON, *self.limits.headers(time.monotonic()), *self._about(request, draws)]
        )

    def read(self, data: Any, headers: Headers = ()) -> JudgeRequest:  # type: ignore[assignment]
        """The request's content, where this server takes such requests.

        Raises:
            BadRequestError: a field is missing, of another type, or not supported.
        """
        request = read_request(data, headers)
        if request.schema is not None and self.config.response_format == "refuse":
            raise BadRequestError("response_format: saw json_schema; this server has no structured output")
        return request

    def complete(self, data: dict[str, Any], request: JudgeRequest, draws: Draws, fault: str = "") -> Completion:
        """The completion, with the faults that change its text.

        Raises:
            NoReplyError: nothing is recorded for this request.
        """
        count = int(data.get("n") or 1)
        replies = self.judge.replies(request, count)
        limit = data.get("max_completion_tokens") or data.get("max_tokens")
        structured = request.schema is not None
        choices, completion_tokens = [], 0
        for index, reply in enumerate(replies):
            text, finish, refusal = _spoiled(reply, fault, draws, structured)
            is_whole = finish == "stop" and self.config.mode == "rubric" and fault != "thinking"
            if is_whole and isinstance(limit, int) and limit > 0:
                shorter = cut_tokens(text, limit)
                finish = "stop" if shorter == text else "length"
                text = shorter
            completion_tokens += count_tokens(text) if refusal is None else count_tokens(refusal)
            message = {"role": "assistant", "content": text if refusal is None else None, "refusal": refusal}
            choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": finish})
        prompt_tokens = count_prompt(request.messages)
        if fault == "cut":
            completion_tokens = limit if isinstance(limit, int) else CUT_TOKENS
        body: dict[str, Any] = {
            "id": "chatcmpl-" + request.key.hex(),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": request.model,
            "choices": choices,
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
            "system_fingerprint": self.name,
        }
        if fault == "reasoning":
            completion_tokens += REASONING_TOKENS
            body["usage"]["total_tokens"] += REASONING_TOKENS
        if fault == "moved":
            body["model"], body["system_fingerprint"] = f"{request.model}-next", f"{self.name}-next"
        if self._cache is not None:
            cached = min(prompt_tokens, self._cache.known_tokens(request.messages))
            body["usage"]["prompt_tokens_details"] = {"cached_tokens": cached}
        if fault == "no_usage":
            del body["usage"]
        return Completion(body, prompt_tokens, completion_tokens)

    def batch_draws(self, request: JudgeRequest, custom_id: str) -> Draws:
        """The draws of a batch row: its custom id stands where an attempt number does elsewhere."""
        return Draws(self.config.seed, request.key, request.replicate.encode(), custom_id.encode())

    def _draws(self, request: JudgeRequest, headers: Headers) -> Draws:
        """Draws of this attempt: numbered by the caller's header, else by how often this very request has come."""
        attempt = next((value for name, value in headers if name == b"x-assay-attempt"), None)
        if attempt is None:
            attempt = b""
            if self.config.faults or self.config.latency_ms:
                key = request.key + request.replicate.encode()
                number = self._attempts[key] = self._attempts.get(key, 0) + 1
                attempt = b"%d" % number
        return Draws(self.config.seed, request.key, request.replicate.encode(), attempt)

    def _latency_s(self, draws: Draws) -> float:
        if self.config.latency_shape == "constant":
            return self.config.latency_ms / 1000.0
        return math.exp(self._latency_mu + self.config.latency_sigma * draws.normal("latency"))

    async def _fail(self, fault: str, done: Completion, request: JudgeRequest, receive: Receive, send: Send) -> bool:
        """Plays a fault that has no answer; False for those that change the answer only."""
        if fault == "5xx":
            self.invoice.add(request.model, "5xx")
            await send_error(send, self.config.fault_status, "The server had an error.", "server_error", None)
            return True
        if fault == "429":
            self.invoice.add(request.model, "rate_limited")
            await self._refuse(send, request.model, "requests", 1, 0.2)
            return True
        if fault in UNPAID:
            self.invoice.add(request.model, fault)
            await send_bytes(send, *refusal(fault, request.model))
            return True
        if fault == "hang":
            self.invoice.add(request.model, "hang", done.prompt_tokens, done.completion_tokens)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(_hung_up(receive), self.config.hang_s)
            await _abort(receive, send)
            return True
        if fault == "reset":
            self.invoice.add(request.model, "reset", done.prompt_tokens, done.completion_tokens)
            await _abort(receive, send)
            return True
        return False

    async def _refuse(self, send: Send, model: str, what: str, requested: int, wait_s: float) -> None:
        meter: Meter | None = getattr(self.limits, what)
        self.limits.refused[what] += 1
        limit, used = (
            (int(meter.per_minute), int(meter.used)) if meter else (self.config.concurrency or 0, self._in_work)
        )
        unit = "requests per min (RPM)" if what == "requests" else "tokens per min (TPM)"
        headers = [_JSON, *self.limits.headers(time.monotonic())]
        if math.isinf(wait_s):
            text = f"Request too large for {model} on {unit}: Limit {limit}, Requested {requested}."
        else:
            wait = max(wait_s, 0.001)
            text = (
                f"Rate limit reached for {model} on {unit}: Limit {limit}, Used {used}, Requested {requested}. "
                f"Please try again in {wait:.3f}s."
            )
            headers += [(b"retry-after", b"%d" % math.ceil(wait)), (b"retry-after-ms", b"%d" % math.ceil(wait * 1000))]
        error = {"message": text, "type": what, "param": None, "code": "rate_limit_exceeded"}
        await send_bytes(send, 429, json.dumps({"error": error}).encode(), headers)

    def _about(self, request: JudgeRequest, draws: Draws) -> Headers:
        return [
            (b"x-request-id", b"req_" + request.key.hex().encode()),
            (b"openai-model", request.model.encode()[:200]),
        ]


def read_request(data: Any, headers: Headers = ()) -> JudgeRequest:  # type: ignore[assignment]
    """The request's content out of the JSON body.

    Raises:
        BadRequestError: a field is missing or of another type.
    """
    if not isinstance(data, dict):
        raise BadRequestError(f"saw a {type(data).__name__}; expected an object with model and messages")
    model, messages = data.get("model"), data.get("messages")
    if not isinstance(model, str) or not model:
        raise BadRequestError(f"model: saw {model!r}; expected a name")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("messages: expected a list with at least one message")
    count = data.get("n")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_CHOICES):
        raise BadRequestError(f"n: saw {count!r}; expected 1 to {MAX_CHOICES}")
    if data.get("stream"):
        raise BadRequestError("stream: saw true; this server answers whole completions, send stream=false")
    turns = tuple(_turn(message) for message in messages)
    schema = None
    response_format = data.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") == "json_schema":
        schema = (response_format.get("json_schema") or {}).get("schema")
        if not isinstance(schema, dict):
            raise BadRequestError("response_format.json_schema.schema: expected an object")
    named = {name: value.decode("latin-1") for name, value in headers if name.startswith(b"x-assay-")}
    seed = data.get("seed")
    return JudgeRequest(
        model,
        turns,
        content_key(model, turns, "" if seed is None else str(seed)),
        replicate=named.get(b"x-assay-replicate", ""),
        protocol=named.get(b"x-assay-protocol", ""),
        step=named.get(b"x-assay-step", ""),
        judge=named.get(b"x-assay-judge", ""),
        schema=schema,
    )


def _turn(message: Any) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise BadRequestError(f"messages: saw {message!r:.60}; expected objects with role and content")
    role, content = message.get("role"), message.get("content")
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
    if not isinstance(role, str) or not isinstance(content, str):
        raise BadRequestError("messages: expected a role and a text in each")
    return role, content


def _spoiled(reply: Reply, fault: str, draws: Draws, structured: bool) -> tuple[str, str, str | None]:
    """(text, finish reason, refusal) of a choice."""
    if fault == "empty":
        return "", "stop", None
    if fault == "format":
        return wrong_format(draws), "stop", None
    if fault == "refusal":
        return ("", "stop", REFUSAL) if structured else (REFUSAL, "stop", None)
    if fault == "cut":
        return "", "length", None
    if fault == "thinking":
        return f"<think>\n{DRAFT}\n</think>\n\n{reply.text}", reply.finish_reason, None
    if fault == "unfinished":
        return f"<think>\n{DRAFT}", "length", None
    if fault == "finish_error":
        return reply.text[: len(reply.text) // 2], "error", None
    if fault == "filter":
        return "", "content_filter", None
    return reply.text, reply.finish_reason, None


async def _read_body(receive: Receive) -> bytes | None:
    """The body, or None where it is too large."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body if len(body) <= MAX_BODY_BYTES else None
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            return None
    return b"".join(parts)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _abort(receive: Receive, send: Send) -> None:
    """Resets the connection. Without access to the transport: an answer that ends before its length."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": False})
        return
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        # linger 0: close sends RST, as a crashed peer does, and no orderly end
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def send_bytes(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """A whole answer."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, status: int, message: str, kind: str, code: str | None) -> None:
    """An error in OpenAI's form."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    await send_bytes(send, status, json.dumps({"error": error}).encode(), [_JSON])
