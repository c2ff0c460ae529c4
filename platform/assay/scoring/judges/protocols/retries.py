"""A protocol tried again where its replies could not be read: the same questions, under other replicate numbers.

What was said first stays in the ledger and in the judgement's exchanges. A refusal and a filtered prompt are answers of
a kind, and are not asked for again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from assay.scoring.judges.calls import JudgeProtocol, JudgeReply, Steps
from assay.scoring.judges.judgements import (
    AMBIGUOUS,
    CUT_SHORT,
    UNFINISHED,
    UNPARSABLE,
    missing_reasons,
)
from assay.scoring.judges.protocols.wrapped import I_, J_, WrappedJudge, moved, shifted

RETRY_REPLICATES = 100_000_000
"""Added to the replicate number per further try: beyond the repeats of any judge."""
MAX_RETRIES = 10
UNREADABLE = frozenset({UNPARSABLE, AMBIGUOUS, CUT_SHORT, UNFINISHED, "cut"})


@dataclass(frozen=True)
class RetriedJudge(WrappedJudge[I_, J_]):
    """A protocol asked anew, up to `retries` times, while a part of its judgement is unreadable or brought no reply."""

    retries: int

    def identity(self) -> dict[str, object]:
        """The protocol's, and how often it is tried again."""
        return {**self.protocol.identity(), "retry_unreadable": self.retries}

    def run(self, instance: I_) -> Steps[J_]:
        """Try by try; the judgement of the last one, with the exchanges of all."""
        judgement: J_ = yield from self.protocol.run(instance)
        for number in range(1, self.retries + 1):
            if not is_unreadable(judgement):
                break
            again: J_ = yield from self._again(instance, number)
            judgement = dataclasses.replace(again, exchanges=(*judgement.exchanges, *again.exchanges))
        return judgement

    def _again(self, instance: I_, number: int) -> Steps[J_]:
        steps = self.protocol.run(instance)
        shift = RETRY_REPLICATES * number
        try:
            calls = next(steps)
            while True:
                replies: Sequence[JudgeReply] = yield [shifted(call, shift) for call in calls]
                calls = steps.send(replies)
        except StopIteration as stop:
            judgement: J_ = stop.value
            return moved(judgement, shift)


def retried(protocol: JudgeProtocol[I_, J_], retries: int) -> JudgeProtocol[I_, J_]:
    """The protocol with so many further tries; without any, it is the protocol itself."""
    return protocol if retries == 0 else RetriedJudge(protocol, retries)


def is_unreadable(judgement: object) -> bool:
    """Whether another draw may bring what is missing of a judgement."""
    return any(reason in UNREADABLE or reason.startswith("error:") for reason in missing_reasons(judgement))
