"""A table of scorer columns beside a human column, and everything that it says about the scorers.

`ScoreTable` holds the columns with their gaps; a statistic that needs complete columns asks for a policy first.
`scorer_report` is `assay metaeval scores`; `agreement` is the part of it that `assay metaeval replies` shows.

Axes: S columns, N rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from assay.errors import DataError
from assay.metaeval.score_table.columns import (
    NO_PARTS,
    Columns,
    ScoreTable,
    columns_of,
    is_label,
    labels_of,
    number_columns,
    numbered,
    numbers_of,
    texts_of,
)
from assay.metaeval.score_table.tfa import Curves, whole_counts
from assay.metaeval.statistics.bootstrap import clusters, interval, seeded, weighted_mean
from assay.metaeval.statistics.clustered import one_way_variance, student_quantile
from assay.metaeval.statistics.comparability import (
    MAX_RESAMPLED_CELLS,
    Rows,
    cat,
    cit,
    correlation,
    fisher_interval,
    why_undefined,
)
from assay.metaeval.statistics.correlation import (
    kendall,
    kendall_linearised,
    kendall_resamples,
    pearson,
    pearson_linearised,
    pearson_resamples,
    spearman,
    spearman_linearised,
    spearman_resamples,
)
from assay.metaeval.statistics.estimate import Estimate, FloatArray, IntArray
from assay.metaeval.statistics.pairwise import grouped_difference_p, perm_both, tie_calibration, williams
from assay.metaeval.statistics.ppi import human_means
from assay.metaeval.statistics.rates import holm

if TYPE_CHECKING:
    import pyarrow as pa


_KENDALL_ROWS = 3000
"""Rows up to which Kendall is resampled; the matrix of all pairs has the square of it."""
_MAX_PAIRS = 2_000_000
_PERM_ROWS = 200_000
"""Rows beyond which PERM-BOTH is left out and said to be: Williams' test remains."""


def agreement(
    scorer: ArrayLike,
    human: ArrayLike,
    groups: Sequence[object] | None = None,
    *,
    seed_key: str,
    resamples: int = 2000,
) -> dict[str, Any]:
    """How one scorer agrees with human scores.

    Args:
        scorer: scores, NaN where unscored.
        human: human scores of the same rows, NaN where there is none.
        groups: group of each row (the document that it is about): the unit of resampling, and what
            `spearman_within_group` looks inside. None: rows are independent.
        seed_key: seeds the resampling.
        resamples: bootstrap size.

    Returns:
        `asked` (rows with a human score) = `n` + `unscored`; `spearman`, `pearson`, `kendall` and, with groups,
        `spearman_within_group` (mean over groups), each with `value`, `low`, `high`.
    """
    scorer_N, human_N = numbers_of("scorer", scorer), numbers_of("human", human)
    if scorer_N.shape != human_N.shape or (groups is not None and len(groups) != scorer_N.size):
        raise ValueError("scorer, human and groups must have one entry per row")
    has_human = np.isfinite(human_N)
    both = has_human & np.isfinite(scorer_N)
    group_N = numbered(groups) if groups is not None else np.arange(scorer_N.size)
    x_N, y_N, units_N = scorer_N[both], human_N[both], group_N[both]
    report: dict[str, Any] = {
        "asked": int(has_human.sum()),
        "n": int(both.sum()),
        "unscored": int(has_human.sum() - both.sum()),
    }
    for name in ("spearman", "pearson", "kendall"):
        report[name] = _correlation(name, x_N, y_N, units_N, seed_key, resamples).as_json()
    if groups is not None:
        rng = seeded(seed_key, "spearman_within_group")
        report["spearman_within_group"] = within_group(x_N, y_N, units_N, rng, resamples=resamples).as_json()
    return report


