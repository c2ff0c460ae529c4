"""CIT, CAT and TFA: does a scorer agree with human scores inside a task, across tasks, and without regard to format?

Two levels. Run level: one row per run, its mean over the items that scorer and human both scored; resampled by run
within task (BCa). Sample level: one row per answer; the interval is the linearised one, clustered by run
and by item, as resampling both would count the residual three times. Never confuse the two: a scorer may order
runs well and answers badly.

CIT  mean over tasks of Spearman's rho between scorer and human. A task without a rho (constant column) leaves CIT
     undefined and is named; `CIT_defined` is the mean over the other tasks.
CAT  rho over the rows of all tasks pooled; `CAT_task_centred` after each task's means were taken off both columns,
     as pooling mixes in differences between task means.
TFA  gain from the first to the last point of the curve, mean over tasks (over base models and series too, each from
     its own m_0): relative (m_N - m_0) / m_0, undefined where m_0 <= 0, and absolute.

Source: Faysse et al. 2023 (arXiv 2310.14103), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from assay.metaeval.statistics.bootstrap import Clusters, clusters, interval
from assay.metaeval.statistics.clustered import (
    Block,
    ClusteredVariance,
    clustered_variance,
    one_way_variance,
    ratio_interval,
    student_interval,
    student_quantile,
)
from assay.metaeval.statistics.correlation import spearman_linearised, spearman_resamples
from assay.metaeval.statistics.estimate import BoolArray, Estimate, FloatArray, IntArray

MIN_ROWS = 3
"""Fewer rows than this have no correlation worth a number."""
MAX_RESAMPLED_CELLS = 40_000_000
"""Rows x resamples up to which one-sided intervals are resampled; beyond, they are linearised."""


@dataclass(frozen=True)
class Rows:
    """Paired scores of scorer and human: one row per run, or one per (run, item). Labels are whole numbers."""

    scorer: FloatArray
    human: FloatArray
    task: IntArray
    """Place of each row's task in `task_names`."""
    run: IntArray
    """Cluster of each row. A run that is evaluated on several tasks is one cluster."""
    task_names: tuple[str, ...]
    item: IntArray | None = None
    """Second cluster, counted over all tasks; None at run level."""
    stratum: IntArray | None = None
    """Stratum of each row's run (the task that it was trained on); None: all runs are drawn alike."""

    def take(self, rows: IntArray | BoolArray) -> Rows:
        """Some of the rows."""
        return Rows(
            self.scorer[rows],
            self.human[rows],
            self.task[rows],
            self.run[rows],
            self.task_names,
            None if self.item is None else self.item[rows],
            None if self.stratum is None else self.stratum[rows],
        )

    def by_task(self) -> dict[str, Rows]:
        """The rows of each task that has any."""
        return {self.task_names[task]: self.take(self.task == task) for task in np.unique(self.task)}

    @property
    def num_rows(self) -> int:
        return int(self.scorer.size)

    @property
    def num_runs(self) -> int:
        return int(np.unique(self.run).size)

    def clusters(self) -> Clusters:
        """Runs as units of resampling."""
        return clusters(self.run, self.stratum)


def why_undefined(scorer_N: FloatArray, human_N: FloatArray) -> str:
    """Why two columns have no correlation; empty where they have one."""
    if scorer_N.size < MIN_ROWS:
        return f"{scorer_N.size} rows, at least {MIN_ROWS} are needed"
    for name, column in (("scorer", scorer_N), ("human", human_N)):
        if np.all(column == column[0]):
            return f"constant {name} column"
    return ""


def correlation(
    rows: Rows, rng: np.random.Generator, *, resamples: int, weights_NK: FloatArray | None = None
) -> Estimate:
    """Spearman's rho over all rows, with the interval of its level.

    Args:
        rows: paired scores.
        rng: seeded by the caller.
        resamples: bootstrap size at run level.
        weights_NK: resamples of these rows drawn before; None: drawn here.
    """
    reason = why_undefined(rows.scorer, rows.human)
    if reason:
        return Estimate.undefined(reason, rows.num_rows, rows.num_runs)
    if is_linearised(rows, resamples):
        return _linearised({"": rows}, {"": 1.0})

    def statistic(weights_NK: FloatArray) -> FloatArray:
        return spearman_resamples(rows.scorer, rows.human, weights_NK)

    return interval(
        statistic, rows.clusters(), rng, resamples=resamples, method="bca", scale="fisher", weights_NK=weights_NK
    )


