"""Rates, verdicts of two judges on the same items, families of tests, and agreement on labels.

Pure functions; resampling takes a seeded Generator.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.clustered import minimum_detectable_effect, student_quantile, wilson_ends
from assay.metaeval.statistics.estimate import Estimate

Z = 1.959963984540054
"""97.5 % quantile of the normal distribution."""
MIN_VALUES = 6
"""Fewer values that are more than right or wrong have no interval that covers."""


def wilson(num_right: float, n: int, z: float = Z) -> Estimate:
    """A rate with Wilson's score interval (1927). `num_right` may be a sum of half credits.

    Raises:
        ValueError: num_right outside 0..n.
    """
    if not 0 <= num_right <= n:
        raise ValueError(f"{num_right} of {n} is no rate")
    if n == 0:
        return Estimate.undefined("no items")
    return Estimate(num_right / n, *wilson_ends(num_right / n, n, z), n, n, "Wilson")


def bounded_mean(values: ArrayLike, low: float = 0.0, high: float = 1.0) -> Estimate:
    """Mean of independent values on a scale with two ends; its interval has a width and stays on the scale.

    Right-or-wrong values: Wilson's interval. Halves between them (ties): Wilson's with as many items as their variance
    is worth, two imaginary ones at the ends included. Other values, 6 or more: the same with Student's t.

    Raises:
        ValueError: a value beyond the scale.
    """
    share_N = (np.asarray(values, dtype=float) - low) / (high - low)
    count = int(share_N.size)
    if count == 0:
        return Estimate.undefined("no values")
    if share_N.min() < -1e-12 or share_N.max() > 1 + 1e-12:
        raise ValueError(f"values must lie in [{low:g}, {high:g}]")
    value = float(np.clip(share_N.mean(), 0.0, 1.0))
    square = float(np.sum((share_N - value) ** 2))
    scaled_z, worth, method = Z, float(count), "Wilson"
    if not np.isin(share_N, (0.0, 0.5, 1.0)).all():
        if count < MIN_VALUES:
            reason = f"no interval: {count} values, at least {MIN_VALUES} are needed"
            return Estimate(low + value * (high - low), math.nan, math.nan, count, count, "", reason)
        variance = square / (count - 1)
        worth = value * (1 - value) / (variance / count) if variance > 0 else float(count)
        scaled_z, method = student_quantile(0.975, count - 1), "score interval"
    elif not np.isin(share_N, (0.0, 1.0)).all():
        variance = (square + value**2 + (1 - value) ** 2) / (count + 1)
        worth, method = count * value * (1 - value) / variance, "Wilson, ties half"
    ends = wilson_ends(value, worth, scaled_z)
    span = high - low
    return Estimate(low + value * span, low + ends[0] * span, low + ends[1] * span, count, count, method)


def square_and_add(parts: Sequence[tuple[float, Estimate]]) -> tuple[float, float]:
    """95 % ends of a weighted sum of independent estimates from their own, unequal ends; NaN where one has none.

    Args:
        parts: weight (below 0 for what is taken off) and estimate.

    Source: Zou and Donner 2008; for two rates Newcombe 1998.
    """
    value = sum(weight * part.value for weight, part in parts)
    down = [weight * (part.value - (part.low if weight > 0 else part.high)) for weight, part in parts]
    up = [weight * ((part.high if weight > 0 else part.low) - part.value) for weight, part in parts]
    return value - math.hypot(*down), value + math.hypot(*up)


@dataclass(frozen=True, slots=True)
class McNemar:
    """Two judges on the same items."""

    only_first: int
    """Items that only the first had right."""
    only_second: int
    p: float
    """Exact, two-sided."""


def mcnemar_exact(first_right: ArrayLike, second_right: ArrayLike) -> McNemar:
    """Exact McNemar test: are the items on which the two differ split evenly?

    Args:
        first_right: whether the first judge was right, one boolean per item.
        second_right: the same for the second judge, same items.
    """
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} items; McNemar needs the same items")
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    return McNemar(only_first, only_second, sign_test(only_first, only_second))


def sign_test(num_first: int, num_second: int) -> float:
    """Two-sided exact p that `num_first` and `num_second` are an even split."""
    from scipy.special import bdtr

    n = num_first + num_second
    if n == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(num_first, num_second), n, 0.5)))


def paired_permutation(
    first: ArrayLike, second: ArrayLike, rng: np.random.Generator, *, resamples: int = 10_000
) -> float:
    """Two-sided p that the paired scores have equal means, by swapping the two within pairs.

    Exact up to 16 pairs that differ (all swaps), else (1 + hits) / (1 + resamples).
    """
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    difference = difference[difference != 0]
    if difference.size == 0:
        return 1.0
    observed = abs(difference.sum()) - 1e-12 * np.abs(difference).sum()
    if difference.size <= 16:
        patterns = (np.arange(2**difference.size)[:, None] >> np.arange(difference.size)) & 1
        totals = ((1 - 2 * patterns) * difference).sum(axis=1)
        return float(np.mean(np.abs(totals) >= observed))
    hits = 0
    block = max(1, 4_000_000 // difference.size)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        signs = rng.integers(0, 2, size=(rows, difference.size), dtype=np.int8) * 2 - 1
        hits += int(np.sum(np.abs((signs * difference).sum(axis=1)) >= observed))
    return (1 + hits) / (1 + resamples)


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's adjusted p of a family, in the given order; NaN stays NaN and is no member of the family."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    members = np.flatnonzero(~np.isnan(p))
    order = members[np.argsort(p[members], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def holm_steps(p_values: ArrayLike, alpha: float = 0.05) -> np.ndarray:
    """Level of the step at which Holm's procedure decides about each p; NaN stays NaN.

    A p that is rejected meets the level of its own step, all others that of the first step that fails: so `p <= level`
    is exactly the procedure's decision, and an interval at that level says the same.
    """
    p = np.asarray(p_values, dtype=float)
    levels = np.full(p.shape, np.nan)
    members = np.flatnonzero(~np.isnan(p))
    order = members[np.argsort(p[members], kind="stable")]
    steps = alpha / np.arange(order.size, 0, -1)
    failed = np.flatnonzero(p[order] > steps)
    if failed.size:
        steps[failed[0] :] = steps[failed[0]]
    levels[order] = steps
    return levels


def kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Cohen's kappa over the labels as they are; NaN where chance agreement is total."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} labels; kappa needs the same items")
    if not first:
        return math.nan
    labels = {label: place for place, label in enumerate(dict.fromkeys([*first, *second]))}
    table = np.zeros((len(labels), len(labels)))
    np.add.at(table, ([labels[label] for label in first], [labels[label] for label in second]), 1.0)
    table /= table.sum()
    chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return math.nan if chance >= 1 - 1e-12 else (float(np.trace(table)) - chance) / (1 - chance)


def rate_mde(n: int, rate: float, *, discordant: float | None = None) -> float:
    """Smallest true difference of two rates that a test on n items finds with a chance of 80 %.

    Args:
        n: items.
        rate: the baseline's rate.
        discordant: share of items on which the two paired models differ; None: unpaired samples of n items each.
    """
    if n < 1:
        return math.nan
    variance = 2 * rate * (1 - rate) if discordant is None else discordant
    return minimum_detectable_effect(math.sqrt(variance / n))
