"""What verdicts on pairs with a gold choice say about their judge, run by run. Pure NumPy, resampling seeded by names.

`compat` counts as LLMBar's code did: no verdict is wrong, two missing verdicts agree, a tie or an unreadable rating
is right in one of the two orders and disagrees. `strict` leaves missing verdicts out of the agreement and says how
many there are; in its accuracy a tie or a missing verdict is wrong, and half right in `accuracy_half_credit`.

A call that brought no reply is missing data in both: its pair is left out, and counted.

Axes: N pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from assay.judging.coverage import Coverage
from assay.metaeval.statistics.bootstrap import (
    interval,
    rows_as_clusters,
    seeded,
)
from assay.metaeval.statistics.estimate import Estimate, FloatArray
from assay.metaeval.statistics.position import PositionEffect, position_effect
from assay.metaeval.statistics.rates import (
    bounded_mean,
    kappa,
    rate_mde,
    square_and_add,
    wilson,
)
from assay.records import Mode
from assay.scoring.judges.calls import NOTHING
from assay.scoring.judges.judgements import OK, PairVerdict

Verdict = int | None


@dataclass(frozen=True, slots=True)
class PairItem:
    """A pair of outputs, and which is better."""

    input: str
    output_1: str
    output_2: str
    gold: Verdict
    """1, 2, 0 for a tie, None where nobody has said."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Verdicts on one pair in both orders, mapped back to its outputs."""

    original: Verdict
    swapped: Verdict
    kind: Literal["label", "rating"] = "label"
    status: tuple[str, str] = (OK, OK)
    """Why a verdict is missing: "unparsable", "refused", "filtered", "error: ..."."""

    @classmethod
    def of(cls, verdict: PairVerdict) -> Verdicts:
        """What a protocol ended with."""
        return cls(
            verdict.original.winner,
            verdict.swapped.winner,
            verdict.kind,
            (verdict.original.status, verdict.swapped.status),
        )

    def was_answered(self, mode: Mode) -> bool:
        """Whether both calls brought a reply; published code took an empty one for a reply too."""
        return not any(
            winner is None and status.startswith("error") and not (mode == "compat" and status == NOTHING)
            for winner, status in zip((self.original, self.swapped), self.status, strict=True)
        )

    def counted(self, mode: Mode) -> tuple[Verdict, Verdict]:
        """The verdicts as statistics take them."""
        if mode == "compat" and self.kind == "rating" and self.original not in (1, 2):
            # the published code names the second output of each order for a tie, the first for an unreadable rating
            return (1, 2) if self.original is None else (2, 1)
        return self.original, self.swapped


@dataclass(frozen=True)
class Judged:
    """All verdicts of one judge, strategy and mode on one subset."""

    subset: str
    judge: str
    strategy: str
    mode: Mode
    items: Sequence[PairItem]
    verdicts: Sequence[Verdicts]

    @property
    def credits_N(self) -> FloatArray:
        """Per pair the share of both orders that were right; NaN where a reply is missing or gold has no winner."""
        credit_N = np.full(len(self.items), np.nan)
        for place, (item, verdict) in enumerate(zip(self.items, self.verdicts, strict=True)):
            if item.gold in (1, 2) and verdict.was_answered(self.mode):
                original, swapped = verdict.counted(self.mode)
                credit_N[place] = ((original == item.gold) + (swapped == item.gold)) / 2
        return credit_N


@dataclass(frozen=True)
class GoldAgreement:
    """How often the verdict of both orders together is gold's, ties included."""

    same: Estimate
    kappa: float | None
    """Corrected for chance; None where chance agreement is total."""

    def as_json(self) -> dict[str, Any]:
        """The share, with `kappa` beside it."""
        return {**self.same.as_json(), "kappa": self.kappa}


@dataclass(frozen=True)
class Strata:
    """Accuracy by the length of the better output, in characters."""

    gold_longer: Estimate
    gold_shorter: Estimate
    difference: Estimate

    def as_json(self) -> dict[str, Any]:
        """The three estimates; both shares say their `n`, also where it is 0."""
        shares = {"gold_longer": self.gold_longer, "gold_shorter": self.gold_shorter}
        found = {name: {**share.as_json(), "n": share.n} for name, share in shares.items()}
        return {**found, "difference": self.difference.as_json()}


