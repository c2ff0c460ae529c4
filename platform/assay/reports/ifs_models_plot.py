"""The figure beside an IFS report: raw and corrected score of every model and prompt, with intervals, as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

SERIES = (
    ("overall", "corrected", "corrected", "o", "#0072B2"),
    ("overall", "raw", "raw", "s", "#999999"),
    ("partial", "raw", "raw, fragments", "<", "#D55E00"),
    ("full", "raw", "raw, whole instructions", ">", "#009E73"),
)
"""Part, kind, label, marker, colour: told apart by colour-blind readers, and by marker."""


def ifs_svg(report: Mapping[str, Any]) -> str:
    """One line per row of the report."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = report["rows"]
    with mpl.rc_context({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "assay"}):
        figure = Figure(figsize=(7.0, 1.2 + 0.42 * len(rows)), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for number, (part, kind, label, marker, colour) in enumerate(SERIES):
            placed = [(place, row[part][kind]) for place, row in enumerate(rows)]
            placed = [(place, estimate) for place, estimate in placed if estimate["value"] is not None]
            axes.errorbar(
                [estimate["value"] for _, estimate in placed],
                [place + 0.18 * (number - 1.5) for place, _ in placed],
                xerr=[
                    [estimate["value"] - estimate["low"] for _, estimate in placed],
                    [estimate["high"] - estimate["value"] for _, estimate in placed],
                ],
                fmt=marker,
                markersize=4,
                capsize=2,
                linewidth=1,
                color=colour,
                label=label,
            )
        axes.set_yticks(range(len(rows)), [f"{row['model']}, {row['prompt']}" for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        prompts = report["prompts"]
        axes.set_xlabel(f"Instruction Following Score, {prompts['n']} prompts, 95 % interval")
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()
