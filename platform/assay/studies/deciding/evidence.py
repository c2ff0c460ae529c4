"""What rounds decide by: each run's rating of each item, from stored scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

Ratings = Mapping[str, float]
"""Item -> rating; items without one are left out."""


def ratings_by_predictions(scores: Sequence[pa.Table], scorer: str) -> dict[str, dict[str, float]]:
    """One scorer's ratings by predictions key; empty where it scored none of its rows."""
    found: dict[str, dict[str, float]] = {}
    for table in scores:
        columns = (table.column(name).to_pylist() for name in ("predictions_key", "example_id", "scorer", "rating"))
        for key, example, name, rating in zip(*columns, strict=True):
            if name == scorer:
                known = found.setdefault(key, {})
                if rating is not None:
                    known[example] = rating
    return found


def mean_of(ratings: Sequence[Ratings]) -> float:
    """Mean over all rated items, the same to the last digit in whatever order they came; nan without any."""
    values = [rating for part in ratings for _, rating in sorted(part.items())]
    return math.fsum(values) / len(values) if values else math.nan


def item_means(runs: Sequence[Ratings]) -> dict[str, float]:
    """Mean over runs of each item, by item in order."""
    by_item: dict[str, list[float]] = {}
    for run in runs:
        for item, rating in run.items():
            by_item.setdefault(item, []).append(rating)
    return {item: math.fsum(by_item[item]) / len(by_item[item]) for item in sorted(by_item)}


def item_variance(values: Sequence[float], num_items: int) -> float:
    """Variance of the mean over these items around that over all, of which they were drawn without replacement.

    Args:
        values: of the items seen.
        num_items: all there are; where all are seen, nothing is left to chance.
    """
    seen = len(values)
    if seen >= num_items or seen < 2:
        return 0.0
    return float(np.var(np.asarray(values), ddof=1)) / seen * (1 - seen / num_items)
