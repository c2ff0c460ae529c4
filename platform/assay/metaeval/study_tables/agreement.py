"""Rows of the study tables about the scorers: agreement with the human column, and with each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.metaeval.statistics.bootstrap import is_jackknifed, resample, seeded
from assay.metaeval.statistics.clustered import Block, common_items
from assay.metaeval.statistics.comparability import Rows, cat, cit, correlation, is_linearised, tfa, why_undefined
from assay.metaeval.statistics.estimate import Estimate, FloatArray
from assay.metaeval.study_tables.curves import curve_points
from assay.metaeval.study_tables.deciding import Comparer
from assay.metaeval.study_tables.frame import Panel, StudyFrame

if TYPE_CHECKING:
    from assay.metaeval.study_tables.options import TableOptions

LEVELS = ("run", "sample")
POOLED = "*"
"""Name of all evaluation sets together."""
TASKS = "tasks"
"""Name of the target evaluation sets together, where the instruction set is evaluated too."""
MEAN = "mean"
"""Name of the mean over the target tasks."""


def metaeval_rows(frame: StudyFrame, options: TableOptions) -> list[dict[str, Any]]:
    """CIT, CAT and TFA of every scorer, at run and sample level."""
    rows = []
    human = frame.scorer_names.index(options.human)
    panels = [frame.panels[name] for name in options.meta_tasks or frame.target_sets]
    for number, name in enumerate(frame.scorer_names):
        found: list[tuple[str, str, Estimate, int]] = []
        for level in LEVELS if number != human else ():
            paired = paired_rows(frame, panels, number, human, level, options.below_target)
            reasons = {task: why_undefined(part.scorer, part.human) for task, part in paired.by_task().items()}
            num_defined = sum(1 for reason in reasons.values() if not reason)
            if paired.num_rows == 0:
                nothing = Estimate.undefined(f"no run below N = {options.below_target} scored by both")
                found += [(level, name, nothing, 0) for name in ("CIT", "CAT", "CAT_task_centred")]
                continue
            size = options.resamples
            seed = (options.seed_key, "metaeval", level, name)
            found.append((level, "CIT", cit(paired, seeded(*seed, "CIT"), resamples=size), len(reasons)))
            if num_defined < len(reasons):
                partial = cit(paired, seeded(*seed, "CIT"), resamples=size, skip_undefined=True)
                found.append((level, "CIT_defined", partial, num_defined))
            found.append((level, "CAT", cat(paired, seeded(*seed, "CAT"), resamples=size), len(reasons)))
            centred = cat(paired, seeded(*seed, "CAT_task_centred"), resamples=size, task_centred=True)
            found.append((level, "CAT_task_centred", centred, len(reasons)))
        for statistic, estimate, num_tasks in _tfa(frame, number, options):
            found.append(("run", statistic, estimate, num_tasks))
        for level, statistic, estimate, num_tasks in found:
            rows.append(
                {
                    "level": level,
                    "scorer": name,
                    "statistic": statistic,
                    **_numbers(estimate),
                    "num_tasks": num_tasks,
                }
            )
    return rows


def metaeval_task_rows(frame: StudyFrame, options: TableOptions) -> list[dict[str, Any]]:
    """Correlation of every scorer with the human column inside each task."""
    rows = []
    human = frame.scorer_names.index(options.human)
    panels = [frame.panels[name] for name in options.meta_tasks or frame.target_sets]
    for number, name in enumerate(frame.scorer_names):
        if number == human:
            continue
        for level in LEVELS:
            for panel in panels:
                paired = paired_rows(frame, [panel], number, human, level, options.below_target)
                rng = seeded(options.seed_key, "metaeval_tasks", level, name, panel.evaluation_set)
                estimate = correlation(paired, rng, resamples=options.resamples)
                rows.append({"level": level, "task": panel.evaluation_set, "scorer": name, **_numbers(estimate)})
    return rows


def similarity_rows(frame: StudyFrame, *, seed_key: str, resamples: int) -> list[dict[str, Any]]:
    """Spearman matrix between scorers, per evaluation set and pooled, at run and sample level."""
    rows = []
    names = frame.scorer_names
    scopes: list[tuple[str, Sequence[Panel]]] = [(name, [panel]) for name, panel in frame.panels.items()]
    if len(frame.panels) > 1:
        scopes.append((POOLED, list(frame.panels.values())))
    if 1 < len(frame.target_sets) < len(frame.panels):
        scopes.append((TASKS, [frame.panels[name] for name in frame.target_sets]))
    for level in LEVELS:
        for scope, panels in scopes:
            shared = _SharedResamples(seeded(seed_key, "similarity", level, scope), resamples)
            for first in range(len(names)):
                for second in range(first, len(names)):
                    estimate = _similarity(paired_rows(frame, panels, first, second, level), first == second, shared)
                    for scorer_a, scorer_b in {(names[first], names[second]), (names[second], names[first])}:
                        rows.append(
                            {
                                "level": level,
                                "evaluation_set": scope,
                                "scorer_a": scorer_a,
                                "scorer_b": scorer_b,
                                **_numbers(estimate),
                            }
                        )
    return rows + _similarity_inside_tasks(frame, seed_key=seed_key, resamples=resamples)


def _similarity_inside_tasks(frame: StudyFrame, *, seed_key: str, resamples: int) -> list[dict[str, Any]]:
    """Spearman between scorers inside each target task, then the mean over tasks: the paper's table 4."""
    rows = []
    names = frame.scorer_names
    panels = [frame.panels[name] for name in frame.target_sets]
    for first in range(len(names)) if len(panels) > 1 else ():
        for second in range(first, len(names)):
            paired = paired_rows(frame, panels, first, second, "run")
            rng = seeded(seed_key, "similarity", "mean", names[first], names[second])
            if first == second:
                estimate = Estimate(1.0, 1.0, 1.0, paired.num_rows, paired.num_runs, "itself")
            else:
                estimate = cit(paired, rng, resamples=resamples, skip_undefined=True)
            for scorer_a, scorer_b in {(names[first], names[second]), (names[second], names[first])}:
                rows.append(
                    {
                        "level": "run",
                        "evaluation_set": MEAN,
                        "scorer_a": scorer_a,
                        "scorer_b": scorer_b,
                        **_numbers(estimate),
                    }
                )
    return rows


