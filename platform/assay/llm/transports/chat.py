"""One HTTP request to a chat endpoint, and what its answer means. No retry, no waiting, no storing.

The openai SDK sends (its own retries off, aiohttp underneath); the body is read here rather than by the SDK's
response models, which cost more CPU than the request itself and forgive what must be noticed (a truncated body).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from assay.errors import AssayError, EndpointError, LimitReached, plain_line
from assay.llm.endpoint import AZURE_QUERY, EndpointSpec
from assay.llm.limits.headers import wanted_headers
from assay.llm.refusals import (
    error_in,
    headers_inside,
    is_daily,
    retry_info_s,
    status_in,
    subject_of,
)
from assay.llm.requests import ChatRequest

MAX_DETAIL = 300
"""Characters of an endpoint's error message that are kept."""

MAX_NAME = 200
"""Characters of the model's name and of its fingerprint that are kept."""
FIRST_WORDS = 80
"""Characters of a body that is no reply that are shown."""
MAX_REFUSAL_BYTES = 65_536
"""Of an error body that is no JSON; the key is taken out of it before it is cut to MAX_DETAIL."""
MAX_TOKENS = 1 << 31
Outcome = Literal[
    "answered", "refused", "filtered", "rate limited", "server error", "timeout", "connection", "malformed", "empty",
    "rejected", "cut", "unusable",
]  # fmt: skip
RETRIED = frozenset({"server error", "timeout", "connection", "malformed", "empty"})


@dataclass(frozen=True, slots=True)
class Attempted:
    """What one attempt brought back."""

    outcome: Outcome
    http_status: int | None
    headers: Mapping[str, str]
    """Those about limits, with lower-case names; empty where no response came."""
    text: str = ""
    finish_reason: str = ""
    extra: str = ""
    prompt_tokens: int | None = None
    """None where the endpoint reported no usage."""
    completion_tokens: int | None = None
    """Reasoning included, also where the endpoint counts it in the total alone."""
    cached_tokens: int = 0
    """Of the prompt's, those that the endpoint had cached."""
    reasoning_tokens: int = 0
    """Of the completion's, those that went into thinking, as far as told."""
    served_model: str = ""
    """The model that answered, in the endpoint's own words."""
    system_fingerprint: str = ""
    """Names the configuration that answered, where the endpoint tells one: it moves when the model does."""
    detail: str = ""
    nothing_listens: bool = False
    """The connection was refused, or the host has no address: retrying at once is pointless."""
    error: AssayError | None = None
    """With the outcome "unusable": what ends the work."""


_TOO_LARGE = re.compile(r"\brequest(?:ed tokens)? (?:is |are |was )?too (?:large|big|long)\b", re.IGNORECASE)
_EXCEEDS = re.compile(r"\brequested\b[^.\n]{0,80}\bexceeds?\b", re.IGNORECASE)
_LIMIT_AND_REQUEST = re.compile(r"\bLimit:? ([\d,]{1,20}).{0,80}\bRequested:? ([\d,]{1,20})", re.IGNORECASE)
_REFUSED = {"ClientConnectorError", "ClientConnectorDNSError", "ConnectError"}
_DROPPED = {"ServerDisconnectedError", "ClientOSError", "ConnectionResetError"}


