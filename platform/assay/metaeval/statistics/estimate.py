"""One number as it is shown everywhere: value, interval, what it rests on, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Weights = NDArray[Any]
"""Whole numbers of any dtype: how often a row (first axis) occurs in a resample (second)."""

FEW_CLUSTERS = 50
"""Below this many clusters a percentile interval covers too seldom, so BCa or a studentised one is used."""

MIN_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic with its 95 % interval. Undefined: all three numbers NaN, and `reason` says why."""

    value: float
    low: float
    high: float
    n: int = 0
    """Rows that the value rests on."""
    num_clusters: int = 0
    """Independent units behind the interval; the smaller side where two sides are resampled."""
    method: str = ""
    """How the interval was made."""
    reason: str = ""
    """Why the value or its interval is missing or must be read with care; empty where nothing is to be said."""

    @classmethod
    def undefined(cls, reason: str, n: int = 0, num_clusters: int = 0) -> Estimate:
        """No value, and why."""
        return cls(math.nan, math.nan, math.nan, n, num_clusters, "", reason)

    @property
    def is_defined(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)

    def as_json(self) -> dict[str, Any]:
        """`value`, `low`, `high` (None where undefined) and what else is known."""
        numbers = {name: _none_if_nan(getattr(self, name)) for name in ("value", "low", "high")}
        rest = {"n": self.n, "num_clusters": self.num_clusters, "method": self.method, "reason": self.reason}
        return {**numbers, **{name: value for name, value in rest.items() if value}}


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
