"""Models against a baseline: AlpacaFarm's win rate, and AlpacaEval's with length held equal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assay.hooks import Progress
from assay.judging.asking import JudgeConnection, Work, ask_judge, calls_of
from assay.judging.coverage import Coverage
from assay.judging.rank import RankItem, check_known
from assay.metaeval.statistics.estimate import Estimate
from assay.metaeval.statistics.win_rate import WinRate, length_controlled_win_rate, win_rate
from assay.records import Mode
from assay.scoring.judges.judgements import PairVerdict
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.scoring.judges.table import SHIPPED_PROTOCOLS


@dataclass(frozen=True)
class WinRow:
    """One model against the baseline."""

    model: str
    win_rate: Estimate
    """Share of prompts won, ties half."""
    length_controlled: Estimate
    """The same at the baseline's length, in characters."""
    both_orders_agree: int
    """Prompts with the same winner in both orders."""
    mean_length: tuple[float | None, float | None]
    """Characters of the model's answers and of the baseline's; None over nothing."""
    coverage: Coverage
    """Of prompts."""

    @property
    def shown(self) -> tuple[Estimate, ...]:
        """What the figure draws."""
        return self.win_rate, self.length_controlled

    def as_json(self) -> dict[str, Any]:
        """One object of the report's `models`."""
        return {
            "model": self.model,
            "win_rate": self.win_rate.as_json(),
            "length_controlled": self.length_controlled.as_json(),
            "both_orders_agree": self.both_orders_agree,
            "mean_length": dict(zip(("model", "baseline"), self.mean_length, strict=True)),
            "coverage": self.coverage.as_json(),
        }


@dataclass(frozen=True)
class WinReport:
    """All models against the baseline."""

    judge: str
    baseline: str
    strategy: str
    mode: Mode
    num_items: int
    models: tuple[WinRow, ...]
    """Best first."""
    protocol: Mapping[str, object]
    calls: Mapping[str, Any]
    """See `asking.calls_of`."""

    def as_json(self) -> dict[str, Any]:
        """The report as it is written."""
        names = ("judge", "baseline", "strategy", "mode", "num_items")
        plain = {name: getattr(self, name) for name in names}
        further = {"protocol": dict(self.protocol), "calls": dict(self.calls)}
        return {**plain, "models": [row.as_json() for row in self.models], **further}


def rank_by_wins(
    items: Sequence[RankItem],
    connection: JudgeConnection,
    strategy: str,
    baseline: str,
    mode: Mode,
    progress: Progress,
) -> WinReport:
    """Every model against the baseline, in both orders.

    Raises:
        ConfigError: an unknown strategy, or a baseline that no item has an answer of.
    """
    protocol = SHIPPED_PROTOCOLS.pairwise(strategy, mode)
    models = sorted({model for item in items for model in item.responses})
    check_known(models, [baseline], "--baseline")
    rivals = [model for model in models if model != baseline]
    shared = {m: [i for i in items if m in i.responses and baseline in i.responses] for m in rivals}
    works = [
        Work(
            protocol,
            [PairInstance(i.prompt, i.responses[baseline], i.responses[m]) for i in shared[m]],
            f"{m} against {baseline}",
        )
        for m in rivals
    ]
    asked = ask_judge(connection, works, mode, progress)
    rows = []
    for model, verdicts, missing in zip(rivals, asked.judgements, asked.unanswered, strict=True):
        row = win_row(model, baseline, shared[model], verdicts)
        rows.append(replace(row, coverage=row.coverage.with_details(missing)))
    rows.sort(key=lambda row: (-(row.win_rate.value if row.win_rate.is_defined else 0.0), row.model))
    return WinReport(
        judge=connection.judge,
        baseline=baseline,
        strategy=strategy,
        mode=mode,
        num_items=len(items),
        models=tuple(rows),
        protocol=protocol.identity(),
        calls=calls_of(asked),
    )


def win_row(model: str, baseline: str, items: Sequence[RankItem], verdicts: Sequence[PairVerdict]) -> WinRow:
    """Win rate of one model, raw and at the baseline's length, in characters."""
    preferences = [verdict.preference for verdict in verdicts]
    lengths = [(len(item.responses[model]), len(item.responses[baseline])) for item in items]
    raw = win_rate(preferences)
    controlled = length_controlled_win_rate(preferences, [a for a, _ in lengths], [b for _, b in lengths])
    reasons = (
        next(choice.status for choice in (verdict.original, verdict.swapped) if choice.winner is None)
        for verdict in verdicts
        if verdict.preference is None
    )
    return WinRow(
        model=model,
        win_rate=_rate(raw, "Wilson, over items"),
        length_controlled=_rate(controlled, "profile likelihood, over items"),
        both_orders_agree=sum(
            v.original.winner is not None and v.original.winner == v.swapped.winner for v in verdicts
        ),
        mean_length=(_mean([a for a, _ in lengths]), _mean([b for _, b in lengths])),
        coverage=Coverage.of(len(verdicts), reasons),
    )


def _rate(rate: WinRate, method: str) -> Estimate:
    if math.isnan(rate.rate):
        return Estimate.undefined(rate.reason or "too few verdicts", rate.num_items)
    return Estimate(rate.rate, rate.low, rate.high, rate.num_items, rate.num_items, method)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