def within_group(
    scorer_N: FloatArray, human_N: FloatArray, group_N: IntArray, rng: np.random.Generator, *, resamples: int = 2000
) -> Estimate:
    """Mean over groups of Spearman's rho inside the group; groups without a rho are left out and counted."""
    order = np.argsort(group_N, kind="stable")
    starts = np.flatnonzero(np.diff(group_N[order], prepend=-1)) if order.size else np.zeros(0, dtype=np.int64)
    parts = np.split(order, starts[1:]) if order.size else []
    values = [spearman(scorer_N[part], human_N[part]) for part in parts]
    defined = np.array([value for value in values if not math.isnan(value)])
    left_out = len(values) - defined.size
    note = f"{left_out} of {len(values)} groups have a constant column or one row and are left out" if left_out else ""
    if defined.size == 0:
        return Estimate.undefined(note or "no groups", int(scorer_N.size))
    estimate = interval(
        weighted_mean(defined), clusters(np.arange(defined.size)), rng, resamples=resamples, n=int(scorer_N.size)
    )
    reason = "; ".join(part for part in (note, estimate.reason) if part)
    return Estimate(
        estimate.value, estimate.low, estimate.high, estimate.n, estimate.num_clusters, estimate.method, reason
    )


def scorer_report(
    table: pa.Table | Mapping[str, Sequence[Any]],
    human: str,
    parts: Columns = NO_PARTS,
    *,
    scorers: Sequence[str] | None = None,
    seed_key: str = "",
    resamples: int = 2000,
) -> dict[str, Any]:
    """All that a table of scores says about its scorers, ready for JSON.

    Args:
        table: one row per answer (or per run), one column per scorer.
        human: name of the human column.
        parts: which other columns the table has.
        scorers: columns to judge; None: every column of numbers that has no other part and whose name is not that of
            a label (`is_label`).
        seed_key: seeds the resampling, together with the names of columns.
        resamples: bootstrap size.

    Returns:
        `num_rows`, `without_human`, `scorers` (per scorer what `agreement` gives, `pairwise` with tie calibration,
        with a task column `cit`, `cit_defined`, `cat`, `cat_task_centred`, `tasks`, with target rows `tfa_relative` and
        `tfa_absolute` (the human column's own in `human_tfa`), and where people scored only some rows `human_mean`:
        what they would have given all, by prediction-powered inference), `left_out` (columns of numbers that are
        labels by their names), and `comparisons`: every
        two scorers on the rows that both have, with the difference of their Spearman correlations, PERM-BOTH
        (groups swapped whole) and
        Williams, both also adjusted by Holm over all comparisons.

    Raises:
        DataError: a named column is missing or not of numbers, or no scorer column is left.
    """
    columns = columns_of(table)
    special = (human, parts.task, parts.group, parts.arm, parts.target_rows, parts.run)
    for name in (*special, *(scorers or ())):
        if name is not None and name not in columns:
            known = ", ".join(columns)
            raise DataError(f"table: saw no column {name!r}; expected one of {known}; name one of those")
    numbers = number_columns(columns, set(special)) if scorers is None else []
    left_out = [name for name in numbers if is_label(name)]
    chosen = list(scorers) if scorers is not None else [name for name in numbers if name not in left_out]
    if not chosen:
        why = f" (but {', '.join(left_out)})" if left_out else ""
        raise DataError(f"table: saw no scorer column{why}; expected at least one of numbers beside the human one")
    if parts.target_rows is not None and parts.task is None:
        raise DataError(
            f"target rows {parts.target_rows!r}: saw no task column; expected one, as TFA is a mean over tasks"
        )
    scores = ScoreTable.from_columns({name: columns[name] for name in [human, *chosen]})
    human_N = scores.column(human)
    groups, tasks, arms = (
        labels_of(columns, parts.group),
        texts_of(columns, parts.task),
        texts_of(columns, parts.arm),
    )
    curves = None
    if tasks is not None and parts.target_rows is not None:
        counts = whole_counts(parts.target_rows, columns[parts.target_rows])
        curves = Curves(tasks, counts, labels_of(columns, parts.run), groups)
    report: dict[str, Any] = {
        "human": human,
        "task_column": parts.task,
        "group_column": parts.group,
        "target_rows_column": parts.target_rows,
        "left_out": left_out,
        "num_rows": int(human_N.size),
        "without_human": int(np.isnan(human_N).sum()),
        "scorers": {},
    }
    if curves is not None:
        report["human_tfa"] = {name: found.as_json() for name, found in curves.gains(human_N).items()}
    for name in sorted(chosen):
        scorer_N = scores.column(name)
        seed = f"{seed_key}\0{human}\0{name}"
        part = agreement(scorer_N, human_N, groups, seed_key=seed, resamples=resamples)
        part["pairwise"] = _pairwise(scorer_N, human_N, groups, seed)
        if tasks is not None:
            part |= _across_tasks(scorer_N, human_N, tasks, groups, seed, resamples)
        if curves is not None:
            part |= {name: found.as_json() for name, found in curves.gains(scorer_N).items()}
        if report["without_human"] or arms is not None:
            part["human_mean"] = _human_mean(human_N, scorer_N, groups, arms)
        report["scorers"][name] = part
    report["comparisons"] = _comparisons(scores, human, sorted(chosen), groups, seed_key, resamples)
    return report


