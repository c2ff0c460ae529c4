"""Which mixtures keep bounds: the candidates for the best one and the next one. Pure.

Candidates fill the allowed part of the simplex by chance with a seed; the trained mixtures are among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.metaeval.statistics.estimate import BoolArray, FloatArray

CANDIDATES = 4000
_SPREADS = (0.2, 0.5, 1.0, 3.0)
"""Concentrations of the Dirichlet: from nearly pure mixtures to nearly even ones."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and most of each component, as shares, shape (K,)."""

    low: FloatArray
    high: FloatArray

    def __post_init__(self) -> None:
        if (self.low < 0).any() or (self.low > self.high).any() or self.low.sum() > 1 or self.high.sum() < 1:
            raise ValueError("no mixture keeps these bounds: a least share is above its most, or they cannot make up 1")

    def keep(self, shares_mK: FloatArray) -> BoolArray:
        """Which mixtures keep them."""
        inside = (shares_mK >= self.low - 1e-9) & (shares_mK <= self.high + 1e-9)
        return np.asarray(inside.all(axis=1))


def candidates(bounds: Bounds, trained_nK: FloatArray, *, seed: int) -> FloatArray:
    """Mixtures that keep the bounds, shape (m, K), the trained ones that do among them."""
    rng = np.random.default_rng(seed)
    parts = trained_nK.shape[1]
    free = np.concatenate([rng.dirichlet(np.full(parts, spread), CANDIDATES // len(_SPREADS)) for spread in _SPREADS])
    drawn = bounds.low + (1 - bounds.low.sum()) * free
    for _ in range(50):  # what is above the most goes to where there is room
        over = np.maximum(drawn - bounds.high, 0).sum(axis=1, keepdims=True)
        drawn = np.minimum(drawn, bounds.high)
        room = bounds.high - drawn
        drawn = drawn + room * over / np.maximum(room.sum(axis=1, keepdims=True), 1e-12)
    both = np.concatenate([trained_nK, drawn])
    found: FloatArray = both[bounds.keep(both)]
    return found
