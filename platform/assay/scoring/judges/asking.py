"""Asking again: one step's replies are read, and what cannot be read is asked for again, a bounded number of times.

A refusal and a call without a reply are not asked again: the one is an answer, and the other was retried by the
transport. A further call repeats the conversation with the unreadable reply and a reminder of the format, under
a replicate number of its own, so that it never meets a stored unreadable reply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from assay.llm.requests import FINAL_FAILURES, Failure, Message
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
from assay.scoring.judges.judgements import OK, REFUSED, UNPARSABLE
from assay.scoring.judges.parsing.text_numbers import looks_refused

REMINDER = "Your last reply could not be read. Reply again, in the requested output format and with nothing else."
AGAIN = "_again"
"""Ends the step name of a further call."""
AGAIN_REPLICATES = 1000
"""Added to the replicate number per further call: beyond the samples that any protocol draws."""

Parsed = TypeVar("Parsed")


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


def read_step(
    calls: Sequence[JudgeCall], parse: Callable[[str], Parsed | None], max_reasks: int = 0, *, mode: Mode = "strict"
) -> Steps[list[Reading[Parsed]]]:
    """Yields the calls, reads the replies, and yields again what could not be read; one reading per call, in order.

    `parse` is only ever given text, in `compat` also what a content filter left of a reply; see `read_free_text` for
    replies that may be empty.
    """
    replies: Sequence[JudgeReply] = yield calls
    if len(replies) != len(calls):
        raise ValueError(f"{len(replies)} replies to {len(calls)} calls")
    readings = [_read(call, reply, parse, mode) for call, reply in zip(calls, replies, strict=True)]
    for attempt in range(1, max_reasks + 1):
        open_calls = [index for index, reading in enumerate(readings) if reading.status == UNPARSABLE]
        if not open_calls:
            break
        further = [_again(calls[index], readings[index].text, attempt) for index in open_calls]
        replies = yield further
        for index, call, reply in zip(open_calls, further, replies, strict=True):
            reading = _read(call, reply, parse, mode)
            # a second question that got no reply leaves the first reply what it was: unparsable
            status = reading.status if reading.text else UNPARSABLE
            readings[index] = Reading(reading.value, status, (*readings[index].exchanges, *reading.exchanges))
    return readings


def _read(call: JudgeCall, reply: JudgeReply, parse: Callable[[str], Parsed | None], mode: Mode) -> Reading[Parsed]:
    exchanges = (exchange(call, reply, mode),)
    text = reply_text(reply, mode)
    if text is None:
        return Reading(None, failure_reason(reply), exchanges)
    value = parse(text)
    if value is not None:
        return Reading(value, OK, exchanges)
    if isinstance(reply, Failure):
        return Reading(None, failure_reason(reply), exchanges)
    return Reading(None, REFUSED if looks_refused(text) else UNPARSABLE, exchanges)


def _again(call: JudgeCall, unreadable: str, attempt: int) -> JudgeCall:
    turns = (*call.messages, Message("assistant", unreadable), Message("user", REMINDER))
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
        reading: Reading[str] = _read(call, reply, str, mode)
        if reading.status in empty:
            reading = Reading("", OK, (Exchange(call.step, call.order, call.replicate, "", reading.status),))
        readings.append(reading)
    return readings
