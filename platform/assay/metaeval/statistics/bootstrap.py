"""Resampling by item, by cluster and by two clusters at once, and the intervals made from it.

A resample is a column of whole-number weights, one per row: how often the row was drawn. Statistics take the whole
matrix (rows x resamples) at once. The caller passes a seeded Generator; nothing here owns randomness.

Which interval: below 6 clusters none; below 50 Student's t with the jackknife's variance over clusters, on Fisher's z
scale for correlations, because percentile and BCa intervals cover too seldom there (docs/statistics.md); from 50 on
percentile, for correlations BCa, unless strata are too small to resample. `interval` chooses, and the Estimate names
what was used.

Axes: N rows, G clusters, K resamples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.estimate import FEW_CLUSTERS, MIN_RESAMPLES, Estimate, FloatArray, IntArray

Statistic = Callable[[FloatArray], FloatArray]
"""From weights (N, K) to one value per resample, (K,)."""

Scale = Literal["plain", "fisher"]

LEVEL = 0.95
MIN_CLUSTERS = 6
"""Fewer clusters have no interval that covers, whatever it is called."""
MAX_JACKKNIFE = 2000
"""Clusters up to which BCa's jackknife is worth its time; beyond, percentile and BCa agree."""
MIN_STRATUM = 10
"""Strata of fewer clusters (the draws of one mixture) lose a share 1/n of their variance under resampling."""
_MAX_UNDEFINED = 0.5
"""Share of resamples without a value (a constant column) beyond which there is no interval."""


@dataclass(frozen=True)
class Clusters:
    """What is drawn, and within which strata."""

    of_row: IntArray
    """Cluster of every row, shape (N,)."""
    stratum: IntArray
    """Stratum of every cluster, shape (G,)."""

    @property
    def num_clusters(self) -> int:
        return int(self.stratum.size)


def seeded(*names: str) -> np.random.Generator:
    """A generator whose stream depends on these names and nothing else."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def rows_as_clusters(num_rows: int) -> Clusters:
    """Every row is its own unit: items of one model."""
    return Clusters(np.arange(num_rows), np.zeros(num_rows, dtype=np.int64))


def clusters(labels: ArrayLike, strata: ArrayLike | None = None) -> Clusters:
    """Clusters by label; `strata` (one label per row, equal within a cluster) are resampled separately."""
    _, of_row_N = np.unique(np.asarray(labels), return_inverse=True)
    num_clusters = int(of_row_N.max()) + 1 if of_row_N.size else 0
    stratum_G = np.zeros(num_clusters, dtype=np.int64)
    if strata is not None:
        _, stratum_N = np.unique(np.asarray(strata), return_inverse=True)
        stratum_G[of_row_N] = stratum_N
    return Clusters(of_row_N.astype(np.int64), stratum_G)


def resample(units: Clusters, num_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Weights of clusters drawn with replacement within each stratum, expanded to rows, shape (N, K)."""
    return expand(units, resample_clusters(units, num_resamples, rng))


def resample_clusters(units: Clusters, num_resamples: int, rng: np.random.Generator) -> FloatArray:
    """How often each cluster was drawn, shape (G, K)."""
    weights_GK = np.zeros((units.num_clusters, num_resamples))
    joined_G = _joined(units)
    for stratum in np.unique(joined_G):
        members = np.flatnonzero(joined_G == stratum)
        weights_GK[members] = draw_counts(members.size, num_resamples, rng)
    return weights_GK


