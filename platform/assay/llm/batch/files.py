"""Files of the provider's batch API: lines of requests that go up, lines of replies that come down. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from assay.llm.endpoint import BatchLimits, EndpointSpec
from assay.llm.requests import ChatRequest
from assay.llm.transports.chat import Attempted, one_line, read_refusal, read_reply

MAX_ROWS = BatchLimits().max_rows
"""Requests per file unless `batch.max_rows` says otherwise; providers allow 50,000 and 200 MB."""
MAX_BYTES = 90_000_000
PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One request of a file."""

    content: bytes
    """As it goes up, with its end of line."""
    row: str
    """What the row of `calls` needs when the reply comes, as JSON."""
    tokens: int
    """Estimated, of prompt and reply."""
    queue_tokens: int
    """Estimated, of the prompt: what a queue counts."""
    usd: float
    """Estimated; 0 without a price."""


class RequestFile:
    """The requests of one batch."""

    def __init__(self, tries: int, max_rows: int = MAX_ROWS, max_tokens: int | None = None) -> None:
        """Begin an empty one.

        Args:
            tries: of how many batches its requests have been part, this one counted.
            max_rows: requests that it may hold.
            max_tokens: estimated tokens that it may hold; a single request may be above.
        """
        self.tries, self.max_rows, self.max_tokens = tries, max_rows, max_tokens
        self.lines: dict[str, RequestLine] = {}
        self.queue_tokens = 0
        """Estimated, of all prompts."""
        self._num_bytes = 0

    def has_room_for(self, line: bytes, queue_tokens: int = 0) -> bool:
        """Whether another line stays within the limits of a file."""
        if not self.lines:
            return True
        if self.max_tokens is not None and self.queue_tokens + queue_tokens > self.max_tokens:
            return False
        return len(self.lines) < self.max_rows and self._num_bytes + len(line) <= MAX_BYTES

    def add(self, key: str, line: RequestLine) -> None:
        """One more request."""
        self.lines[key] = line
        self._num_bytes += len(line.content)
        self.queue_tokens += line.queue_tokens

    def halves(self) -> tuple[RequestFile, RequestFile]:
        """The same requests in two files, for a queue that has no room for them together."""
        first, second = (RequestFile(self.tries, self.max_rows, self.max_tokens) for _ in range(2))
        for number, (key, line) in enumerate(self.lines.items()):
            (first if number < len(self.lines) // 2 else second).add(key, line)
        return first, second

    @property
    def rows(self) -> dict[str, str]:
        """Key -> what the row of `calls` needs."""
        return {key: line.row for key, line in self.lines.items()}

    @property
    def tokens(self) -> dict[str, int]:
        """Key -> estimated tokens."""
        return {key: line.tokens for key, line in self.lines.items()}

    @property
    def usd(self) -> float:
        """Estimated dollars of all; 0 without a price."""
        return sum(line.usd for line in self.lines.values())

    @property
    def content(self) -> bytes:
        """What goes up."""
        return b"".join(line.content for line in self.lines.values())


def request_line(key: str, body: dict[str, Any], request: ChatRequest, endpoint: EndpointSpec) -> bytes:
    """A request as a line of the file.

    Args:
        key: comes back with the reply.
        body: as the chat transport sends it.
        request: tells endpoints that want step headers its protocol and step.
        endpoint: whom it goes to.
    """
    line: dict[str, Any] = {"custom_id": key, "method": "POST", "url": PATH, "body": body}
    if endpoint.sends_step_headers:
        line["assay"] = {"protocol": request.protocol, "step": request.step, "replicate": str(request.replicate)}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def read_line(line: bytes, endpoint: EndpointSpec) -> tuple[str, Attempted]:
    """(key, what came back) of a line of output or errors; an empty key where the line cannot be read."""
    try:
        data = json.loads(line)
        key, response = str(data["custom_id"]), data.get("response")
        if response is None:
            message = (data.get("error") or {}).get("message", "no response")
            return key, Attempted("server error", None, {}, detail=one_line(str(message), ""))
        body = json.dumps(response["body"]).encode()
        status = int(response["status_code"])
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return "", Attempted("malformed", None, {})
    if status == 200:
        exchange = read_reply(body, {}, endpoint=endpoint)
    else:
        exchange = read_refusal(status, body, {}, endpoint=endpoint, secret="")
    if exchange.outcome == "unusable":  # of one line, which is no reason to end the work
        exchange = Attempted("rejected", exchange.http_status, {}, detail=exchange.detail)
    return key, exchange
