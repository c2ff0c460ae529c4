"""Two given models on the same items: paired differences of a family of metrics, with Holm and equivalence.

Pure NumPy. The models are fixed, so the interval is about items drawn anew: Student's t over the items' differences.
Where all items differ by the same amount there is no spread to make an interval of: their signs are tested instead, and
where no item differs at all, how many unseen ones can differ bounds the mean difference.
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
    decisions = decide_family(evidence, margins=margin)
    rows = []
    for (a, b, n), pair, known, decision in zip(means, family, evidence, decisions, strict=True):
        half = student_quantile(0.975, n - 1) * known.standard_error if _spread(*pair) > 0 else math.nan
        word = decision.verdict.word
        rows.append(PairedItems(a, b, b - a - half, b - a + half, decision.p, decision.p_holm, n, word))
    return rows


def _spread(first: Sequence[float], second: Sequence[float]) -> float:
    """Standard deviation of the differences; 0 where it is of rounding alone, NaN of too few."""
    differences = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    if differences.size < MIN_ITEMS:
        return math.nan
    is_rounding = np.ptp(differences) <= 1e-12 * float(np.abs(differences).max())
    return 0.0 if is_rounding else float(differences.std(ddof=1))


def _standard_error(first: Sequence[float], second: Sequence[float]) -> float:
    """Of the mean difference; without spread the one under which the t test says what is known all the same."""
    n, spread = len(first), _spread(first, second)
    if math.isnan(spread) or spread > 0:
        return spread / math.sqrt(n)
    difference = abs(float(np.mean(second) - np.mean(first)))
    if difference > 0:  # all signs alike: they would be as likely the other way round
        return difference / student_quantile(1 - 2.0**-n, n - 1)
    # with n items alike, at most a share of 1 - .05^(1/n) of all items differs (95 %), each by the range at most
    most = (1 - 0.05 ** (1 / n)) * float(np.ptp(np.concatenate([first, second])))
    return most / student_quantile(0.95, n - 1) if most > 0 else math.nan
