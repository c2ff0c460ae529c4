"""Rows of the study's leaderboard: every arm against the baseline on every evaluation set, under every scorer."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from assay.metaeval.statistics.comparison import Comparison, pareto_front
from assay.metaeval.study_tables.curves import zero_rows
from assay.metaeval.study_tables.deciding import Comparer, Row, compared, settle
from assay.metaeval.study_tables.frame import Panel, RunRow, ScorerInfo, StudyFrame

REPEATS = "the same weights as in the series"
"""Why an arm has neither a rank nor a place in the family."""


def leaderboard_rows(frame: StudyFrame, baseline: str | None) -> list[Row]:
    """One row per base model, evaluation set, scorer and arm.

    Args:
        frame: the study's scores.
        baseline: label of the baseline; None: the N = 0 mixture of the arm's series.
    """
    forgetting: dict[tuple[str, str, str], Comparison] = {}
    """By base model, arm and scorer: on the set where most was lost, where there are several."""
    rows: list[Row] = []
    members: list[tuple[Row, Comparison, ScorerInfo]] = []
    comparer = Comparer(frame)
    # sets of forgetting first: their differences stand beside every other set's
    for panel in sorted(frame.panels.values(), key=lambda panel: (not panel.is_forgetting, panel.evaluation_set)):
        for (base_model, arm), own in sorted(_arms(panel).items()):
            run = panel.runs[own[0]]
            against = _baseline_rows(panel, base_model, run, baseline)
            for number, scorer in enumerate(frame.scorers):
                values = panel.values[number]
                if not np.isfinite(values[own]).any():
                    continue
                found = comparer.compare(panel, number, own, against)
                key = (base_model, arm, scorer.name)
                if panel.is_forgetting and not (forgetting.get(key, found).difference.value < found.difference.value):
                    forgetting[key] = found
                rows.append(_row(panel, scorer, own, against, found, forgetting.get(key)))
                if own != against:
                    members.append((rows[-1], found, scorer))
    lost_on = {name for name, panel in frame.panels.items() if panel.is_forgetting}
    counted = [row for row in rows if not row["reason"].startswith(REPEATS)]
    _adjust([member for member in members if not member[0]["reason"].startswith(REPEATS)], lost_on)
    _rank(counted, lost_on)
    return rows


def _arms(panel: Panel) -> dict[tuple[str, str], list[int]]:
    arms: dict[tuple[str, str], list[int]] = {}
    for row, run in enumerate(panel.runs):
        arms.setdefault((run.base_model, run.arm), []).append(row)
    return arms


def _baseline_rows(panel: Panel, base_model: str, run: RunRow, baseline: str | None) -> list[int]:
    if baseline is None:
        return list(zero_rows(panel, base_model, run.series, run.trained_task))
    return [row for row, run in enumerate(panel.runs) if run.base_model == base_model and run.arm == baseline]


def _row(
    panel: Panel,
    scorer: ScorerInfo,
    members: list[int],
    against: list[int],
    found: Comparison,
    forgotten: Comparison | None,
) -> Row:
    run = panel.runs[members[0]]
    is_baseline = members == against
    difference = found.difference
    reason = difference.reason
    if not against:
        reason = "the baseline has no run on this evaluation set"
    elif is_baseline:
        reason = ""
    if run.repeats:
        reason = f"{REPEATS} {run.repeats}" + (f"; {reason}" if reason else "")
    return {
        "base_model": run.base_model,
        "evaluation_set": panel.evaluation_set,
        "scorer": scorer.name,
        "arm": run.arm,
        "series": run.series,
        "trained_task": run.trained_task,
        "num_target": run.num_target,
        "baseline": panel.runs[against[0]].arm if against else "",
        "is_baseline": is_baseline,
        "rank": None,
        "mean": found.mean,
        "baseline_mean": found.baseline_mean,
        **compared(found, is_baseline=is_baseline),
        "num_items": found.num_items,
        "num_items_left_out": found.num_items_left_out,
        "num_runs": len(members),
        "num_baseline_runs": len(against),
        "forgetting": math.nan if forgotten is None else 0.0 if is_baseline else forgotten.difference.value,
        "forgetting_low": math.nan if forgotten is None or is_baseline else forgotten.difference.low,
        "forgetting_high": math.nan if forgotten is None or is_baseline else forgotten.difference.high,
        "forgetting_unit": "" if forgotten is None or is_baseline else forgotten.unit,
        "forgetting_items": 0 if forgotten is None else forgotten.num_items,
        "is_pareto": False,
        "unit": "" if is_baseline else found.unit,
        "method": "" if is_baseline else difference.method,
        "reason": reason,
    }


def _adjust(members: list[tuple[Row, Comparison, ScorerInfo]], lost_on: Collection[str]) -> None:
    """Families: base model x scorer, the target sets and those of forgetting each for themselves."""
    families: dict[tuple[str, str, bool], list[tuple[Row, Comparison, ScorerInfo]]] = {}
    for row, found, scorer in members:
        if found.num_items:
            key = row["base_model"], row["scorer"], row["evaluation_set"] in lost_on
            families.setdefault(key, []).append((row, found, scorer))
    for family in families.values():
        settle(family)


def _rank(rows: list[Row], lost_on: Collection[str]) -> None:
    """Place by difference to the baseline (by mean, where there are several), and the Pareto front of both changes."""
    boards: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        boards.setdefault((row["base_model"], row["evaluation_set"], row["scorer"]), []).append(row)
    for (_, name, _), board in boards.items():
        gains = np.array([row["difference"] for row in board])
        # gains over several baselines (starting points, held-out categories) do not compare; means do
        several = len({row["baseline"] for row in board}) > 1
        places = np.array([row["mean"] for row in board]) if several else gains
        for row, place in zip(board, places, strict=True):
            row["rank"] = None if math.isnan(place) else 1 + int(np.sum(places > place))
        if name in lost_on:
            continue
        losses = np.array([-row["forgetting"] for row in board])
        for row, is_on_front in zip(board, pareto_front(gains, losses), strict=True):
            row["is_pareto"] = bool(is_on_front)
