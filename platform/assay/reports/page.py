"""`report.html`: one page per study that opens offline, from stored tables and figures alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from assay.metaeval.statistics.verdict import MARGIN
from assay.metaeval.study_tables.columns import COLUMNS
from assay.reports.design_plots import INSTRUCTION_SET, Lost, pareto_rows, place_in_paper
from assay.reports.drawing import Plot
from assay.reports.ifs_plots import infusion
from assay.reports.judge_audit import audit_attacks, audit_lines, audit_shares
from assay.reports.mixture_plots import share_curves, simplex
from assay.reports.mixture_section import best_mixtures, objectives, taken
from assay.reports.plots import draw_plots
from assay.reports.preference_findings import preference_findings
from assay.reports.preference_plots import preference_plots
from assay.reports.ranking import boards, loss_plot, ranked_first, ranking_plot
from assay.reports.wording import (
    headlines,
    listed,
    number,
    p_value,
    percent,
    rate,
    reasons,
    seconds,
    signed,
    verdict_word,
    verdict_words,
)

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Sequence[Mapping[str, Any]]

STATISTICS = ("CIT", "CIT_defined", "CAT", "CAT_task_centred", "TFA_absolute", "TFA_relative")
"""Columns of the meta-evaluation table, in this order."""
MAX_TABLE_ROWS = 400
"""Longer tables are cut on the page, which says so; the whole table lies beside it as Parquet and JSON."""


@dataclass(frozen=True)
class ReportInput:
    """All that a report shows."""

    title: str
    description: str
    mode: str
    key: str
    facts: Sequence[tuple[str, str]]
    """Label and value pairs for the head of the page: cells, trainings, models, rows."""
    notes: Sequence[str]
    """Warnings that a reader must see first (what plays the human column, what a demo cannot show)."""
    human: str
    curve_scorers: Sequence[str]
    """Scorers drawn in the learning curves."""
    tables: Mapping[str, pa.Table]
    costs: Sequence[Mapping[str, Any]]
    """Per stage: stage, seconds, what (a sentence of counts)."""
    browser: Mapping[str, Any]
    """Rows for the browser by evaluation set, see `studies.browser`."""
    rows: Rows = ()
    """Rows asked for, trained and cut by dataset and base, see `studies.results.row_figures`."""
    paper_places: Mapping[str, str] = field(default_factory=dict)
    """Figure -> the paper's figure or table that its numbers stand for."""
    arm: str = "mixture"
    """What an arm is: a mixture, or a model as it is."""
    objective: Mapping[str, Any] | None = None
    """Of a mixture study: `scorer`, `weights` of the target sets and `most_lost`, as the table `objective` has them."""
    forgetting: Sequence[str] = INSTRUCTION_SET.sets
    """Evaluation sets of what must not be lost."""
    method_costs: Rows = ()
    """What each method of a study of preferences cost, see `studies.preferences.spent`."""
    errors: Sequence[Mapping[str, Any]] = ()
    """What a judge saw in low-scoring answers, with the rows that it was shown, see `studies.error_analysis`."""
    decisions: Sequence[Mapping[str, Any]] = ()
    """The questions of a study that trained in rounds, each with its rounds and findings, see `studies.deciding`."""
    exits: Mapping[str, Any] | None = None
    """Of a study whose losing trainings ended: its rule, what each barrier saw, and the trainings that ended, see
    `studies.exits`."""
    audit: Mapping[str, Any] | None = None
    """A bias audit of the study's judge, as `assay audit-judge` wrote it, with the study's own `study_protocol`."""

    @property
    def lost(self) -> Lost:
        """What must not be lost, with what sentences call it."""
        sets = tuple(self.forgetting)
        return INSTRUCTION_SET if self.objective is None else Lost(sets, " and ".join(sets))


@dataclass(frozen=True)
class Report:
    """A rendered report."""

    html: bytes
    plots: Sequence[Plot]


