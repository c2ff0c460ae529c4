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
from assay.metaeval.statistics.verdict import Evidence, decide_family

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
    means = [(float(np.mean(first)), float(np.mean(second)), len(first)) for first, second in family]
    evidence = [
        Evidence(b - a, _standard_error(first, second), n - 1)
        for (a, b, n), (first, second) in zip(means, family, strict=True)
    ]
    rows = []
    for (a, b, n), known, decision in zip(means, evidence, decide_family(evidence, margins=margin), strict=True):
        error = known.standard_error
        half = student_quantile(0.975, n - 1) * error if error > 0 else math.nan
        word = decision.verdict.word
        rows.append(PairedItems(a, b, b - a - half, b - a + half, decision.p, decision.p_holm, n, word))
    return rows


def _standard_error(first: Sequence[float], second: Sequence[float]) -> float:
    differences = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    if differences.size < MIN_ITEMS:
        return math.nan
    return float(differences.std(ddof=1) / math.sqrt(differences.size))
