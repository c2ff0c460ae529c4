"""Rows of the study tables about the runs themselves: scores, curves, forgetting, coverage, phases, variance."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from assay.metaeval.statistics.bootstrap import seeded
from assay.metaeval.statistics.clustered import clustered_variance, ratio_interval, student_interval
from assay.metaeval.statistics.comparison import Comparison, mean_estimate
from assay.metaeval.statistics.estimate import Estimate, FloatArray
from assay.metaeval.statistics.phases import change_point
from assay.metaeval.statistics.position import mean_interval
from assay.metaeval.statistics.rates import bounded_mean, holm
from assay.metaeval.statistics.variance import (
    JUDGE_REPEAT,
    RESIDUAL,
    Component,
    interaction,
    pooled,
    variance_components,
    with_repeats,
)
from assay.metaeval.study_tables.deciding import Comparer, Row, no_decision, settle
from assay.metaeval.study_tables.frame import ALONE, MANY, Panel, ScorerInfo, StudyFrame, Tally
from assay.records import INSTRUCTIONS

_NOTHING = Tally(0, 0, {})
_FACTORS = ("draw", "training_seed", "item")
_CROSSED = ("draw", "training_seed")


@dataclass(frozen=True)
class CurvePoint:
    """Runs of one base model, task and series at one N, as rows of a panel."""

    base_model: str
    task: str
    series: str
    num_target: int
    rows: tuple[int, ...]


def zero_rows(panel: Panel, base_model: str, series: str, task: str = "") -> tuple[int, ...]:
    """Runs with N = 0 that start the curves of this series: its own, else those of no series (and of no other task)."""
    zero = [row for row, run in enumerate(panel.runs) if run.base_model == base_model and run.num_target == 0]
    if any(panel.runs[row].trained_task for row in zero):  # a mixture without one category is that category's alone
        zero = [row for row in zero if panel.runs[row].trained_task == task]
    for wanted in (series, ""):
        matching = tuple(row for row in zero if panel.runs[row].series == wanted)
        if matching:
            return matching
    return ()


def curve_points(panel: Panel, task: str) -> list[CurvePoint]:
    """The points of every learning curve of `task` on this panel, N = 0 included."""
    groups: dict[tuple[str, str, int], list[int]] = {}
    for row, run in enumerate(panel.runs):
        if run.trained_task == task and run.num_target > 0 and run.series != ALONE:
            groups.setdefault((run.base_model, run.series, run.num_target), []).append(row)
    points = [CurvePoint(base, task, series, n, tuple(rows)) for (base, series, n), rows in groups.items()]
    series_seen = {(point.base_model, point.series) for point in points}
    if not series_seen:
        series_seen = {(run.base_model, run.series) for run in panel.runs if run.num_target == 0}
    for base, series in series_seen:
        rows_zero = zero_rows(panel, base, series, task)
        if rows_zero:
            points.append(CurvePoint(base, task, series, 0, rows_zero))
    return sorted(points, key=lambda point: (point.base_model, point.series, point.num_target))


def scorer_rows(frame: StudyFrame, human: str) -> list[dict[str, Any]]:
    """What is known about each scorer."""
    return [
        {
            "scorer": scorer.name,
            "version": scorer.version,
            "direction": scorer.direction,
            "range_low": scorer.low,
            "range_high": scorer.high,
            "kind": scorer.kind,
            "is_human": scorer.name == human,
        }
        for scorer in frame.scorers
    ]


def run_score_rows(frame: StudyFrame) -> list[dict[str, Any]]:
    """Every run under every scorer that was asked about it."""
    rows = []
    for panel in frame.panels.values():
        for number, scorer in enumerate(frame.scorers):
            estimates = _item_means(panel.values[number], scorer)
            for run, estimate in zip(panel.runs, estimates, strict=True):
                tally = frame.tallies.get((run.predictions_key, scorer.name))
                if tally is None:
                    continue
                rows.append(
                    {
                        "base_model": run.base_model,
                        "evaluation_set": run.evaluation_set,
                        "arm": run.arm,
                        "draw": run.draw,
                        "training_seed": run.training_seed,
                        "predictions_key": run.predictions_key,
                        "scorer": scorer.name,
                        "adapter_key": run.adapter_key,
                        "mixture_key": run.mixture_key,
                        "series": run.series,
                        "trained_task": run.trained_task,
                        "num_target": run.num_target,
                        "mean": estimate.value,
                        "low": estimate.low,
                        "high": estimate.high,
                        "method": estimate.method,
                        "num_asked": tally.num_asked,
                        "num_scored": tally.num_scored,
                        "unscored": tally.reasons_json,
                    }
                )
    return rows


def curve_rows(frame: StudyFrame) -> list[dict[str, Any]]:
    """Mean of each task's scores against N, with intervals over items and runs."""
    rows = []
    for task in frame.target_sets:
        panel = frame.panels[task]
        for point in curve_points(panel, task):
            runs = [panel.runs[row] for row in point.rows]
            for number, scorer in enumerate(frame.scorers):
                tallies = [frame.tallies.get((run.predictions_key, scorer.name), _NOTHING) for run in runs]
                asked = sum(tally.num_asked for tally in tallies)
                if asked == 0:
                    continue
                block = panel.block(number, point.rows)
                estimate, unit = mean_estimate(block, low=scorer.low, high=scorer.high)
                scored = sum(tally.num_scored for tally in tallies)
                rows.append(
                    {
                        "base_model": point.base_model,
                        "task": task,
                        "series": point.series,
                        "scorer": scorer.name,
                        "num_target": point.num_target,
                        "mean": estimate.value,
                        "low": estimate.low,
                        "high": estimate.high,
                        "num_runs": len(runs),
                        "num_draws": len({run.draw for run in runs if run.draw >= 0}),
                        "num_items": int(np.isfinite(block.scores).any(axis=0).sum()),
                        "num_scored": scored,
                        "num_unscored": asked - scored,
                        "unit": unit,
                        "method": estimate.method,
                        "reason": estimate.reason,
                    }
                )
    return rows


