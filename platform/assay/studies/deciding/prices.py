"""What more of a study in rounds would cost, from its plan: beside the decisions, and no part of any.

Plans state GPU-hours and dollars by assumptions that they name; so do these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from assay.metaeval.sequential.next_spend import Part, Way, per_dollar, ways
from assay.studies.planning.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Prices:
    """GPU-hours and dollars for one more of each; None: not known."""

    training_gpu_hours: float | None
    """One training, without its answers."""
    answer_gpu_hours: float | None
    answer_usd: float | None
    """One answer judged."""
    rows: int
    """Answers of one adapter to all that it is asked."""
    seeds: int
    """Trainings of one draw of an arm."""
    num_items: Mapping[str, int]
    """All items of each evaluation set."""
    gpu_hour_usd: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        return cls(**plain)

    def of_draws(self, count: int) -> Cost:
        """So many more draws of both arms of a difference."""
        trainings = 2 * count * self.seeds
        answers = Cost(self.answer_gpu_hours, self.answer_usd).times(trainings * self.rows)
        return Cost(self.training_gpu_hours, 0.0).times(trainings).plus(answers)

    def of_items(self, count: int, draws: int) -> Cost:
        """So many more items for all runs of both arms of a difference."""
        return Cost(self.answer_gpu_hours, self.answer_usd).times(2 * count * draws * self.seeds)


@dataclass(frozen=True, slots=True)
class Cost:
    """GPU-hours and dollars of judges; None: not known."""

    gpu_hours: float | None
    usd: float | None

    def times(self, count: int) -> Cost:
        """So many of it."""
        return Cost(*(None if part is None else count * part for part in (self.gpu_hours, self.usd)))

    def plus(self, other: Cost) -> Cost:
        pairs = ((self.gpu_hours, other.gpu_hours), (self.usd, other.usd))
        return Cost(*(None if a is None or b is None else a + b for a, b in pairs))

    def dollars(self, gpu_hour_usd: float | None) -> float | None:
        """In all, where the price of a GPU-hour is known or none is needed."""
        if self.usd is None or self.gpu_hours is None or (gpu_hour_usd is None and self.gpu_hours > 0):
            return None
        return self.usd + self.gpu_hours * (gpu_hour_usd or 0.0)

    def __str__(self) -> str:
        hours = "GPU-hours unknown" if self.gpu_hours is None else f"{self.gpu_hours:,.3g} GPU-hours"
        return f"{hours}, {'dollars unknown' if self.usd is None else f'{self.usd:,.2f} dollars'}"


def prices_of(decisions: Mapping[str, Any]) -> Prices | None:
    """Those that lie beside a study's decisions; None: it has none."""
    plain = decisions.get("prices")
    return None if plain is None else Prices.of(plain)


def planned_prices(estimate: Estimate, seeds: int, num_items: Mapping[str, int], gpu_hour_usd: float | None) -> Prices:
    """From a study's plan.

    Args:
        estimate: its plan.
        seeds: trainings of one draw of an arm.
        num_items: all items of each evaluation set.
        gpu_hour_usd: dollars of a GPU-hour; None: not known.
    """
    trainings, answers = max(1, estimate.distinct_trainings), max(1, estimate.predictions)
    train = estimate.train_gpu_hours
    asked = None if estimate.gpu_hours is None or train is None else max(0.0, estimate.gpu_hours - train)
    return Prices(
        training_gpu_hours=None if train is None else train / trainings,
        answer_gpu_hours=None if asked is None else asked / answers,
        answer_usd=None if estimate.usd is None else estimate.usd / answers,
        rows=round(answers / trainings),
        seeds=seeds,
        num_items=dict(sorted(num_items.items())),
        gpu_hour_usd=gpu_hour_usd,
    )


def would_take(finding: Mapping[str, Any], look: int, items: int | None, task: str, prices: Prices | None) -> str:
    """What would tell an open difference from 0 if it is as large as measured; empty where nothing can be said.

    Args:
        finding: of a record, with the words of its ends.
        look: draws of both arms so far.
        items: of the task, seen so far; None: all.
        task: its name.
        prices: of the study; None: not known.
    """
    if finding["word"] != "undecided" or finding["low"] is None or finding["high"] is None:
        return ""
    share = float(finding["items_share"])
    parts = [
        Part("draws", 1 - share, look, None if prices is None else prices.of_draws(1).dollars(prices.gpu_hour_usd))
    ]
    most = None if prices is None else prices.num_items.get(task)
    if prices is not None and items is not None and share > 0 and most is not None and items < most:
        parts.append(Part("items", share, items, prices.of_items(1, look).dollars(prices.gpu_hour_usd), most))
    found = ways(parts, difference=finding["difference"], half=(finding["high"] - finding["low"]) / 2)
    told = " or ".join(f"about {way.more:,} more {way.what}{_priced(way, look, prices)}" for way in found)
    if not found and len(parts) > 1:
        told = "more draws and more items"
    if len(parts) > 1 and (best := per_dollar(parts)) is not None:
        told += f"; the next dollar tells most as {best}"
    return told


def _priced(way: Way, look: int, prices: Prices | None) -> str:
    if prices is None:
        return ""
    return f" ({prices.of_draws(way.more) if way.what == 'draws' else prices.of_items(way.more, look)})"