def paired_rows(
    frame: StudyFrame, panels: Sequence[Panel], first: int, second: int, level: str, below_target: float = math.inf
) -> Rows:
    """Scores of two scorers where both have one: a row per run (means over common items) or per answer.

    Both are turned so that higher is better. Runs of one draw share its rows: they are one cluster; mixtures are
    fixed, so they are the strata. Only runs with fewer than `below_target` target rows; no repeats.
    """
    clusters = sorted({run.cluster for panel in panels for run in panel.runs})
    strata = sorted({run.mixture for panel in panels for run in panel.runs})
    cluster_places = {key: place for place, key in enumerate(clusters)}
    stratum_places = {key: place for place, key in enumerate(strata)}
    columns: list[tuple[np.ndarray, ...]] = []
    num_items = 0
    for task, panel in enumerate(panels):
        kept = [row for row, run in enumerate(panel.runs) if run.num_target < below_target and not run.repeats]
        a_RI = panel.values[first][kept]
        b_RI = panel.values[second][kept]
        both = np.isfinite(a_RI) & np.isfinite(b_RI)
        run_codes = np.array([cluster_places[panel.runs[row].cluster] for row in kept], dtype=np.int64)
        stratum = np.array([stratum_places[panel.runs[row].mixture] for row in kept], dtype=np.int64)
        if level == "run":
            count = both.sum(axis=1)
            usable = count > 0
            a_N = np.where(both, a_RI, 0.0).sum(axis=1)[usable] / count[usable]
            b_N = np.where(both, b_RI, 0.0).sum(axis=1)[usable] / count[usable]
            runs, strata_N, items = run_codes[usable], stratum[usable], np.zeros(int(usable.sum()), dtype=np.int64)
        else:
            row_places, item_places = np.nonzero(both)
            a_N, b_N = a_RI[both], b_RI[both]
            runs, strata_N, items = run_codes[row_places], stratum[row_places], num_items + item_places
        columns.append((a_N, b_N, np.full(a_N.size, task, dtype=np.int64), runs, strata_N, items))
        num_items += len(panel.items)
    if not columns:
        none, places = np.zeros(0), np.zeros(0, dtype=np.int64)
        return Rows(none, none, places, places, (), None if level == "run" else places, places)
    a_N, b_N, task_N, run_N, stratum_N, item_N = (np.concatenate(column) for column in zip(*columns, strict=True))
    names = tuple(panel.evaluation_set for panel in panels)
    return Rows(a_N, b_N, task_N, run_N, names, None if level == "run" else item_N, stratum_N)


