"""Scorers, heuristics and judge protocols of plug-ins, as the tables hold them: values that name the code.

They travel to workers as data; the code is imported where a row meets it. What raises leaves its row unscored with
the exception's name, and so does what is no rating: a plug-in never ends a run, and never gives a number that is none.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from assay.errors import ConfigError
from assay.plugins.code import PluginCode
from assay.plugins.opening import registrations_of
from assay.records import Mode, Outcome, Rating, Unscored
from assay.scoring.judges.calls import JudgeProtocol, Steps
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.table import ProtocolEntry
from assay.scoring.protocol import ScoreRequest, ScorerSpec
from assay.scoring.table import ScorerEntry

PLUGIN = "plugin"
"""Parameter of a plug-in's scorer, and field of its protocol's identity: `PluginCode.identity`."""
NO_SCORE = "plug-in gave no score"


def raised(error: BaseException) -> str:
    """Why a row is unscored whose plug-in raised."""
    return f"plug-in raised {type(error).__name__}"


def scorer_entries(code: PluginCode) -> list[ScorerEntry]:
    """Its scorers."""
    return [
        ScorerEntry(
            name, partial(_spec, code, name), partial(PluggedScorer, code), reads_tasks=True, origin=code.origin
        )
        for name in registrations_of(code).scorers
    ]


def protocol_entries(code: PluginCode) -> list[ProtocolEntry]:
    """Its judge protocols."""
    return [
        ProtocolEntry(name, "pointwise", partial(_protocol, code, name)) for name in registrations_of(code).protocols
    ]


def _spec(code: PluginCode, name: str, mode: Mode) -> ScorerSpec:
    added = registrations_of(code).scorers[name]
    return ScorerSpec(
        name=name,
        version=added.version,
        kind=added.kind,
        low=added.low,
        high=added.high,
        mode=mode,
        params={**added.params, PLUGIN: code.identity},
    )


class PluggedScorer:
    """Row by row, by a plug-in's function."""

    def __init__(self, code: PluginCode, spec: ScorerSpec) -> None:
        """A scorer of this spec."""
        self.spec = spec
        added = registrations_of(code).scorers[spec.name]
        params = {name: value for name, value in spec.params.items() if name in added.params}
        self._rate = partial(added.rate, **params)

    def score(self, batch: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, same order."""
        return [rated(self._rate, request, self.spec.low, self.spec.high) for request in batch]


@dataclass(frozen=True)
class PluggedHeuristic:
    """A rule of a plug-in, for tasks that name it."""

    code: PluginCode
    name: str

    def __call__(self, request: ScoreRequest, mode: Mode) -> Outcome:
        """As the plug-in's function says, in 0..1."""
        return rated(registrations_of(self.code).heuristics[self.name], request, 0.0, 1.0)


def rated(rate: Any, request: ScoreRequest, low: float | None, high: float | None) -> Outcome:
    """What a plug-in's function says of a row, as an outcome.

    Args:
        rate: called with the request.
        request: the row.
        low: smallest number that counts; None: any.
        high: largest number that counts; None: any.
    """
    try:
        found = rate(request)
        if found is None:
            return Unscored(NO_SCORE)
        if isinstance(found, Unscored):
            return Unscored(str(found.reason), str(found.detail))
        value, detail = (found.value, found.detail) if isinstance(found, Rating) else (found, "")
        number = float(value)
    except Exception as error:
        return Unscored(raised(error), " ".join(str(error).split())[:200])
    if not math.isfinite(number) or (low is not None and number < low) or (high is not None and number > high):
        return Unscored("plug-in gave a number off its range", f"{number:g}")
    return Rating(number, str(detail))


def _protocol(code: PluginCode, name: str, mode: Mode = "strict", **params: Any) -> PluggedProtocol:
    """The protocol, made once to see that it can be.

    Raises:
        ConfigError: it cannot be made.
    """
    known = inspect.signature(registrations_of(code).protocols[name]).parameters
    takes_all = any(part.kind is inspect.Parameter.VAR_KEYWORD for part in known.values())
    kept = {key: value for key, value in params.items() if takes_all or key in known}
    made = PluggedProtocol(code, name, mode, tuple(sorted(kept.items())))
    try:
        made.identity()
    except Exception as error:
        raise ConfigError(
            f"judge protocol {name!r} of plug-in {code.name!r}: {raised(error)} ({error}); expected a protocol with "
            "name, mode, identity and run; see docs/extending.md"
        ) from error
    return made


@dataclass(frozen=True)
class PluggedProtocol:
    """A pointwise protocol of a plug-in. It is made anew in each process that asks by it."""

    code: PluginCode
    name: str
    mode: Mode
    params: tuple[tuple[str, Any], ...]

    def identity(self) -> dict[str, object]:
        """The protocol's own, and the plug-in's."""
        return {**self._made().identity(), "protocol": self.name, "mode": self.mode, PLUGIN: self.code.identity}

    def run(self, instance: PointwiseInstance) -> Steps[PointwiseJudgement]:
        """As the plug-in does it; where it raises, the row has no score and the exception's name as its reason."""
        try:
            return (yield from self._made().run(instance))
        except Exception as error:
            return PointwiseJudgement(None, 0.0, 1.0, raised(error))

    def _made(self) -> JudgeProtocol[PointwiseInstance, PointwiseJudgement]:
        make = registrations_of(self.code).protocols[self.name]
        made: JudgeProtocol[PointwiseInstance, PointwiseJudgement] = make(mode=self.mode, **dict(self.params))
        return made
