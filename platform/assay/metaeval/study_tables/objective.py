"""Which mixture is the best: every arm by the weighted mean over the target sets, under a limit on forgetting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from assay.metaeval.statistics.clustered import Block
from assay.metaeval.statistics.comparison import Comparison, Pair, compare_weighted, weighted_mean
from assay.metaeval.study_tables.columns import COLUMNS, FAMILY, Column
from assay.metaeval.study_tables.deciding import Comparer, Row, compared, settle
from assay.metaeval.study_tables.frame import Panel, ScorerInfo, StudyFrame

Kept = Literal["", "kept", "broken", "not shown"]
"""Whether an arm keeps the constraint; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What makes one mixture better than another."""

    scorer: str
    weights: Mapping[str, float]
    """Target set -> its weight; they need not add up to 1."""
    baseline: str
    """Arm that the others are compared with."""
    forgetting: tuple[str, ...] = ()
    """Sets of what must not be lost."""
    most_lost: float | None = None
    """Points that an arm may be below the baseline on each of them, by the upper end of the loss's interval; None: no
    constraint."""


_BOARD = {column.name: column for column in COLUMNS["leaderboard"]}
OBJECTIVE_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "objective": (
        _BOARD["base_model"],
        _BOARD["scorer"],
        _BOARD["arm"],
        Column("is_goal", "bool", "by the scorer that the study's goal names"),
        Column("is_baseline", "bool", "this row is the baseline itself"),
        Column("is_best", "bool", "highest mean of those that keep the constraint, decided or not"),
        Column("rank", "int64", "1 = highest mean of this base model and scorer"),
        Column("mean", "float64", "weighted mean of the target sets' means, all scored answers"),
        Column("mean_low", "float64", "lower end of its 95 % interval"),
        Column("mean_high", "float64", "upper end of its 95 % interval"),
        Column("difference", "float64", "to the baseline in the weighted mean, paired by item within each set"),
        _BOARD["low"],
        _BOARD["high"],
        _BOARD["standard_error"],
        _BOARD["dof"],
        _BOARD["p"],
        Column("p_holm", "float64", "p adjusted by Holm over all arms of this base model and scorer"),
        _BOARD["family_size"],
        _BOARD["mde"],
        *FAMILY,
        Column("num_sets", "int64", "target sets"),
        _BOARD["num_items"],
        _BOARD["num_items_left_out"],
        _BOARD["num_runs"],
        _BOARD["num_baseline_runs"],
        Column(
            "lost", "float64", "points below the baseline, on the set of forgetting whose interval reaches furthest"
        ),
        Column("lost_low", "float64", "lower end of its 95 % interval"),
        Column("lost_high", "float64", "upper end of its 95 % interval, which the constraint looks at"),
        Column("lost_error", "float64", "standard error of that loss"),
        Column("lost_dof", "float64", "its degrees of freedom"),
        Column("lost_on", "string", "that set; empty where the study has none"),
        Column(
            "constraint",
            "string",
            "kept, broken (the whole interval is beyond it) or not shown; empty: there is none",
        ),
        _BOARD["unit"],
        _BOARD["method"],
        _BOARD["reason"],
    ),
}


SHARE_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "shares": (
        _BOARD["base_model"],
        Column("arm", "string", "label of the mixture", True),
        Column("draw", "int64", "seed of the sample", True),
        Column("component", "string", "part of the mixture", True),
        Column(
            "asked", "float64", "share that the point names, of rows or tokens; null: in proportion to what there is"
        ),
        Column("share", "float64", "share of the mixture's rows"),
        Column("num_rows", "int64", "rows trained, repeats included"),
        Column("num_repeated", "int64", "of these, rows that are there already: repeats"),
        Column(
            "num_available", "int64", "rows that could be drawn; null where the mixture takes none of the component"
        ),
        Column("num_left_over", "int64", "rows that could be drawn and were not"),
        Column("dropped", "string", "JSON object: why rows of the split could not be drawn -> how many"),
    ),
}


def objective_rows(frame: StudyFrame, objective: Objective) -> list[Row]:
    """One row per base model, scorer and arm that answered every target set."""
    board = _Board(frame, objective)
    rows: list[Row] = []
    for number, scorer in enumerate(frame.scorers):
        members: dict[str, list[tuple[Row, Comparison, ScorerInfo]]] = {}
        for base_model, arm in board.arms:
            row, found = board.row(number, base_model, arm)
            rows.append(row)
            if not row["is_baseline"] and found.num_items:
                members.setdefault(base_model, []).append((row, found, scorer))
        for family in members.values():
            settle(family)
    _rank(rows)
    return rows


class _Board:
    """The arms of a study, and where their runs are."""

    def __init__(self, frame: StudyFrame, objective: Objective) -> None:
        self._frame, self._objective, self._comparer = frame, objective, Comparer(frame)
        whole = sum(objective.weights.values())
        self._targets = [(weight / whole, frame.panels[name]) for name, weight in sorted(objective.weights.items())]
        self._runs: dict[str, dict[tuple[str, str], list[int]]] = {}
        for name in (*objective.weights, *objective.forgetting):
            places = self._runs.setdefault(name, {})
            for place, run in enumerate(frame.panels[name].runs):
                places.setdefault((run.base_model, run.arm), []).append(place)
        answered = [set(self._runs[name]) for name in objective.weights]
        self.arms = sorted(set.intersection(*answered))

    def row(self, number: int, base_model: str, arm: str) -> tuple[Row, Comparison]:
        """An arm by one scorer, and the comparison that its family decides."""
        scorer, is_baseline = self._frame.scorers[number], arm == self._objective.baseline
        pairs = [
            Pair(weight, self._block(panel, number, base_model, arm), self._block(panel, number, base_model))
            for weight, panel in self._targets
        ]
        found = compare_weighted(pairs, low=scorer.low, high=scorer.high)
        mean = weighted_mean([(pair.weight, pair.arm) for pair in pairs], low=scorer.low, high=scorer.high)
        difference = found.difference
        row: Row = {
            "base_model": base_model,
            "scorer": scorer.name,
            "arm": arm,
            "is_goal": scorer.name == self._objective.scorer,
            "is_baseline": is_baseline,
            "is_best": False,
            "rank": None,
            "mean": mean.value,
            "mean_low": mean.low,
            "mean_high": mean.high,
            **compared(found, is_baseline=is_baseline),
            "num_sets": len(pairs),
            "num_items": found.num_items,
            "num_items_left_out": found.num_items_left_out,
            "num_runs": len(pairs[0].arm.runs),
            "num_baseline_runs": len(pairs[0].baseline.runs),
            **self._lost(number, base_model, arm),
            "unit": "" if is_baseline else found.unit,
            "method": "" if is_baseline else difference.method,
            "reason": "" if is_baseline else difference.reason,
        }
        return row, found

    def _places(self, panel: Panel, base_model: str, arm: str | None) -> list[int]:
        return self._runs[panel.evaluation_set].get((base_model, self._objective.baseline if arm is None else arm), [])

    def _block(self, panel: Panel, number: int, base_model: str, arm: str | None = None) -> Block:
        """Scores of an arm's runs; of none's, the baseline's."""
        return self._comparer.block(panel, number, self._places(panel, base_model, arm))

    def _lost(self, number: int, base_model: str, arm: str) -> Row:
        """What the arm lost on the set of forgetting where the loss's interval reaches furthest."""
        found = []
        for name in self._objective.forgetting:
            panel = self._frame.panels[name]
            own, against = self._places(panel, base_model, arm), self._places(panel, base_model, None)
            found.append((name, self._comparer.compare(panel, number, own, against)))
        empty = dict.fromkeys(("lost", "lost_low", "lost_high", "lost_error", "lost_dof"), math.nan)
        if not found:
            return {**empty, "lost_on": "", "constraint": ""}
        # the set where the loss reaches furthest; one without an interval may reach anywhere
        name, worst = max(found, key=lambda part: _reach(part[1]))
        lost, low, high = -worst.difference.value, -worst.difference.high, -worst.difference.low
        most, is_baseline = self._objective.most_lost, arm == self._objective.baseline
        kept: Kept = ""
        if most is not None:
            kept = "kept" if is_baseline or high <= most else "broken" if low > most else "not shown"
        if is_baseline:
            return {**empty, "lost": 0.0, "lost_on": name, "constraint": kept}
        ends = {"lost": lost, "lost_low": low, "lost_high": high}
        return {**ends, "lost_error": worst.standard_error, "lost_dof": worst.dof, "lost_on": name, "constraint": kept}


def _reach(found: Comparison) -> float:
    """Upper end of a loss."""
    low = found.difference.low
    return math.inf if math.isnan(low) else -low


def _rank(rows: list[Row]) -> None:
    boards: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        boards.setdefault((row["base_model"], row["scorer"]), []).append(row)
    for board in boards.values():
        known = [row for row in board if not math.isnan(row["mean"])]
        for row in known:
            row["rank"] = 1 + sum(other["mean"] > row["mean"] for other in known)
        allowed = [row for row in known if row["constraint"] in ("", "kept")]
        if allowed:
            max(allowed, key=lambda row: (row["mean"], row["is_baseline"]))["is_best"] = True
