"""Mean scores by predictions artifact, from stored scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def mean_scores(scores: Sequence[pa.Table], scorer: str) -> dict[str, float]:
    """Mean of one scorer by predictions key over the rows that it scored; nan where it scored none.

    Rows are added up in the order of their ids, so that equal evidence gives the same last digit.
    """
    import math

    ratings: dict[str, list[tuple[str, float | None]]] = {}
    for table in scores:
        columns = (table.column(name).to_pylist() for name in ("predictions_key", "example_id", "scorer", "rating"))
        for key, example, name, rating in zip(*columns, strict=True):
            if name == scorer:
                ratings.setdefault(key, []).append((example, rating))
    means = {}
    for key, rows in ratings.items():
        known = [rating for _, rating in sorted(rows, key=lambda row: row[0]) if rating is not None]
        means[key] = math.fsum(known) / len(known) if known else math.nan
    return means
