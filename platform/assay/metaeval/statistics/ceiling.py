"""How well people agree with each other: the ceiling beside which a scorer's agreement with people is read.

Axes: A annotators, N items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.bootstrap import Statistic, clusters, interval
from assay.metaeval.statistics.correlation import spearman_resamples
from assay.metaeval.statistics.estimate import Estimate, FloatArray


@dataclass(frozen=True, slots=True)
class HumanCeiling:
    """Agreement between annotators of the same items."""

    between_pairs: Estimate
    """Mean Spearman over pairs of annotators."""
    with_the_others: Estimate
    """Mean Spearman of one annotator with the mean of the others: what a scorer as good as one person would reach."""
    num_annotators: int


def human_ceiling(
    scores: ArrayLike, rng: np.random.Generator, *, groups: ArrayLike | None = None, resamples: int = 2000
) -> HumanCeiling:
    """Agreement of annotators over the items that all of them scored.

    Args:
        scores: shape (A, N), NaN where an annotator gave none; row a need not be one person throughout, as long as the
            annotations of an item are exchangeable.
        rng: seeded by the caller; both intervals rest on the same resamples.
        groups: cluster of each item (the document); None: items are independent.
        resamples: bootstrap size.

    Raises:
        ValueError: fewer than 2 annotators.
    """
    scores_AN = np.asarray(scores, dtype=float)
    if scores_AN.ndim != 2 or scores_AN.shape[0] < 2:
        raise ValueError(f"scores {scores_AN.shape}; expected (A, N) with 2 or more annotators")
    kept = np.isfinite(scores_AN).all(axis=0)
    scores_AN = scores_AN[:, kept]
    count = scores_AN.shape[0]
    if scores_AN.shape[1] < 3:
        nothing = Estimate.undefined(f"{scores_AN.shape[1]} items with all annotators, at least 3 are needed")
        return HumanCeiling(nothing, nothing, count)
    units = clusters(np.arange(kept.sum()) if groups is None else np.asarray(groups)[kept])
    pairs = [(scores_AN[a], scores_AN[b]) for a, b in combinations(range(count), 2)]
    others = [(scores_AN[a], np.delete(scores_AN, a, axis=0).mean(axis=0)) for a in range(count)]
    seed = int(rng.integers(2**63))
    found = [
        interval(
            _mean_rho(columns), units, np.random.default_rng(seed), resamples=resamples, method="bca", scale="fisher"
        )
        for columns in (pairs, others)
    ]
    return HumanCeiling(found[0], found[1], count)


def _mean_rho(columns: list[tuple[FloatArray, FloatArray]]) -> Statistic:
    def statistic(weights_NK: FloatArray) -> FloatArray:
        total = sum(spearman_resamples(first, second, weights_NK) for first, second in columns)
        return np.asarray(total, dtype=float) / len(columns) if columns else np.full(weights_NK.shape[1], math.nan)

    return statistic
