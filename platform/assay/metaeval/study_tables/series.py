"""Rows of the study tables that set conditions beside each other: series at equal N, and scorers over evaluation sets.

A series is what a study varies beside N: where the target rows come from, or what training starts from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from assay.metaeval.statistics.comparison import Comparison, mean_estimate
from assay.metaeval.study_tables.curves import curve_points
from assay.metaeval.study_tables.deciding import Comparer, no_decision, settle
from assay.metaeval.study_tables.frame import Panel, ScorerInfo, StudyFrame
from assay.metaeval.study_tables.leaderboard import REPEATS
from assay.records import INSTRUCTIONS

Row = dict[str, Any]


def series_rows(frame: StudyFrame) -> list[Row]:
    """Every two series of a base model and task at equal N, paired by item; Holm over N and pairs of each scorer.

    A pair with a series that repeats another one stands outside of the family.
    """
    rows: list[Row] = []
    family: list[tuple[Row, Comparison, ScorerInfo]] = []
    comparer = Comparer(frame)
    for task in frame.target_sets:
        panel = frame.panels[task]
        at: dict[tuple[str, int], dict[str, tuple[int, ...]]] = {}
        for point in curve_points(panel, task):
            at.setdefault((point.base_model, point.num_target), {})[point.series] = point.rows
        for (base, num_target), series in sorted(at.items()):
            for first, second in combinations(sorted(series), 2):
                if series[first] == series[second]:
                    continue  # N = 0 of series that share it
                repeated = [panel.runs[row].repeats for row in (*series[first], *series[second])]
                for number, scorer in enumerate(frame.scorers):
                    values = panel.values[number]
                    a, b = list(series[first]), list(series[second])
                    if not np.isfinite(values[a]).any() or not np.isfinite(values[b]).any():
                        continue
                    found = comparer.compare(panel, number, a, b)
                    rows.append(
                        {
                            "base_model": base,
                            "task": task,
                            "scorer": scorer.name,
                            "num_target": num_target,
                            "series": first,
                            "against": second,
                            "mean": found.mean,
                            "against_mean": found.baseline_mean,
                            "difference": found.difference.value,
                            "low": found.difference.low,
                            "high": found.difference.high,
                            "p": found.p,
                            "p_holm": math.nan,
                            "mde": found.mde,
                            **no_decision(),
                            "num_items": found.num_items,
                            "num_runs": len(a),
                            "num_against_runs": len(b),
                            "unit": found.unit,
                            "method": found.difference.method,
                            "reason": found.difference.reason,
                        }
                    )
                    if not any(repeated) and found.num_items:
                        family.append((rows[-1], found, scorer))
                    elif any(repeated):
                        reason = rows[-1]["reason"]
                        rows[-1]["reason"] = f"{REPEATS} {max(repeated)}" + (f"; {reason}" if reason else "")
    _adjust(family)
    return rows


def set_mean_rows(frame: StudyFrame) -> list[Row]:
    """Mean of every scorer on every evaluation set over all runs; of a study of categories the paper's table 2."""
    return [{"evaluation_set": name, **row} for name, panel in frame.panels.items() for row in _mean_rows(frame, panel)]


def category_mean_rows(frame: StudyFrame, categories: Mapping[str, str]) -> list[Row]:
    """The same of the instruction set by category: the paper's table 2, where its instructions are tagged.

    Args:
        frame: the scores.
        categories: category by example of the instruction set; rows without one are left out.
    """
    panel = frame.panels.get(INSTRUCTIONS)
    if panel is None:
        return []
    rows = []
    for category in sorted({name for item in panel.items if (name := categories.get(item, ""))}):
        places = [place for place, item in enumerate(panel.items) if categories.get(item) == category]
        items = tuple(panel.items[place] for place in places)
        part = replace(panel, items=items, values=panel.values[:, :, places])
        rows += [{"category": category, "num_items": len(items), **row} for row in _mean_rows(frame, part)]
    return rows


def _mean_rows(frame: StudyFrame, panel: Panel) -> Iterator[Row]:
    """Mean of every scorer over all runs of a base model and all items of a panel; the mixtures are fixed."""
    comparer = Comparer(frame)
    for base in sorted({run.base_model for run in panel.runs}):
        members = [row for row, run in enumerate(panel.runs) if run.base_model == base and not run.repeats]
        mixtures: dict[tuple[str, ...], list[int]] = {}
        for row in members:
            mixtures.setdefault(panel.runs[row].mixture, []).append(row)
        for number, scorer in enumerate(frame.scorers):
            values = panel.values[number, members]
            count = int(np.isfinite(values).sum())
            if count == 0:
                continue
            blocks = [comparer.block(panel, number, rows) for rows in mixtures.values()]
            estimate, unit = mean_estimate(blocks, low=scorer.low, high=scorer.high)
            yield {
                "base_model": base,
                "scorer": scorer.name,
                "mean": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "num_runs": len(members),
                "num_scored": count,
                "num_unscored": values.size - count,
                "unit": unit,
                "method": estimate.method,
                "reason": estimate.reason,
            }


def _adjust(members: list[tuple[Row, Comparison, ScorerInfo]]) -> None:
    families: dict[tuple[str, str], list[tuple[Row, Comparison, ScorerInfo]]] = {}
    for row, found, scorer in members:
        families.setdefault((row["base_model"], row["scorer"]), []).append((row, found, scorer))
    for family in families.values():
        settle(family)
