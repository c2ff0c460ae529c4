"""Rows of the study table that sets scorers beside each other: whose CIT is higher, on what all of them scored.

A scorer that leaves the hard answers out looks better by what is missing, so all are compared on the answers that every
scorer and the human column scored; each one's own number of answers stands beside. Differences are paired: the same
runs, resampled by draw (jackknife), Holm over all pairs.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.metaeval.statistics.bootstrap import MIN_CLUSTERS, clusters, jackknife_variance, leave_one_out
from assay.metaeval.statistics.clustered import ClusteredVariance, student_interval
from assay.metaeval.statistics.correlation import spearman_resamples
from assay.metaeval.statistics.estimate import FloatArray, IntArray
from assay.metaeval.statistics.verdict import Evidence, decide_family
from assay.metaeval.study_tables.frame import Panel, StudyFrame

if TYPE_CHECKING:
    from assay.metaeval.study_tables.options import TableOptions


class _Common:
    """Means of every scorer over the answers that all of them scored, a row per run and task."""

    def __init__(self, panels: list[Panel], below_target: float) -> None:
        columns: list[FloatArray] = []
        task, run, stratum = [], [], []
        self.num_answers = 0
        self.own_S: IntArray = np.zeros(0, dtype=np.int64)
        for place, panel in enumerate(panels):
            rows = [row for row, one in enumerate(panel.runs) if one.num_target < below_target and not one.repeats]
            values_SRI = panel.values[:, rows]
            seen_SRI = np.isfinite(values_SRI)
            both_RI = seen_SRI.all(axis=0)
            own_S = seen_SRI.sum(axis=(1, 2))
            self.own_S = own_S if not self.own_S.size else self.own_S + own_S
            self.num_answers += int(both_RI.sum())
            count_R = both_RI.sum(axis=1)
            usable = np.flatnonzero(count_R > 0)
            sums_SR = np.where(both_RI, np.nan_to_num(values_SRI), 0.0).sum(axis=2)
            columns.append(sums_SR[:, usable] / count_R[usable])
            task += [place] * usable.size
            run += [panel.runs[rows[row]].cluster for row in usable]
            stratum += ["\0".join(panel.runs[rows[row]].mixture) for row in usable]
        self.means_SN = np.concatenate(columns, axis=1) if columns else np.zeros((0, 0))
        self.task_N = np.array(task, dtype=np.int64)
        self.units = clusters(run, stratum)

    def cit(self, human: int) -> tuple[FloatArray, FloatArray]:
        """CIT of every scorer over all rows, shape (S,), and without each cluster, (S, G); NaN where undefined."""
        weights_NK = np.concatenate([np.ones((self.task_N.size, 1)), leave_one_out(self.units)], axis=1)
        per_task = []
        for task in np.unique(self.task_N):
            at = self.task_N == task
            per_task.append(spearman_resamples(self.means_SN[:, at], self.means_SN[human, at], weights_NK[at]))
        values_SK = np.mean(per_task, axis=0)
        return values_SK[:, 0], values_SK[:, 1:]


def scorer_pair_rows(frame: StudyFrame, options: TableOptions) -> list[dict[str, Any]]:
    """Every two scorers beside the human column, at run level, higher CIT first."""
    human = frame.scorer_names.index(options.human)
    others = [number for number in range(len(frame.scorers)) if number != human]
    panels = [frame.panels[name] for name in options.meta_tasks or frame.target_sets]
    if len(others) < 2 or not panels:
        return []
    common = _Common(panels, options.below_target)
    if common.task_N.size:
        value_S, left_out_SG = common.cit(human)
    else:
        value_S, left_out_SG = np.full(len(frame.scorers), math.nan), np.zeros((len(frame.scorers), 0))
    rows: list[dict[str, Any]] = []
    found: list[tuple[float, ClusteredVariance | None]] = []
    for pair in combinations(others, 2):
        first, second = sorted(pair, key=lambda number: (-_or_low(float(value_S[number])), frame.scorer_names[number]))
        variance, reason = _variance(left_out_SG[first] - left_out_SG[second], common)
        difference = float(value_S[first] - value_S[second])
        is_known = variance is not None and math.isfinite(difference)
        found.append((difference, variance if is_known else None))
        ends = student_interval(difference, variance, low=-2.0, high=2.0) if is_known and variance else None
        rows.append(
            {
                "scorer": frame.scorer_names[first],
                "against": frame.scorer_names[second],
                "cit": float(value_S[first]),
                "against_cit": float(value_S[second]),
                "difference": difference,
                "low": ends.low if ends else math.nan,
                "high": ends.high if ends else math.nan,
                "n_common": common.num_answers,
                "n_own": int(common.own_S[first]),
                "n_against": int(common.own_S[second]),
                "num_clusters": common.units.num_clusters,
                "num_tasks": int(np.unique(common.task_N).size),
                "reason": reason or ("" if math.isfinite(difference) else "a scorer has no correlation in some task"),
            }
        )
    evidence = [
        Evidence(value, variance.standard_error, variance.dof) if variance else Evidence(value, math.nan, math.nan)
        for value, variance in found
    ]
    for row, decision in zip(rows, decide_family(evidence), strict=True):
        word = decision.verdict
        row |= {"p": decision.p, "p_holm": decision.p_holm, "verdict": word.word, "needs": word.why}
    return rows


def _variance(left_out_G: FloatArray, common: _Common) -> tuple[ClusteredVariance | None, str]:
    count = common.units.num_clusters
    if count < MIN_CLUSTERS:
        return None, f"{count} clusters of runs, at least {MIN_CLUSTERS} are needed"
    if not np.isfinite(left_out_G).all():
        return None, "without one of the runs there is no correlation"
    variance, dof = jackknife_variance(left_out_G, common.units)
    if not variance > 0:
        return None, "no spread"
    return ClusteredVariance(variance, dof, 0, count, False), ""


def _or_low(value: float) -> float:
    return -math.inf if math.isnan(value) else float(value)