@dataclass(frozen=True)
class RunReport:
    """What a judge, strategy and mode came to on one subset: fractions in [0, 1] with 95 % intervals over pairs."""

    subset: str
    judge: str
    strategy: str
    mode: Mode
    n: int
    """Pairs with a gold winner that were answered; without any gold, those that were answered."""
    rates: Mapping[str, Estimate]
    """accuracy, and by order; positional_agreement; none_rate and tie_rate of single verdicts."""
    kappa: Estimate
    gold_agreement: GoldAgreement | None
    """None where nobody has said which output is better."""
    position: PositionEffect | None
    """None where each output was rated alone, or in one order."""
    strata: Strata
    minimum_detectable_difference: float | None
    """Of a paired comparison with another judge, if the two differ on a fifth of the pairs."""
    coverage: Coverage
    """Of pairs: scored is a verdict in both orders, unscored goes by the first reason."""
    protocol: Mapping[str, object] | None = None
    """Identity of what asked; None of recorded verdicts."""
    left_out: Mapping[str, int] | None = None
    """Rows of the file that make no pair, by reason; None where files hold pairs."""

    def in_one_order(self) -> RunReport:
        """Without what rests on both orders."""
        nothing = Estimate.undefined("judged in one order, or each output alone")
        without = dict.fromkeys(("positional_agreement", "accuracy_swapped_order", "accuracy_both_orders"), nothing)
        return replace(self, rates={**self.rates, **without}, position=None)

    def as_json(self) -> dict[str, Any]:
        """One object of the report's `runs`."""
        report: dict[str, Any] = {name: getattr(self, name) for name in ("subset", "judge", "strategy", "mode", "n")}
        intervals = {name: estimate.as_json() for name, estimate in self.rates.items()}
        report |= {name: interval["value"] for name, interval in intervals.items()}
        report |= {"intervals": intervals, "kappa": self.kappa.as_json()}
        if self.gold_agreement is not None:
            report["agreement_with_gold"] = self.gold_agreement.as_json()
        report["position"] = None if self.position is None else self.position.as_json()
        report["strata"] = self.strata.as_json()
        report["minimum_detectable_difference"] = self.minimum_detectable_difference
        report["coverage"] = self.coverage.as_json()
        further = {"protocol": self.protocol, "left_out": self.left_out}
        return report | {name: value for name, value in further.items() if value is not None}


def run_report(run: Judged) -> RunReport:
    """The figures of one run."""
    answered = [
        (item, verdict, *verdict.counted(run.mode))
        for item, verdict in zip(run.items, run.verdicts, strict=True)
        if verdict.was_answered(run.mode)
    ]
    decided = [row for row in answered if row[0].gold in (1, 2)]
    n = len(decided)
    right_1 = sum(original == item.gold for item, _, original, _ in decided)
    right_2 = sum(swapped == item.gold for item, _, _, swapped in decided)
    both = sum(original == swapped == item.gold for item, _, original, swapped in decided)
    raw = [winner for _, verdict, *_ in answered for winner in (verdict.original, verdict.swapped)]
    accuracy = wilson((right_1 + right_2) / 2, n)
    return RunReport(
        subset=run.subset,
        judge=run.judge,
        strategy=run.strategy,
        mode=run.mode,
        n=n if n or any(item.gold is not None for item in run.items) else len(answered),
        rates={
            "accuracy": accuracy,
            "accuracy_original_order": wilson(right_1, n),
            "accuracy_swapped_order": wilson(right_2, n),
            "accuracy_both_orders": wilson(both, n),
            "accuracy_half_credit": wilson(sum(_half(item.gold, verdict) for item, verdict, *_ in decided), n),
            "positional_agreement": _agreement(answered, run.mode),
            "none_rate": _verdict_rate(raw, None),
            "tie_rate": _verdict_rate(raw, 0),
        },
        kappa=_kappa(decided, _seed(run)),
        gold_agreement=_with_ties(answered) if n or any(item.gold == 0 for item in run.items) else None,
        position=_position(answered),
        strata=_strata(decided),
        minimum_detectable_difference=rate_mde(n, accuracy.value, discordant=0.2) if n else None,
        coverage=coverage(run),
    )


def coverage(run: Judged) -> Coverage:
    """Of the pairs of a run; a pair is unscored by its first reason."""
    missing = [
        next(status for winner, status in zip((v.original, v.swapped), v.status, strict=True) if winner is None)
        for v in run.verdicts
        if None in (v.original, v.swapped)
    ]
    return Coverage.of(len(run.verdicts), missing, sum(not verdict.was_answered(run.mode) for verdict in run.verdicts))


def _half(gold: Verdict, verdict: Verdicts) -> float:
    credit = {None: 0.5, 0: 0.5}
    return sum(credit.get(winner, float(winner == gold)) for winner in (verdict.original, verdict.swapped)) / 2


