"""What verdicts on pairs with a gold choice say about their judge. Pure NumPy; resampling is seeded by names.

`compat` counts as LLMBar's code did: no verdict is wrong, two missing verdicts agree, a tie or an unreadable rating
is right in one of the two orders and disagrees. `strict` leaves missing verdicts out of the agreement and says how
many there are; in its accuracy a tie or a missing verdict is wrong, and half right in `accuracy_half_credit`.

A call that brought no reply is missing data in both: its pair is left out, and counted.

Axes: N pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from assay.metaeval.statistics.bootstrap import (
    clusters,
    interval,
    rows_as_clusters,
    seeded,
    weighted_mean,
)
from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.estimate import Estimate, FloatArray
from assay.metaeval.statistics.position import position_effect
from assay.metaeval.statistics.rates import (
    bounded_mean,
    holm,
    kappa,
    mcnemar_exact,
    paired_permutation,
    rate_mde,
    square_and_add,
    wilson,
)
from assay.metaeval.statistics.verdict import Evidence, decide_family
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


def run_report(run: Judged) -> dict[str, Any]:
    """One object of the report's `runs`: fractions in [0, 1], unrounded, with 95 % intervals over pairs."""
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
    estimates = {
        "accuracy": wilson((right_1 + right_2) / 2, n),
        "accuracy_original_order": wilson(right_1, n),
        "accuracy_swapped_order": wilson(right_2, n),
        "accuracy_both_orders": wilson(both, n),
        "accuracy_half_credit": wilson(sum(_half(item.gold, verdict) for item, verdict, *_ in decided), n),
        "positional_agreement": _agreement(answered, run.mode),
        "none_rate": _verdict_rate(raw, None),
        "tie_rate": _verdict_rate(raw, 0),
    }
    report: dict[str, Any] = {
        "subset": run.subset,
        "judge": run.judge,
        "strategy": run.strategy,
        "mode": run.mode,
        "n": n if n or any(item.gold is not None for item in run.items) else len(answered),
    }
    report |= {name: estimate.as_json()["value"] for name, estimate in estimates.items()}
    report["intervals"] = {name: estimate.as_json() for name, estimate in estimates.items()}
    report["kappa"] = _kappa(decided, _seed(run)).as_json()
    if n or any(item.gold == 0 for item in run.items):
        report["agreement_with_gold"] = _with_ties(answered)
    report["position"] = _position(run, answered)
    report["strata"] = _strata(decided)
    # for a paired comparison with another judge, if the two differ on a fifth of the pairs
    report["minimum_detectable_difference"] = rate_mde(n, estimates["accuracy"].value, discordant=0.2) if n else None
    report["coverage"] = coverage(run)
    return report


def coverage(run: Judged) -> dict[str, Any]:
    """Pairs: asked = scored (a verdict in both orders) + unscored, by the first reason."""
    reasons: Counter[str] = Counter()
    for verdict in run.verdicts:
        missing = [s for w, s in zip((verdict.original, verdict.swapped), verdict.status, strict=True) if w is None]
        if missing:
            reasons[missing[0]] += 1
    asked = len(run.verdicts)
    return {
        "asked": asked,
        "scored": asked - reasons.total(),
        "unscored": dict(sorted(reasons.items())),
        "left_out": sum(not verdict.was_answered(run.mode) for verdict in run.verdicts),
    }


def averages(runs: Sequence[Judged]) -> list[dict[str, Any]]:
    """Per (judge, strategy, mode) over its subsets: the mean of their accuracies, and the accuracy over all pairs."""
    rows = []
    for key in dict.fromkeys((run.judge, run.strategy, run.mode) for run in runs):
        members = [run for run in runs if (run.judge, run.strategy, run.mode) == key]
        parts = [part for run in members if (part := _defined(run.credits_N)).size]
        if not parts:
            continue
        judge, strategy, mode = key
        pooled = np.concatenate(parts)
        # subsets are fixed: their own intervals are put together
        shares = [bounded_mean(part) for part in parts]
        macro = float(np.mean([share.value for share in shares]))
        low, high = square_and_add([(1 / len(shares), share) for share in shares])
        size = int(pooled.size)
        rows.append(
            {
                "judge": judge,
                "strategy": strategy,
                "mode": mode,
                "num_subsets": len(parts),
                "n": size,
                "macro_accuracy": Estimate(macro, low, high, size, size, "Wilson, subsets added by squares").as_json(),
                "micro_accuracy": wilson(float(pooled.sum()), size).as_json(),
            }
        )
    return rows


