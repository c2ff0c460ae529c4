"""Figures beside reports on judges, as SVG: accuracy and agreement of every run, models in the order of a judge."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

COLOURS = ("#0072B2", "#D55E00")
"""Accuracy and positional agreement; told apart by colour-blind readers, and by marker."""
MAX_ROWS = 60


def runs_svg(runs: Sequence[Mapping[str, Any]], title: str) -> str:
    """One line per run, chance at 50 %; the first `MAX_ROWS` runs."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    shown = list(runs[:MAX_ROWS])
    with mpl.rc_context({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "assay"}):
        figure = Figure(figsize=(7.0, 1.1 + 0.34 * len(shown)), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for number, (name, label, marker) in enumerate(
            (("accuracy", "accuracy", "o"), ("positional_agreement", "same verdict in both orders", "s"))
        ):
            rows = [
                (place, run["intervals"][name]) for place, run in enumerate(shown) if run["intervals"].get(name, {})
            ]
            rows = [(place, row) for place, row in rows if row["value"] is not None and row["low"] is not None]
            values = [row["value"] for _, row in rows]
            errors = [
                [max(0.0, row["value"] - row["low"]) for _, row in rows],
                [max(0.0, row["high"] - row["value"]) for _, row in rows],
            ]
            axes.errorbar(
                values,
                [place + 0.16 * (2 * number - 1) for place, _ in rows],
                xerr=errors,
                fmt=marker,
                markersize=4,
                capsize=2,
                linewidth=1,
                color=COLOURS[number],
                label=label,
            )
        axes.axvline(0.5, color="#999999", linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(shown)), [f"{run['subset']}  {run['strategy']}" for run in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xlabel("share, with 95 % interval over pairs; dotted: chance")
        axes.set_title(title, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def ranks_svg(report: Mapping[str, Any]) -> str:
    """A line per model of `assay rank`: its effect (joint), or its win rates, with intervals."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = report["models"][:MAX_ROWS]
    is_joint = "baseline" not in report
    parts = [("effect", "")] if is_joint else [("win_rate", "as judged"), ("length_controlled", "at equal length")]
    with mpl.rc_context({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "assay"}):
        figure = Figure(figsize=(7.0, 1.2 + 0.34 * len(rows)), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for number, (name, label) in enumerate(parts):
            known = [(place, row[name]) for place, row in enumerate(rows) if row[name]["low"] is not None]
            axes.errorbar(
                [cell["value"] for _, cell in known],
                [place + 0.16 * (2 * number - 1) * (len(parts) - 1) for place, _ in known],
                xerr=[
                    [max(0.0, cell["value"] - cell["low"]) for _, cell in known],
                    [max(0.0, cell["high"] - cell["value"]) for _, cell in known],
                ],
                fmt="os"[number],
                markersize=4,
                capsize=2,
                linewidth=1,
                color=COLOURS[number],
                label=label,
            )
        axes.axvline(0.0 if is_joint else 0.5, color="#999999", linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(rows)), [row["model"] for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        if is_joint:
            axes.set_xlabel("points of 100 above the mean of all models, with 95 % interval over prompts")
            axes.set_title(f"{report['judge']}, {report['num_items']} prompts judged jointly", fontsize=9)
        else:
            axes.set_xlim(0, 1)
            axes.set_xlabel(f"share of prompts won against {report['baseline']}, with 95 % interval over prompts")
            axes.set_title(f"{report['judge']}, {report['strategy']}, {report['num_items']} prompts", fontsize=9)
            figure.legend(loc="outside lower center", ncols=2, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()
