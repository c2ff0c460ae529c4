"""Asking again: one step's replies are read, and what cannot be read is asked for again, a bounded number of times.

A refusal and a call without a reply are not asked again: the one is an answer, and the other was retried by the
transport. A further call repeats the conversation with the unreadable reply and a reminder of the format, under
a replicate number of its own, so that it never meets a stored unreadable reply.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from assay.llm.requests import FINAL_FAILURES, Answer, Failure, Message
from assay.records import Mode
from assay.scoring.judges.calls import (
    NOTHING,
    Exchange,
    JudgeCall,
    JudgeReply,
    Steps,
    exchange,
    failure_reason,
    reply_text,
)
from assay.scoring.judges.judgements import AMBIGUOUS, CUT_SHORT, OK, REFUSED, UNFINISHED, UNPARSABLE
from assay.scoring.judges.parsing.text_numbers import looks_refused
from assay.scoring.judges.parsing.thinking import spoken_part

REMINDER = "Your last reply could not be read. Reply again, in the requested output format and with nothing else."
NO_ANSWER = "(no answer)"
"""Stands for a reply that was nothing but thinking: endpoints refuse an empty turn, and drafts are shown to nobody."""
AGAIN = "_again"
"""Ends the step name of a further call."""
AGAIN_REPLICATES = 1000
"""Added to the replicate number per further call: beyond the samples that any protocol draws."""

READERS = 3
"""Version of the readers of `strict`: it goes up when one of them reads a reply otherwise."""

Parsed = TypeVar("Parsed")


def readers_version(mode: Mode, *, is_published: bool = True) -> int:
    """The version in a protocol's identity.

    Args:
        mode: of the protocol.
        is_published: whether its `compat` reads by the published parser, which never changes.
    """
    return 1 if mode == "compat" and is_published else READERS


@dataclass(frozen=True, slots=True)
class Reading(Generic[Parsed]):
    """What one call of a step came to."""

    value: Parsed | None
    status: str
    exchanges: tuple[Exchange, ...]

    @property
    def text(self) -> str:
        """The last raw reply; empty where there is none."""
        return next((item.text for item in reversed(self.exchanges) if item.text is not None), "")

    def said(self, mode: Mode) -> str:
        """The last reply as others may see it: without its thinking; in `compat` as it came."""
        return self.text if mode == "compat" else spoken_part(self.text).text


def read_step(
    calls: Sequence[JudgeCall],
    parse: Callable[[str], Parsed | None],
    max_reasks: int = 0,
    *,
    mode: Mode = "strict",
    contested: Callable[[str], bool] | None = None,
) -> Steps[list[Reading[Parsed]]]:
    """Yields the calls, reads the replies, and yields again what could not be read; one reading per call, in order.

    Args:
        calls: of one step.
        parse: only ever given text: in `strict` without the reply's thinking, in `compat` as it came, and also what a
            content filter left of a reply; see `read_free_text` for replies that may be empty.
        max_reasks: how often an unreadable or ambiguous reply is asked for again.
        mode: of the protocol.
        contested: whether an unread reply is ambiguous rather than unparsable.
    """
    replies: Sequence[JudgeReply] = yield calls
    if len(replies) != len(calls):
        raise ValueError(f"{len(replies)} replies to {len(calls)} calls")
    readings = [read_reply(call, reply, parse, mode, contested) for call, reply in zip(calls, replies, strict=True)]
    for attempt in range(1, max_reasks + 1):
        open_calls = [index for index, reading in enumerate(readings) if reading.status in _ASKED_AGAIN]
        if not open_calls:
            break
        further = [_again(calls[index], readings[index].said(mode), attempt) for index in open_calls]
        replies = yield further
        for index, call, reply in zip(open_calls, further, replies, strict=True):
            reading = read_reply(call, reply, parse, mode, contested)
            # a second question that got no reply leaves the first reply what it was
            status = reading.status if reading.text else readings[index].status
            readings[index] = Reading(reading.value, status, (*readings[index].exchanges, *reading.exchanges))
    return readings


_ASKED_AGAIN = (UNPARSABLE, AMBIGUOUS, CUT_SHORT)


def read_reply(
    call: JudgeCall,
    reply: JudgeReply,
    parse: Callable[[str], Parsed | None],
    mode: Mode,
    contested: Callable[[str], bool] | None = None,
) -> Reading[Parsed]:
    """What one reply says; see `read_step`."""
    kept = exchange(call, reply, mode)
    text = reply_text(reply, mode)
    if text is None:
        return Reading(None, failure_reason(reply), (kept,))
    is_cut = mode == "strict" and isinstance(reply, Answer) and reply.finish_reason == "length"
    if mode == "strict":
        spoken = spoken_part(text, is_cut=is_cut)
        kept = dataclasses.replace(kept, thinking_chars=spoken.thinking_chars)
        if spoken.is_unfinished:
            return Reading(None, UNFINISHED, (kept,))
        text = spoken.text
    value = parse(text)
    if value is not None:
        return Reading(value, OK, (kept,))
    if isinstance(reply, Failure):
        return Reading(None, failure_reason(reply), (kept,))
    if looks_refused(text):
        return Reading(None, REFUSED, (kept,))
    if is_cut:
        return Reading(None, CUT_SHORT, (kept,))
    return Reading(None, AMBIGUOUS if contested is not None and contested(text) else UNPARSABLE, (kept,))


def _again(call: JudgeCall, unreadable: str, attempt: int) -> JudgeCall:
    turns = (*call.messages, Message("assistant", unreadable.strip() or NO_ANSWER), Message("user", REMINDER))
    return JudgeCall(call.step + AGAIN, turns, call.sampling, call.replicate + AGAIN_REPLICATES * attempt, call.order)


def read_free_text(calls: Sequence[JudgeCall], mode: Mode) -> Steps[list[Reading[str]]]:
    """Yields calls whose whole reply is what is wanted, and nothing may be it: some instructions are answered so.

    `compat` takes a reply that a content filter or a refusal ate for an empty one too, and what a filter left for the
    reply, as the published code did.
    """
    replies: Sequence[JudgeReply] = yield calls
    empty = {NOTHING} if mode == "strict" else {NOTHING, *FINAL_FAILURES}
    readings = []
    for call, reply in zip(calls, replies, strict=True):
        reading: Reading[str] = read_reply(call, reply, str, mode)
        if reading.status in empty:
            reading = Reading("", OK, (Exchange(call.step, call.order, call.replicate, "", reading.status),))
        readings.append(reading)
    return readings
