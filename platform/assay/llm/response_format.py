"""JSON schemas of replies in OpenAI's strict form, and endpoints that do not know `response_format`.

Those are asked again without it, and so is what follows.

What is in flight together is refused together, once each. What is asked without the format has a ledger key of its own,
since the format is part of what shapes a reply. Pure.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from assay.llm.requests import ChatRequest, Failure, Reply

_NAMED = re.compile(r"response_format|json_schema|structured outputs?|guided_json", re.IGNORECASE)


def closed_object(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object that has these properties, all of them and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def reply_format(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The `response_format` of a reply that is such an object."""
    schema = closed_object(properties)
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


class FormatSupport:
    """Which models of one endpoint refused `response_format`."""

    def __init__(self) -> None:
        self._without: set[str] = set()

    def allowed(self, request: ChatRequest) -> ChatRequest:
        """The request, without the format where its model refused one. `request.model` must be filled in."""
        if request.sampling.response_format is None or request.model not in self._without:
            return request
        return dataclasses.replace(request, sampling=request.sampling.replace(response_format=None))

    def is_refused(self, request: ChatRequest, reply: Reply) -> bool:
        """Whether the reply refuses the request's format; it is remembered."""
        if request.sampling.response_format is None or not isinstance(reply, Failure):
            return False
        if reply.reason != "rejected" or _NAMED.search(reply.detail) is None:
            return False
        self._without.add(request.model)
        return True