def cit(rows: Rows, rng: np.random.Generator, *, resamples: int, skip_undefined: bool = False) -> Estimate:
    """Mean over tasks of the correlation inside the task.

    Args:
        rows: paired scores.
        rng: seeded by the caller.
        resamples: bootstrap size at run level.
        skip_undefined: leave tasks without a correlation out, naming them, instead of giving no value.
    """
    parts = rows.by_task()
    reasons = {task: why_undefined(part.scorer, part.human) for task, part in parts.items()}
    bad = "; ".join(f"{task}: {reason}" for task, reason in reasons.items() if reason)
    parts = {task: part for task, part in parts.items() if not reasons[task]}
    if not parts or (bad and not skip_undefined):
        return Estimate.undefined(bad or "no rows", rows.num_rows, rows.num_runs)
    left_out = f"without {bad}" if bad else ""
    if is_linearised(rows, resamples):
        estimate = _linearised(parts, dict.fromkeys(parts, 1 / len(parts)))
    else:
        kept = rows.take(np.isin(rows.task, [rows.task_names.index(task) for task in parts]))
        places = [np.flatnonzero(kept.task == task) for task in np.unique(kept.task)]

        def statistic(weights_NK: FloatArray) -> FloatArray:
            per_task = [spearman_resamples(kept.scorer[at], kept.human[at], weights_NK[at]) for at in places]
            return np.asarray(np.mean(per_task, axis=0), dtype=float)

        units = kept.clusters()
        estimate = interval(statistic, units, rng, resamples=resamples, method="bca", scale="fisher")
    return _with_reason(estimate, left_out)


def cat(rows: Rows, rng: np.random.Generator, *, resamples: int, task_centred: bool = False) -> Estimate:
    """Correlation over the rows of all tasks.

    Args:
        rows: paired scores.
        rng: seeded by the caller.
        resamples: bootstrap size at run level.
        task_centred: take each task's mean off both columns first (the means are held fixed under resampling).
    """
    if not task_centred:
        return correlation(rows, rng, resamples=resamples)
    scorer_N, human_N = rows.scorer.copy(), rows.human.copy()
    for task in np.unique(rows.task):
        at = rows.task == task
        scorer_N[at] = _centred(scorer_N[at])
        human_N[at] = _centred(human_N[at])
    return correlation(replace(rows, scorer=scorer_N, human=human_N), rng, resamples=resamples)


def tfa(first: Mapping[str, Block], last: Mapping[str, Block], *, relative: bool) -> Estimate:
    """Mean gain over tasks from N = 0 to the largest N, clustered by run and item.

    Args:
        first: scores at N = 0 by task.
        last: scores at the largest N, same tasks, same items.
        relative: divide each task's gain by its mean at N = 0.
    """
    tasks = sorted(first)
    if not tasks or tasks != sorted(last):
        return Estimate.undefined("no task has runs both at N = 0 and at the largest N")
    start = {task: first[task].mean for task in tasks}
    end = {task: last[task].mean for task in tasks}
    missing = [task for task in tasks if math.isnan(start[task]) or math.isnan(end[task])]
    if missing:
        return Estimate.undefined(f"no common items in {', '.join(missing)}")
    if relative and any(start[task] <= 0 for task in tasks):
        bad = ", ".join(f"{task} ({start[task]:.3g})" for task in tasks if start[task] <= 0)
        return Estimate.undefined(f"mean at N = 0 is not above 0 in {bad}")
    unsure = [task for task in tasks if relative and not _is_above_zero(first[task])]
    if unsure:
        return Estimate.undefined(f"mean at N = 0 is not told from 0 in {', '.join(unsure)}")
    blocks, gains = [], []
    for task in tasks:
        scale = 1 / start[task] if relative else 1.0
        gains.append((end[task] - start[task]) * scale)
        slope = -end[task] / start[task] ** 2 if relative else -1.0
        blocks.append(replace(last[task], coefficient=scale / len(tasks)))
        blocks.append(replace(first[task], coefficient=slope / len(tasks)))
    n = sum(int(np.isfinite(block.scores).sum()) for block in blocks)
    if relative:
        return ratio_interval(1 + float(np.mean(gains)), clustered_variance(blocks), n=n)
    return student_interval(float(np.mean(gains)), clustered_variance(blocks), n=n)


