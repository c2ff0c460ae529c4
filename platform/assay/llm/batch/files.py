"""Files of the provider's batch API: lines of requests that go up, lines of replies that come down. Pure."""

from __future__ import annotations

import json
from typing import Any

from assay.llm.endpoint import EndpointSpec
from assay.llm.requests import ChatRequest
from assay.llm.transports.chat import Exchange, one_line, read_refusal, read_reply

MAX_ROWS = 20_000
"""Requests per file; providers allow 50,000 and 200 MB."""
MAX_BYTES = 90_000_000
PATH = "/v1/chat/completions"


class RequestFile:
    """The requests of one batch."""

    def __init__(self, tries: int) -> None:
        """Begin an empty one.

        Args:
            tries: of how many batches its requests have been part, this one counted.
        """
        self.tries = tries
        self.rows: dict[str, str] = {}
        """Key -> what the row of `calls` needs when the reply comes, as JSON."""
        self.tokens: dict[str, int] = {}
        """Key -> estimated tokens."""
        self.usd = 0.0
        """Estimated dollars of all of them; 0 without a price."""
        self._lines: list[bytes] = []
        self._num_bytes = 0

    def has_room_for(self, line: bytes) -> bool:
        """Whether another line stays within the limits of a file."""
        return len(self.rows) < MAX_ROWS and self._num_bytes + len(line) <= MAX_BYTES

    def add(self, key: str, line: bytes, row: str, tokens: int, usd: float) -> None:
        """One more request."""
        self.usd += usd
        self.rows[key], self.tokens[key] = row, tokens
        self._lines.append(line)
        self._num_bytes += len(line)

    @property
    def content(self) -> bytes:
        """What goes up."""
        return b"".join(self._lines)


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


def read_line(line: bytes, endpoint: EndpointSpec) -> tuple[str, Exchange]:
    """(key, what came back) of a line of output or errors; an empty key where the line cannot be read."""
    try:
        data = json.loads(line)
        key, response = str(data["custom_id"]), data.get("response")
        if response is None:
            message = (data.get("error") or {}).get("message", "no response")
            return key, Exchange("server error", None, {}, detail=one_line(str(message), ""))
        body = json.dumps(response["body"]).encode()
        status = int(response["status_code"])
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return "", Exchange("malformed", None, {})
    if status == 200:
        return key, read_reply(body, {})
    exchange = read_refusal(status, body, {}, endpoint=endpoint, secret="")
    if exchange.outcome == "unusable":  # of one line, which is no reason to end the work
        exchange = Exchange("rejected", status, {}, detail=exchange.detail)
    return key, exchange