def _correlation(
    name: str, x_N: FloatArray, y_N: FloatArray, units_N: IntArray, seed_key: str, resamples: int
) -> Estimate:
    reason = why_undefined(x_N, y_N)
    units = clusters(units_N)
    if reason:
        return Estimate.undefined(reason, int(x_N.size), units.num_clusters)
    rng = seeded(seed_key, name)
    is_large = x_N.size > _KENDALL_ROWS if name == "kendall" else x_N.size * resamples > MAX_RESAMPLED_CELLS
    if is_large:
        if name == "kendall":
            linearised = kendall_linearised(x_N, y_N, rng)
        else:
            linearised = (spearman_linearised if name == "spearman" else pearson_linearised)(x_N, y_N)
        return fisher_interval(linearised.value, one_way_variance(linearised.influence, units_N), int(x_N.size))
    function = {"spearman": spearman_resamples, "pearson": pearson_resamples, "kendall": kendall_resamples}[name]
    estimate = interval(
        lambda weights_NK: function(x_N, y_N, weights_NK), units, rng, resamples=resamples, method="bca", scale="fisher"
    )
    # the plain functions round as SciPy's do
    value = {"spearman": spearman, "pearson": pearson, "kendall": kendall}[name](x_N, y_N)
    return Estimate(
        value, estimate.low, estimate.high, estimate.n, estimate.num_clusters, estimate.method, estimate.reason
    )


def _pairwise(scorer_N: FloatArray, human_N: FloatArray, groups: Sequence[Any] | None, seed: str) -> dict[str, Any]:
    labels = None if groups is None else numbered(groups)
    try:
        found = tie_calibration(scorer_N, human_N, labels, max_pairs=_MAX_PAIRS, rng=seeded(seed, "pairs"))
    except ValueError as error:
        return Estimate.undefined(str(error)).as_json()
    return {
        **found.estimate.as_json(),
        "cross_fitted": found.cross_fitted.as_json(),
        "plain": found.plain_accuracy,
        "epsilon": found.epsilon,
        "num_pairs": found.num_pairs,
    }


