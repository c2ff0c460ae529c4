"""What is asked of a chat endpoint, what comes back, and the key that a reply is stored under. Pure.

A key covers all that shapes a reply: endpoint name, model, messages, sampling, replicate number. It does not cover
how the reply is fetched (attempt, transport, port), so the same request is never paid twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from assay.config import Config
from assay.fingerprint import canonical_json, delimited_hash
from assay.records import Mode

Role = Literal["system", "user", "assistant"]
KEY_VERSION = "chat/1"


class Sampling(Config):
    """How the endpoint draws its reply. Fields left at None are not sent, so the endpoint's default holds."""

    temperature: float | None = Field(0.0, ge=0)
    """0 asks for the likeliest reply; None leaves it to the endpoint (some models accept no other)."""
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    """Longest reply, in tokens."""
    n: int | None = Field(None, ge=1)
    """Replies per call; they come back in `Answer.texts`. Replicates are the portable way to several replies."""
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    """Ask for log probabilities of the reply's tokens; they come back in `Answer.extra`."""
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: dict[str, Any] | None = None
    """OpenAI's field as it is sent, e.g. {"type": "json_schema", "json_schema": {"name", "schema", "strict"}}."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request body, for what one provider has and others lack."""

    @cached_property
    def body(self) -> dict[str, Any]:
        """The fields of the request body that sampling decides."""
        fields = self.model_dump(mode="json", exclude={"extra"}, exclude_none=True)
        if not self.stop:
            fields.pop("stop")
        if not self.logprobs:
            fields.pop("logprobs")
        return {**fields, **self.extra}

    @cached_property
    def canonical(self) -> str:
        """Canonical JSON of `body`: a field added later with an inert default moves no key."""
        return canonical_json(self.body)


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation that is sent."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call as its asker means it: independent of endpoint, attempt and transport."""

    model: str
    """Model name; empty means the endpoint's own `model`."""
    messages: tuple[Message, ...]
    sampling: Sampling = GREEDY
    replicate: int = 0
    """Number of this draw where the same question is asked several times."""
    protocol: str = ""
    """Name of the judge protocol, for the step headers and the ledger; part of the key only in `compat`."""
    step: str = ""
    """Name of the protocol's step ("main", "metrics", ...), for the step headers and the ledger."""

    @property
    def num_chars(self) -> int:
        """Characters in all messages, what token estimates start from."""
        return sum(len(message.content) for message in self.messages)


def request_key(endpoint_name: str, request: ChatRequest, mode: Mode = "strict") -> str:
    """32 hex digits that name the reply to this request. `request.model` must be filled in.

    `compat` adds the protocol's name, since a published protocol's recorded replies are its own even where
    another protocol sends the same text.
    """
    fields = [KEY_VERSION, endpoint_name, request.model, request.sampling.canonical, str(request.replicate)]
    fields.append(request.protocol if mode == "compat" else "")
    for message in request.messages:
        fields.append(message.role)
        fields.append(message.content)
    return delimited_hash(fields)


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored reply."""

    text: str
    finish_reason: str
    """The endpoint's word: "stop", "length", ..."""
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    """What it cost; None where the model's price is not known."""
    cached: bool
    """Whether the ledger had it: nothing was sent or paid this time."""
    key: str
    extra: str = ""
    """JSON with what one text cannot hold: `texts` where n > 1, `logprobs` where asked for. Empty otherwise."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All replies of a call with n > 1; else the one."""
        return tuple(json.loads(self.extra).get("texts", [self.text])) if self.extra else (self.text,)

    @property
    def logprobs(self) -> Any:
        """The endpoint's `logprobs` object of the first reply; None where it was not asked for."""
        return json.loads(self.extra).get("logprobs") if self.extra else None


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that has no reply: missing data, never an answer."""

    reason: str
    """Countable: "refused", "filtered", "cut" (final, stored, not paid again), or one of "timeout", "server error",
    "connection", "malformed", "empty", "rejected", "rate limited" (asked again on the next run)."""
    detail: str
    """One line for a person; holds no key and no prompt."""
    key: str
    attempts: int
    cached: bool = False
    text: str = ""
    """What came before a filter cut it off. Published code parses it (`compat`); it is no answer."""

    @property
    def is_final(self) -> bool:
        """Whether asking again would pay for the same refusal."""
        return self.reason in FINAL_FAILURES


FINAL_FAILURES = frozenset({"refused", "filtered", "cut"})
Reply = Answer | Failure
