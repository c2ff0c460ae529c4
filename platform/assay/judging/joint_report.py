"""What joint judgements say about models, as typed values and as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from assay.judging.coverage import Coverage
from assay.metaeval.statistics.estimate import Estimate
from assay.metaeval.statistics.joint_fit import ModelScore
from assay.metaeval.statistics.loss_line import LossLine


@dataclass(frozen=True)
class PlaceMean:
    """Mean centred score of a model at one place of the prompt."""

    centred: float
    n: int


@dataclass(frozen=True)
class RankedModel:
    """A model of a joint report."""

    score: ModelScore
    """Of the additive fit: points of 100 above the mean of all models."""
    raw_mean: Estimate
    """0 to 100."""
    centred: Estimate
    """Less the mean of each call."""
    coverage: Coverage
    """Of prompts."""

    @property
    def model(self) -> str:
        return self.score.model

    @property
    def shown(self) -> tuple[Estimate, ...]:
        """What the figure draws."""
        return (self.score.effect,)

    def as_json(self) -> dict[str, Any]:
        """One object of the report's `models`."""
        estimates = {"raw_mean": self.raw_mean, "centred": self.centred}
        means = {name: estimate.as_json() for name, estimate in estimates.items()}
        return {**self.score.as_json(), **means, "coverage": self.coverage.as_json()}


@dataclass(frozen=True)
class LossReport:
    """How judged score follows loss, over models."""

    spearman: Estimate
    line: LossLine | None
    """None where fewer than 3 models have a loss."""
    num_models: int

    def as_json(self) -> dict[str, Any]:
        """The correlation, and the line where there is one."""
        if self.line is None:
            return self.spearman.as_json()
        return {
            "spearman": self.spearman.as_json(),
            "slope": self.line.slope,
            "intercept": self.line.intercept,
            "off_the_line": list(self.line.off_the_line),
            "num_models": self.num_models,
        }


@dataclass(frozen=True)
class Without:
    """How far the others move, relative to each other, when one model is taken away."""

    model: str
    shifts: Mapping[str, float]
    largest: float
    same_order: bool


@dataclass(frozen=True)
class Tokens:
    """What joint judging cost, and the characters that rating each answer alone, as often, would have sent."""

    prompt_tokens: int
    completion_tokens: int
    prompt_chars: int
    prompt_chars_if_rated_alone: int


@dataclass(frozen=True)
class JointReport:
    """What joint judgements say about the models."""

    judge: str
    num_items: int
    models: tuple[RankedModel, ...]
    """Best first."""
    unranked: Mapping[str, Coverage]
    """Models that nothing was read of."""
    bradley_terry: tuple[ModelScore, ...] | None
    """None where no two models met."""
    note: str
    """What is to be said about the fit; empty where nothing is."""
    positions: Mapping[int, Estimate]
    """What each place of the prompt, from 1, is worth."""
    model_by_position: Mapping[str, Mapping[str, PlaceMean]]
    residual_sd: float
    protocol: Mapping[str, object] = field(default_factory=dict)
    calls: Mapping[str, Any] = field(default_factory=dict)
    """See `asking.calls_of`."""
    tokens: Tokens | None = None
    loss: LossReport | None = None
    without: Without | None = None

    def as_json(self) -> dict[str, Any]:
        """The report as it is written."""
        places = {
            model: {place: asdict(mean) for place, mean in means.items()}
            for model, means in self.model_by_position.items()
        }
        strengths = self.bradley_terry
        report: dict[str, Any] = {
            "judge": self.judge,
            "num_items": self.num_items,
            "models": [row.as_json() for row in self.models],
            "unranked": [{"model": model, "coverage": found.as_json()} for model, found in self.unranked.items()],
            "bradley_terry": None if strengths is None else [row.as_json() for row in strengths],
            "note": self.note,
            "positions": {str(place): effect.as_json() for place, effect in self.positions.items()},
            "model_by_position": places,
            "residual_sd": self.residual_sd,
        }
        if self.calls:
            tokens = None if self.tokens is None else asdict(self.tokens)
            report |= {"protocol": dict(self.protocol), "calls": dict(self.calls), "tokens": tokens}
        if self.loss is not None:
            report["loss"] = self.loss.as_json()
        return report | ({} if self.without is None else {"without": asdict(self.without)})
