"""What protocols share that ask another protocol: its name and mode, and its calls under other replicate numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Generic, TypeVar

from assay.records import Mode
from assay.scoring.judges.calls import JudgeCall, JudgeProtocol
from assay.scoring.judges.judgements import JointJudgement, PairVerdict, PointwiseJudgement

I_ = TypeVar("I_")
J_ = TypeVar("J_", PointwiseJudgement, PairVerdict, JointJudgement)


@dataclass(frozen=True)
class WrappedJudge(Generic[I_, J_]):
    """Goes by the name and the mode of the protocol that it asks."""

    protocol: JudgeProtocol[I_, J_]

    @property
    def name(self) -> str:
        """The protocol's own."""
        return self.protocol.name

    @property
    def mode(self) -> Mode:
        """The protocol's own."""
        return self.protocol.mode


def shifted(call: JudgeCall, shift: int) -> JudgeCall:
    """The call under another replicate number."""
    return dataclasses.replace(call, replicate=call.replicate + shift)


def moved(judgement: J_, shift: int) -> J_:
    """A judgement whose calls were shifted, its exchanges under the numbers that were asked with."""
    exchanges = (dataclasses.replace(item, replicate=item.replicate + shift) for item in judgement.exchanges)
    return dataclasses.replace(judgement, exchanges=tuple(exchanges))
