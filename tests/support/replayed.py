"""A protocol run over replies that are at hand, without a loop or a transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from assay.scoring.judges.calls import JudgeCall, JudgeProtocol, JudgeReply

I_ = TypeVar("I_")
J_ = TypeVar("J_")


def replay_protocol(protocol: JudgeProtocol[I_, J_], instance: I_, answer: Callable[[JudgeCall], JudgeReply]) -> J_:
    """The judgement on `instance`, each call answered by `answer`."""
    steps = protocol.run(instance)
    try:
        calls = next(steps)
        while True:
            calls = steps.send([answer(call) for call in calls])
    except StopIteration as stop:
        judgement: J_ = stop.value
        return judgement
    finally:
        steps.close()
