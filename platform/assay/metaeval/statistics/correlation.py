"""Correlation of a scorer with human scores: Pearson, Spearman and Kendall's tau-b, with ties, and under resampling.

Every correlation takes integer weights, one column per resample, instead of resampled rows: values are sorted
once, and a resample only moves ranks. Rows weigh what a resample drew of them, so that clustered, two-way and
jackknife resamples are the same call. A constant column has no correlation: NaN.

Axes: N rows, K resamples, C scorer columns. Pure NumPy; SciPy's functions give the same values (tests).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.estimate import FloatArray, IntArray, Weights

_CHUNK_BYTES = 16_000_000
"""Two such arrays (weights, weighted ranks) stay near the last-level cache."""
_KENDALL_PAIRS = 6000
"""Up to this many rows, Kendall under resampling holds the matrix of all pairs."""


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's r of two complete columns; NaN where one is constant or there are fewer than 2 rows."""
    x_N, y_N = _columns(x, y)
    if x_N.size < 2 or _is_constant(x_N) or _is_constant(y_N):
        return math.nan
    dx, dy = x_N - x_N.mean(), y_N - y_N.mean()
    return _clip(float((dx @ dy) / math.sqrt((dx @ dx) * (dy @ dy))))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rho with mid-ranks for ties; NaN where one column is constant or there are fewer than 2 rows."""
    x_N, y_N = _columns(x, y)
    return pearson(midranks(x_N), midranks(y_N))


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau-b; NaN where one column is constant or there are fewer than 2 rows."""
    x_N, y_N = _columns(x, y)
    if x_N.size < 2 or _is_constant(x_N) or _is_constant(y_N):
        return math.nan
    from scipy.stats import kendalltau

    return float(kendalltau(x_N, y_N).statistic)


def midranks(x: ArrayLike) -> FloatArray:
    """Ranks from 1; tied values share the mean of their ranks."""
    return _groups(np.asarray(x, dtype=float)).midranks()