class ChatTransport:
    """Sends requests to one endpoint. Belongs to one event loop."""

    def __init__(self, endpoint: EndpointSpec) -> None:
        """Read the key from the environment and open a connection pool.

        Raises:
            EndpointError: the endpoint needs a key and the environment has none.
        """
        import httpx2
        import openai

        self.endpoint = endpoint
        self.secret = endpoint.api_key()
        limits = httpx2.Limits(
            max_connections=endpoint.max_concurrency, max_keepalive_connections=None, keepalive_expiry=30.0
        )
        timeout = httpx2.Timeout(endpoint.timeout_s, connect=min(20.0, endpoint.timeout_s))
        self.client = openai.AsyncOpenAI(
            base_url=endpoint.base_url.partition("?")[0],
            default_query={AZURE_QUERY: endpoint.azure_version} if endpoint.azure_version else None,
            default_headers={"api-key": self.secret} if endpoint.azure_version else None,
            api_key=self.secret,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAioHttpClient(timeout=timeout, limits=limits),
        )
        self._response_type = httpx2.Response
        self._failures = (openai.APIStatusError, openai.APITimeoutError, openai.APIConnectionError)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The request body that is sent."""
        fields: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            **request.sampling.body,
        }
        if self.endpoint.max_tokens_field != "max_tokens" and "max_tokens" in fields:
            fields[self.endpoint.max_tokens_field] = fields.pop("max_tokens")
        return fields

    def step_headers(self, request: ChatRequest, attempt: int) -> dict[str, str]:
        """Headers that tell a local server which protocol and step asks; none for other endpoints."""
        if not self.endpoint.sends_step_headers:
            return {}
        return {
            "X-Assay-Protocol": request.protocol,
            "X-Assay-Step": request.step,
            "X-Assay-Replicate": str(request.replicate),
            "X-Assay-Attempt": str(attempt),
        }

    async def send(self, request: ChatRequest, attempt: int) -> Attempted:
        """One attempt; every way in which it can fail is an `Attempted`."""
        headers = self.step_headers(request, attempt)
        try:
            async with asyncio.timeout(self.endpoint.timeout_s):
                response = await self.client.post(
                    "/chat/completions",
                    cast_to=self._response_type,
                    body=self.body(request),
                    options={"headers": headers} if headers else {},
                )
        except TimeoutError:
            return Attempted("timeout", None, {}, detail=f"no reply within {self.endpoint.timeout_s:g} s")
        except self._failures as error:
            return self._failed(error)
        return read_reply(
            response.content, wanted_headers(response.headers.raw), endpoint=self.endpoint, secret=self.secret
        )

    def _failed(self, error: Exception) -> Attempted:
        response = getattr(error, "response", None)
        if response is not None:
            return read_refusal(
                response.status_code,
                response.content,
                wanted_headers(response.headers.raw),
                endpoint=self.endpoint,
                secret=self.secret,
            )
        cause = error.__cause__ or error
        chain: list[str] = []
        while cause is not None and len(chain) < 6:
            chain.append(type(cause).__name__)
            cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
        nothing_listens = not _REFUSED.isdisjoint(chain)
        dropped = not _DROPPED.isdisjoint(chain)
        timed_out = type(error).__name__ == "APITimeoutError" and not dropped and not nothing_listens
        outcome: Outcome = "timeout" if timed_out else "connection"
        detail = one_line(str(error.__cause__ or error) or chain[0], self.secret)
        return Attempted(outcome, None, {}, detail=detail, nothing_listens=nothing_listens)


def read_reply(
    content: bytes, headers: Mapping[str, str], *, endpoint: EndpointSpec | None = None, secret: str = ""
) -> Attempted:
    """What a body that came with status 200 says; an error inside it goes the way of its own status."""
    try:
        data = json.loads(content)
        if (error := error_in(data)) is not None:
            inside = json.dumps({"error": error}).encode()
            return read_refusal(status_in(error), inside, headers, endpoint=endpoint or EndpointSpec(), secret=secret)
        choices = data["choices"]
        message = choices[0]["message"]
        text = _text_of(message)
        finish_reason = str(choices[0].get("finish_reason") or "")
        usage = data.get("usage") or {}
        texts = [str(_text_of(choice["message"]) or "") for choice in choices]
        refusal = message.get("refusal")
        if not isinstance(usage, dict):
            usage = {}
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError) as error:
        start = one_line(content[:MAX_REFUSAL_BYTES].decode("utf-8", "replace"), secret)[:FIRST_WORDS].strip()
        words = f": {start}" if start else ""
        detail = f"{type(error).__name__} in a body of {len(content)} bytes{words}"
        return Attempted("malformed", 200, headers, detail=detail)
    told = _usage_of(usage)
    outcome: Outcome = "answered"
    if finish_reason == "content_filter" or "content management" in finish_reason:  # Azure's wording
        outcome = "filtered"
    elif refusal:
        outcome, text = "refused", refusal
    elif not isinstance(text, str) or not text.strip():
        outcome, text = ("cut" if finish_reason == "length" else "empty"), ""
    if finish_reason == "error" and outcome in ("answered", "empty"):
        outcome, text = "server error", ""  # with its usage: it was paid for
    detail = "finish_reason: error, without a reason" if outcome == "server error" else ""
    if outcome == "cut":
        spent = "its budget" if told.completion_tokens is None else f"{told.completion_tokens} tokens"
        detail = f"cut at {spent} before a word: raise judge.max_reply_tokens"
    extra = extra_of(texts, choices[0].get("logprobs"))
    return Attempted(
        outcome, 200, headers, storable(text or ""), finish_reason, extra, told.prompt_tokens, told.completion_tokens,
        told.cached_tokens, told.reasoning_tokens, _name_in(data, "model"), _name_in(data, "system_fingerprint"),
        detail,
    )  # fmt: skip


def _name_in(data: Mapping[str, Any], field: str) -> str:
    """A short text of a reply's body; empty where there is none."""
    value = data.get(field)
    return storable(value)[:MAX_NAME] if isinstance(value, str) else ""


def extra_of(texts: Sequence[str], logprobs: Any) -> str:
    """`Answer.extra`: the JSON of what one text cannot hold; empty where one text says all."""
    extra: dict[str, Any] = {}
    if len(texts) > 1:
        extra["texts"] = [storable(item) for item in texts]
    if logprobs:
        extra["logprobs"] = logprobs
    return json.dumps(extra) if extra else ""


