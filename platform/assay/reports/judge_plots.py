"""Figures beside reports on judges, as SVG: accuracy and agreement of every run, models in the order of a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.reports.drawing import lines_of, spans, standalone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00")
"""Accuracy and positional agreement; told apart by colour-blind readers, and by marker."""
MAX_ROWS = 60


def runs_svg(runs: Sequence[Mapping[str, Any]], title: str) -> str:
    """One line per run, chance at 50 %; the first `MAX_ROWS` runs."""
    shown = list(runs[:MAX_ROWS])

    def draw(figure: Figure, axes: Axes) -> None:
        for number, (name, label, marker) in enumerate(
            (("accuracy", "accuracy", "o"), ("positional_agreement", "same verdict in both orders", "s"))
        ):
            cells = [run["intervals"].get(name) for run in shown]
            spans(axes, cells, 0.16 * (2 * number - 1), {"fmt": marker, "color": COLOURS[number], "label": label})
        axes.axvline(0.5, color="#999999", linewidth=0.8, linestyle=":")
        lines_of(axes, [f"{run['subset']}  {run['strategy']}" for run in shown])
        axes.set_xlim(0, 1)
        axes.set_xlabel("share, with 95 % interval over pairs; dotted: chance")
        axes.set_title(title, fontsize=9)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)

    return standalone(7.0, 1.1 + 0.34 * len(shown), draw)


def ranks_svg(report: Mapping[str, Any]) -> str:
    """A line per model of `assay rank`: its effect (joint), or its win rates, with intervals."""
    rows = report["models"][:MAX_ROWS]
    is_joint = "baseline" not in report
    parts = [("effect", "")] if is_joint else [("win_rate", "as judged"), ("length_controlled", "at equal length")]

    def draw(figure: Figure, axes: Axes) -> None:
        for number, (name, label) in enumerate(parts):
            shift = 0.16 * (2 * number - 1) * (len(parts) - 1)
            style = {"fmt": "os"[number], "color": COLOURS[number], "label": label}
            spans(axes, [row[name] for row in rows], shift, style)
        axes.axvline(0.0 if is_joint else 0.5, color="#999999", linewidth=0.8, linestyle=":")
        lines_of(axes, [row["model"] for row in rows])
        if is_joint:
            axes.set_xlabel("points of 100 above the mean of all models, with 95 % interval over prompts")
            axes.set_title(f"{report['judge']}, {report['num_items']} prompts judged jointly", fontsize=9)
            return
        axes.set_xlim(0, 1)
        axes.set_xlabel(f"share of prompts won against {report['baseline']}, with 95 % interval over prompts")
        axes.set_title(f"{report['judge']}, {report['strategy']}, {report['num_items']} prompts", fontsize=9)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)

    return standalone(7.0, 1.2 + 0.34 * len(rows), draw)