def draw_counts(size: int, num_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Counts of `size` draws with replacement from `size` units, shape (size, K)."""
    return small_counts(size, num_resamples, rng).astype(float)


def small_counts(size: int, num_resamples: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """`draw_counts` as 16-bit numbers, for those who read them many times."""
    dtype = np.uint16 if size <= 2**16 else np.uint32
    counts_GK = np.empty((size, num_resamples), dtype=np.int16)
    block = max(1, min(num_resamples, 500_000 // max(size, 1)))
    for start in range(0, num_resamples, block):
        stop = min(start + block, num_resamples)
        # a bincount per resample stays in the first-level cache; one over the whole block does not
        drawn = rng.integers(0, size, size=(stop - start, size), dtype=dtype)
        counts = np.empty((stop - start, size), dtype=np.int16)
        for row, units in enumerate(drawn):
            counts[row] = np.bincount(units, minlength=size)
        counts_GK[:, start:stop] = counts.T
    return counts_GK


def expand(units: Clusters, weights_GK: FloatArray) -> FloatArray:
    """Cluster weights as row weights."""
    if units.num_clusters == units.of_row.size and np.array_equal(units.of_row, np.arange(units.of_row.size)):
        return weights_GK
    return weights_GK[units.of_row]


def leave_one_out(units: Clusters) -> FloatArray:
    """Jackknife weights: every cluster left out once, shape (N, G)."""
    return expand(units, 1.0 - np.eye(units.num_clusters))


def interval(
    statistic: Statistic,
    units: Clusters,
    rng: np.random.Generator,
    *,
    resamples: int = MIN_RESAMPLES,
    n: int | None = None,
    method: Literal["percentile", "bca"] = "percentile",
    scale: Scale = "plain",
    weights_NK: FloatArray | None = None,
) -> Estimate:
    """A statistic with its 95 % interval.

    Args:
        statistic: from weights (N, K) to values (K,); NaN where a resample has no value.
        units: what is drawn.
        rng: seeded by the caller.
        resamples: at least 2,000 for anything that is reported.
        n: rows to report; all of them unless told.
        method: "percentile" or "bca", from 50 clusters on. A correlation asks for "bca": its resampled values are
            biased, and a mean of them over tasks does not average that out (measured: 91.7 % coverage of percentile
            intervals at 4 tasks of 60 runs, 94.3 % of BCa).
        scale: on which Student's t stands below 50 clusters: "fisher" for what lies in -1..1, "plain" else.
        weights_NK: resamples drawn before, for statistics that share them; None: drawn here from `rng`.
    """
    num_rows = int(units.of_row.size)
    rows = num_rows if n is None else n
    value = float(statistic(np.ones((num_rows, 1)))[0])
    if math.isnan(value):
        return Estimate.undefined("a constant column has no correlation", rows, units.num_clusters)
    if is_jackknifed(units):
        return jackknife_interval(value, statistic(leave_one_out(units)), units, n=rows, scale=scale)
    boot_K = statistic(resample(units, resamples, rng) if weights_NK is None else weights_NK)
    if method == "bca" and units.num_clusters <= MAX_JACKKNIFE:
        jackknife_G = statistic(leave_one_out(units))
        return from_resamples(value, boot_K, units.num_clusters, n=rows, jackknife_G=jackknife_G)
    return from_resamples(value, boot_K, units.num_clusters, n=rows)


def is_jackknifed(units: Clusters) -> bool:
    """Whether an interval rests on the jackknife: few clusters, or many in strata that are too small to resample."""
    if units.num_clusters < FEW_CLUSTERS:
        return True
    mean_size = units.num_clusters / np.unique(_joined(units)).size
    return bool(mean_size < MIN_STRATUM and units.num_clusters <= MAX_JACKKNIFE)


def _joined(units: Clusters) -> IntArray:
    """Stratum of every cluster, those of one cluster joined: alone it would show no spread."""
    sizes = np.bincount(units.stratum)
    return np.where(sizes[units.stratum] > 1, units.stratum, sizes.size)


def jackknife_interval(
    value: float, left_out_G: FloatArray, units: Clusters, *, n: int = 0, scale: Scale = "plain"
) -> Estimate:
    """Student's t with the jackknife's variance, over clusters within strata.

    Args:
        value: the statistic over all rows.
        left_out_G: the same without each cluster, in the clusters' order; NaN where it has no value then.
        units: the clusters; a stratum of one is joined with the others of one.
        n: rows.
        scale: "fisher" for what lies in -1..1.
    """
    count = units.num_clusters
    if count < MIN_CLUSTERS:
        reason = f"no interval: {count} clusters, at least {MIN_CLUSTERS} are needed"
        return Estimate(value, math.nan, math.nan, n, count, "", reason)
    if np.isnan(left_out_G).any():
        reason = "no interval: without one of the clusters there is no value"
        return Estimate(value, math.nan, math.nan, n, count, "", reason)
    scaled_G = _on_scale(left_out_G, scale)
    variance, dof = jackknife_variance(scaled_G if np.isfinite(scaled_G).all() else left_out_G, units)
    if not np.isfinite(scaled_G).all() and abs(value) < 1:  # an order that is perfect without a cluster: to first order
        variance /= (1 - value * value) ** 2
    centre = float(_on_scale(np.array([value]), scale)[0])
    least = (1e-12 * max(1.0, abs(value))) ** 2  # below it, sums that ended otherwise in their last bits
    if not variance > least or not math.isfinite(variance) or not math.isfinite(centre):
        return Estimate(value, math.nan, math.nan, n, count, "", "no interval: no spread")
    half = student_quantile(0.5 + LEVEL / 2, dof) * math.sqrt(variance)
    ends = (centre - half, centre + half)
    low, high = (math.tanh(ends[0]), math.tanh(ends[1])) if scale == "fisher" else ends
    return Estimate(value, low, high, n, count, f"jackknife t, {count} clusters")


def jackknife_variance(left_out_G: FloatArray, units: Clusters) -> tuple[float, float]:
    """Variance of a statistic from its values without each cluster, and its degrees of freedom (Satterthwaite)."""
    joined_G = _joined(units)
    parts = []
    for stratum in np.unique(joined_G):
        own = left_out_G[joined_G == stratum]
        if own.size > 1:
            parts.append((float((own.size - 1) / own.size * np.sum((own - own.mean()) ** 2)), own.size - 1))
    variance = sum(part for part, _ in parts)
    spread = sum(part**2 / dof for part, dof in parts)
    return variance, variance**2 / spread if spread > 0 else math.inf


def _on_scale(values: FloatArray, scale: Scale) -> FloatArray:
    if scale == "plain":
        return values
    with np.errstate(divide="ignore"):
        return np.asarray(np.arctanh(np.clip(values, -1.0, 1.0)), dtype=float)


def from_resamples(
    value: float, boot_K: FloatArray, num_clusters: int, *, n: int = 0, jackknife_G: FloatArray | None = None
) -> Estimate:
    """The Estimate of values already resampled; BCa where jackknife values are given."""
    undefined = float(np.mean(np.isnan(boot_K)))
    name = "BCa" if jackknife_G is not None else "percentile"
    method = f"{name}, {num_clusters} clusters"
    if undefined > _MAX_UNDEFINED or num_clusters < 2:
        reason = "one cluster" if num_clusters < 2 else f"no value in {undefined:.0%} of the resamples"
        return Estimate(value, math.nan, math.nan, n, num_clusters, "", f"no interval: {reason}")
    reason = f"no value in {undefined:.1%} of the resamples" if undefined else ""
    defined = boot_K[~np.isnan(boot_K)]
    if jackknife_G is not None:
        low, high = bca(value, defined, jackknife_G)
    else:
        low, high = percentile(defined)
    return Estimate(value, low, high, n, num_clusters, method, reason)


def percentile(boot_K: FloatArray) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles of the resampled values."""
    low, high = np.quantile(boot_K, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bca(value: float, boot_K: FloatArray, jackknife_G: FloatArray) -> tuple[float, float]:
    """Bias-corrected and accelerated interval (Efron 1987); ties count half in the bias."""
    from scipy.special import ndtr, ndtri

    below = (np.sum(boot_K < value) + np.sum(boot_K == value) / 2) / boot_K.size
    below = min(max(float(below), 0.5 / boot_K.size), 1 - 0.5 / boot_K.size)
    bias = float(ndtri(below))
    jackknife = jackknife_G[~np.isnan(jackknife_G)]
    pull = jackknife.mean() - jackknife if jackknife.size else np.zeros(1)
    spread = float(np.sum(pull**2))
    acceleration = float(np.sum(pull**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    levels = []
    for level in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z = bias + float(ndtri(level))
        levels.append(float(ndtr(bias + z / (1 - acceleration * z))))
    low, high = np.quantile(boot_K, levels)
    return float(low), float(high)


def weighted_mean(values: ArrayLike) -> Statistic:
    """The mean as a statistic over weights; pass a difference of two columns for a paired difference."""
    values_N = np.asarray(values, dtype=float)

    def statistic(weights_NK: FloatArray) -> FloatArray:
        total = weights_NK.sum(axis=0)
        sums = np.einsum("n,nk->k", values_N, weights_NK)
        return np.where(total > 0, sums / np.where(total > 0, total, 1.0), np.nan)

    return statistic
