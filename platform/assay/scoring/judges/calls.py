"""One call to a judge, what comes back, and the driver that runs a protocol over any transport.

A protocol is a generator of steps: it yields the calls of one step, which may run at once, is sent their
replies in the same order, and returns its judgement. It owns no transport, clock or random state, so replaying
recorded replies, a live endpoint and a provider's batch API all run the same code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from assay.llm.requests import Answer, ChatRequest, Failure, Message, Sampling
from assay.records import Mode

Order = Literal["", "original", "swapped"]
"""Which output was shown first; empty where a call has no order."""


@dataclass(frozen=True, slots=True)
class JudgeCall:
    """One request of a protocol, before it has a model or an endpoint."""

    step: str
    """What the call is for: `compare`, `auxiliary_0`, `synthesize`, ... Goes into the step header."""
    messages: tuple[Message, ...]
    sampling: Sampling
    replicate: int = 0
    """Draw number: equal calls with different numbers are different draws, and paid for separately."""
    order: Order = ""


JudgeReply = str | Answer | Failure
"""What a protocol is sent for a call: the text of a reply (a whole `Answer` where it has one), or why there is none."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A call and its raw reply, as a judgement keeps it: the messages are in the ledger, by the request's key."""

    step: str
    order: Order
    replicate: int
    text: str | None
    """The raw reply; None where there was none."""
    reason: str = ""
    """Why there was none, or only what a filter left of it."""
    thinking_chars: int = 0
    """Characters of thinking in `text` that no reader saw; in `compat` nothing is taken off."""


Instance = TypeVar("Instance", contravariant=True)
Judgement = TypeVar("Judgement", covariant=True)
I_ = TypeVar("I_")
J_ = TypeVar("J_")

Steps = Generator[Sequence[JudgeCall], Sequence[JudgeReply], J_]
"""A protocol at work on one instance."""


class JudgeProtocol(Protocol, Generic[Instance, Judgement]):
    """A way to ask a judge. Immutable: one object serves any number of instances at once."""

    @property
    def name(self) -> str:
        """Short and stable: goes into tables, the step headers and (in `compat`) the ledger key."""
        ...

    @property
    def mode(self) -> Mode:
        """As published, or done right."""
        ...

    def identity(self) -> dict[str, object]:
        """All that shapes the judgement apart from the model: name, mode, version, settings, prompt hashes."""
        ...

    def run(self, instance: Instance) -> Generator[Sequence[JudgeCall], Sequence[JudgeReply], Judgement]:
        """Yields the calls of one step, is sent their replies in the same order, returns the judgement."""
        ...


async def run_protocol(
    protocol: JudgeProtocol[I_, J_],
    instance: I_,
    ask: Callable[[JudgeCall], Awaitable[JudgeReply]],
    *,
    one_leads: bool = False,
) -> J_:
    """The judgement on `instance`.

    Args:
        protocol: what is asked.
        instance: what is judged.
        ask: should not raise. Calls of one step run at once through it.
        one_leads: of calls that send the same conversation (samples) the first goes ahead. Endpoints that keep the
            beginnings of prompts have it by then and bill the others less; not for batches, which would be two.
    """
    steps = protocol.run(instance)
    try:
        calls = next(steps)
        while True:
            calls = steps.send(await _ask_step(calls, ask, one_leads))
    except StopIteration as stop:
        judgement: J_ = stop.value
        return judgement
    finally:
        steps.close()


async def _ask_step(
    calls: Sequence[JudgeCall], ask: Callable[[JudgeCall], Awaitable[JudgeReply]], one_leads: bool
) -> list[JudgeReply]:
    """Replies in the order of their calls; what stops one call is raised once the others are over, as they are paid."""
    leading: dict[tuple[Message, ...], asyncio.Future[JudgeReply]] = {}

    async def put(call: JudgeCall, leader: asyncio.Future[JudgeReply] | None) -> JudgeReply:
        if leader is not None:
            await asyncio.wait([leader])
        return await ask(call)

    asked: list[asyncio.Future[JudgeReply]] = []
    for call in calls:
        leader = leading.get(call.messages) if one_leads else None
        asked.append(asyncio.ensure_future(put(call, leader)))
        leading.setdefault(call.messages, asked[-1])
    replies = await asyncio.gather(*asked, return_exceptions=True)
    for reply in replies:
        if isinstance(reply, BaseException):
            raise reply
    return [reply for reply in replies if not isinstance(reply, BaseException)]


def to_request(call: JudgeCall, protocol: str, model: str = "") -> ChatRequest:
    """The call as the gateway takes it; an empty model means the endpoint's own."""
    return ChatRequest(model, call.messages, call.sampling, call.replicate, protocol, call.step)


NOTHING = "error: empty"
"""Status of a call whose reply holds no text."""


def reply_text(reply: JudgeReply, mode: Mode = "strict") -> str | None:
    """The reply's text; None where there is none, an empty one included.

    `compat` reads what a content filter left too, as published code reads whatever text there is.
    """
    if isinstance(reply, Failure):
        text = reply.text if mode == "compat" else ""
    else:
        text = reply if isinstance(reply, str) else reply.text
    return text if text.strip() else None


def failure_reason(reply: JudgeReply) -> str:
    """Why a reply has no text: "refused" and "filtered" as they are, all else as "error: ..."."""
    if not isinstance(reply, Failure):
        return NOTHING
    return reply.reason if reply.is_final else f"error: {reply.reason}"


def exchange(call: JudgeCall, reply: JudgeReply, mode: Mode = "strict") -> Exchange:
    """What a judgement keeps of this call."""
    text = reply_text(reply, mode)
    reason = failure_reason(reply) if text is None or isinstance(reply, Failure) else ""
    return Exchange(call.step, call.order, call.replicate, text, reason)
