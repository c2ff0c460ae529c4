"""What a mixture study found, for its section of the page and its first sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.reports.drawing import Rows
from assay.reports.wording import against_baseline, number, percent, plural, rate, signed, standing

Cells = list[Mapping[str, Any]]


def objectives(rows: Rows) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Rows of the objective by scorer, the goal's first; each by base model and rank."""
    by_scorer: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (not row["is_goal"], row["scorer"])):
        by_scorer.setdefault(row["scorer"], []).append(row)
    return [
        (scorer, sorted(part, key=lambda row: (row["base_model"], row["rank"] or 10**6, row["arm"])))
        for scorer, part in by_scorer.items()
    ]


def taken(rows: Rows) -> list[tuple[str, list[str], list[tuple[str, Cells]]]]:
    """Per base model: the components, and per arm what the first draw took of each."""
    found: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in sorted(rows, key=lambda row: int(row["draw"]), reverse=True):
        found.setdefault(row["base_model"], {}).setdefault(row["arm"], {})[row["component"]] = row
    told = []
    for base, arms in sorted(found.items()):
        components = sorted({name for part in arms.values() for name in part})
        lines = [(arm, [part[name] for name in components]) for arm, part in sorted(arms.items())]
        told.append((base, components, lines))
    return told


def best_mixtures(objective: Rows, shares: Rows, arm: str = "mixture") -> list[str]:
    """Of each base model, the arm with the highest objective among those that keep the constraint.

    `arm` is what an arm is: a mixture, or a model as it is.
    """
    return [_best(row, objective, shares, arm) for row in objective if row["is_goal"] and row["is_best"]]


def _best(row: Mapping[str, Any], objective: Rows, shares: Rows, arm: str) -> str:
    subject = f"{arm.capitalize()}s" + (f" on {row['base_model']}" if shares else "")
    key = ("scorer", "base_model")
    rows = [other for other in objective if all(other[name] == row[name] for name in key)]
    baseline = next((str(other["arm"]) for other in rows if other["is_baseline"]), "the baseline")
    keep = sum(other["constraint"] in ("", "kept") for other in rows)
    among = (
        f"of the {keep} of {len(rows)} that keep the constraint by their intervals"
        if row["constraint"]
        else f"of {len(rows)}"
    )
    sets = f"the weighted mean over {plural(row['num_sets'], 'target set')}"
    if row["is_baseline"]:
        return (
            f"{subject}: {among} none is above the baseline {baseline}, {number(row['mean'])} by "
            f"{row['scorer']}, {sets}."
        )
    lost = ""
    if row["lost_on"]:
        low, high = (None if row[end] is None else -row[end] for end in ("lost_high", "lost_low"))
        lost = f"; on {row['lost_on']} {signed(-row['lost'])} {rate(low, high)}"
    parts = [part for part in shares if (part["base_model"], part["arm"]) == (row["base_model"], row["arm"])]
    first = min((part["draw"] for part in parts), default=0)
    told = ", ".join(f"{part['component']} {percent(part['share'])}" for part in parts if part["draw"] == first)
    took = f" ({told})" if told else ""
    against = against_baseline({**row, "baseline": baseline}, row["scorer"])
    return f"{subject}: {among}, {row['arm']}{took} {standing(row)}. By {sets} {against}{lost}."