def _text_of(message: Mapping[str, Any]) -> Any:
    """The reply's text; some servers give it in parts, as requests may."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content


def read_refusal(
    status: int, content: bytes, headers: Mapping[str, str], *, endpoint: EndpointSpec, secret: str
) -> Attempted:
    """What a status of 400 or more says."""
    code, message, body = _error_of(content)
    headers = _with_told_waits(headers, body)
    detail = one_line(f"HTTP {status}: {message}", secret)
    where = f"endpoint {endpoint.endpoint_name}"
    subject = subject_of(status, code, message, body)
    if (status == 429 and "insufficient_quota" in code) or status == 402 or subject == "credit":
        error: AssayError = LimitReached(f"{where}: the account's quota is used up ({detail}); top it up and run again")
        return Attempted("unusable", status, headers, detail=detail, error=error)
    if status == 429 and is_daily(code, message, body):
        error = LimitReached(f"{where}: the quota of the day is used up ({detail}); run the same command tomorrow")
        return Attempted("unusable", status, headers, detail=detail, error=error)
    if status == 429:
        outcome: Outcome = "rejected" if _never_fits(message, headers) else "rate limited"
        return Attempted(outcome, status, headers, detail=detail)
    if subject == "prompt":
        return Attempted("filtered", status, headers, detail=detail)
    if subject == "account":
        do = f"check ${endpoint.api_key_env}"
        return Attempted("unusable", status, headers, detail=detail, error=EndpointError(f"{where}: {detail}; {do}"))
    if status == 404 and "no_recorded_reply" not in code:
        do = f"expected a model named {endpoint.model!r} at {endpoint.base_url}; check judge.model and judge.base_url"
        return Attempted("unusable", status, headers, detail=detail, error=EndpointError(f"{where}: {detail}; {do}"))
    if status in (408, 409, 425) or status >= 500:
        return Attempted("server error", status, headers, detail=detail)
    return Attempted("rejected", status, headers, detail=detail)


def _never_fits(message: str, headers: Mapping[str, str]) -> bool:
    """Whether an answer 429 says that this request is above the limit itself, so that no waiting helps."""
    counts = _LIMIT_AND_REQUEST.search(message[:MAX_REFUSAL_BYTES])
    if counts is not None:
        limit, requested = (int(count.replace(",", "") or "0") for count in counts.groups())
        if requested > limit > 0:
            return True
    if _TOO_LARGE.search(message):
        return True
    # "exceeds" may speak of what is left in this minute: then the endpoint says when to come back
    return _EXCEEDS.search(message) is not None and not any(name.startswith("retry-after") for name in headers)


def one_line(text: str, secret: str) -> str:
    """`text` in one short line, without the key (some endpoints quote it back) and without terminal escapes."""
    if len(secret) > 4:
        text = text.replace(secret, "[key]")
    text = plain_line(text)
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 3] + "..."


def storable(text: str) -> str:
    """`text` with what no database column holds (NUL, lone surrogates) replaced by U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _error_of(content: bytes) -> tuple[str, str, Any]:
    """(code and type, message, parsed body) of an OpenAI-style error body."""
    try:
        body = json.loads(content)
        error = (body[0] if isinstance(body, list) else body)["error"]
        if isinstance(error, str):
            return "", error, body
        message, field = str(error.get("message") or ""), str(error.get("param") or "")[:100]
        if field and field not in message:
            message = f"{field}: {message}"
        return f"{error.get('code') or ''} {error.get('type') or ''}", message, body
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return "", content[:MAX_REFUSAL_BYTES].decode("utf-8", "replace"), None


def _with_told_waits(headers: Mapping[str, str], body: Any) -> Mapping[str, str]:
    """The headers with what the body tells about waiting, where they do not say it themselves."""
    found = {**headers_inside(body), **headers}
    seconds = retry_info_s(body)
    if seconds is not None and not any(name.startswith("retry-after") for name in found):
        found["retry-after"] = f"{seconds:g}"
    return found


@dataclass(frozen=True, slots=True)
class _Usage:
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0


def _usage_of(usage: Mapping[str, Any]) -> _Usage:
    """What a reply used; nothing where a count is missing or none."""
    prompt, completion, total = (usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if not (_is_count(prompt) and _is_count(completion)):
        return _Usage()
    cached = min(prompt, _detail_count(usage, "prompt_tokens_details", "cached_tokens"))
    reasoning = _detail_count(usage, "completion_tokens_details", "reasoning_tokens")
    if _is_count(total) and total > prompt + completion:  # thinking is billed like a reply
        reasoning, completion = max(reasoning, total - prompt - completion), total - prompt
    return _Usage(prompt, completion, cached, reasoning)


def _detail_count(usage: Mapping[str, Any], details: str, name: str) -> int:
    """A count inside one of usage's objects; 0 where it is not told."""
    inner = usage.get(details)
    value = inner.get(name) if isinstance(inner, dict) else None
    return value if isinstance(value, int) and _is_count(value) else 0


def _is_count(value: object) -> TypeGuard[int]:
    """A number of tokens that a reply can have used and that a database holds."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_TOKENS
