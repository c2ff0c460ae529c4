"""Two given models on the same items: paired differences of a family of metrics, with Holm and equivalence.

Pure NumPy. The models are fixed, so the interval is about items drawn anew: Student's t over the items' differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.rates import holm, holm_steps
from assay.metaeval.statistics.verdict import Evidence, verdict

MIN_ITEMS = 6
"""Below, differences of items give no interval."""


@dataclass(frozen=True, slots=True)
class PairedItems:
    """Second minus first on common items."""

    first: float
    second: float
    low: float
    high: float
    """95 % interval of the difference; NaN where there is none."""
    p: float
    p_holm: float
    num_items: int
    word: str
    """"better", "worse", "equivalent" (within the margin, two one-sided tests) or "undecided", of the second."""

    def as_json(self) -> dict[str, Any]:
        """Plain data, None for what is undefined."""
        known = {"low": self.low, "high": self.high, "p": self.p, "p_holm": self.p_holm}
        return {
            "num_items": self.num_items,
            "a": self.first,
            "b": self.second,
            "difference": self.second - self.first,
            **{name: None if math.isnan(value) else value for name, value in known.items()},
            "word": self.word,
        }


def paired_items(
    family: Sequence[tuple[Sequence[float], Sequence[float]]], *, margin: float = 0.0
) -> list[PairedItems]:
    """Each pair of columns compared, the family's p-values adjusted together.

    Args:
        family: per metric the scores of both models on the same items, none missing; at least one item.
        margin: differences within it, either way, count as equivalent; 0 for none.
    """
    errors = [_standard_error(first, second) for first, second in family]
    p = np.array([_p(first, second, error) for (first, second), error in zip(family, errors, strict=True)])
    adjusted, alphas = holm(p), holm_steps(p)
    rows = []
    for (first, second), error, own, shared, alpha in zip(family, errors, p, adjusted, alphas, strict=True):
        a, b, n = float(np.mean(first)), float(np.mean(second)), len(first)
        half = student_quantile(0.975, n - 1) * error if error > 0 else math.nan
        level = 0.05 if math.isnan(alpha) else float(alpha)
        word = verdict(Evidence(b - a, error, n - 1, alpha=level), margin=margin).word
        rows.append(PairedItems(a, b, b - a - half, b - a + half, float(own), float(shared), n, word))
    return rows


def _standard_error(first: Sequence[float], second: Sequence[float]) -> float:
    differences = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    if differences.size < MIN_ITEMS:
        return math.nan
    return float(differences.std(ddof=1) / math.sqrt(differences.size))


def _p(first: Sequence[float], second: Sequence[float], error: float) -> float:
    if not error > 0:
        return math.nan
    from scipy.stats import t

    value = float(np.mean(second) - np.mean(first))
    return float(2 * t.sf(abs(value) / error, len(first) - 1))
