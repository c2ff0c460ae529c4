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


def key(name: str, meaning: str, kind: str = "string") -> Column:
    """A column that rows are sorted by, and known by."""
    return Column(name, kind, meaning, True)


def text(name: str, meaning: str) -> Column:
    """A column of text."""
    return Column(name, "string", meaning)


def count(name: str, meaning: str) -> Column:
    """A column of whole numbers."""
    return Column(name, "int64", meaning)


def number(name: str, meaning: str) -> Column:
    """A column of numbers; null where undefined."""
    return Column(name, "float64", meaning)


def flag(name: str, meaning: str) -> Column:
    """A column of true and false."""
    return Column(name, "bool", meaning)


_LOW = number("low", "lower end of the 95 % interval")
_HIGH = number("high", "upper end of the 95 % interval")
_METHOD = text("method", "how the interval was made")
_REASON = text("reason", "why a number is missing or must be read with care; empty where nothing is to be said")
_N = count("n", "rows that the value rests on")
_CLUSTERS = count("num_clusters", "independent units behind the interval")
_BASE = key("base_model", "base model")
_SERIES = key("series", "condition beside N; empty where the study varies none")
_TASK = key("task", "target task")
_SCORER = key("scorer", "scorer")
_NUM_TARGET = key("num_target", "target rows in the mixture (N)", "int64")
_UNIT = text("unit", "what the interval speaks about: items and runs (or draws), or items only")
_ANSWERED = (
    count("num_runs", "runs that answered the set"),
    count("num_scored", "answers with a score"),
    count("num_unscored", "answers without one"),
    _UNIT,
    _METHOD,
    _REASON,
)

