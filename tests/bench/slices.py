"""Many scorers against one human column, on many slices, under the same resamples: the bulk of a meta-evaluation.

Within a slice every scorer sees the same resamples, so that differences between scorers are paired. Slices are
independent and seeded apart; threads share them out and change no number.

Axes: C scorers, N rows of a slice, K resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from assay.metaeval.statistics.bootstrap import seeded, small_counts
from assay.metaeval.statistics.correlation import spearman_resamples
from assay.metaeval.statistics.estimate import MIN_RESAMPLES, FloatArray

_BLOCK = 1000
"""Resamples drawn at a time: their counts stay near the last-level cache."""


@dataclass(frozen=True)
class Slice:
    """Complete scores of C scorers and of people on the same rows."""

    name: str
    """Seeds the slice's resamples."""
    scorers: FloatArray
    """Shape (C, N)."""
    human: FloatArray
    """Shape (N,)."""


def spearman_slices(
    slices: Sequence[Slice], seed_key: str, *, resamples: int = MIN_RESAMPLES, threads: int = 2
) -> list[FloatArray]:
    """Spearman's rho of every scorer in every resample of every slice.

    Args:
        slices: scores without gaps.
        seed_key: seeds the resampling together with the slice's name.
        resamples: K.
        threads: NumPy works outside the interpreter's lock, so two threads use two cores.

    Returns:
        One array (C, K) per slice, in order. Columns are paired: row a minus row b is a resampled difference.
    """
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(lambda part: _resampled(part, seed_key, resamples), slices))


def _resampled(part: Slice, seed_key: str, resamples: int) -> FloatArray:
    rng = seeded(seed_key, "slices", part.name)
    result_CK = np.empty((part.scorers.shape[0], resamples))
    for start in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - start)
        counts_NK = small_counts(part.human.size, size, rng)
        result_CK[:, start : start + size] = spearman_resamples(part.scorers, part.human, counts_NK)
    return result_CK
