"""Decisions in words, from the stored record: for `assay status` and reports. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def decision_lines(family: Mapping[str, Any]) -> list[str]:
    """A line for each round of one question: what it saw, what is out and by how much, what is open."""
    label = f"{family['task']} on {family['base_model']}"
    lines = []
    for one in family["rounds"]:
        items = "" if one.get("items") is None else f" and {one['items']} items"
        parts = [f"best so far {one['leader']} {one['leader_mean']:.3f}{_ends(one['leader_low'], one['leader_high'])}"]
        parts += [f"{arm} out: {_why(one, arm, why)}" for arm, why in one["dropped"].items()]
        parts += [f"{arm} kept as asked, though {_why(one, arm, why)}" for arm, why in one["kept"].items()]
        parts.append("answered" if one["is_answered"] else _open(one))
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


def _open(one: Mapping[str, Any]) -> str:
    waiting = [finding for finding in one["findings"] if finding["word"] == "undecided"]
    more = [finding["more"] for finding in waiting if finding["more"] is not None]
    needed = f", the nearest to be told by about {min(more):,} more draws" if more else ""
    shares = [finding["items_share"] for finding in waiting]
    if shares and max(shares) > 0.5:
        needed += f" ({max(shares):.0%} of the variance of one is the items': more of those would help it more)"
    return f"{len(waiting)} of {len(one['findings'])} differences open{needed}"


def _ends(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
