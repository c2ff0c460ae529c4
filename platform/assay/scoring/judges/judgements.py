"""What a protocol ends with. Raw replies are kept in each, so that a better parser can read them again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from assay.records import Outcome, Rating, Unscored
from assay.scoring.judges.calls import Exchange

OK, UNPARSABLE, REFUSED = "ok", "unparsable", "refused"
"""The statuses a parser gives; a call without a reply gives its own reason ("filtered", "error: timeout")."""
AMBIGUOUS = "ambiguous"
"""The reply names several verdicts, or speaks against its own."""
CUT_SHORT = "cut short"
"""The reply's budget ended it before a verdict: judge.max_reply_tokens gives it more room."""
UNFINISHED = "unfinished thinking"
"""The reply ends inside its thinking: it holds no answer, and asking again with the same room would end there too."""

Winner = Literal[0, 1, 2]
"""1 or 2: that output is better; 0: a declared tie. No verdict is None, never a tie."""


@dataclass(frozen=True, slots=True)
class PointwiseJudgement:
    """A judge's number for one response."""

    score: float | None
    """In `low`..`high`; None where there is none."""
    low: float
    high: float
    status: str = OK
    """`ok`, `unparsable`, `refused`, or why no reply came."""
    exchanges: tuple[Exchange, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)
    """Further numbers of the same judgement: the reference's score, the count of samples that parsed."""
    label: str = ""
    """The class that a labeller chose; empty elsewhere."""

    @property
    def fraction(self) -> float | None:
        """The score on a scale of 0 to 1."""
        return None if self.score is None else (self.score - self.low) / (self.high - self.low)

    def outcome(self) -> Outcome:
        """The scorer's outcome: the score on a scale of 0 to 1, with the last raw reply as its detail.

        Of a score weighted by probabilities the detail is JSON: `mass` on valid scores, and `reply`.
        """
        detail = next((item.text for item in reversed(self.exchanges) if item.text is not None), "")
        if "mass" in self.parts:
            detail = json.dumps({"mass": round(self.parts["mass"], 6), "reply": detail}, ensure_ascii=False)
        if self.fraction is None:
            return Unscored(self.status, detail)
        return Rating(self.fraction, detail)


@dataclass(frozen=True, slots=True)
class Choice:
    """A verdict on one pair in one order, mapped back: 1 always means the instance's first output."""

    winner: Winner | None
    status: str = OK
    score_1: float | None = None
    """Rating of the first output, where outputs were rated."""
    score_2: float | None = None


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """Verdicts on a pair in both orders."""

    original: Choice
    """Output 1 was shown first."""
    swapped: Choice
    """Output 2 was shown first; for ratings, where outputs are judged alone, the same as `original`."""
    kind: Literal["label", "rating"] = "label"
    """Published statistics treat the two differently: a missing rating is half right, a missing label wrong."""
    exchanges: tuple[Exchange, ...] = ()
    overall: Choice | None = None
    """The choice of a protocol that weighs both orders together (FairEval); None elsewhere."""

    @property
    def winner(self) -> Winner | None:
        """The one verdict on the pair: `overall` where there is one, else `consistent`."""
        return self.consistent if self.overall is None else self.overall.winner

    @property
    def consistent(self) -> Winner | None:
        """The winner of both orders; 0 where they name different ones; None where a verdict is missing.

        Source: MT-Bench (Zheng et al. 2023), which counts inconsistent verdicts as a tie.
        """
        if self.original.winner is None or self.swapped.winner is None:
            return None
        return self.original.winner if self.original.winner == self.swapped.winner else 0

    @property
    def preference(self) -> float | None:
        """Share of the verdicts that name output 2, in [0, 1], ties half; None where no order has a verdict."""
        shares = [{0: 0.5, 1: 0.0, 2: 1.0}[c.winner] for c in (self.original, self.swapped) if c.winner is not None]
        return sum(shares) / len(shares) if shares else None


@dataclass(frozen=True, slots=True)
class JointReading:
    """One call of a joint protocol: who stood where, and what was read."""

    block: int
    repeat: int
    models: tuple[str, ...]
    """In the order shown; of models with identical responses the first stands for all."""
    scores: tuple[float | None, ...]
    """In the same order; None where the reply had no valid score for that label."""
    reasons: tuple[str, ...] = ()
    status: str = OK


@dataclass(frozen=True, slots=True)
class JointJudgement:
    """Scores of all models for one item."""

    scores: Mapping[str, float | None]
    """Mean over the calls that scored the model; None where none did. Across blocks use a fit instead."""
    low: float
    high: float
    readings: tuple[JointReading, ...]
    same_as: Mapping[str, str]
    """Model to the model whose identical response stood for its own."""
    exchanges: tuple[Exchange, ...] = ()
    unscored: Mapping[str, str] = field(default_factory=dict)
    """Model to reason, for models without any score."""


def missing_reasons(judgement: object) -> list[str]:
    """Why parts of a judgement have no score or verdict, one reason per part; empty where it is whole."""
    if isinstance(judgement, PointwiseJudgement):
        return [judgement.status] if judgement.score is None and not judgement.label else []
    if isinstance(judgement, PairVerdict):
        return [choice.status for choice in (judgement.original, judgement.swapped) if choice.winner is None]
    if isinstance(judgement, JointJudgement):
        return list(judgement.unscored.values())
    return []


def num_parts(judgement: object) -> int:
    """Scores or verdicts that a judgement would have if it were whole."""
    if isinstance(judgement, PairVerdict):
        return 2
    return len(judgement.scores) if isinstance(judgement, JointJudgement) else 1


def last_reply(judgement: object) -> str:
    """The last raw reply that a judgement keeps; empty without any."""
    exchanges: tuple[Exchange, ...] = getattr(judgement, "exchanges", ())
    return next((item.text for item in reversed(exchanges) if item.text is not None), "")


def thinking_chars(judgement: object) -> list[int]:
    """Characters of thinking in each of a judgement's replies that held any; no reader saw them."""
    exchanges: tuple[Exchange, ...] = getattr(judgement, "exchanges", ())
    return [item.thinking_chars for item in exchanges if item.thinking_chars]