def forgetting_rows(frame: StudyFrame) -> list[dict[str, Any]]:
    """Score on the instruction set at each N against N = 0, on common items."""
    panel = frame.panels.get(INSTRUCTIONS)
    if panel is None:
        return []
    rows = []
    comparer = Comparer(frame)
    families: dict[tuple[str, str], list[tuple[Row, Comparison, ScorerInfo]]] = {}
    for task in sorted({run.trained_task for run in panel.runs if run.trained_task}):
        for point in curve_points(panel, task):
            zero = zero_rows(panel, point.base_model, point.series, task)
            if point.num_target == 0 or (task == MANY and not zero):  # mixtures of one total are no curve over N
                continue
            for number, scorer in enumerate(frame.scorers):
                values = panel.values[number]
                if not np.isfinite(values[list(point.rows)]).any():
                    continue
                found = comparer.compare(panel, number, point.rows, zero)
                relative = _relative(comparer, panel, (point.rows, zero), number, found)
                rows.append(_forgetting_row(point, zero, found, relative) | {"scorer": scorer.name})
                if found.num_items:
                    families.setdefault((point.base_model, scorer.name), []).append((rows[-1], found, scorer))
    for family in families.values():
        settle(family)
    return rows


def coverage_rows(frame: StudyFrame) -> list[dict[str, Any]]:
    """What was asked of each scorer on each evaluation set, and what came of it."""
    rows = []
    for name, panel in frame.panels.items():
        for scorer in frame.scorer_names:
            reasons: dict[str, int] = {}
            asked = scored = 0
            for run in panel.runs:
                tally = frame.tallies.get((run.predictions_key, scorer), _NOTHING)
                asked, scored = asked + tally.num_asked, scored + tally.num_scored
                for reason, count in tally.reasons.items():
                    reasons[reason] = reasons.get(reason, 0) + count
            rows.append(
                {
                    "evaluation_set": name,
                    "scorer": scorer,
                    "num_asked": asked,
                    "num_scored": scored,
                    "num_unscored": asked - scored,
                    "unscored": json.dumps(dict(sorted(reasons.items()))),
                    "share_scored": scored / asked if asked else math.nan,
                }
            )
    return rows