class _SharedResamples:
    """One draw of runs for all pairs of scorers that have the same runs: cheaper, and their values are paired."""

    def __init__(self, rng: np.random.Generator, resamples: int) -> None:
        self._seed = int(rng.integers(2**63))
        self._drawn: tuple[bytes, FloatArray] | None = None
        self.resamples = resamples

    def weights(self, rows: Rows) -> FloatArray:
        """Row weights; drawn from the same seed for every set of runs, so that the order of asking does not matter."""
        units = rows.clusters()
        name = units.of_row.tobytes() + units.stratum.tobytes()
        if self._drawn is None or self._drawn[0] != name:
            self._drawn = name, resample(units, self.resamples, np.random.default_rng(self._seed))
        return self._drawn[1]


def _similarity(paired: Rows, is_itself: bool, shared: _SharedResamples) -> Estimate:
    reason = why_undefined(paired.scorer, paired.human)
    if reason:
        return Estimate.undefined(reason, paired.num_rows, paired.num_runs)
    if is_itself:
        return Estimate(1.0, 1.0, 1.0, paired.num_rows, paired.num_runs, "itself")
    is_drawn = not is_linearised(paired, shared.resamples) and not is_jackknifed(paired.clusters())
    weights_NK = shared.weights(paired) if is_drawn else None
    return correlation(paired, np.random.default_rng(0), resamples=shared.resamples, weights_NK=weights_NK)


def _tfa(frame: StudyFrame, number: int, options: TableOptions) -> list[tuple[str, Estimate, int]]:
    """Mean gain from N = 0 to the largest N over all curves (base model, task, series), each from its own zero."""
    first: dict[str, Block] = {}
    last: dict[str, Block] = {}
    tasks = set()
    comparer = Comparer(frame)
    for task in options.tfa_tasks or frame.target_sets:
        panel = frame.panels[task]
        curves: dict[tuple[str, str], dict[int, tuple[int, ...]]] = {}
        for point in curve_points(panel, task):
            if all(panel.runs[row].repeats for row in point.rows):
                continue
            curves.setdefault((point.base_model, point.series), {})[point.num_target] = point.rows
        several = len({run.base_model for run in panel.runs}) > 1
        for (base, series), points in curves.items():
            most = max(points)
            if most == 0 or 0 not in points:
                continue
            name = "/".join([*([base] if several else []), task, *([series] if series else [])])
            end, start = comparer.sides(panel, number, (points[most], 1.0), (points[0], -1.0))
            first[name], last[name] = common_items(start, end)
            tasks.add(task)
    return [
        ("TFA_relative", tfa(first, last, relative=True), len(tasks)),
        ("TFA_absolute", tfa(first, last, relative=False), len(tasks)),
    ]


def _numbers(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
        "num_clusters": estimate.num_clusters,
        "method": estimate.method,
        "reason": estimate.reason,
    }
