"""A pointwise judge asked several times about the same answer: its mean, and how far its repeats lie apart.

A repeat is the same conversation under other replicate numbers, so it is a draw of its own to the gateway and the
ledger. The first repeat has the numbers of a judge that is asked once: asking more often later pays for the further
repeats alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from assay.records import Outcome, Rating, Unscored
from assay.scoring.judges.calls import JudgeCall, JudgeProtocol, JudgeReply, Steps
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.protocols.wrapped import WrappedJudge, moved, shifted

REPEAT_REPLICATES = 1_000_000
"""Added to the replicate number per repeat: beyond the samples and the further calls of any protocol."""
MAX_REPEATS = 20
_MASS_BEGINS = '{"mass": '
_REPEATS_BEGIN = '[{"repeat": 1, '


@dataclass(frozen=True, slots=True)
class RepeatedJudgement(PointwiseJudgement):
    """Mean of several judgements on one answer; a repeat without a score is left out of it."""

    repeats: tuple[PointwiseJudgement, ...] = ()

    def outcome(self) -> Outcome:
        """The mean on a scale of 0 to 1, with each repeat as JSON in its detail, see `repeat_ratings`.

        A repeat that got no reply leaves the row unscored, so that it is asked for again: the others are in the ledger.
        """
        outcomes = [judgement.outcome() for judgement in self.repeats]
        told = [_told(number, outcome) for number, outcome in enumerate(outcomes, start=1)]
        detail = json.dumps(told, ensure_ascii=False)
        unscored = [outcome.reason for outcome in outcomes if isinstance(outcome, Unscored)]
        lost = [reason for reason in unscored if reason.startswith("error:")]
        if lost or self.fraction is None:
            return Unscored((lost or unscored)[0], detail)
        return Rating(self.fraction, detail)


@dataclass(frozen=True)
class RepeatedJudge(WrappedJudge[PointwiseInstance, PointwiseJudgement]):
    """A pointwise protocol asked `repeats` times about each answer; its repeats run side by side.

    It keeps the name: the first repeat is the judgement that the protocol gives alone.
    """

    repeats: int

    def identity(self) -> dict[str, object]:
        """The protocol's, and how often it is asked."""
        return {**self.protocol.identity(), "repeats": self.repeats}

    def run(self, instance: PointwiseInstance) -> Steps[PointwiseJudgement]:
        """Step by step, the calls of all repeats that still have one."""
        running = [self.protocol.run(instance) for _ in range(self.repeats)]
        judgements: dict[int, PointwiseJudgement] = {}
        replies: dict[int, Sequence[JudgeReply] | None] = dict.fromkeys(range(self.repeats))
        while replies:
            calls: dict[int, Sequence[JudgeCall]] = {}
            for number, given in replies.items():
                try:
                    calls[number] = next(running[number]) if given is None else running[number].send(given)
                except StopIteration as stop:
                    judgements[number] = moved(stop.value, REPEAT_REPLICATES * number)
            if calls:
                got = yield [
                    shifted(call, REPEAT_REPLICATES * number) for number, part in calls.items() for call in part
                ]
                rest = iter(got)
                replies = {number: list(islice(rest, len(part))) for number, part in calls.items()}
            else:
                replies = {}
        return _together([judgements[number] for number in range(self.repeats)])


def repeated(
    protocol: JudgeProtocol[PointwiseInstance, PointwiseJudgement], repeats: int
) -> JudgeProtocol[PointwiseInstance, PointwiseJudgement]:
    """The protocol asked so often; asked once, it is the protocol itself."""
    return protocol if repeats == 1 else RepeatedJudge(protocol, repeats)


def repeat_ratings(details: Iterable[str]) -> list[list[float | None]]:
    """What each repeat gave, by row; None where it gave no score.

    Args:
        details: of the outcomes of repeated judgements.
    """
    return [[repeat.get("rating") for repeat in json.loads(detail)] for detail in details]


def replies_text(detail: str) -> str:
    """A judgement's detail for people: the raw reply, or with several repeats each of them under its number."""
    if detail.startswith(_MASS_BEGINS):
        weighted = json.loads(detail)
        return f"{weighted['reply']}\n\n(probability mass on valid scores: {weighted['mass']:g})"
    if not detail.startswith(_REPEATS_BEGIN):
        return detail
    told = json.loads(detail)
    return "\n\n".join(f"{number}: {replies_text(repeat['reply'])}" for number, repeat in enumerate(told, start=1))


def _together(judgements: Sequence[PointwiseJudgement]) -> RepeatedJudgement:
    first = judgements[0]
    scores = [judgement.score for judgement in judgements if judgement.score is not None]
    return RepeatedJudgement(
        score=sum(scores) / len(scores) if scores else None,
        low=first.low,
        high=first.high,
        status=next((judgement.status for judgement in judgements if judgement.score is not None), first.status),
        exchanges=tuple(item for judgement in judgements for item in judgement.exchanges),
        repeats=tuple(judgements),
    )


def _told(number: int, outcome: Outcome) -> dict[str, object]:
    if isinstance(outcome, Rating):
        return {"repeat": number, "rating": outcome.value, "reply": outcome.detail}
    return {"repeat": number, "unscored": outcome.reason, "reply": outcome.detail}