def phase_rows(frame: StudyFrame, *, seed_key: str, resamples: int) -> list[dict[str, Any]]:
    """Change point of every learning curve."""
    rows: list[dict[str, Any]] = []
    for base, task, series, number, points in _curves(frame):
        panel, scorer = frame.panels[task], frame.scorers[number]
        pairs = []
        for point in points:
            block = panel.values[number][list(point.rows)]
            pairs += [(point.num_target, mean) for mean in _run_means(block) if not math.isnan(mean)]
        if not pairs:
            continue
        rng = seeded(seed_key, "phases", base, task, series, scorer.name)
        counts, means = zip(*pairs, strict=True)
        found = change_point(counts, means, rng, resamples=resamples)
        rows.append(
            {
                "base_model": base,
                "task": task,
                "series": series,
                "scorer": scorer.name,
                "change_point": found.knot.value,
                "low": found.knot.low,
                "high": found.knot.high,
                "slope_before": found.slope_before,
                "slope_after": found.slope_after,
                "shape": found.shape,
                "p": found.p,
                "p_holm": math.nan,
                "num_runs": len(pairs),
                "num_levels": len(set(counts)),
                "reason": found.knot.reason,
            }
        )
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = float(adjusted)
    return rows


def variance_rows(frame: StudyFrame) -> list[dict[str, Any]]:
    """Draw, training seed, draw x seed, item, judge repeat and residual variance of every curve, mean over its points.

    Sizes N are fixed: each point has its own components. A judge that is asked once has no row for its repeats: they
    are a part of its residual.
    """
    rows = []
    for base, task, series, number, points in _curves(frame):
        panel, scorer = frame.panels[task], frame.scorers[number]
        parts, reasons = [], set()
        for point in points:
            if point.num_target == 0:
                continue  # nothing is drawn there
            found = _components(panel, point, number)
            if isinstance(found, str):
                reasons.add(found)
            else:
                parts.append(found)
        components: Sequence[Component]
        if parts:
            components = pooled(parts)
        else:
            reason = "; ".join(sorted(reasons)) or "no point above N = 0"
            names = (*_CROSSED, interaction(*_CROSSED), "item")
            factors = (*names, *([JUDGE_REPEAT] if number in panel.repeats else []), RESIDUAL)
            components = [Component(name, math.nan, 0, reason) for name in factors]
        total = sum(max(0.0, part.variance) for part in components if not math.isnan(part.variance))
        for part in components:
            known = not math.isnan(part.variance) and not math.isnan(components[-1].variance) and total > 0
            low, high, reason = part.interval
            rows.append(
                {
                    "base_model": base,
                    "task": task,
                    "series": series,
                    "scorer": scorer.name,
                    "factor": part.factor,
                    "variance": part.variance,
                    "low": low,
                    "high": high,
                    "share": max(0.0, part.variance) / total if known else math.nan,
                    "levels": part.levels,
                    "num_points": len(parts),
                    "reason": reason,
                }
            )
    return rows


def _curves(frame: StudyFrame) -> Iterator[tuple[str, str, str, int, list[CurvePoint]]]:
    for task in frame.target_sets:
        curves: dict[tuple[str, str], list[CurvePoint]] = {}
        for point in curve_points(frame.panels[task], task):
            curves.setdefault((point.base_model, point.series), []).append(point)
        for (base, series), points in curves.items():
            for number in range(len(frame.scorers)):
                rows = [row for point in points for row in point.rows]
                if np.isfinite(frame.panels[task].values[number][rows]).any():
                    yield base, task, series, number, points