def spearman_resamples(x: ArrayLike, y: ArrayLike, weights_NK: Weights) -> FloatArray:
    """Spearman's rho of one or several columns against y in every resample.

    Args:
        x: shape (N,) or (C, N).
        y: shape (N,).
        weights_NK: how often each row occurs in each resample, whole numbers, shape (N, K).

    Returns:
        Shape (K,) or (C, K); NaN where a column is constant in a resample.
    """
    y_N = np.asarray(y, dtype=float)
    x_CN = np.atleast_2d(np.asarray(x, dtype=float))
    num_rows, num_resamples = weights_NK.shape
    if x_CN.shape[1] != num_rows or y_N.shape != (num_rows,):
        raise ValueError(f"columns {x_CN.shape} and {y_N.shape} do not have the {num_rows} rows of the weights")
    result = np.empty((x_CN.shape[0], num_resamples))
    orders = [_groups(column) for column in x_CN]
    y_order = _groups(y_N)
    chunk = max(64, _CHUNK_BYTES // (8 * max(num_rows, 1)))
    discrete = [place for place, order in enumerate(orders) if _is_discrete(order, y_order)]
    ranked = [place for place in range(len(orders)) if place not in discrete]
    for start in range(0, num_resamples, chunk):
        part = slice(start, min(start + chunk, num_resamples))
        weights = np.ascontiguousarray(weights_NK[:, part])
        for place in discrete:
            result[place, part] = _spearman_counts(orders[place], y_order, weights)
        if ranked:
            chosen = [orders[place] for place in ranked]
            result[ranked, part] = _spearman_chunk(chosen, y_order, weights.astype(float, copy=False))
    return result[0] if np.ndim(x) == 1 else result


def pearson_resamples(x: ArrayLike, y: ArrayLike, weights_NK: Weights) -> FloatArray:
    """Pearson's r in every resample; arguments as for `spearman_resamples`."""
    y_N = np.asarray(y, dtype=float)
    x_CN = np.atleast_2d(np.asarray(x, dtype=float))
    # standardised first: the one-pass moments below lose digits otherwise
    y_N = _standardised(y_N)
    result = np.empty((x_CN.shape[0], weights_NK.shape[1]))
    chunk = max(64, _CHUNK_BYTES // (8 * max(y_N.size, 1)))
    for start in range(0, weights_NK.shape[1], chunk):
        weights = np.ascontiguousarray(weights_NK[:, start : start + chunk], dtype=float)
        total = weights.sum(axis=0)
        y_mean, y_square = _moment(y_N, weights) / total, _moment(y_N**2, weights) / total
        for number, column in enumerate(x_CN):
            x_N = _standardised(column)
            x_mean, x_square = _moment(x_N, weights) / total, _moment(x_N**2, weights) / total
            covariance = _moment(x_N * y_N, weights) / total - x_mean * y_mean
            variances = (x_square - x_mean**2), (y_square - y_mean**2)
            result[number, start : start + chunk] = _ratio(covariance, *variances)
    return result[0] if np.ndim(x) == 1 else result


def kendall_resamples(x: ArrayLike, y: ArrayLike, weights_NK: Weights) -> FloatArray:
    """Kendall's tau-b in every resample, shape (K,).

    Raises:
        ValueError: more rows than a matrix of all pairs can hold (6,000); use an interval by linearisation there.
    """
    x_N, y_N = _columns(x, y)
    if x_N.size > _KENDALL_PAIRS:
        raise ValueError(f"{x_N.size} rows; at most {_KENDALL_PAIRS} under resampling")
    weights = np.ascontiguousarray(weights_NK, dtype=np.float32)
    # whole numbers below 2**24, so float32 is exact and the order of summation does not matter
    signs = (np.sign(x_N[:, None] - x_N) * np.sign(y_N[:, None] - y_N)).astype(np.float32)
    balance = np.zeros(weights.shape[1])
    for start in range(0, weights.shape[1], 512):
        part = slice(start, start + 512)
        balance[part] = np.einsum("nk,nk->k", (signs @ weights[:, part]).astype(float), weights[:, part].astype(float))
    total = weights.sum(axis=0, dtype=float)
    pairs = total**2 - _tie_powers(x_N, weights), total**2 - _tie_powers(y_N, weights)
    return _ratio(balance, *pairs)


class Linearised(NamedTuple):
    """A correlation and the influence of each row on it: value - truth is about their mean. They sum to 0."""

    value: float
    influence: FloatArray


def spearman_linearised(x: ArrayLike, y: ArrayLike) -> Linearised:
    """Spearman's rho with its influence function, for intervals without resampling.

    The derivative runs through the ranks as well: a row moves every rank above it.

    Raises:
        ValueError: a constant column.
    """
    x_N, y_N = _columns(x, y)
    x_groups, y_groups = _groups(x_N), _groups(y_N)
    if x_groups.starts.size < 2 or y_groups.starts.size < 2:
        raise ValueError("a constant column has no correlation")
    u_N, v_N = (x_groups.midranks() - 0.5) / x_N.size, (y_groups.midranks() - 0.5) / x_N.size
    s_xy, s_xx, s_yy = np.mean(u_N * v_N) - 0.25, np.mean(u_N**2) - 0.25, np.mean(v_N**2) - 0.25
    scale = math.sqrt(s_xx * s_yy)
    rho = float(s_xy / scale)
    influence_N = (u_N * v_N + _mean_above(x_groups, v_N) + _mean_above(y_groups, u_N)) / scale
    influence_N -= rho / 2 * (u_N**2 + 2 * _mean_above(x_groups, u_N)) / s_xx
    influence_N -= rho / 2 * (v_N**2 + 2 * _mean_above(y_groups, v_N)) / s_yy
    return Linearised(_clip(rho), influence_N - influence_N.mean())


def kendall_linearised(x: ArrayLike, y: ArrayLike, rng: np.random.Generator, *, others: int = 4000) -> Linearised:
    """Kendall's tau-b with its influence function; each row is compared with `others` rows (all, if there are fewer).

    The value is exact; only the influence, and so the interval, rests on the drawn rows.
    """
    x_N, y_N = _columns(x, y)
    value = kendall(x_N, y_N)
    if math.isnan(value):
        raise ValueError("a constant column has no correlation")
    drawn = np.arange(x_N.size) if x_N.size <= others else rng.choice(x_N.size, others, replace=False)
    agree_N, untied_x_N, untied_y_N = np.empty(x_N.size), np.empty(x_N.size), np.empty(x_N.size)
    for start in range(0, x_N.size, 1000):
        part = slice(start, start + 1000)
        signs_x = np.sign(x_N[part, None] - x_N[drawn])
        signs_y = np.sign(y_N[part, None] - y_N[drawn])
        agree_N[part] = np.mean(signs_x * signs_y, axis=1)
        untied_x_N[part] = np.mean(signs_x != 0, axis=1)
        untied_y_N[part] = np.mean(signs_y != 0, axis=1)
    scale = math.sqrt(untied_x_N.mean() * untied_y_N.mean())
    influence_N = 2 * agree_N / scale - value * (untied_x_N / untied_x_N.mean() + untied_y_N / untied_y_N.mean())
    return Linearised(value, influence_N - influence_N.mean())


def pearson_linearised(x: ArrayLike, y: ArrayLike) -> Linearised:
    """Pearson's r with its influence function."""
    x_N, y_N = _columns(x, y)
    if _is_constant(x_N) or _is_constant(y_N):
        raise ValueError("a constant column has no correlation")
    u_N, v_N = _standardised(x_N), _standardised(y_N)
    r = float(np.mean(u_N * v_N))
    influence_N = u_N * v_N - r / 2 * (u_N**2 + v_N**2)
    return Linearised(_clip(r), influence_N - influence_N.mean())


class _Groups:
    """Rows in ascending order of a column, and where each group of equal values starts."""

    __slots__ = ("order", "starts", "tied")

    def __init__(self, values_N: FloatArray) -> None:
        # a stable sort keeps sums over ties in row order; over very many rows its time counts more
        self.order = np.argsort(values_N, kind="stable" if values_N.size < 50_000 else None)
        ordered = values_N[self.order]
        is_start = np.ones(values_N.size, dtype=bool)
        is_start[1:] = ordered[1:] != ordered[:-1]
        self.starts = np.flatnonzero(is_start)
        self.tied = bool(self.starts.size < values_N.size)

    @property
    def sizes(self) -> IntArray:
        """Rows in each group."""
        return np.diff(self.starts, append=self.order.size)

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First place and end of each group."""
        ends = [*self.starts[1:].tolist(), int(self.order.size)]
        return list(zip(self.starts.tolist(), ends, strict=True))

    def spread(self, values: FloatArray) -> FloatArray:
        """One value per group as one value per row."""
        result = np.empty(self.order.size)
        result[self.order] = np.repeat(values, self.sizes)
        return result

    @property
    def codes(self) -> IntArray:
        """Place of each row's value among the distinct ones."""
        return self.spread(np.arange(self.starts.size, dtype=float)).astype(np.int64)

    def midranks(self) -> FloatArray:
        """Ranks from 1; tied values share the mean of their ranks."""
        sizes = self.sizes
        return self.spread(self.starts + (sizes + 1) / 2)


def _groups(values_N: FloatArray) -> _Groups:
    if not np.isfinite(values_N).all():
        raise ValueError("missing scores: choose a policy first, see ScoreTable.complete()")
    return _Groups(rounded(values_N))


def rounded(values_N: FloatArray) -> FloatArray:
    """12 significant digits: numbers that differ in the last bits are ties that arithmetic broke."""
    size_N = np.abs(values_N)
    digits_N = 11 - np.floor(np.log10(np.where(size_N > 0, size_N, 1.0)))
    is_usual = (digits_N > -290) & (digits_N < 290)
    factor_N = 10.0 ** np.where(is_usual, digits_N, 0.0)
    return np.asarray(np.where(is_usual, np.round(values_N * factor_N) / factor_N, values_N), dtype=float)


def _spearman_chunk(orders: list[_Groups], y_order: _Groups, weights_NK: FloatArray) -> FloatArray:
    """Rho from rank sums: with centred ranks, sum(w rx ry) over the square roots of the tie-corrected sums.

    A group of equal values with weight T and cumulated weight c before it has the centred mid-rank c + T/2 - n/2, and
    the sum of squared centred ranks is (n^3 - sum T^3) / 12. As sum(w ry) = 0, rx may be used uncentred.
    """
    total_K = weights_NK.sum(axis=0)
    weighted_y_NK = np.empty_like(weights_NK)
    y_cubes = _rank(y_order, weights_NK, weighted_y_NK, total_K)
    weighted_y_NK *= weights_NK
    y_square = total_K**3 - y_cubes
    single_cubes = _cubes(weights_NK)
    half_own = np.einsum("nk,nk->k", weights_NK, weighted_y_NK) / 2
    result = np.empty((len(orders), total_K.size))
    before, product = np.empty_like(total_K), np.empty_like(total_K)
    for number, groups in enumerate(orders):
        before.fill(0.0)
        cross = np.zeros_like(total_K)
        if not groups.tied:
            for row in groups.order:
                np.add(before, weights_NK[row], out=before)
                np.multiply(before, weighted_y_NK[row], out=product)
                np.add(cross, product, out=cross)
            cross -= half_own
            cubes = single_cubes
        else:
            cubes = np.zeros_like(total_K)
            for first, last in groups.bounds:
                rows = groups.order[first:last]
                weight = weights_NK[rows].sum(axis=0) if last - first > 1 else weights_NK[rows[0]]
                value = weighted_y_NK[rows].sum(axis=0) if last - first > 1 else weighted_y_NK[rows[0]]
                cross += (before + weight / 2) * value
                before += weight
                cubes += weight**3
        result[number] = _ratio(12 * cross, total_K**3 - cubes, y_square)
    return result


def _is_discrete(x_order: _Groups, y_order: _Groups) -> bool:
    """Whether a table of both columns' values has far fewer cells than there are rows."""
    return x_order.starts.size * y_order.starts.size * 8 <= x_order.order.size


def _spearman_counts(x_order: _Groups, y_order: _Groups, weights_NK: Weights) -> FloatArray:
    """Rho from the contingency table of two discrete columns: each resample's counts hold all that is needed."""
    num_x, num_y = x_order.starts.size, y_order.starts.size
    cell_N = x_order.codes * num_y + y_order.codes
    order = np.argsort(cell_N, kind="stable")
    counts_CK = np.zeros((num_x * num_y, weights_NK.shape[1]), dtype=np.float64)
    cells, starts = np.unique(cell_N[order], return_index=True)
    # small whole numbers are added as they come; 32 bits hold any sum of 16-bit counts over fewer than 2**16 rows
    narrow = weights_NK.dtype == np.int16 and order.size < 2**16
    total = np.empty(weights_NK.shape[1], dtype=np.int32 if narrow else np.float64)
    for cell, first, last in zip(cells, starts, [*starts[1:], order.size], strict=True):
        total[:] = weights_NK[order[first]]
        for row in order[first + 1 : last]:
            np.add(total, weights_NK[row], out=total, casting="unsafe")
        counts_CK[cell] = total
    table = counts_CK.reshape(num_x, num_y, -1)
    x_totals, y_totals = table.sum(axis=1), table.sum(axis=0)
    size_K = x_totals.sum(axis=0)
    x_ranks = np.cumsum(x_totals, axis=0) - x_totals / 2 - size_K / 2
    y_ranks = np.cumsum(y_totals, axis=0) - y_totals / 2 - size_K / 2
    cross = np.zeros_like(size_K)
    for x_value in range(num_x):
        cross += x_ranks[x_value] * (table[x_value] * y_ranks).sum(axis=0)
    cubes = (x_totals**3).sum(axis=0), (y_totals**3).sum(axis=0)
    return _ratio(12 * cross, size_K**3 - cubes[0], size_K**3 - cubes[1])


def _rank(groups: _Groups, weights_NK: FloatArray, out_NK: FloatArray, total_K: FloatArray) -> FloatArray:
    """Fill `out_NK` with the centred mid-rank of every row in every resample; return the sums of T^3."""
    before = -total_K / 2
    cubes = np.zeros_like(total_K)
    for first, last in groups.bounds:
        rows = groups.order[first:last]
        weight = weights_NK[rows].sum(axis=0) if last - first > 1 else weights_NK[rows[0]]
        out_NK[rows] = before + weight / 2
        before += weight
        cubes += weight * weight * weight
    return cubes


def _cubes(weights_NK: FloatArray) -> FloatArray:
    total = np.zeros(weights_NK.shape[1])
    for weight in weights_NK:
        total += weight * weight * weight
    return total


def _tie_powers(values_N: FloatArray, weights_NK: Weights) -> FloatArray:
    """Sum of squared group weights per resample."""
    groups = _groups(values_N)
    sums = np.add.reduceat(weights_NK[groups.order].astype(float), groups.starts, axis=0)
    return np.asarray((sums**2).sum(axis=0), dtype=float)


def _mean_above(groups: _Groups, values_N: FloatArray) -> FloatArray:
    """For each row, the mean over all rows of value x (1 where the row lies above it, 1/2 where they tie)."""
    sums = np.add.reduceat(values_N[groups.order], groups.starts)
    return groups.spread((sums.sum() - np.cumsum(sums) + sums / 2) / values_N.size)


def _moment(values_N: FloatArray, weights_NK: FloatArray) -> FloatArray:
    """Weighted sum per resample. einsum, not BLAS: its order of summation does not depend on threads."""
    return np.asarray(np.einsum("n,nk->k", values_N, weights_NK), dtype=float)


def _ratio(cross: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """The ratio of cross to sqrt(first x second), NaN where a column does not vary."""
    tiny = 1e-12
    valid = (first > tiny) & (second > tiny)
    scale = np.sqrt(np.where(valid, first, 1.0)) * np.sqrt(np.where(valid, second, 1.0))
    return np.where(valid, np.clip(cross / scale, -1.0, 1.0), np.nan)


def _standardised(values_N: FloatArray) -> FloatArray:
    spread = values_N.std()
    return np.asarray((values_N - values_N.mean()) / (spread if spread > 0 else 1.0), dtype=float)


def _columns(x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x_N, y_N = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x_N.ndim != 1 or x_N.shape != y_N.shape:
        raise ValueError(f"columns {x_N.shape} and {y_N.shape} must both be (N,)")
    if not (np.isfinite(x_N).all() and np.isfinite(y_N).all()):
        raise ValueError("missing scores: choose a policy first, see ScoreTable.complete()")
    return x_N, y_N


def _is_constant(values_N: FloatArray) -> bool:
    return bool(np.all(values_N == values_N[0]))


def _clip(value: float) -> float:
    return max(-1.0, min(1.0, value))
