"""Prediction-powered inference by strata: the judge is corrected within each stratum, by its own weight.

Where a judge errs otherwise on easy and on hard items, one correction for all is a loose one. The strata's means are
added by their share of the population. Labels within 0..1: the strata's own score intervals are put together by square
and add, so the whole has a width and stays on the scale, also where a stratum's labels are all alike; other labels:
Student's t with Satterthwaite's degrees of freedom. With one stratum it is `ppi_mean` either way.

Source: Fisch et al. 2024, "Stratified prediction-powered inference" (proportional shares); Zou and Donner 2008 for the
interval of a sum from asymmetric intervals of its parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.estimate import Estimate
from assay.metaeval.statistics.ppi import PpiMean, ppi_mean
from assay.metaeval.statistics.rates import square_and_add


def stratified_ppi_mean(human: ArrayLike, judge: ArrayLike, strata: Sequence[str]) -> Estimate:
    """Mean human score over all rows, 95 % interval.

    Args:
        human: scores by people, NaN where there are none; inside a stratum the scored rows are a random sample of it.
        judge: the judge's scores of the same rows, none missing.
        strata: stratum of each row (a task, a length, a band of the judge's own score).

    Returns:
        Undefined with its reason where a stratum has fewer than 2 human scores: merge it with another.

    Raises:
        ValueError: lengths that differ, or a judge's score is missing.
    """
    y, f = np.asarray(human, dtype=float), np.asarray(judge, dtype=float)
    labels = np.asarray([str(name) for name in strata])
    if not y.shape == f.shape == labels.shape or y.ndim != 1:
        raise ValueError(f"{y.shape} human, {f.shape} judge scores and {labels.shape} strata; expected the same rows")
    if not np.isfinite(f).all():
        raise ValueError("missing judge scores: leave these rows out")
    parts: dict[str, PpiMean] = {}
    shares: dict[str, float] = {}
    for name in map(str, np.unique(labels)):
        inside = labels == name
        scored = inside & np.isfinite(y)
        if scored.sum() < 2:
            return Estimate.undefined(f"stratum {name!r} has {int(scored.sum())} human scores, at least 2 are needed")
        shares[name] = float(inside.mean())
        parts[name] = ppi_mean(y[scored], f[scored], f[inside & ~scored])
    return combined(parts, shares)


def combined(parts: Mapping[str, PpiMean], shares: Mapping[str, float]) -> Estimate:
    """The strata's means added by their shares of the population."""
    value = sum(shares[name] * part.estimate.value for name, part in parts.items())
    n = sum(part.estimate.n for part in parts.values())
    clusters = sum(part.estimate.num_clusters for part in parts.values())
    if all(part.is_bounded for part in parts.values()):
        ends = square_and_add([(shares[name], part.estimate) for name, part in parts.items()])
        return Estimate(value, *ends, n, clusters, "stratified PPI++, score intervals")
    own = {name: shares[name] ** 2 * part.variance for name, part in parts.items()}
    variance = sum(own.values())
    if variance == 0:
        return Estimate(value, math.nan, math.nan, n, clusters, "", "no spread inside any stratum")
    dof = variance**2 / sum(own[name] ** 2 / (part.estimate.num_clusters - 1) for name, part in parts.items())
    half = student_quantile(0.975, dof) * math.sqrt(variance)
    return Estimate(value, value - half, value + half, n, clusters, "stratified PPI++")
