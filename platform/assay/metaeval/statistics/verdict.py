"""The four words in which every comparison ends: better, worse, equivalent, undecided. Pure.

better, worse   the interval at the level that decides (Holm's step in a family) leaves 0 out
equivalent      both one-sided tests against a stated margin hold at 5 % (TOST: the 90 % interval lies within it)
undecided       neither; said with what it would take: the difference that could have been found, and the draws needed

An interval that knows nothing about retraining decides nothing, however narrow it is. `decide_family` is the one way
from differences and their errors to p, Holm's p, the deciding level, its interval and the word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from assay.metaeval.statistics.clustered import minimum_detectable_effect, student_quantile, t_test
from assay.metaeval.statistics.rates import holm, holm_steps

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
    run_error: float = math.nan
    """The part of the standard error that more draws would lower; NaN where nothing is known about it."""
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


@dataclass(frozen=True, slots=True)
class Decision:
    """What a family says about one of its comparisons; numbers are NaN where it is no member."""

    p: float
    """Two-sided, of this comparison alone."""
    p_holm: float
    family_size: int
    alpha: float
    """Level of the step of Holm's procedure that decides about this comparison."""
    low: float
    """Lower end of the interval at that level: it leaves 0 out exactly where Holm's p is below .05."""
    high: float
    mde: float
    """Smallest true difference found at that level with a chance of 80 %."""
    verdict: Verdict


def decide_family(family: Sequence[Evidence], *, margins: Sequence[float] | float = 0.0) -> list[Decision]:
    """Every comparison of a family by Holm's procedure at 5 %.

    Args:
        family: the comparisons; one that is about items only, or without a standard error, is no member.
        margins: of each comparison, or of all; in the scorer's unit, 0 for none.
    """
    is_member = [found.is_about_runs and found.standard_error > 0 and found.dof > 0 for found in family]
    p_values = [
        t_test(found.difference, found.standard_error, found.dof) if member else math.nan
        for found, member in zip(family, is_member, strict=True)
    ]
    size = sum(not math.isnan(p) for p in p_values)
    decisions = []
    for place, (found, p_holm, alpha) in enumerate(zip(family, holm(p_values), holm_steps(p_values), strict=True)):
        margin = margins if isinstance(margins, (int, float)) else margins[place]
        if math.isnan(p_holm):
            none = math.nan
            decisions.append(Decision(none, none, 0, none, none, none, none, verdict(found, margin=margin)))
            continue
        own = replace(found, alpha=float(alpha))
        half = student_quantile(1 - own.alpha / 2, own.dof) * own.standard_error
        mde = minimum_detectable_effect(own.standard_error, own.dof, own.alpha)
        ends = own.difference - half, own.difference + half
        word = verdict(own, margin=margin)
        decisions.append(Decision(p_values[place], float(p_holm), size, own.alpha, *ends, mde, word))
    return decisions


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
    if abs(evidence.difference) >= student_quantile(1 - evidence.alpha / 2, dof) * error:
        return Verdict("better" if evidence.difference > 0 else "worse")
    if margin > 0 and abs(evidence.difference) + student_quantile(1 - EQUIVALENCE_ALPHA, dof) * error <= margin:
        return Verdict("equivalent")
    return Verdict("undecided", _would_take(evidence, margin))


def draws_needed(evidence: Evidence, margin: float) -> int | None:
    """Draws on each side with which a difference of `margin` is found with a chance of 80 %.

    The part of the error that draws do not lower (the items) stays as it is; None where more than 10,000 are needed,
    where the items alone are too much, and where the runs' part is 0 or not known.
    """
    of_one = evidence.run_error**2 * max(1, evidence.num_runs)
    if margin <= 0 or not of_one > 0 or _items_hide(evidence, margin):
        return None
    items = _items_part(evidence)
    low, high = 1, 2
    while not _finds(high, of_one, items, evidence.alpha, margin):
        low, high = high, high * 2
        if high > _MOST_DRAWS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _finds(middle, of_one, items, evidence.alpha, margin) else (middle, high)
    return high


def _items_part(evidence: Evidence) -> float:
    """Variance that draws do not lower."""
    return max(0.0, evidence.standard_error**2 - evidence.run_error**2)


def _items_hide(evidence: Evidence, margin: float) -> bool:
    """Whether any number of draws leaves an error of items under which the margin is not found."""
    return minimum_detectable_effect(math.sqrt(_items_part(evidence)), alpha=evidence.alpha) >= margin


def _finds(draws: int, of_one: float, items: float, alpha: float, margin: float) -> bool:
    variance = of_one / draws + items
    dof = 2 * (draws - 1) * (variance / (of_one / draws)) ** 2
    return minimum_detectable_effect(math.sqrt(variance), dof, alpha) <= margin


def _would_take(evidence: Evidence, margin: float) -> str:
    mde = minimum_detectable_effect(evidence.standard_error, evidence.dof, evidence.alpha)
    found = f"could find {mde:.3f}"
    if abs(evidence.difference) >= mde:
        found = f"as large as what could be found ({mde:.3f}), by chance of these runs not told from 0"
    more = _more(evidence, mde, margin)
    return f"{found}; {more}" if more else found


def _more(evidence: Evidence, mde: float, margin: float) -> str:
    """What would find a difference as large as the margin; empty where nothing can be said."""
    if margin <= 0 or math.isnan(evidence.run_error):
        return ""
    name = f"the margin of {margin:g}"
    if mde <= margin:
        return f"a true difference of {name} would be found"
    if evidence.run_error == 0:
        return f"its runs show no spread, so more draws are no help: {name} needs more items"
    needed = draws_needed(evidence, margin)
    if needed is not None:
        return f"{needed:,} draws a side would find {name}"
    if _items_hide(evidence, margin):
        return f"no number of draws finds {name} on these items: needs more items"
    return f"{name} needs more than {_MOST_DRAWS:,} draws a side"
