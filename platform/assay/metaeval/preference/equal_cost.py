"""Every method against best of n at what its pairs cost: the same calls, spent on answers instead. Pure.

A call is an answer that is sampled or a verdict that is asked for. A method paid for its pairs once, so many calls for
each prompt that they were made of; the start could have answered as many prompts with the best of n for the same calls.
Its training is not counted, which favours methods. How many prompts must be answered until the method is the cheaper
way to its quality is a figure beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.metaeval.preference.answers import ArmAnswers, block, scored_by
from assay.metaeval.preference.frontier import Frontier
from assay.metaeval.preference.measures import Reported
from assay.metaeval.statistics.comparison import Comparison, compare, mean_estimate
from assay.metaeval.study_tables.deciding import no_decision, settle
from assay.metaeval.study_tables.frame import ScorerInfo

GIVEN = "pairs were given: what they cost is not known"


@dataclass(frozen=True)
class Spent:
    """What the pairs of one training cost."""

    prompts: int
    """That they were made of."""
    answers: int
    """Sampled to each of them, over all rounds; 0: nothing was sampled."""
    verdicts: int
    """Asked for about these, by a judge or by the start."""
    verdicts_of: Callable[[int], int]
    """The label's verdicts about n answers to one prompt."""

    @property
    def calls(self) -> int:
        """For one prompt."""
        return self.answers + self.verdicts

    def same(self) -> int:
        """The largest n whose answers and verdicts cost no more for one prompt."""
        n = 1
        while self.price(n + 1) <= self.calls:
            n += 1
        return n

    def price(self, n: int) -> int:
        """Calls of the best of n for one prompt; one answer is picked from nothing."""
        return n + (self.verdicts_of(n) if n > 1 else 0)


def equal_cost_rows(reported: Reported, spent: Mapping[str, Spent]) -> list[dict[str, Any]]:
    """Rows of `preference_equal_cost` of one base model and one source of pairs.

    Args:
        reported: its arms and the start's frontier.
        spent: by method.
    """
    frontier = reported.frontier
    if frontier is None:
        return []
    info = next(info for info in reported.scorers if info.name == reported.human)
    rows: list[dict[str, Any]] = []
    family: list[tuple[dict[str, Any], Comparison, ScorerInfo]] = []
    for arm in reported.arms:
        cost = spent[arm.method]
        rows.append(_row(arm, cost))
        row, mine = rows[-1], block(arm, scored_by(reported.human), reported.examples)
        row["value"] = mean_estimate(mine, low=info.low, high=info.high)[0].value
        if not cost.answers:
            row["reason"] = GIVEN
            continue
        n, most = cost.same(), frontier.labels.shape[1]
        row["n"] = n
        row |= _as_good(row["value"], frontier, reported.human, cost)
        if n > most:
            row["reason"] = f"best of {n} is beyond the {most} answers of the frontier"
            continue
        theirs = frontier.block(frontier.per_prompt(reported.human, n))
        found = compare(mine, theirs, low=info.low, high=info.high)
        row |= {
            "best_of_n": found.baseline_mean,
            "difference": found.difference.value,
            "difference_low": found.difference.low,
            "difference_high": found.difference.high,
            "p": found.p,
            "num_items": found.num_items,
            "unit": found.unit,
            "reason": found.difference.reason,
        }
        family.append((row, found, info))
    settle(family)
    return rows


def _as_good(value: float, frontier: Frontier, human: str, cost: Spent) -> dict[str, Any]:
    """The smallest n whose best is as good as the method, and after how many answered prompts the method is cheaper."""
    most = frontier.labels.shape[1]
    for n in range(1, most + 1):
        best = frontier.per_prompt(human, n)
        if np.isfinite(best).any() and float(np.nanmean(best)) >= value:
            saved = cost.price(n) - 1  # calls for each prompt that the method answers alone
            paid = cost.calls * cost.prompts
            return {"equal_n": n, "break_even_prompts": math.ceil(paid / saved) if saved else None}
    return {"equal_n": None, "break_even_prompts": None}


def _row(arm: ArmAnswers, cost: Spent) -> dict[str, Any]:
    names = ("value", "best_of_n", "difference", "difference_low", "difference_high", "p", "p_holm")
    return {
        "base_model": arm.base_model,
        "pairs": arm.pairs,
        "method": arm.method,
        "prompts": cost.prompts,
        "answers": cost.answers,
        "verdicts": cost.verdicts,
        "n": None,
        **dict.fromkeys(names, math.nan),
        "family_size": 0,
        **no_decision(),
        "equal_n": None,
        "break_even_prompts": None,
        "num_runs": len(arm.runs),
        "num_items": 0,
        "unit": "",
        "reason": "",
    }