def render_report(report: ReportInput) -> Report:
    """The page and its figures."""
    from jinja2 import Environment, StrictUndefined

    tables = {name: with_every_column(name, table.to_pylist()) for name, table in report.tables.items()}
    tables.setdefault("scorer_pairs", [])  # not there in studies finished before
    plots = draw_plots(report.tables, report.curve_scorers, report.human, places=report.paper_places, lost=report.lost)
    if "ifs_curves" in tables:
        plot = infusion(tables["ifs_curves"], tables["early_stopping"])
        plots += [plot] if plot is not None else []
    plots += preference_plots(tables, report.human)
    if report.objective is not None:
        rows = [tables.get(name, []) for name in ("objective", "shares")]
        plots += [plot for plot in (share_curves(*rows), simplex(*rows)) if plot is not None]
    ranking = tables.get("ranking", [])
    for plot in (ranking_plot(ranking), loss_plot(tables.get("losses", []), tables.get("loss_line", []))):
        plots += [plot] if plot is not None else []
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        number=number,
        signed=signed,
        percent=percent,
        seconds=seconds,
        rate=rate,
        p_value=p_value,
        reasons=reasons,
        listed=listed,
    )
    page = environment.from_string(_asset("report.html.jinja"))
    text = page.render(
        report=report,
        headlines=[
            *ranked_first(ranking),
            *best_mixtures(tables.get("objective", ()), tables.get("shares", ()), report.arm),
            *preference_findings(tables, report.human),
            *headlines(tables, report.human, report.lost, report.arm),
        ],
        plots={plot.name: plot for plot in plots},
        tables=tables,
        leaderboards=leaderboards(tables["leaderboard"], report.human, report.lost.sets),
        objectives=objectives(tables["objective"]) if report.objective is not None else [],
        taken=taken(tables.get("shares", ())) if report.objective is not None else [],
        ranking=boards(ranking),
        place_in_paper=place_in_paper,
        verdict_word=verdict_word,
        verdict_words=verdict_words,
        margin=MARGIN,
        several_bases=len({row["base_model"] for row in tables["leaderboard"]}) > 1,
        agreement=agreement(tables["metaeval"]),
        no_bends=shared_reason(tables["phases"], "change_point"),
        pareto=sorted(
            (row for row in pareto_rows(tables["leaderboard"], report.human, report.lost) if row["is_pareto"]),
            key=_place,
        ),
        set_means=matrix(tables["set_means"], "evaluation_set", "scorer"),
        category_means=matrix(tables.get("category_means", ()), "category", "scorer"),
        kept=kept_table(tables["forgetting"], report.curve_scorers),
        audit_lines=audit_lines(report.audit) if report.audit else [],
        audit_shares=audit_shares(report.audit) if report.audit else [],
        audit_attacks=audit_attacks(report.audit) if report.audit else [],
        preferences=preference_board(tables, report.human),
        most=MAX_TABLE_ROWS,
        css=_asset("report.css"),
        script=_asset("report.js"),
        browser_json=script_json(report.browser),
    )
    return Report(text.encode(), plots)


