"""The four words in which every comparison ends: better, worse, equivalent, undecided. Pure.

better, worse   the interval at the level that decides (Holm's step in a family) leaves 0 out
equivalent      both one-sided tests against a stated margin hold at 5 % (TOST: the 90 % interval lies within it)
undecided       neither; said with what it would take: the difference that could have been found, and the draws needed

An interval that knows nothing about retraining decides nothing, however narrow it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from assay.metaeval.statistics.clustered import student_quantile

Word = Literal["better", "worse", "equivalent", "undecided"]

MARGIN = 0.02
"""Differences within this share of the scorer's range count as equivalent, where a study states no other margin."""
EQUIVALENCE_ALPHA = 0.05
_MOST_DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about one difference, in the scorer's unit."""

    difference: float
    standard_error: float
    dof: float
    run_error: float = 0.0
    """The part of the standard error that more draws would lower."""
    num_runs: int = 1
    """Draws of the smaller side."""
    is_about_runs: bool = True
    """False: the interval is over items only, which decides nothing about mixtures."""
    alpha: float = 0.05
    """Level of the test that decides: Holm's step in a family."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of four words, and where it is "undecided" what it would take."""

    word: Word
    why: str = ""
    """Of "undecided": what is missing."""
    mde: float = math.nan
    """Smallest true difference found at the deciding level with a chance of 80 %."""
    draws_needed: int | None = None
    """Draws on each side that would find a difference as large as the margin; None: not known, or none would do."""

    @property
    def text(self) -> str:
        """The word, with what an undecided one would take."""
        return self.word if not self.why else f"{self.word} ({self.why})"


def verdict(evidence: Evidence, *, margin: float) -> Verdict:
    """The word for one comparison; higher scores are better.

    Args:
        evidence: the difference and how well it is known.
        margin: differences within it, either way, are of no interest; in the scorer's unit, 0 for none.
    """
    error, dof = evidence.standard_error, evidence.dof
    if math.isnan(evidence.difference):
        return Verdict("undecided", "nothing to compare")
    if not evidence.is_about_runs:
        return Verdict("undecided", "items only: needs two runs or more on each side")
    if not error > 0 or not dof > 0:
        return Verdict("undecided", "no spread to judge by")
    half = student_quantile(1 - evidence.alpha / 2, dof) * error
    mde = half + student_quantile(0.8, dof) * error
    if abs(evidence.difference) >= half:
        return Verdict("better" if evidence.difference > 0 else "worse", mde=mde)
    if margin > 0 and abs(evidence.difference) + student_quantile(1 - EQUIVALENCE_ALPHA, dof) * error <= margin:
        return Verdict("equivalent", mde=mde)
    needed = draws_needed(evidence, margin)
    return Verdict("undecided", _would_take(evidence, mde, margin, needed), mde, needed)


def draws_needed(evidence: Evidence, margin: float) -> int | None:
    """Draws on each side with which a difference of `margin` is found with a chance of 80 %.

    The part of the error that draws do not lower (the items) stays as it is; None where it alone is too much.
    """
    items = max(0.0, evidence.standard_error**2 - evidence.run_error**2)
    of_one = evidence.run_error**2 * max(1, evidence.num_runs)
    if (
        margin <= 0
        or of_one <= 0
        or (student_quantile(1 - evidence.alpha / 2, math.inf) + 0.8416) ** 2 * items >= (margin**2)
    ):
        return None
    low, high = 1, 2
    while not _finds(high, of_one, items, evidence.alpha, margin):
        low, high = high, high * 2
        if high > _MOST_DRAWS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _finds(middle, of_one, items, evidence.alpha, margin) else (middle, high)
    return high


def _finds(draws: int, of_one: float, items: float, alpha: float, margin: float) -> bool:
    variance = of_one / draws + items
    dof = 2 * (draws - 1) * (variance / (of_one / draws)) ** 2
    return (student_quantile(1 - alpha / 2, dof) + student_quantile(0.8, dof)) * math.sqrt(variance) <= margin


def _would_take(evidence: Evidence, mde: float, margin: float, needed: int | None) -> str:
    found = f"could find {mde:.3f}"
    if abs(evidence.difference) >= mde:
        found = f"as large as what could be found ({mde:.3f}), by chance of these runs not told from 0"
    if margin <= 0:
        return found
    more = (
        f"{needed:,} draws a side would find the margin of {margin:g}"
        if needed
        else (f"no number of draws finds the margin of {margin:g} on these items: needs more items")
    )
    return f"{found}; {more}"
