"""Strategies of a judge side by side on the pairs that both judged. Pure NumPy; resampling is seeded by names.

Axes: N pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from assay.judging.accuracy import Judged, RunReport
from assay.metaeval.statistics.bootstrap import clusters, interval, seeded, weighted_mean
from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.estimate import Estimate, FloatArray
from assay.metaeval.statistics.rates import (
    bounded_mean,
    holm,
    mcnemar_exact,
    paired_permutation,
    square_and_add,
    wilson,
)
from assay.metaeval.statistics.verdict import Evidence, decide_family
from assay.records import Mode


@dataclass(frozen=True)
class Average:
    """A strategy over its subsets."""

    judge: str
    strategy: str
    mode: Mode
    num_subsets: int
    n: int
    macro_accuracy: Estimate
    """Mean of the subsets' accuracies."""
    micro_accuracy: Estimate
    """Over all pairs."""

    def as_json(self) -> dict[str, Any]:
        """One object of the report's `averages`."""
        plain = {name: getattr(self, name) for name in ("judge", "strategy", "mode", "num_subsets", "n")}
        shares = {"macro_accuracy": self.macro_accuracy, "micro_accuracy": self.micro_accuracy}
        return plain | {name: share.as_json() for name, share in shares.items()}


@dataclass(frozen=True)
class Tested:
    """A p value, and what it is among all rows of its report; None where there is nothing to test."""

    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two strategies on one subset, or on all of them together."""

    subset: str
    judge: str
    mode: Mode
    first: str
    second: str
    n: int
    """Pairs that both judged."""
    difference: Estimate
    """First minus second, in accuracy."""
    mcnemar: Tested
    permutation: Tested
    only_one: tuple[int, int] | None = None
    """Pairs that only the first, and only the second judged right in both orders; None without common pairs."""

    def as_json(self) -> dict[str, Any]:
        """One object of the report's `comparisons`."""
        plain = {name: getattr(self, name) for name in ("subset", "judge", "mode", "first", "second", "n")}
        only = {} if self.only_one is None else dict(zip(("only_first", "only_second"), self.only_one, strict=True))
        return {
            **plain,
            "difference": self.difference.as_json(),
            "mcnemar": {**only, "p": self.mcnemar.p, "p_holm": self.mcnemar.p_holm},
            "permutation": {"p": self.permutation.p, "p_holm": self.permutation.p_holm},
        }


@dataclass(frozen=True)
class MacroComparison:
    """Two strategies by the mean of their differences over subsets."""

    judge: str
    mode: Mode
    first: str
    second: str
    num_subsets: int
    n: int
    difference: Estimate
    verdict: str
    test: Tested

    def as_json(self) -> dict[str, Any]:
        """One object of the report's `macro_comparisons`."""
        names = ("judge", "mode", "first", "second", "num_subsets", "n", "verdict")
        plain = {name: getattr(self, name) for name in names}
        return {**plain, "difference": self.difference.as_json(), "p": self.test.p, "p_holm": self.test.p_holm}


