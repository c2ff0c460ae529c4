"""The columns of every study table: name, Arrow type, meaning. Reports and readers rely on them.

Every table is sorted by its key columns; a number that is undefined is null, and `reason` says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: str
    meaning: str
    is_key: bool = False


def _key(name: str, meaning: str, kind: str = "string") -> Column:
    return Column(name, kind, meaning, True)


def _text(name: str, meaning: str) -> Column:
    return Column(name, "string", meaning)


def _count(name: str, meaning: str) -> Column:
    return Column(name, "int64", meaning)


def _number(name: str, meaning: str) -> Column:
    return Column(name, "float64", meaning)


def _flag(name: str, meaning: str) -> Column:
    return Column(name, "bool", meaning)


_LOW = _number("low", "lower end of the 95 % interval")
_HIGH = _number("high", "upper end of the 95 % interval")
_METHOD = _text("method", "how the interval was made")
_REASON = _text("reason", "why a number is missing or must be read with care; empty where nothing is to be said")
_N = _count("n", "rows that the value rests on")
_CLUSTERS = _count("num_clusters", "independent units behind the interval")
_BASE = _key("base_model", "base model")
_SERIES = _key("series", "condition beside N; empty where the study varies none")
_TASK = _key("task", "target task")
_SCORER = _key("scorer", "scorer")
_NUM_TARGET = _key("num_target", "target rows in the mixture (N)", "int64")
_UNIT = _text("unit", "what the interval speaks about: items and runs (or draws), or items only")
_ANSWERED = (
    _count("num_runs", "runs that answered the set"),
    _count("num_scored", "answers with a score"),
    _count("num_unscored", "answers without one"),
    _UNIT,
    _METHOD,
    _REASON,
)

FAMILY = (
    _number(
        "family_low", "lower end of the interval at the level that decides: Holm's step; leaves 0 out where told apart"
    ),
    _number("family_high", "upper end of it"),
    _number("family_mde", "smallest true difference found at that level with a chance of 80 %"),
    _number("margin", "differences within it count as equivalent; null: none is stated for a scale without ends"),
    _text("verdict", "better, worse, equivalent (within the margin, TOST) or undecided"),
    _text("needs", "what an undecided comparison would take"),
)

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "scorers": (
        _SCORER,
        _count("version", "the scorer's own version"),
        _text("direction", "higher or lower is better"),
        _number("range_low", "lower end of its range; null: none"),
        _number("range_high", "upper end of its range; null: none"),
        _text("kind", "reference, heuristic, judge, embedding, reward or human"),
        _flag("is_human", "plays the human column of the meta-evaluation"),
    ),
    "run_scores": (
        _BASE,
        _key("evaluation_set", "task, or instructions"),
        _key("arm", "label of the mixture"),
        _key("draw", "seed of the sample; -1 where nothing is drawn", "int64"),
        _key("training_seed", "seed of the training", "int64"),
        _key("predictions_key", "the predictions artifact"),
        _SCORER,
        _text("adapter_key", "the adapter artifact"),
        _text("mixture_key", "the mixture artifact"),
        _text("series", "condition beside N"),
        _text("trained_task", "target task of the mixture; empty at N = 0"),
        _count("num_target", "target rows in the mixture (N)"),
        _number("mean", "mean over the scored items"),
        _LOW,
        _HIGH,
        _METHOD,
        _count("num_asked", "items that the scorer was asked about"),
        _count("num_scored", "items with a score"),
        _text("unscored", "JSON object: reason to count; asked = scored + their sum"),
    ),
    "curves": (
        _BASE,
        _TASK,
        _SERIES,
        _SCORER,
        _NUM_TARGET,
        _number("mean", "mean over runs and items"),
        _LOW,
        _HIGH,
        _count("num_runs", "draws x training seeds at this N"),
        _count("num_draws", "distinct draws; at N = 0 nothing is drawn and the spread is that of training seeds"),
        _count("num_items", "items of the task"),
        _count("num_scored", "answers with a score"),
        _count("num_unscored", "answers without one"),
        _UNIT,
        _METHOD,
        _REASON,
    ),
    "leaderboard": (
        _BASE,
        _key("evaluation_set", "what the arms are compared on"),
        _SCORER,
        _key("arm", "label of the mixture"),
        _text("series", "condition beside N"),
        _text("trained_task", "target task of the mixture"),
        _count("num_target", "target rows in the mixture (N)"),
        _text("baseline", "label of the baseline"),
        _flag("is_baseline", "this row is the baseline itself"),
        _count("rank", "1 = best mean on this evaluation set, in the scorer's direction"),
        _number("mean", "the arm's mean over the common items"),
        _number("baseline_mean", "the baseline's mean over the same items"),
        _number("difference", "mean - baseline_mean, paired by item"),
        _LOW,
        _HIGH,
        _number("standard_error", "standard error of the difference; null where neither side varies"),
        _number("dof", "its degrees of freedom (Satterthwaite)"),
        _number("p", "two-sided p of no difference"),
        _number(
            "p_holm",
            "p adjusted by Holm over the family: the comparisons of this base model and scorer on target sets, those "
            "on the instruction set apart; null where the unit is items only",
        ),
        _count("family_size", "comparisons in the family; families of other scorers are not corrected for"),
        _number("mde", "smallest true difference that this comparison alone finds with a chance of 80 %"),
        *FAMILY,
        _count("num_items", "items that all runs of both have a score for"),
        _count("num_items_left_out", "items that some run has no score for"),
        _count("num_runs", "runs of the arm"),
        _count("num_baseline_runs", "runs of the baseline"),
        _number("forgetting", "difference to the baseline on the instruction set, same scorer (below 0: forgot)"),
        _number("forgetting_low", "lower end of its 95 % interval"),
        _number("forgetting_high", "upper end of its 95 % interval"),
        _text("forgetting_unit", "what that interval speaks about"),
        _count("forgetting_items", "items of the instruction set that all runs of both have a score for"),
        _flag("is_pareto", "no other arm has more on this set without losing more on the instruction set"),
        _UNIT,
        _METHOD,
        _REASON,
    ),
    "forgetting": (
        _BASE,
        _TASK,
        _SERIES,
        _SCORER,
        _NUM_TARGET,
        _number("mean_zero", "mean on the instruction set at N = 0, common items"),
        _number("mean", "mean on the instruction set at this N, common items"),
        _number("absolute", "mean - mean_zero"),
        _number("absolute_low", "lower end of its 95 % interval"),
        _number("absolute_high", "upper end of its 95 % interval"),
        _number("p", "two-sided p of no difference"),
        _number("p_holm", "p adjusted by Holm over all such comparisons of this base model and scorer"),
        *FAMILY,
        _number("relative", "absolute / mean_zero; null where mean_zero is not told from 0"),
        _number("relative_low", "lower end of its 95 % interval"),
        _number("relative_high", "upper end of its 95 % interval"),
        _count("num_items", "items that all runs of both have a score for"),
        _count("num_runs", "runs at this N"),
        _count("num_zero_runs", "runs at N = 0"),
        _UNIT,
        _METHOD,
        _REASON,
    ),
    "series": (
        _BASE,
        _TASK,
        _SCORER,
        _NUM_TARGET,
        _SERIES,
        _key("against", "the series that it is compared with, at the same N"),
        _number("mean", "mean of the series over the common items"),
        _number("against_mean", "mean of the other over the same items"),
        _number("difference", "mean - against_mean, paired by item"),
        _LOW,
        _HIGH,
        _number("p", "two-sided p of no difference"),
        _number("p_holm", "p adjusted by Holm over all such comparisons of this base model and scorer"),
        _number("mde", "smallest true difference that this comparison alone finds with a chance of 80 %"),
        *FAMILY,
        _count("num_items", "items that all runs of both have a score for"),
        _count("num_runs", "runs of the series at this N"),
        _count("num_against_runs", "runs of the other"),
        _UNIT,
        _METHOD,
        _REASON,
    ),
    "set_means": (
        _BASE,
        _key("evaluation_set", "task, category, or instructions"),
        _SCORER,
        _number("mean", "mean over all runs and items"),
        _LOW,
        _HIGH,
        *_ANSWERED,
    ),
    "category_means": (
        _BASE,
        _key("category", "instruction category; no rows where the instruction set is not tagged"),
        _SCORER,
        _number("mean", "mean over all runs and the instruction set's items of this category"),
        _LOW,
        _HIGH,
        _count("num_items", "items of this category"),
        *_ANSWERED,
    ),
    "similarity": (
        _key("level", "run or sample"),
        _key("evaluation_set", "a set; *: all pooled; tasks: the target sets pooled; mean: the mean over these"),
        _key("scorer_a", "scorer"),
        _key("scorer_b", "scorer; the matrix is symmetric and whole"),
        _number("value", "Spearman's rho (scorers where lower is better are turned round)"),
        _LOW,
        _HIGH,
        _N,
        _CLUSTERS,
        _METHOD,
        _REASON,
    ),
    "metaeval": (
        _key("level", "run (one row per run) or sample (one row per answer)"),
        _SCORER,
        _key("statistic", "CIT, CIT_defined, CAT, CAT_task_centred, TFA_relative, TFA_absolute"),
        _number("value", "the statistic, against the human column"),
        _LOW,
        _HIGH,
        _N,
        _CLUSTERS,
        _count("num_tasks", "tasks in it"),
        _METHOD,
        _REASON,
    ),
    "scorer_pairs": (
        _key("scorer", "the one with the higher CIT at run level"),
        _key("against", "the other"),
        _number("cit", "CIT of the first on the answers that all scorers and the human column scored"),
        _number("against_cit", "CIT of the other on the same answers"),
        _number("difference", "cit - against_cit, over the same runs; items are fixed"),
        _LOW,
        _HIGH,
        _number("p", "two-sided p of no difference: Student's t, jackknife over clusters of runs"),
        _number("p_holm", "p adjusted by Holm over all pairs of scorers"),
        _count("n_common", "answers that all scorers and the human column scored"),
        _count("n_own", "answers that the first scored"),
        _count("n_against", "answers that the other scored"),
        _CLUSTERS,
        _count("num_tasks", "tasks in it"),
        _text("verdict", "better, worse or undecided"),
        _text("needs", "what an undecided comparison would take"),
        _REASON,
    ),
    "metaeval_tasks": (
        _key("level", "run or sample"),
        _TASK,
        _SCORER,
        _number("value", "Spearman's rho with the human column inside the task"),
        _LOW,
        _HIGH,
        _N,
        _CLUSTERS,
        _METHOD,
        _REASON,
    ),
    "coverage": (
        _key("evaluation_set", "task, or instructions"),
        _SCORER,
        _count("num_asked", "answers that the scorer was asked about"),
        _count("num_scored", "answers with a score"),
        _count("num_unscored", "num_asked - num_scored"),
        _text("unscored", "JSON object: reason to count"),
        _number("share_scored", "num_scored / num_asked"),
    ),
    "phases": (
        _BASE,
        _TASK,
        _SERIES,
        _SCORER,
        _number("change_point", "N at which the curve's slope changes"),
        _LOW,
        _HIGH,
        _number("slope_before", "score per doubling of 1 + N, left of it"),
        _number("slope_after", "score per doubling of 1 + N, right of it"),
        _text("shape", "early or late: which side is steeper; gain or loss: whether it rises or falls there"),
        _number("p", "chance that a straight or smoothly saturating curve gives as much of a knot"),
        _number("p_holm", "p adjusted by Holm over all curves of the study"),
        _count("num_runs", "runs on the curve"),
        _count("num_levels", "values of N"),
        _REASON,
    ),
    "variance": (
        _BASE,
        _TASK,
        _SERIES,
        _SCORER,
        _key(
            "factor",
            "draw, training_seed, draw x training_seed (what a draw does under one seed alone), item, judge_repeat (of "
            "one judgement; a mean of J has 1/J of it) or residual",
        ),
        _number("variance", "variance component, in squared units of the score, mean over the points of the curve"),
        _LOW,
        _HIGH,
        _number("share", "of the sum of the components that are above 0"),
        _count("levels", "levels of the factor"),
        _count("num_points", "sizes N above 0 that the mean is over; they are fixed, no random sample"),
        _REASON,
    ),
}
"""Columns by table. Key columns come first, in sorting order."""


def arrow_schema(name: str, tables: Mapping[str, tuple[Column, ...]] = COLUMNS) -> pa.Schema:
    """Arrow schema of a table; a column's meaning is its field metadata."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(column.name, pa.type_for_alias(column.type), metadata={"meaning": column.meaning})
            for column in tables[name]
        ]
    )


def make_table(
    name: str, rows: Iterable[Mapping[str, Any]], tables: Mapping[str, tuple[Column, ...]] = COLUMNS
) -> pa.Table:
    """Rows as a table of this name: sorted by key, NaN turned into null, every column given.

    Raises:
        ValueError: a row has not exactly the table's columns, or two rows have one key.
    """
    import pyarrow as pa

    columns = tables[name]
    names = [column.name for column in columns]
    keys = [column.name for column in columns if column.is_key]
    ordered = sorted(rows, key=lambda row: tuple(row[key] for key in keys))
    for row in ordered:
        if len(row) != len(names) or any(column not in row for column in names):
            raise ValueError(f"{name}: row has {sorted(row)}, the table {sorted(names)}")
    for first, second in pairwise(ordered):
        if all(first[key] == second[key] for key in keys):
            raise ValueError(f"{name}: two rows of {[first[key] for key in keys]}")
    data = {column: [_none_if_nan(row[column]) for row in ordered] for column in names}
    return pa.table(data, schema=arrow_schema(name, tables))


def _none_if_nan(value: Any) -> Any:
    # numpy scalars and NaN both end here; a NaN in Parquet would compare unequal to itself
    return None if isinstance(value, float) and value != value else value
