"""What moves a judge beside quality: the place at which an answer is shown, and its length.

Pairwise verdicts come in both orders, mapped back to the pair (1 or 2, 0 for a tie, None where nothing was read).
Joint scores come with the place of each answer in its prompt.

Axes: N pairs or rows.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.estimate import Estimate
from assay.metaeval.statistics.rates import MIN_VALUES, bounded_mean, sign_test, wilson

Verdict = int | None
"""1 or 2: this output of the pair is better; 0: a tie; None: no verdict could be read."""


@dataclass(frozen=True, slots=True)
class PositionEffect:
    """How verdicts depend on the order of showing."""

    agreement: Estimate
    """Share of pairs with the same verdict in both orders, pairs without a verdict left out."""
    none_rate: Estimate
    """Share of single verdicts that could not be read."""
    effect: Estimate
    """P(first shown wins) - P(second shown wins), ties counting for neither; 0: no effect of place."""
    p: float
    """Exact sign test over pairs whose two verdicts both went to the same place."""
    num_always_first: int
    """Pairs whose winner was the first shown in both orders."""
    num_always_second: int

    def as_json(self) -> dict[str, Any]:
        """Agreement and effect with their intervals, the test, and how many pairs go by place alone."""
        return {
            "agreement": self.agreement.as_json(),
            "effect": self.effect.as_json(),
            "p": self.p,
            "num_always_first": self.num_always_first,
            "num_always_second": self.num_always_second,
        }


def position_effect(original: Sequence[Verdict], swapped: Sequence[Verdict]) -> PositionEffect:
    """Agreement over orders, and the effect of the place, with intervals over pairs.

    Args:
        original: verdicts with output 1 shown first.
        swapped: verdicts on the same pairs with output 2 shown first, mapped back to the outputs.
    """
    if len(original) != len(swapped):
        raise ValueError(f"{len(original)} and {len(swapped)} verdicts; expected the same pairs")
    read = [(a, b) for a, b in zip(original, swapped, strict=True) if a is not None and b is not None]
    missing = sum(verdict is None for verdict in (*original, *swapped))
    same = sum(a == b for a, b in read)
    # per pair, -1, -1/2, 0, 1/2 or 1: how far the first place won over both orders
    pull_N = np.array([(_first_place(a, 1) + _first_place(b, 2)) / 2 for a, b in read])
    always_first, always_second = int(np.sum(pull_N == 1)), int(np.sum(pull_N == -1))
    return PositionEffect(
        wilson(same, len(read)),
        wilson(missing, 2 * len(original)),
        bounded_mean(pull_N, -1.0, 1.0),
        sign_test(always_first, always_second),
        always_first,
        always_second,
    )


def mean_interval(values: ArrayLike) -> Estimate:
    """Mean of independent values with Student's interval; none below 6 values, nor where all are equal."""
    values_N = np.asarray(values, dtype=float)
    count = int(values_N.size)
    if count == 0:
        return Estimate.undefined("no values")
    mean, error = float(values_N.mean()), float(values_N.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    return _with_interval(mean, error, count, count, "studentised", "values")


def _with_interval(value: float, error: float, n: int, clusters: int, method: str, unit: str) -> Estimate:
    """Student's interval where there are enough clusters and some spread; else why not."""
    reason = ""
    if clusters < MIN_VALUES:
        reason = f"no interval: {clusters} {unit}, at least {MIN_VALUES} are needed"
    elif error <= 1e-12 * max(1.0, abs(value)):
        reason = "no interval: no spread"
    if reason:
        return Estimate(value, math.nan, math.nan, n, clusters, "", reason)
    half = student_quantile(0.975, clusters - 1) * error
    return Estimate(value, value - half, value + half, n, clusters, method)


def length_effect(score: ArrayLike, length: ArrayLike, items: Sequence[Hashable]) -> Estimate:
    """Score gained per doubling of an answer's length, comparing answers to the same item.

    Items are fixed effects, so that long questions are not taken for long answers; the interval is clustered by item.

    Args:
        score: one per answer; no gaps.
        length: characters or tokens, above 0.
        items: which item each answer belongs to; items with one answer say nothing here.
    """
    score_N, length_N = np.asarray(score, dtype=float), np.log2(np.asarray(length, dtype=float))
    places: dict[Hashable, int] = {}
    item_N = np.array([places.setdefault(item, len(places)) for item in items], dtype=np.int64)
    counts = np.bincount(item_N)
    x_N = length_N - (np.bincount(item_N, length_N) / counts)[item_N]
    y_N = score_N - (np.bincount(item_N, score_N) / counts)[item_N]
    square = float(np.sum(x_N**2))
    num_items = int(np.sum(counts > 1))
    if square < 1e-12 or num_items < 2:
        return Estimate.undefined("answers to the same item do not differ in length", score_N.size, num_items)
    slope = float(np.sum(x_N * y_N)) / square
    sums = np.bincount(item_N, x_N * (y_N - slope * x_N))
    error = math.sqrt(num_items / (num_items - 1) * float(np.sum(sums**2))) / square
    method = f"item fixed effects, {num_items} items"
    return _with_interval(slope, error, score_N.size, num_items, method, "items")


def _first_place(verdict: Verdict, first_output: int) -> int:
    """1 where the first place won, -1 where the second did, 0 for a tie."""
    if verdict == 0:
        return 0
    return 1 if verdict == first_output else -1