def _human_mean(
    human_N: FloatArray, scorer_N: FloatArray, groups: Sequence[Any] | None, arms: Sequence[str] | None
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for arm, found in human_means(human_N, scorer_N, groups, arms).items():
        if isinstance(found, str):
            rows.append({"arm": arm, "estimate": Estimate.undefined(found).as_json()})
            continue
        rows.append(
            {
                "arm": arm,
                "estimate": found.estimate.as_json(),
                "human_only": found.human_only.as_json(),
                "labelled": found.estimate.n,
                "width_ratio": None if math.isnan(found.width_ratio) else found.width_ratio,
                "judge_weight": found.judge_weight,
                "correlation": None if math.isnan(found.correlation) else found.correlation,
            }
        )
    return rows


def _across_tasks(
    scorer_N: FloatArray,
    human_N: FloatArray,
    tasks: Sequence[str],
    groups: Sequence[Any] | None,
    seed: str,
    resamples: int,
) -> dict[str, Any]:
    names = tuple(sorted(set(tasks)))
    places = {name: place for place, name in enumerate(names)}
    task_N = np.array([places[name] for name in tasks], dtype=np.int64)
    # a document of one task is no cluster of another, so its label carries the task
    units = None if groups is None else [f"{name}\0{label}" for name, label in zip(tasks, groups, strict=True)]
    unit_N = np.arange(scorer_N.size) if units is None else numbered(units)
    both = np.isfinite(scorer_N) & np.isfinite(human_N)
    rows = Rows(scorer_N[both], human_N[both], task_N[both], unit_N[both], names, stratum=task_N[both])
    part: dict[str, Any] = {"cit": cit(rows, seeded(seed, "cit"), resamples=resamples).as_json()}
    if part["cit"]["value"] is None:
        part["cit_defined"] = cit(rows, seeded(seed, "cit"), resamples=resamples, skip_undefined=True).as_json()
    part["cat"] = cat(rows, seeded(seed, "cat"), resamples=resamples).as_json()
    centred = cat(rows, seeded(seed, "cat_task_centred"), resamples=resamples, task_centred=True)
    part["cat_task_centred"] = centred.as_json()
    part["tasks"] = {
        name: correlation(own, seeded(seed, "task", name), resamples=resamples).as_json()
        for name, own in sorted(rows.by_task().items())
    }
    return part


def _comparisons(
    scores: ScoreTable, human: str, names: Sequence[str], groups: Sequence[Any] | None, seed_key: str, resamples: int
) -> list[dict[str, Any]]:
    human_N = scores.column(human)
    group_N = np.arange(human_N.size) if groups is None else numbered(groups)
    found = []
    for first, second in combinations(names, 2):
        x_N, y_N = scores.column(first), scores.column(second)
        both = np.isfinite(x_N) & np.isfinite(y_N) & np.isfinite(human_N)
        columns = x_N[both], y_N[both], human_N[both]
        found.append(_compare_two(first, second, *columns, group_N[both], f"{seed_key}\0{human}", resamples))
    for test in ("perm_both", "williams"):
        adjusted = holm([math.nan if row[test] is None else row[test] for row in found])
        for row, p in zip(found, adjusted, strict=True):
            row[f"{test}_holm"] = None if math.isnan(p) else float(p)
    return found


def _compare_two(
    first: str,
    second: str,
    x_N: FloatArray,
    y_N: FloatArray,
    human_N: FloatArray,
    group_N: IntArray,
    seed_key: str,
    resamples: int,
) -> dict[str, Any]:
    row: dict[str, Any] = {"first": first, "second": second, "n": int(x_N.size)}
    reason = why_undefined(x_N, human_N) or why_undefined(y_N, human_N)
    if reason:
        return {**row, "difference": Estimate.undefined(reason).as_json(), "perm_both": None, "williams": None}
    r_first, r_second = spearman(x_N, human_N), spearman(y_N, human_N)
    units = clusters(group_N)
    rng = seeded(seed_key, "difference", first, second)
    if x_N.size * resamples > MAX_RESAMPLED_CELLS:
        influence_N = spearman_linearised(x_N, human_N).influence - spearman_linearised(y_N, human_N).influence
        error = student_quantile(0.975, units.num_clusters - 1) * one_way_variance(influence_N, group_N).standard_error
        value = r_first - r_second
        method = f"linearised, {units.num_clusters} clusters"
        difference = Estimate(value, value - error, value + error, int(x_N.size), units.num_clusters, method)
    else:

        def statistic(weights_NK: FloatArray) -> FloatArray:
            both_2K = spearman_resamples(np.stack([x_N, y_N]), human_N, weights_NK)
            return np.asarray(both_2K[0] - both_2K[1], dtype=float)

        difference = interval(statistic, units, rng, resamples=resamples)
        difference = replace(difference, value=r_first - r_second)
    perm = None
    if x_N.size <= _PERM_ROWS:
        perm = perm_both(
            x_N, y_N, human_N, seeded(seed_key, "perm_both", first, second), resamples=resamples, groups=group_N
        )
    is_grouped = units.num_clusters < x_N.size
    p = (
        grouped_difference_p(x_N, y_N, human_N, group_N)
        if is_grouped
        else williams(r_first, r_second, spearman(x_N, y_N), int(x_N.size))
    )
    return {
        **row,
        "clusters": units.num_clusters,
        "difference": difference.as_json(),
        "perm_both": perm,
        "williams": None if math.isnan(p) else p,
    }