def _components(panel: Panel, point: CurvePoint, scorer: int) -> list[Component] | str:
    """Components of one point's draws x seeds x items, or why there are none."""
    runs = {(panel.runs[row].draw, panel.runs[row].training_seed): row for row in point.rows}
    draws = sorted({draw for draw, _ in runs})
    seeds = sorted({seed for _, seed in runs})
    is_paired = len(runs) == len(draws) == len(seeds) > 1  # each draw with the seed of its own number
    num_seeds = 1 if is_paired else len(seeds)
    if len(runs) != len(point.rows) or len(runs) != len(draws) * num_seeds:
        return "draws and training seeds are not crossed"
    order = [runs[key] for key in sorted(runs)]
    values = panel.values[scorer][order]
    complete = np.isfinite(values).all(axis=0)
    if complete.sum() < 2:
        return "no items with a score from every run"
    shape = (len(draws), num_seeds, int(complete.sum()))
    parts = variance_components(values[:, complete].reshape(shape), _FACTORS, crossed=_CROSSED)
    if scorer in panel.repeats:
        again = panel.repeats[scorer]
        ratings = again.ratings[:, order][:, :, complete]
        answers = again.answers[order][:, complete]
        of_item = answers * shape[-1] + np.arange(shape[-1])  # equal answers to two items are judged apart
        ratings = ratings.reshape(-1, *shape)
        parts = with_repeats(parts, ratings, of_item.reshape(shape), _FACTORS, crossed=_CROSSED)
    if not is_paired:
        return parts
    reason = "each draw has a seed of its own: what seeds do is in the draws' variance"
    return [
        replace(part, reason=reason) if part.factor in ("training_seed", interaction(*_CROSSED)) else part
        for part in parts
    ]


def _forgetting_row(point: CurvePoint, zero: tuple[int, ...], found: Comparison, relative: Estimate) -> dict[str, Any]:
    reasons = [found.difference.reason, "" if relative.is_defined else relative.reason]
    return {
        "base_model": point.base_model,
        "task": point.task,
        "series": point.series,
        "num_target": point.num_target,
        "mean_zero": found.baseline_mean,
        "mean": found.mean,
        "absolute": found.difference.value,
        "absolute_low": found.difference.low,
        "absolute_high": found.difference.high,
        "p": found.p,
        "p_holm": math.nan,
        **no_decision(),
        "relative": relative.value,
        "relative_low": relative.low,
        "relative_high": relative.high,
        "num_items": found.num_items,
        "num_runs": len(point.rows),
        "num_zero_runs": len(zero),
        "unit": found.unit,
        "method": found.difference.method,
        "reason": "; ".join(dict.fromkeys(reason for reason in reasons if reason)),
    }


def _relative(
    comparer: Comparer, panel: Panel, sides: tuple[Sequence[int], Sequence[int]], number: int, found: Comparison
) -> Estimate:
    """The change over the mean at N = 0, where that mean is told from 0; a side with one run borrows its spread."""
    if not found.num_items or found.baseline_mean <= 0:
        return Estimate.undefined("mean at N = 0 is not above 0")
    slopes = 1 / found.baseline_mean, -found.mean / found.baseline_mean**2
    arm, base = comparer.sides(panel, number, (sides[0], slopes[0]), (sides[1], slopes[1]))
    valid = np.isfinite(arm.scores).all(axis=0) & np.isfinite(base.scores).all(axis=0)
    for block in (arm, base):
        block.scores[:, ~valid] = math.nan
    start = student_interval(found.baseline_mean, clustered_variance([replace(base, coefficient=1.0)]))
    if start.low <= 0:
        return Estimate.undefined("mean at N = 0 is not told from 0")
    return ratio_interval(found.mean / found.baseline_mean, clustered_variance([arm, base]))


def _item_means(values_RI: FloatArray, scorer: ScorerInfo) -> list[Estimate]:
    """Mean of each run over its items: score intervals where all lie on a scale with two ends, else Student's t."""
    low, high = scorer.low, scorer.high
    estimates = []
    for row_I in values_RI:
        values = row_I[np.isfinite(row_I)]
        if not values.size:
            estimates.append(Estimate.undefined("no scored answer"))
        elif low is not None and high is not None and low <= values.min() and values.max() <= high:
            estimates.append(bounded_mean(values, low, high))
        else:
            estimates.append(mean_interval(values))
    return estimates


def _run_means(values_RI: FloatArray) -> list[float]:
    return [float(row[np.isfinite(row)].mean()) if np.isfinite(row).any() else math.nan for row in values_RI]
