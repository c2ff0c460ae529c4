"""Decisions in words, from the stored record: for `assay status` and reports. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.studies.deciding.prices import Prices, would_take


def decision_lines(family: Mapping[str, Any], prices: Prices | None = None) -> list[str]:
    """A line for each round of one question: what it saw, what is out and by how much, what is open."""
    label = f"{family['task']} on {family['base_model']}"
    lines = []
    for one in family["rounds"]:
        items = "" if one.get("items") is None else f" and {one['items']} items"
        parts = [f"best so far {one['leader']} {one['leader_mean']:.3f}{_ends(one['leader_low'], one['leader_high'])}"]
        parts += [f"{arm} out: {_why(one, arm, why)}" for arm, why in one["dropped"].items()]
        parts += [f"{arm} kept as asked, though {_why(one, arm, why)}" for arm, why in one["kept"].items()]
        parts.append("answered" if one["is_answered"] else _open(one, family["task"], prices))
        lines.append(f"{label}, after {one['look']} draws{items}: {'; '.join(parts)}")
    return lines


def _why(one: Mapping[str, Any], arm: str, why: str) -> str:
    """The reason, with the difference that it rests on."""
    rival = why.removeprefix("worse than ")
    for finding in one["findings"]:
        if {finding["first"], finding["second"]} == {arm, rival}:
            sign = 1 if finding["first"] == arm else -1
            low, high = sorted((sign * finding["low"], sign * finding["high"]))
            return f"{why} by {sign * finding['difference']:+.3f}{_ends(low, high)}"
    return why


def _open(one: Mapping[str, Any], task: str, prices: Prices | None) -> str:
    waiting = [finding for finding in one["findings"] if finding["word"] == "undecided"]
    told = f"undecided: {len(waiting)} of {len(one['findings'])} differences open"
    nearest = min((part for part in waiting if part["more"] is not None), key=lambda part: part["more"], default=None)
    if nearest is None:
        return told
    needed = would_take(nearest, one["look"], one.get("items"), task, prices)
    return (
        f"{told}; the nearest, {nearest['first']} against {nearest['second']}, would need {needed}" if needed else told
    )


def _ends(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