def comparisons(runs: Sequence[Judged]) -> list[dict[str, Any]]:
    """Every two strategies on the pairs that both judged, per subset and over all of them.

    `difference` is first minus second, in accuracy; McNemar's test is on being right in both orders, the
    permutation test on the accuracy itself. Holm over all rows.
    """
    groups: dict[tuple[str, str, str], list[Judged]] = {}
    for run in runs:
        groups.setdefault((run.subset, run.judge, run.mode), []).append(run)
    rows = [
        _compare(subset, judge, mode, [(first, second)])
        for (subset, judge, mode), members in groups.items()
        for first, second in combinations(members, 2)
    ]
    pooled: dict[tuple[str, str, str, str], list[tuple[Judged, Judged]]] = {}
    for (_, judge, mode), members in groups.items():
        for first, second in combinations(members, 2):
            pooled.setdefault((judge, mode, first.strategy, second.strategy), []).append((first, second))
    rows += [_compare("all", judge, mode, pairs) for (judge, mode, *_), pairs in pooled.items() if len(pairs) > 1]
    for name in ("mcnemar", "permutation"):
        adjusted = holm([np.nan if row[name]["p"] is None else row[name]["p"] for row in rows])
        for row, p in zip(rows, adjusted, strict=True):
            row[name]["p_holm"] = None if np.isnan(p) else float(p)
    return rows


def macro_comparisons(runs: Sequence[Judged]) -> list[dict[str, Any]]:
    """Every two strategies by the mean over subsets of their differences in accuracy: each subset counts alike.

    Student's t with Satterthwaite's degrees of freedom, pairs drawn within fixed subsets; a family of its own under
    Holm, as subsets of unequal size may order strategies otherwise than all pairs together do.
    """
    met: dict[tuple[str, str, str, str], list[FloatArray]] = {}
    groups: dict[tuple[str, str, str], list[Judged]] = {}
    for run in runs:
        groups.setdefault((run.subset, run.judge, run.mode), []).append(run)
    for (_, judge, mode), members in groups.items():
        for first, second in combinations(members, 2):
            gap_N = _defined(first.credits_N - second.credits_N)
            met.setdefault((judge, mode, first.strategy, second.strategy), []).append(gap_N)
    kept = {key: parts for key, parts in met.items() if len(parts) > 1}
    found = [_macro_difference(parts) for parts in kept.values()]
    evidence = [Evidence(value, error, dof) for value, error, dof in found]
    rows = []
    for (judge, mode, one, other), decision, known in zip(kept, decide_family(evidence), evidence, strict=True):
        parts = kept[judge, mode, one, other]
        size = sum(part.size for part in parts)
        half = student_quantile(0.975, known.dof) * known.standard_error if known.dof > 0 else np.nan
        reason = (
            "" if known.standard_error > 0 else "no interval: no spread, or a subset with fewer than 2 common pairs"
        )
        estimate = Estimate(
            known.difference, known.difference - half, known.difference + half, size, size, "stratified t", reason
        )
        row = {"judge": judge, "mode": mode, "first": one, "second": other, "num_subsets": len(parts), "n": size}
        row |= {"difference": estimate.as_json(), "verdict": decision.verdict.word}
        rows.append(row | {name: _known(getattr(decision, name)) for name in ("p", "p_holm")})
    return rows