def _agreement(answered: Sequence[tuple[PairItem, Verdicts, Verdict, Verdict]], mode: Mode) -> Estimate:
    pairs = [(original, swapped) for _, _, original, swapped in answered]
    if mode == "strict":
        pairs = [(original, swapped) for original, swapped in pairs if original is not None and swapped is not None]
    return wilson(sum(original == swapped for original, swapped in pairs), len(pairs))


def _verdict_rate(winners: Sequence[Verdict], wanted: Verdict) -> Estimate:
    """Share of single verdicts; the interval counts pairs, as two verdicts on one pair are not independent."""
    return wilson(sum(winner == wanted for winner in winners) / 2, len(winners) // 2)


def _kappa(decided: Sequence[tuple[PairItem, Verdicts, Verdict, Verdict]], seed: str) -> Estimate:
    """Cohen's kappa of read verdicts with the gold labels, both orders together; pairs are resampled."""
    labels = (1, 2, 0)
    counts = np.zeros((len(decided), len(labels), 2))
    for place, (item, verdict, *_) in enumerate(decided):
        for winner in (verdict.original, verdict.swapped):
            if winner is not None:
                counts[place, labels.index(winner), 0 if item.gold == 1 else 1] += 1

    def statistic(weights_NK: FloatArray) -> FloatArray:
        table = np.einsum("nij,nk->kij", counts, weights_NK)
        total = table.sum(axis=(1, 2))
        table = table / np.where(total > 0, total, 1.0)[:, None, None]
        chance = table[:, 0, :].sum(1) * table[:, :, 0].sum(1) + table[:, 1, :].sum(1) * table[:, :, 1].sum(1)
        seen = table[:, 0, 0] + table[:, 1, 1]
        safe = np.where(chance < 1 - 1e-12, 1 - chance, 1.0)
        return np.where((total > 0) & (chance < 1 - 1e-12), (seen - chance) / safe, np.nan)

    if not counts.sum():
        return Estimate.undefined("no verdict")
    found = interval(statistic, rows_as_clusters(len(decided)), seeded(seed, "kappa"))
    if np.isnan(found.value):
        return Estimate.undefined("one label throughout: chance agreement is total", found.n, found.num_clusters)
    return found


def _with_ties(answered: Sequence[tuple[PairItem, Verdicts, Verdict, Verdict]]) -> GoldAgreement:
    """Gold may be a tie here, and orders that name different outputs are one verdict, a tie (as MT-Bench counts)."""
    rows = []
    for item, verdict, *_ in answered:
        if item.gold is not None and None not in (verdict.original, verdict.swapped):
            rows.append((verdict.original if verdict.original == verdict.swapped else 0, item.gold))
    same = wilson(sum(winner == gold for winner, gold in rows), len(rows))
    chance_corrected = kappa([winner for winner, _ in rows], [gold for _, gold in rows])
    return GoldAgreement(same, None if np.isnan(chance_corrected) else chance_corrected)


def _position(answered: Sequence[tuple[PairItem, Verdicts, Verdict, Verdict]]) -> PositionEffect | None:
    if any(verdict.kind == "rating" for _, verdict, *_ in answered):
        return None  # outputs are rated alone: there is no order
    return position_effect([v.original for _, v, *_ in answered], [v.swapped for _, v, *_ in answered])


def _strata(decided: Sequence[tuple[PairItem, Verdicts, Verdict, Verdict]]) -> Strata:
    longer: list[float] = []
    shorter: list[float] = []
    for item, _, original, swapped in decided:
        gold, other = len(item.output_1), len(item.output_2)
        if item.gold == 2:
            gold, other = other, gold
        if gold != other:
            credit = ((original == item.gold) + (swapped == item.gold)) / 2
            (longer if gold > other else shorter).append(credit)
    return Strata(wilson(sum(longer), len(longer)), wilson(sum(shorter), len(shorter)), _difference(longer, shorter))


def _difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Of two independent shares, their own intervals added by squares: neither of width 0 nor beyond -1..1."""
    if len(first) < 2 or len(second) < 2:
        return Estimate.undefined("a stratum has fewer than two pairs")
    one, other = bounded_mean(first), bounded_mean(second)
    size = one.n + other.n
    ends = square_and_add([(1.0, one), (-1.0, other)])
    return Estimate(one.value - other.value, *ends, size, size, "Wilson, added by squares")


def _seed(run: Judged) -> str:
    return "\0".join((run.subset, run.judge, run.strategy, run.mode))
