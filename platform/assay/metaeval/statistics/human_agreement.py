"""Where a judge stands among people: its agreement with them as a z-score inside the agreement that people have.

Pure NumPy. A rater's agreement is its mean Pearson correlation with each (other) person over the items that both
rated. z = (judge - mean of people) / standard deviation of people: within 1 either way a judge agrees as a person
does; far above, it agrees more than people do (it may know their mean and none of their differences).
Source: the z-score of the Judge's Verdict benchmark (Han et al. 2025), with correlations for kappas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.estimate import Estimate, FloatArray

MIN_PEOPLE = 3
MIN_ITEMS = 10


@dataclass(frozen=True, slots=True)
class HumanAgreement:
    """A judge among people."""

    judge: float
    """Its mean agreement with people."""
    people: tuple[float, ...]
    """Mean agreement of each person with the others."""
    z: float
    """NaN where people all agree alike, or `reason` says why."""
    difference: Estimate
    """Judge minus the mean of people, 95 % interval by a jackknife over items."""
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "judge": _known(self.judge),
            "people": [_known(value) for value in self.people],
            "z": _known(self.z),
            "difference": self.difference.as_json(),
            **({"reason": self.reason} if self.reason else {}),
        }


def human_agreement(judge: Sequence[float], people: FloatArray) -> HumanAgreement:
    """The judge's place.

    Args:
        judge: its scores, NaN where unscored; shape (items,).
        people: theirs, NaN where a person rated nothing; shape (people, items).

    Raises:
        ValueError: shapes differ.
    """
    scores = np.asarray(judge, dtype=float)
    if people.ndim != 2 or people.shape[1] != scores.size:
        raise ValueError(f"{scores.shape} judge and {people.shape} human scores; expected the same items")
    rated = np.isfinite(scores) & (np.isfinite(people).sum(axis=0) >= 2)
    scores, people = scores[rated], people[:, rated]
    if people.shape[0] < MIN_PEOPLE or scores.size < MIN_ITEMS:
        reason = f"{people.shape[0]} people and {scores.size} items; at least {MIN_PEOPLE} and {MIN_ITEMS} are needed"
        return HumanAgreement(math.nan, (), math.nan, Estimate.undefined(reason, scores.size), reason)
    own, others = _agreements(scores, people)
    spread = float(np.std(others, ddof=1))
    z = (own - float(np.mean(others))) / spread if spread > 0 else math.nan
    value = own - float(np.mean(others))
    left_out = []
    for item in range(scores.size):
        kept = np.arange(scores.size) != item
        one, rest = _agreements(scores[kept], people[:, kept])
        left_out.append(one - float(np.mean(rest)))
    n = scores.size
    error = math.sqrt((n - 1) / n * float(np.sum((np.array(left_out) - np.mean(left_out)) ** 2)))
    half = student_quantile(0.975, n - 1) * error if error > 0 else math.nan
    estimate = Estimate(value, value - half, value + half, n, n, "jackknife over items")
    return HumanAgreement(own, tuple(map(float, others)), z, estimate)


def _agreements(judge: FloatArray, people: FloatArray) -> tuple[float, FloatArray]:
    rows = np.vstack([judge[None, :], people])
    size = rows.shape[0]
    table = np.full((size, size), np.nan)
    for first in range(size):
        for second in range(first + 1, size):
            table[first, second] = table[second, first] = _correlation(rows[first], rows[second])
    return float(np.nanmean(table[0, 1:])), np.asarray(np.nanmean(table[1:, 1:], axis=1))


def _correlation(first: FloatArray, second: FloatArray) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    x, y = first[both], second[both]
    if x.size < 3 or x.std() == 0 or y.std() == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