def with_every_column(table: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table with None in columns that it did not have yet when a study of before was finished."""
    columns = {column.name: None for column in COLUMNS.get(table, ())}
    return [columns | row for row in rows]


def leaderboards(rows: Rows, human: str, forgetting: Sequence[str]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Leaderboard rows by scorer, the human column first; each by base model, task and rank.

    Sets of forgetting are left out: every other set's row has the change there.
    """
    by_scorer: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["evaluation_set"] not in forgetting:
            by_scorer.setdefault(row["scorer"], []).append(row)
    return [
        (scorer, sorted(by_scorer[scorer], key=_place))
        for scorer in sorted(by_scorer, key=lambda name: (name != human, name))
    ]


def _place(row: Mapping[str, Any]) -> tuple[str, str, int, str]:
    return row["base_model"], row["evaluation_set"], row["rank"] or 10**6, row["arm"]


def agreement(rows: Rows) -> list[tuple[str, list[str], list[tuple[str, list[Mapping[str, Any] | None]]], str]]:
    """The meta-evaluation as the paper's table 1: per level a line per scorer and a cell per statistic.

    Last of each level, why cells are undefined: each reason once, with the statistics and scorers that it holds for.
    """
    levels = []
    for level in ("run", "sample"):
        part = [row for row in rows if row["level"] == level]
        statistics = [name for name in STATISTICS if any(row["statistic"] == name for row in part)]
        cells = {(row["scorer"], row["statistic"]): row for row in part}
        scorers = sorted({row["scorer"] for row in part})
        lines = [(scorer, [cells.get((scorer, name)) for name in statistics]) for scorer in scorers]
        if lines:
            levels.append((level, statistics, lines, _undefined(statistics, lines)))
    return levels


def _undefined(statistics: Sequence[str], lines: Sequence[tuple[str, Sequence[Mapping[str, Any] | None]]]) -> str:
    holds_for: dict[str, dict[str, list[str]]] = {}
    for scorer, cells in lines:
        for statistic, cell in zip(statistics, cells, strict=True):
            if cell is not None and cell["value"] is None:
                holds_for.setdefault(cell["reason"], {}).setdefault(statistic, []).append(scorer)
    sentences = []
    for reason, parts in holds_for.items():
        by_scorers: dict[str, list[str]] = {}
        for statistic in (name for name in statistics if name in parts):
            by_scorers.setdefault(_who(parts[statistic], len(lines)), []).append(statistic.replace("_", " "))
        where = "; ".join(f"{', '.join(names)} of {who}" for who, names in by_scorers.items())
        sentences.append(f"{reason} ({where})")
    return ". ".join(sentences)


def _who(scorers: Sequence[str], num_scorers: int) -> str:
    return "every scorer" if len(scorers) == num_scorers > 1 else ", ".join(scorers)


def shared_reason(rows: Rows, value: str) -> str:
    """Why no row has this value, where all of them say the same; else empty."""
    reasons = {row["reason"] for row in rows}
    is_shared = len(reasons) == 1 and all(row[value] is None for row in rows)
    return reasons.pop() if is_shared else ""


def preference_board(tables: Mapping[str, Rows], human: str) -> list[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """Arms of a study of preferences by source of pairs: what an arm is, with its measures by name."""
    measures: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in tables.get("preference_measures", ()):
        measures.setdefault((row["base_model"], row["pairs"], row["method"]), {})[row["measure"]] = row
    boards: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for arm in tables.get("preference_arms", ()):
        found = measures.get((arm["base_model"], arm["pairs"], arm["method"]), {})
        line = {"arm": arm, "measures": found, "human": found.get(human), "label": found.get("label")}
        boards.setdefault(f"{arm['base_model']}, pairs {arm['pairs']}", []).append((arm["method"], line))
    return list(boards.items())


def matrix(rows: Rows, line: str, column: str) -> list[tuple[str, list[str], list[tuple[str, list[Any]]]]]:
    """Per base model: the columns, and a line of rows per value of `line` (None where there is none)."""
    found = []
    for base in sorted({row["base_model"] for row in rows}):
        part = [row for row in rows if row["base_model"] == base]
        columns = sorted({row[column] for row in part})
        cells = {(row[line], row[column]): row for row in part}
        lines = [
            (name, [cells.get((name, other)) for other in columns]) for name in sorted({row[line] for row in part})
        ]
        found.append((base, columns, lines))
    return found


def kept_table(rows: Rows, scorers: Sequence[str]) -> list[tuple[str, list[str], list[tuple[str, list[Any]]]]]:
    """Forgetting as the paper's table 5: per scorer a line per base model, a column per task, at the largest N."""
    found = []
    for scorer in scorers:
        part = [row for row in rows if row["scorer"] == scorer and not row["series"]]
        most = {
            (row["base_model"], row["task"]): row for row in sorted(part, key=lambda row: row["num_target"])
        }  # the largest N comes last
        tasks = sorted({task for _, task in most})
        bases = sorted({base for base, _ in most})
        if tasks:
            found.append((scorer, tasks, [(base, [most.get((base, task)) for task in tasks]) for base in bases]))
    return found


def script_json(value: object) -> str:
    """JSON that may stand inside a script element whatever text it holds: no tag can begin in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return (
        text.replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _asset(name: str) -> str:
    return files("assay.reports").joinpath("assets", name).read_text(encoding="utf-8")
