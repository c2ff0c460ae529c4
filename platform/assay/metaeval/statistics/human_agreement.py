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

from assay.metaeval.statistics.bootstrap import jackknife_interval, rows_as_clusters
from assay.metaeval.statistics.correlation import pearson
from assay.metaeval.statistics.estimate import Estimate, FloatArray

MIN_PEOPLE = 3
MIN_ITEMS = 10
_MIN_COMMON = 3
"""Items that two raters must share for a correlation."""


@dataclass(frozen=True, slots=True)
class HumanAgreement:
    """A judge among people."""

    judge: float
    """Its mean agreement with people."""
    people: tuple[float, ...]
    """Mean agreement of each person with the others."""
    z: float
    """NaN where `reason` says why."""
    difference: Estimate
    """Judge minus the mean of people, 95 % interval by a jackknife over items."""
    reason: str = ""
    """Why a number is missing; empty where none is."""

    def as_json(self) -> dict[str, Any]:
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
    known = others[np.isfinite(others)]
    reason = _missing(own, others)
    if math.isnan(own) or known.size < MIN_PEOPLE:
        difference = Estimate.undefined(reason, scores.size)
        return HumanAgreement(own, tuple(map(float, others)), math.nan, difference, reason)
    spread = float(np.std(known, ddof=1))
    if not spread > 0:
        reason = "; ".join(part for part in (reason, "people agree exactly alike, so there is no z") if part)
    z = _gap(own, others) / spread if spread > 0 else math.nan
    items = np.arange(scores.size)
    left_out = np.array([_gap(*_agreements(scores[items != item], people[:, items != item])) for item in items])
    difference = jackknife_interval(_gap(own, others), left_out, rows_as_clusters(scores.size), n=scores.size)
    return HumanAgreement(own, tuple(map(float, others)), z, difference, reason)


def _gap(judge: float, people: FloatArray) -> float:
    known = people[np.isfinite(people)]
    return judge - float(known.mean()) if known.size else math.nan


def _missing(judge: float, people: FloatArray) -> str:
    """Who has no correlation with any person, and why that can be."""
    lacking = [str(place + 1) for place in np.flatnonzero(np.isnan(people))]
    who = ["the judge"] if math.isnan(judge) else []
    who += [f"person {', '.join(lacking)}"] if lacking else []
    why = f"constant scores, or fewer than {_MIN_COMMON} items in common"
    return f"{' and '.join(who)}: no correlation with people ({why})" if who else ""


def _agreements(judge: FloatArray, people: FloatArray) -> tuple[float, FloatArray]:
    """Mean correlation with the (other) people of the judge and of each person; NaN where there is none."""
    rows = np.vstack([judge[None, :], people])
    table = np.full((len(rows), len(rows)), np.nan)
    for first in range(len(rows)):
        for second in range(first + 1, len(rows)):
            both = np.isfinite(rows[first]) & np.isfinite(rows[second])
            if both.sum() >= _MIN_COMMON:
                table[first, second] = table[second, first] = pearson(rows[first, both], rows[second, both])
    with_people = table[:, 1:]
    known = np.isfinite(with_people)
    counts = known.sum(axis=1)
    means = np.where(counts > 0, np.where(known, with_people, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)
    return float(means[0]), means[1:]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
