"""A chat completion request as the answering half sees it, and what it answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from assay.judge_server.rubric.draws import request_hash


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """What a judge needs of a request."""

    model: str
    messages: tuple[tuple[str, str], ...]
    """(role, text), in order."""
    key: bytes
    """Hash of the request's content; `content_key` makes it."""
    replicate: str = ""
    """X-Assay-Replicate: draw number of equal requests."""
    protocol: str = ""
    """X-Assay-Protocol: name of the judge protocol, "" without the header."""
    step: str = ""
    """X-Assay-Step: "compare", "auxiliary_0", ..., "" without the header."""
    judge: str = ""
    """X-Assay-Judge: whose recorded replies to give, "" without the header."""
    schema: Mapping[str, Any] | None = None
    """The JSON schema that the reply must fit, where one was sent."""


class Reply(NamedTuple):
    """One choice of a completion."""

    text: str
    finish_reason: str = "stop"


class NoReplyError(Exception):
    """There is no recorded reply; the message says what was missing."""


class Judge(Protocol):
    """Answers requests: by rules or from records."""

    @property
    def models(self) -> tuple[str, ...]:
        """Model names to list; others may be answered too."""
        ...

    def replies(self, request: JudgeRequest, count: int) -> list[Reply]:
        """`count` replies.

        Raises:
            NoReplyError: nothing is recorded for this request.
        """
        ...


def content_key(model: str, messages: Sequence[tuple[str, str]], *more: str) -> bytes:
    """Hash of a request's content: equal requests draw equal noise and faults, in any order and on any machine."""
    return request_hash(model, *more, *(part for message in messages for part in message))
