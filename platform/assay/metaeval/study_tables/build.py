"""All result tables of a study, from its runs and score rows. The pipeline calls this; reports show what it makes.

Deterministic: tables depend on the rows (not on their order), the human column, the baseline and `seed_key`. No
times, costs or random ids. Columns and their meanings: columns.COLUMNS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.errors import ConfigError
from assay.metaeval.study_tables.agreement import metaeval_rows, metaeval_task_rows, similarity_rows
from assay.metaeval.study_tables.columns import COLUMNS, Column, arrow_schema, make_table
from assay.metaeval.study_tables.curves import (
    coverage_rows,
    curve_rows,
    forgetting_rows,
    phase_rows,
    run_score_rows,
    scorer_rows,
    variance_rows,
)
from assay.metaeval.study_tables.frame import RunRow, ScorerInfo, StudyFrame, make_frame
from assay.metaeval.study_tables.leaderboard import leaderboard_rows
from assay.metaeval.study_tables.objective import OBJECTIVE_COLUMNS, objective_rows
from assay.metaeval.study_tables.options import TableOptions
from assay.metaeval.study_tables.scorer_pairs import scorer_pair_rows
from assay.metaeval.study_tables.series import category_mean_rows, series_rows, set_mean_rows
from assay.records import INSTRUCTIONS, ScoreRow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "COLUMNS",
    "INSTRUCTIONS",
    "Column",
    "RunRow",
    "ScorerInfo",
    "StudyTables",
    "TableOptions",
    "arrow_schema",
    "build_study_tables",
]

StudyTables = dict[str, "pa.Table"]
"""Table by name; the names are those of COLUMNS."""


def build_study_tables(
    runs: Sequence[RunRow],
    scores: pa.Table | Sequence[pa.Table] | Iterable[ScoreRow],
    scorers: Sequence[ScorerInfo],
    options: TableOptions,
    *,
    categories: Mapping[str, str] | None = None,
    repeats: pa.Table | None = None,
) -> StudyTables:
    """Every table of COLUMNS, and that of the objective where there is one.

    Args:
        runs: one per distinct predictions artifact. A run with N = 0 is listed once per evaluation set and serves
            every task's curve.
        scores: one row per (predictions, example, scorer), as stored: a table, several, or rows.
        scorers: all scorers that the rows name.
        options: human column, baseline, seed and which runs and tasks count.
        categories: category by example of the instruction set, where its rows carry any.
        repeats: what a judge that was asked repeatedly gave each time, see `make_frame`.

    Raises:
        ConfigError: the human column is no scorer, the baseline no arm, or a named task has no evaluation set.
        DataError: rows that do not fit the runs and scorers.
    """
    frame = make_frame(runs, scores, scorers, repeats)
    _check(frame, options)
    makers: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "scorers": lambda: scorer_rows(frame, options.human),
        "run_scores": lambda: run_score_rows(frame),
        "curves": lambda: curve_rows(frame),
        "leaderboard": lambda: leaderboard_rows(frame, options.baseline),
        "forgetting": lambda: forgetting_rows(frame),
        "series": lambda: series_rows(frame),
        "set_means": lambda: set_mean_rows(frame),
        "category_means": lambda: category_mean_rows(frame, categories or {}),
        "similarity": lambda: similarity_rows(frame, seed_key=options.seed_key, resamples=options.resamples),
        "metaeval": lambda: metaeval_rows(frame, options),
        "scorer_pairs": lambda: scorer_pair_rows(frame, options),
        "metaeval_tasks": lambda: metaeval_task_rows(frame, options),
        "coverage": lambda: coverage_rows(frame),
        "phases": lambda: phase_rows(frame, seed_key=options.seed_key, resamples=options.resamples),
        "variance": lambda: variance_rows(frame),
    }
    tables = {name: make_table(name, makers[name]()) for name in COLUMNS}
    if options.objective is not None:
        rows = objective_rows(frame, options.objective)
        tables["objective"] = make_table("objective", rows, OBJECTIVE_COLUMNS)
    return tables


def _check(frame: StudyFrame, options: TableOptions) -> None:
    if options.human not in frame.scorer_names:
        known = ", ".join(frame.scorer_names)
        raise ConfigError(f"human: saw {options.human!r}; expected one of the scorers {known}; name one of them")
    arms = sorted({run.arm for panel in frame.panels.values() for run in panel.runs})
    if options.baseline is not None and options.baseline not in arms:
        shown = ", ".join(repr(arm) for arm in arms[:8]) + (", ..." if len(arms) > 8 else "")
        raise ConfigError(f"baseline: saw {options.baseline!r}; expected one of the arms {shown}; name one of them")
    for name in ("meta_tasks", "tfa_tasks"):
        unknown = [task for task in getattr(options, name) or () if task not in frame.target_sets]
        if unknown:
            known = ", ".join(frame.target_sets)
            raise ConfigError(f"{name}: saw {unknown[0]!r}; expected one of the evaluated tasks {known}; name those")