def _is_above_zero(block: Block) -> bool:
    return student_interval(block.mean, clustered_variance([block])).low > 0


def fisher_interval(rho: float, variance: ClusteredVariance, n: int) -> Estimate:
    """Interval of a correlation from its linearised variance, on Fisher's z scale."""
    count = min(variance.num_runs, variance.num_items) if variance.has_run_spread else variance.num_items
    method = f"linearised, clustered by {variance.unit}"
    if abs(rho) >= 1 or variance.variance == 0:
        return Estimate(rho, math.nan, math.nan, n, count, "", "no interval: no spread")
    half = student_quantile(0.975, variance.dof) * variance.standard_error / (1 - rho * rho)
    centre = math.atanh(rho)
    return Estimate(rho, math.tanh(centre - half), math.tanh(centre + half), n, count, method)


def is_linearised(rows: Rows, resamples: int) -> bool:
    """Two sides are never both resampled, and beyond some size a bootstrap would only say the same more slowly."""
    return rows.item is not None or rows.num_rows * resamples > MAX_RESAMPLED_CELLS


def _linearised(parts: Mapping[str, Rows], coefficients: Mapping[str, float]) -> Estimate:
    """Weighted sum of correlations, each over its own part, clustered by run and item; tasks are fixed."""
    value, blocks, total = 0.0, [], 0
    influences, runs = [], []
    num_rows = sum(part.num_rows for part in parts.values())
    for name, part in sorted(parts.items()):
        linearised = spearman_linearised(part.scorer, part.human)
        value += coefficients[name] * linearised.value
        total += part.num_rows
        if part.item is None:
            influences.append(linearised.influence * coefficients[name] * num_rows / part.num_rows)
            runs.append(part.run)
        else:
            blocks += influence_blocks(linearised.influence, part, coefficients[name])
    variance = (
        one_way_variance(np.concatenate(influences), np.concatenate(runs)) if runs else clustered_variance(blocks)
    )
    return fisher_interval(value, variance, total)


def influence_blocks(influence_N: FloatArray, rows: Rows, coefficient: float) -> list[Block]:
    """Influence values laid out as runs x items, one block per task, each weighing its share of the rows."""
    if rows.item is None:
        raise ValueError("rows have no items to cluster by")
    blocks = []
    for task in np.unique(rows.task):
        at = np.flatnonzero(rows.task == task)
        runs, run_places = np.unique(rows.run[at], return_inverse=True)
        items, item_places = np.unique(rows.item[at], return_inverse=True)
        table_RI = np.full((runs.size, items.size), np.nan)
        table_RI[run_places, item_places] = influence_N[at]
        share = coefficient * at.size / influence_N.size
        blocks.append(Block(table_RI, runs.tolist(), items.tolist(), share))
    return blocks


def _centred(values_N: FloatArray) -> FloatArray:
    # a constant column stays constant: its mean may differ from its value in the last digit
    if np.all(values_N == values_N[0]):
        return np.zeros_like(values_N)
    # ties before are ties after: what is left of equal numbers must not differ in their last bits
    centred_N = values_N - values_N.mean()
    unit = 10.0 ** (np.floor(np.log10(np.abs(values_N).max())) - 12)
    return np.asarray(np.round(centred_N / unit) * unit, dtype=float)


def _with_reason(estimate: Estimate, reason: str) -> Estimate:
    joined = "; ".join(part for part in (reason, estimate.reason) if part)
    return replace(estimate, reason=joined)
