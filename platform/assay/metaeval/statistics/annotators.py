"""Agreement of annotators who rated the same items: kappa, weighted kappa, ICC and Spearman, with intervals over items.

Axes: A annotators, N items. Items that one of two annotators left out are left out of their comparison, and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from assay.metaeval.statistics.bootstrap import from_resamples, jackknife_interval, rows_as_clusters, seeded
from assay.metaeval.statistics.correlation import spearman
from assay.metaeval.statistics.estimate import FEW_CLUSTERS, Estimate, FloatArray
from assay.metaeval.statistics.rates import kappa

MOST_LEVELS = 11
"""Distinct ratings up to which they are levels of a scale, so that kappa means something."""


def annotator_agreement(
    scores_AN: FloatArray, names: Sequence[str], *, seed_key: str, resamples: int = 2000
) -> list[dict[str, Any]]:
    """One row per pair of annotators: `kappa` (equal ratings), `kappa_quadratic`, `icc`, `spearman`, and counts.

    Args:
        scores_AN: ratings on one scale, NaN where there is none.
        names: of the annotators.
        seed_key: seeds the resampling of items, together with the names.
        resamples: bootstrap size.
    """
    measures: dict[str, Callable[[FloatArray, FloatArray], float]] = {
        "kappa": plain_kappa,
        "kappa_quadratic": quadratic_kappa,
        "icc": icc,
        "spearman": spearman,
    }
    rows = []
    for first, second in combinations(range(len(names)), 2):
        both = np.isfinite(scores_AN[[first, second]]).all(axis=0)
        x_N, y_N = scores_AN[first, both], scores_AN[second, both]
        row: dict[str, Any] = {
            "first": names[first],
            "second": names[second],
            "n": int(both.sum()),
            "left_out": int((~both).sum()),
            "equal": float(np.mean(x_N == y_N)) if x_N.size else None,
            "mean_difference": float(np.mean(x_N - y_N)) if x_N.size else None,
        }
        for name, measure in measures.items():
            rng = seeded(seed_key, "annotators", names[first], names[second], name)
            row[name] = _estimate(name, measure, x_N, y_N, rng, resamples).as_json()
        rows.append(row)
    return rows


def plain_kappa(x_N: FloatArray, y_N: FloatArray) -> float:
    """Cohen's kappa of equal ratings."""
    return kappa(x_N.tolist(), y_N.tolist())


def quadratic_kappa(x_N: FloatArray, y_N: FloatArray) -> float:
    """Cohen's kappa with quadratic weights: near misses count little. NaN where both are constant and equal."""
    disagreement = float(np.mean((x_N - y_N) ** 2))
    # expected squared difference of independent draws from both
    expected = float(x_N.var() + y_N.var() + (x_N.mean() - y_N.mean()) ** 2)
    return 1 - disagreement / expected if expected > 0 else math.nan


def icc(x_N: FloatArray, y_N: FloatArray) -> float:
    """ICC(2,1): two-way random effects, absolute agreement, one rater (Shrout and Fleiss 1979). NaN below 2 items."""
    table_NA = np.stack([x_N, y_N], axis=1)
    num_items, num_raters = table_NA.shape
    if num_items < 2:
        return math.nan
    grand = table_NA.mean()
    items = num_raters * float(np.sum((table_NA.mean(axis=1) - grand) ** 2)) / (num_items - 1)
    raters = num_items * float(np.sum((table_NA.mean(axis=0) - grand) ** 2)) / (num_raters - 1)
    total = float(np.sum((table_NA - grand) ** 2))
    rest = (total - items * (num_items - 1) - raters * (num_raters - 1)) / ((num_items - 1) * (num_raters - 1))
    below = items + (num_raters - 1) * rest + num_raters * (raters - rest) / num_items
    return (items - rest) / below if below > 0 else math.nan


def _estimate(
    name: str,
    measure: Callable[[FloatArray, FloatArray], float],
    x_N: FloatArray,
    y_N: FloatArray,
    rng: np.random.Generator,
    resamples: int,
) -> Estimate:
    if x_N.size < 3:
        return Estimate.undefined(f"{x_N.size} items with both ratings, at least 3 are needed", int(x_N.size))
    if name.startswith("kappa") and np.unique(np.concatenate([x_N, y_N])).size > MOST_LEVELS:
        return Estimate.undefined(f"over {MOST_LEVELS} distinct ratings: no levels", int(x_N.size))
    value = measure(x_N, y_N)
    if math.isnan(value):
        return Estimate.undefined("an annotator gave one rating throughout", int(x_N.size))
    others = [np.delete(np.arange(x_N.size), place) for place in range(x_N.size)]
    jackknife = np.array([measure(x_N[rows], y_N[rows]) for rows in others])
    if x_N.size < FEW_CLUSTERS:
        return jackknife_interval(value, jackknife, rows_as_clusters(x_N.size), n=int(x_N.size), scale="fisher")
    drawn_KN = rng.integers(0, x_N.size, size=(resamples, x_N.size))
    boot_K = np.array([measure(x_N[rows], y_N[rows]) for rows in drawn_KN])
    return from_resamples(value, boot_K, int(x_N.size), n=int(x_N.size), jackknife_G=jackknife)