@dataclass(frozen=True)
class PairsReport:
    """All that is said about a judge's verdicts on pairs."""

    runs: tuple[RunReport, ...]
    averages: tuple[Average, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    macro_comparisons: tuple[MacroComparison, ...] = ()
    calls: Mapping[str, Any] = field(default_factory=dict)
    """See `asking.calls_of`; empty of recorded verdicts."""

    def as_json(self) -> dict[str, Any]:
        """The report as it is written."""
        parts = {name: getattr(self, name) for name in ("runs", "averages", "comparisons", "macro_comparisons")}
        found = {name: [row.as_json() for row in rows] for name, rows in parts.items()}
        return {**found, "calls": dict(self.calls)} if self.calls else found


def averages(runs: Sequence[Judged]) -> list[Average]:
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
        macro_accuracy = Estimate(macro, low, high, size, size, "Wilson, subsets added by squares")
        micro_accuracy = wilson(float(pooled.sum()), size)
        rows.append(Average(judge, strategy, mode, len(parts), size, macro_accuracy, micro_accuracy))
    return rows


def comparisons(runs: Sequence[Judged]) -> list[Comparison]:
    """Every two strategies on the pairs that both judged, per subset and over all of them.

    `difference` is first minus second, in accuracy; McNemar's test is on being right in both orders, the
    permutation test on the accuracy itself. Holm over all rows.
    """
    groups: dict[tuple[str, str, Mode], list[Judged]] = {}
    for run in runs:
        groups.setdefault((run.subset, run.judge, run.mode), []).append(run)
    rows = [
        _compare(subset, judge, mode, [(first, second)])
        for (subset, judge, mode), members in groups.items()
        for first, second in combinations(members, 2)
    ]
    pooled: dict[tuple[str, Mode, str, str], list[tuple[Judged, Judged]]] = {}
    for (_, judge, mode), members in groups.items():
        for first, second in combinations(members, 2):
            pooled.setdefault((judge, mode, first.strategy, second.strategy), []).append((first, second))
    rows += [_compare("all", judge, mode, pairs) for (judge, mode, *_), pairs in pooled.items() if len(pairs) > 1]
    by_mcnemar = _adjusted([row.mcnemar for row in rows])
    by_permutation = _adjusted([row.permutation for row in rows])
    return [
        replace(row, mcnemar=one, permutation=other)
        for row, one, other in zip(rows, by_mcnemar, by_permutation, strict=True)
    ]


def macro_comparisons(runs: Sequence[Judged]) -> list[MacroComparison]:
    """Every two strategies by the mean over subsets of their differences in accuracy: each subset counts alike.

    Student's t with Satterthwaite's degrees of freedom, pairs drawn within fixed subsets; a family of its own under
    Holm, as subsets of unequal size may order strategies otherwise than all pairs together do.
    """
    met: dict[tuple[str, Mode, str, str], list[FloatArray]] = {}
    groups: dict[tuple[str, str, Mode], list[Judged]] = {}
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
        test = Tested(_known(decision.p), _known(decision.p_holm))
        rows.append(MacroComparison(judge, mode, one, other, len(parts), size, estimate, decision.verdict.word, test))
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


def _compare(subset: str, judge: str, mode: Mode, pairs: Sequence[tuple[Judged, Judged]]) -> Comparison:
    first_N = np.concatenate([first.credits_N for first, _ in pairs])
    second_N = np.concatenate([second.credits_N for _, second in pairs])
    stratum_N = np.concatenate([np.full(len(first.items), place) for place, (first, _) in enumerate(pairs)])
    common = ~(np.isnan(first_N) | np.isnan(second_N))
    first_N, second_N, stratum_N = first_N[common], second_N[common], stratum_N[common]
    names = (pairs[0][0].strategy, pairs[0][1].strategy)
    if not first_N.size:
        return Comparison(subset, judge, mode, *names, 0, Estimate.undefined("no common pairs"), Tested(), Tested())
    seed = ("compare", subset, judge, mode, *names)
    units = clusters(np.arange(first_N.size), stratum_N)
    difference = interval(weighted_mean(first_N - second_N), units, seeded(*seed))
    exact = mcnemar_exact(first_N == 1, second_N == 1)
    return Comparison(
        *(subset, judge, mode, *names),
        int(first_N.size),
        difference,
        mcnemar=Tested(exact.p),
        permutation=Tested(paired_permutation(first_N, second_N, seeded(*seed, "permutation"))),
        only_one=(exact.only_first, exact.only_second),
    )


def _adjusted(tests: Sequence[Tested]) -> list[Tested]:
    adjusted = holm([np.nan if test.p is None else test.p for test in tests])
    return [replace(test, p_holm=_known(p)) for test, p in zip(tests, adjusted, strict=True)]


def _defined(credits_N: FloatArray) -> FloatArray:
    defined: FloatArray = credits_N[~np.isnan(credits_N)]
    return defined