FAMILY = (
    number(
        "family_low", "lower end of the interval at the level that decides: Holm's step; leaves 0 out where told apart"
    ),
    number("family_high", "upper end of it"),
    number("family_mde", "smallest true difference found at that level with a chance of 80 %"),
    number("margin", "differences within it count as equivalent; null: none is stated for a scale without ends"),
    text("verdict", "better, worse, equivalent (within the margin, TOST) or undecided"),
    text("needs", "what an undecided comparison would take"),
)

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "scorers": (
        _SCORER,
        count("version", "the scorer's own version"),
        text("direction", "higher or lower is better"),
        number("range_low", "lower end of its range; null: none"),
        number("range_high", "upper end of its range; null: none"),
        text("kind", "reference, heuristic, judge, embedding, reward or human"),
        flag("is_human", "plays the human column of the meta-evaluation"),
    ),
    "run_scores": (
        _BASE,
        key("evaluation_set", "task, or instructions"),
        key("arm", "label of the mixture"),
        key("draw", "seed of the sample; -1 where nothing is drawn", "int64"),
        key("training_seed", "seed of the training", "int64"),
        key("predictions_key", "the predictions artifact"),
        _SCORER,
        text("adapter_key", "the adapter artifact"),
        text("mixture_key", "the mixture artifact"),
        text("series", "condition beside N"),
        text("trained_task", "target task of the mixture; empty at N = 0"),
        count("num_target", "target rows in the mixture (N)"),
        number("mean", "mean over the scored items"),
        _LOW,
        _HIGH,
        _METHOD,
        count("num_asked", "items that the scorer was asked about"),
        count("num_scored", "items with a score"),
        text("unscored", "JSON object: reason to count; asked = scored + their sum"),
    ),
    "curves": (
        _BASE,
        _TASK,
        _SERIES,
        _SCORER,
        _NUM_TARGET,
        number("mean", "mean over runs and items"),
        _LOW,
        _HIGH,
        count("num_runs", "draws x training seeds at this N"),
        count("num_draws", "distinct draws; at N = 0 nothing is drawn and the spread is that of training seeds"),
        count("num_items", "items of the task"),
        count("num_scored", "answers with a score"),
        count("num_unscored", "answers without one"),
        _UNIT,
        _METHOD,
        _REASON,
    ),
    "leaderboard": (
        _BASE,
        key("evaluation_set", "what the arms are compared on"),
        _SCORER,
        key("arm", "label of the mixture"),
        text("series", "condition beside N"),
        text("trained_task", "target task of the mixture"),
        count("num_target", "target rows in the mixture (N)"),
        text("baseline", "label of the baseline"),
        flag("is_baseline", "this row is the baseline itself"),
        count("rank", "1 = best mean on this evaluation set, in the scorer's direction"),
        number("mean", "the arm's mean over the common items"),
        number("baseline_mean", "the baseline's mean over the same items"),
        number("difference", "mean - baseline_mean, paired by item"),
        _LOW,
        _HIGH,
        number("standard_error", "standard error of the difference; null where neither side varies"),
        number("dof", "its degrees of freedom (Satterthwaite)"),
        number("p", "two-sided p of no difference"),
        number(
            "p_holm",
            "p adjusted by Holm over the family: the comparisons of this base model and scorer on target sets, those "
            "on the instruction set apart; null where the unit is items only",
        ),
        count("family_size", "comparisons in the family; families of other scorers are not corrected for"),
        number("mde", "smallest true difference that this comparison alone finds with a chance of 80 %"),
        *FAMILY,
        count("num_items", "items that all runs of both have a score for"),
        count("num_items_left_out", "items that some run has no score for"),
        count("num_runs", "runs of the arm"),
        count("num_baseline_runs", "runs of the baseline"),
        number("forgetting", "difference to the baseline on the instruction set, same scorer (below 0: forgot)"),
        number("forgetting_low", "lower end of its 95 % interval"),
        number("forgetting_high", "upper end of its 95 % interval"),
        text("forgetting_unit", "what that interval speaks about"),
        count("forgetting_items", "items of the instruction set that all runs of both have a score for"),
        flag("is_pareto", "no other arm has more on this set without losing more on the instruction set"),
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
        number("mean_zero", "mean on the instruction set at N = 0, common items"),
        number("mean", "mean on the instruction set at this N, common items"),
        number("absolute", "mean - mean_zero"),
        number("absolute_low", "lower end of its 95 % interval"),
        number("absolute_high", "upper end of its 95 % interval"),
        number("p", "two-sided p of no difference"),
        number("p_holm", "p adjusted by Holm over all such comparisons of this base model and scorer"),
        *FAMILY,
        number("relative", "absolute / mean_zero; null where mean_zero is not told from 0"),
        number("relative_low", "lower end of its 95 % interval"),
        number("relative_high", "upper end of its 95 % interval"),
        count("num_items", "items that all runs of both have a score for"),
        count("num_runs", "runs at this N"),
        count("num_zero_runs", "runs at N = 0"),
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
        key("against", "the series that it is compared with, at the same N"),
        number("mean", "mean of the series over the common items"),
        number("against_mean", "mean of the other over the same items"),
        number("difference", "mean - against_mean, paired by item"),
        _LOW,
        _HIGH,
        number("p", "two-sided p of no difference"),
        number("p_holm", "p adjusted by Holm over all such comparisons of this base model and scorer"),
        number("mde", "smallest true difference that this comparison alone finds with a chance of 80 %"),
        *FAMILY,
        count("num_items", "items that all runs of both have a score for"),
        count("num_runs", "runs of the series at this N"),
        count("num_against_runs", "runs of the other"),
        _UNIT,
        _METHOD,
        _REASON,
    ),
    "set_means": (
        _BASE,
        key("evaluation_set", "task, category, or instructions"),
        _SCORER,
        number("mean", "mean over all runs and items"),
        _LOW,
        _HIGH,
        *_ANSWERED,
    ),
    "category_means": (
        _BASE,
        key("category", "instruction category; no rows where the instruction set is not tagged"),
        _SCORER,
        number("mean", "mean over all runs and the instruction set's items of this category"),
        _LOW,
        _HIGH,
        count("num_items", "items of this category"),
        *_ANSWERED,
    ),
    "similarity": (
        key("level", "run or sample"),
        key("evaluation_set", "a set; *: all pooled; tasks: the target sets pooled; mean: the mean over these"),
        key("scorer_a", "scorer"),
        key("scorer_b", "scorer; the matrix is symmetric and whole"),
        number("value", "Spearman's rho (scorers where lower is better are turned round)"),
        _LOW,
        _HIGH,
        _N,
        _CLUSTERS,
        _METHOD,
        _REASON,
    ),
    "metaeval": (
        key("level", "run (one row per run) or sample (one row per answer)"),
        _SCORER,
        key("statistic", "CIT, CIT_defined, CAT, CAT_task_centred, TFA_relative, TFA_absolute"),
        number("value", "the statistic, against the human column"),
        _LOW,
        _HIGH,
        _N,
        _CLUSTERS,
        count("num_tasks", "tasks in it"),
        _METHOD,
        _REASON,
    ),
    "scorer_pairs": (
        key("scorer", "the one with the higher CIT at run level"),
        key("against", "the other"),
        number("cit", "CIT of the first on the answers that all scorers and the human column scored"),
        number("against_cit", "CIT of the other on the same answers"),
        number("difference", "cit - against_cit, over the same runs; items are fixed"),
        _LOW,
        _HIGH,
        number("p", "two-sided p of no difference: Student's t, jackknife over clusters of runs"),
        number("p_holm", "p adjusted by Holm over all pairs of scorers"),
        count("n_common", "answers that all scorers and the human column scored"),
        count("n_own", "answers that the first scored"),
        count("n_against", "answers that the other scored"),
        _CLUSTERS,
        count("num_tasks", "tasks in it"),
        text("verdict", "better, worse or undecided"),
        text("needs", "what an undecided comparison would take"),
        _REASON,
    ),
    "metaeval_tasks": (
        key("level", "run or sample"),
        _TASK,
        _SCORER,
        number("value", "Spearman's rho with the human column inside the task"),
        _LOW,
        _HIGH,
        _N,
        _CLUSTERS,
        _METHOD,
        _REASON,
    ),
    "coverage": (
        key("evaluation_set", "task, or instructions"),
        _SCORER,
        count("num_asked", "answers that the scorer was asked about"),
        count("num_scored", "answers with a score"),
        count("num_unscored", "num_asked - num_scored"),
        text("unscored", "JSON object: reason to count"),
        number("share_scored", "num_scored / num_asked"),
    ),
    "phases": (
        _BASE,
        _TASK,
        _SERIES,
        _SCORER,
        number("change_point", "N at which the curve's slope changes"),
        _LOW,
        _HIGH,
        number("slope_before", "score per doubling of 1 + N, left of it"),
        number("slope_after", "score per doubling of 1 + N, right of it"),
        text("shape", "early or late: which side is steeper; gain or loss: whether it rises or falls there"),
        number("p", "chance that a straight or smoothly saturating curve gives as much of a knot"),
        number("p_holm", "p adjusted by Holm over all curves of the study"),
        count("num_runs", "runs on the curve"),
        count("num_levels", "values of N"),
        _REASON,
    ),
    "variance": (
        _BASE,
        _TASK,
        _SERIES,
        _SCORER,
        key(
            "factor",
            "draw, training_seed, draw x training_seed (what a draw does under one seed alone), item, judge_repeat (of "
            "one judgement; a mean of J has 1/J of it) or residual",
        ),
        number("variance", "variance component, in squared units of the score, mean over the points of the curve"),
        _LOW,
        _HIGH,
        number("share", "of the sum of the components that are above 0"),
        count("levels", "levels of the factor"),
        count("num_points", "sizes N above 0 that the mean is over; they are fixed, no random sample"),
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
