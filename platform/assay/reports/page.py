"""`report.html`: one page per study that opens offline, from stored tables and figures alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from assay.reports.plots import Plot, draw_plots
from assay.reports.wording import headlines, number, percent, rate, seconds, signed

if TYPE_CHECKING:
    import pyarrow as pa

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


@dataclass(frozen=True)
class Report:
    """A rendered report."""

    html: bytes
    plots: Sequence[Plot]


def render_report(report: ReportInput) -> Report:
    """The page and its figures."""
    from jinja2 import Environment, StrictUndefined

    plots = draw_plots(report.tables, report.curve_scorers, report.human)
    tables = {name: table.to_pylist() for name, table in report.tables.items()}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, signed=signed, percent=percent, seconds=seconds, rate=rate)
    page = environment.from_string(_asset("report.html.jinja"))
    text = page.render(
        report=report,
        headlines=headlines(tables, report.human),
        plots={plot.name: plot for plot in plots},
        image=lambda plot: "data:image/svg+xml;base64," + base64.b64encode(plot.svg.encode()).decode(),
        tables=tables,
        leaderboards=leaderboards(tables["leaderboard"]),
        most=MAX_TABLE_ROWS,
        css=_asset("report.css"),
        script=_asset("report.js"),
        browser_json=script_json(report.browser),
    )
    return Report(text.encode(), plots)


def leaderboards(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Leaderboard rows by scorer, each by base model, evaluation set and rank; the instruction set has its own section."""
    by_scorer: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["evaluation_set"] != "instructions":
            by_scorer.setdefault(row["scorer"], []).append(row)
    return [
        (
            scorer,
            sorted(part, key=lambda row: (row["base_model"], row["evaluation_set"], row["rank"] or 10**6, row["arm"])),
        )
        for scorer, part in sorted(by_scorer.items())
    ]


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
