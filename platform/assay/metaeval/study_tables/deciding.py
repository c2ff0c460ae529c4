"""Comparisons of two groups of runs as the tables show them: with a borrowed spread, and decided family by family."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from assay.metaeval.statistics.borrowing import SpreadPool, pool_spread
from assay.metaeval.statistics.clustered import Block
from assay.metaeval.statistics.comparison import Comparison, compare
from assay.metaeval.statistics.verdict import MARGIN, decide_family
from assay.metaeval.study_tables.frame import Panel, ScorerInfo, StudyFrame

Row = dict[str, Any]
UNDECIDED_FIELDS = ("family_low", "family_high", "family_mde", "margin")


class Comparer:
    """Compares groups of runs of one study; knows what its arms say about the spread of a single run."""

    def __init__(self, frame: StudyFrame) -> None:
        self._scorers = frame.scorers
        self._pools: dict[tuple[str, int, str, bool], SpreadPool | None] = {}

    def compare(self, panel: Panel, scorer: int, first: Sequence[int], second: Sequence[int]) -> Comparison:
        """First minus second; a side with one cluster borrows its spread from the arms of its base model."""
        info = self._scorers[scorer]
        return compare(*self.sides(panel, scorer, (first, 1.0), (second, -1.0)), low=info.low, high=info.high)

    def sides(
        self, panel: Panel, scorer: int, first: tuple[Sequence[int], float], second: tuple[Sequence[int], float]
    ) -> tuple[Block, Block]:
        """Both blocks, each of (rows, coefficient); one with a single cluster knows the spread of a run."""
        blocks = [panel.block(scorer, rows, coefficient) for rows, coefficient in (first, second)]
        return self._lent(panel, scorer, first[0], *blocks), self._lent(panel, scorer, second[0], *blocks[::-1])

    def block(self, panel: Panel, scorer: int, rows: Sequence[int]) -> Block:
        """The runs of one mixture; where they are a single cluster, with the spread of a run."""
        return self._lent(panel, scorer, rows, panel.block(scorer, rows), None)

    def _lent(self, panel: Panel, scorer: int, rows: Sequence[int], block: Block, against: Block | None) -> Block:
        if not rows or block.is_fixed or len(set(block.clusters)) > 1:
            return block
        run = panel.runs[rows[0]]
        pool = self._pool(panel, scorer, run.base_model, is_drawn=run.draw >= 0)
        return block if pool is None else replace(block, spread=pool.at(block, against))

    def _pool(self, panel: Panel, scorer: int, base_model: str, *, is_drawn: bool) -> SpreadPool | None:
        """Spread over arms; a run with a drawn sample learns nothing from runs that vary in their seed alone."""
        key = (panel.evaluation_set, scorer, base_model, is_drawn)
        if key not in self._pools:
            arms: dict[tuple[str, str, str], list[int]] = {}
            for row, run in enumerate(panel.runs):
                if run.base_model == base_model and not run.repeats and (run.draw >= 0 or not is_drawn):
                    arms.setdefault((run.arm, run.series, run.trained_task), []).append(row)
            info = self._scorers[scorer]
            blocks = [panel.block(scorer, rows) for rows in arms.values()]
            self._pools[key] = pool_spread(blocks, info.low, info.high)
        return self._pools[key]


def margin_of(scorer: ScorerInfo) -> float:
    """The stated margin in the scorer's unit; 0 where its scale has no ends."""
    return MARGIN * (scorer.high - scorer.low) if scorer.low is not None and scorer.high is not None else 0.0


def no_decision() -> Row:
    """Fields of a row that compares nothing."""
    return {**dict.fromkeys(UNDECIDED_FIELDS, math.nan), "verdict": "", "needs": ""}


def compared(found: Comparison, *, is_baseline: bool) -> Row:
    """Fields of a row that compares an arm with the baseline, before its family decides; the baseline's own say 0."""
    if is_baseline:
        own = dict.fromkeys(("low", "high", "standard_error", "dof", "p", "mde"), math.nan)
        return {"difference": 0.0, **own, "p_holm": math.nan, "family_size": 0, **no_decision()}
    return {
        "difference": found.difference.value,
        "low": found.difference.low,
        "high": found.difference.high,
        "standard_error": found.standard_error,
        "dof": found.dof,
        "p": found.p,
        "p_holm": math.nan,
        "family_size": 0,
        "mde": found.mde,
        **no_decision(),
    }


def settle(members: Sequence[tuple[Row, Comparison, ScorerInfo]]) -> None:
    """Decide the comparisons of one family and write what follows into their rows."""
    margins = [margin_of(scorer) for _, _, scorer in members]
    decisions = decide_family([found.evidence for _, found, _ in members], margins=margins)
    for (row, _, _), margin, decision in zip(members, margins, decisions, strict=True):
        row["p_holm"] = decision.p_holm
        if "family_size" in row:
            row["family_size"] = decision.family_size
        row |= {
            "family_low": decision.low,
            "family_high": decision.high,
            "family_mde": decision.mde,
            "margin": margin or math.nan,
            "verdict": decision.verdict.word,
            "needs": decision.verdict.why,
        }
