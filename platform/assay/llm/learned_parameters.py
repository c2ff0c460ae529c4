"""What an endpoint's models refuse among the parameters, learned from its refusals: renamed, left out or lowered. Pure.

The ledger's key is of what the study asked, so what was learned pays nothing again; what was sent instead is told on
the row. Learned once per gateway and model. A refused `response_format` is `response_format.FormatSupport`'s affair.
Log probabilities are left out where they are refused: a protocol that asked for them has samples to stand for them.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from assay.llm.requests import ChatRequest

_REFUSES = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|not permitted|not allowed|invalid|extra inputs|does not accept"
    r"|only the default|deprecated|must be|less than or equal|at most|maximum|cannot be",
    re.IGNORECASE,
)
_DROPPED = ("temperature", "top_p", "seed", "stop", "reasoning_effort", "logprobs", "top_logprobs")
_TOO_LARGE = re.compile(r"too (?:large|big|high|long)|at most|exceed|maximum|less than|between", re.IGNORECASE)
_AT_MOST = re.compile(
    r"top_logprobs\D{0,80}?(?:at most|less than or equal to|<=|maximum (?:of|is|value(?: is)?)|between 0 and"
    r"|up to|no more than|\[0, ?)\s*(\d{1,2})\b",
    re.IGNORECASE,
)
_UNKNOWN_NAME = re.compile(r"(?:unsupported|unknown|unrecogni[sz]ed)[^.]{0,60}\bmax_tokens\b", re.IGNORECASE)
_ABSENT: dict[str, Any] = {"stop": (), "logprobs": False}
"""What a field of `Sampling` holds where it is not sent, if not None."""
LEAST_GROWN = 4096
"""Reply tokens that a model which thinks before it answers is given at least."""
GROWTH = 8


@dataclass
class _Rules:
    renamed: bool = False
    dropped: frozenset[str] = frozenset()
    top_logprobs: int | None = None
    grown: bool = False


class LearnedParameters:
    """Of one endpoint, by model."""

    def __init__(self, *, may_grow: bool = True) -> None:
        """Begin with nothing learned.

        Args:
            may_grow: whether the reply budget may be raised for models that think; not where somebody set it.
        """
        self._by_model: dict[str, _Rules] = {}
        self._may_grow = may_grow

    def sent(self, request: ChatRequest) -> ChatRequest:
        """The request as this endpoint takes it."""
        rules = self._by_model.get(request.model)
        if rules is None:
            return request
        sampling = request.sampling
        changes: dict[str, Any] = {}
        extra = dict(sampling.extra)
        budget = sampling.max_tokens
        if budget is not None and rules.grown:
            changes["max_tokens"] = budget = max(LEAST_GROWN, GROWTH * budget)
        if budget is not None and rules.renamed:
            changes["max_tokens"], extra["max_completion_tokens"] = None, budget
        for name in rules.dropped:
            extra.pop(name, None)
            if name in type(sampling).model_fields:
                changes[name] = _ABSENT.get(name)
        if rules.top_logprobs is not None and (sampling.top_logprobs or 0) > rules.top_logprobs:
            changes["top_logprobs"] = rules.top_logprobs
        return dataclasses.replace(request, sampling=sampling.replace(**changes, extra=extra))

    def learn(self, request: ChatRequest, status: int | None, detail: str) -> bool:
        """Whether a refusal names a parameter that was sent and can be done without; it is remembered.

        Args:
            request: as it was asked.
            status: of the refusal.
            detail: its words.
        """
        if status not in (400, 403, 404, 422) or _REFUSES.search(detail) is None:
            return False
        body = self.sent(request).sampling.body
        rules = self._by_model.get(request.model, _Rules())
        learned = self._learned(rules, body, detail)
        if learned is None:
            return False
        self._by_model[request.model] = learned
        return True

    def grow(self, request: ChatRequest) -> bool:
        """Whether a reply that thinking left no room for may be asked again with more; it is remembered."""
        rules = self._by_model.get(request.model, _Rules())
        if not self._may_grow or rules.grown or request.sampling.max_tokens is None:
            return False
        self._by_model[request.model] = dataclasses.replace(rules, grown=True)
        return True

    def _learned(self, rules: _Rules, body: dict[str, Any], detail: str) -> _Rules | None:
        is_name_refused = "max_completion_tokens" in detail or _UNKNOWN_NAME.search(detail) is not None
        if "max_tokens" in body and "max_tokens" in detail and is_name_refused and _TOO_LARGE.search(detail) is None:
            return dataclasses.replace(rules, renamed=True)
        if "top_logprobs" in body and (most := _AT_MOST.search(detail)) is not None:
            lower = int(most[1])
            if lower > 0:
                return dataclasses.replace(rules, top_logprobs=lower) if lower < body["top_logprobs"] else None
        named = {name for name in _DROPPED if name in body and _is_named(name, detail)}
        if named & {"logprobs", "top_logprobs"}:  # neither goes without the other
            named |= {"logprobs", "top_logprobs"}
        return dataclasses.replace(rules, dropped=rules.dropped | named) if named else None


def not_honoured(request: ChatRequest, sent: ChatRequest) -> list[str]:
    """Names of the parameters that were sent otherwise than asked, or not at all; a renamed budget is honoured."""
    asked, body = request.sampling.body, sent.sampling.body
    budget = body.get("max_completion_tokens", body.get("max_tokens"))
    names = [name for name in asked if name != "max_tokens" and asked[name] != body.get(name)]
    if asked.get("max_tokens") not in (None, budget):
        names.append("max_tokens")
    return sorted(names)


def _is_named(name: str, detail: str) -> bool:
    """Whether a refusal speaks of this parameter, and not of a word of the prompt that reads like it.

    It does in quotes, as the error's own field ("HTTP 400: temperature: ...", see `transports.chat`), behind a word
    such as "parameter", or before "is not supported".
    """
    return (
        re.search(
            rf"[\"'`]{name}[\"'`]|^HTTP \d{{3}}: {name}\b(?=:)"
            rf"|\b(?:parameters?|arguments?|fields?|options?|values? (?:for|of)|unsupported|unknown"
            rf"|unrecogni[sz]ed|deprecated"
            rf"|set(?:ting)?|custom|request)[: ]{{1,3}}{name}\b"
            rf"|\b{name}\b(?: (?:parameter|argument|field|option|value)s?)? (?:is|are|was|must|cannot|can only"
            rf"|does|do|has|have"
            rf"|should|may) (?:not|only|be|been|no|un\w+|deprecated|invalid)\b",
            detail,
        )
        is not None
    )