def _macro_difference(parts: Sequence[FloatArray]) -> tuple[float, float, float]:
    """Mean over subsets of the mean difference, its standard error and degrees of freedom."""
    if min(part.size for part in parts) < 2:
        value = float(np.mean([part.mean() for part in parts])) if min(part.size for part in parts) else np.nan
        return value, np.nan, np.nan
    variances = np.array([part.var(ddof=1) / part.size for part in parts]) / len(parts) ** 2
    spread = float(np.sum(variances**2 / (np.array([part.size for part in parts]) - 1)))
    value, variance = float(np.mean([part.mean() for part in parts])), float(variances.sum())
    if not spread > 0:
        return value, np.nan, np.nan
    return value, variance**0.5, variance**2 / spread


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _compare(subset: str, judge: str, mode: str, pairs: Sequence[tuple[Judged, Judged]]) -> dict[str, Any]:
    first_N = np.concatenate([first.credits_N for first, _ in pairs])
    second_N = np.concatenate([second.credits_N for _, second in pairs])
    stratum_N = np.concatenate([np.full(len(first.items), place) for place, (first, _) in enumerate(pairs)])
    common = ~(np.isnan(first_N) | np.isnan(second_N))
    first_N, second_N, stratum_N = first_N[common], second_N[common], stratum_N[common]
    names = (pairs[0][0].strategy, pairs[0][1].strategy)
    row: dict[str, Any] = {"subset": subset, "judge": judge, "mode": mode, "first": names[0], "second": names[1]}
    row["n"] = int(first_N.size)
    if not first_N.size:
        nothing = Estimate.undefined("no common pairs").as_json()
        return {**row, "difference": nothing, "mcnemar": {"p": None}, "permutation": {"p": None}}
    seed = ("compare", subset, judge, mode, *names)
    units = clusters(np.arange(first_N.size), stratum_N)
    row["difference"] = interval(weighted_mean(first_N - second_N), units, seeded(*seed)).as_json()
    test = mcnemar_exact(first_N == 1, second_N == 1)
    row["mcnemar"] = {"only_first": test.only_first, "only_second": test.only_second, "p": test.p}
    row["permutation"] = {"p": paired_permutation(first_N, second_N, seeded(*seed, "permutation"))}
    return row


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


def _with_ties(answered: Sequence[tuple[PairItem, Verdicts, Verdict, Verdict]]) -> dict[str, Any]:
    """Gold may be a tie here, and orders that name different outputs are one verdict, a tie (as MT-Bench counts)."""
    rows = []
    for item, verdict, *_ in answered:
        if item.gold is not None and None not in (verdict.original, verdict.swapped):
            rows.append((verdict.original if verdict.original == verdict.swapped else 0, item.gold))
    same = wilson(sum(winner == gold for winner, gold in rows), len(rows))
    chance_corrected = kappa([winner for winner, _ in rows], [gold for _, gold in rows])
    return {**same.as_json(), "kappa": None if np.isnan(chance_corrected) else chance_corrected}


def _position(run: Judged, answered: Sequence[tuple[PairItem, Verdicts, Verdict, Verdict]]) -> dict[str, Any] | None:
    if any(verdict.kind == "rating" for _, verdict, *_ in answered):
        return None  # outputs are rated alone: there is no order
    found = position_effect([v.original for _, v, *_ in answered], [v.swapped for _, v, *_ in answered])
    return {
        "agreement": found.agreement.as_json(),
        "effect": found.effect.as_json(),
        "p": found.p,
        "num_always_first": found.num_always_first,
        "num_always_second": found.num_always_second,
    }


def _strata(decided: Sequence[tuple[PairItem, Verdicts, Verdict, Verdict]]) -> dict[str, Any]:
    """Accuracy where the better output is the longer one, and where it is the shorter, in characters."""
    parts: dict[str, list[float]] = {"gold_longer": [], "gold_shorter": []}
    for item, _, original, swapped in decided:
        gold, other = len(item.output_1), len(item.output_2)
        if item.gold == 2:
            gold, other = other, gold
        if gold != other:
            credit = ((original == item.gold) + (swapped == item.gold)) / 2
            parts["gold_longer" if gold > other else "gold_shorter"].append(credit)
    report: dict[str, Any] = {name: wilson(sum(part), len(part)).as_json() for name, part in parts.items()}
    for name, part in parts.items():
        report[name]["n"] = len(part)
    report["difference"] = _difference(*parts.values()).as_json()
    return report


def _difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Of two independent shares, their own intervals added by squares: neither of width 0 nor beyond -1..1."""
    if len(first) < 2 or len(second) < 2:
        return Estimate.undefined("a stratum has fewer than two pairs")
    one, other = bounded_mean(first), bounded_mean(second)
    size = one.n + other.n
    ends = square_and_add([(1.0, one), (-1.0, other)])
    return Estimate(one.value - other.value, *ends, size, size, "Wilson, added by squares")


def _defined(credits_N: FloatArray) -> FloatArray:
    defined: FloatArray = credits_N[~np.isnan(credits_N)]
    return defined


def _seed(run: Judged) -> str:
    return "\0".join((run.subset, run.judge, run.strategy, run.mode))
