"""Many comparisons at once, each with an e-value: which hold together? Pure.

An e-value is what a bet against "no difference" has become of 1: on average at most 1 if there is none. The largest
e-value so far turns into a p-value, min(1, 1 / E), that may be read at any time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.estimate import BoolArray


def holm_on_e(largest_e: ArrayLike, *, alpha: float = 0.05) -> BoolArray:
    """Which differences hold; at most alpha of all studies name a single one that is none (familywise).

    Args:
        largest_e: the largest e-value of each comparison so far, at least 0.
        alpha: level of the whole family.
    """
    p = np.minimum(1.0, 1.0 / np.maximum(_valid(largest_e), 1e-300))
    order = np.argsort(p, kind="stable")
    passes = p[order] <= alpha / np.arange(p.size, 0, -1)
    held = np.zeros(p.size, dtype=bool)
    held[order[: p.size if passes.all() else int(passes.argmin())]] = True
    return held


def _valid(e_values: ArrayLike) -> np.ndarray:
    e = np.asarray(e_values, dtype=float)
    if e.ndim != 1 or not (e >= 0).all():
        raise ValueError(f"e-values {e}; expected a row of numbers of at least 0")
    return e
