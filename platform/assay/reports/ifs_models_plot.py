"""The figure beside an IFS report: raw and corrected score of every model and prompt, with intervals, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assay.reports.drawing import lines_of, spans, standalone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = (
    ("overall", "corrected", "corrected", "o", "#0072B2"),
    ("overall", "raw", "raw", "s", "#999999"),
    ("partial", "raw", "raw, fragments", "<", "#D55E00"),
    ("full", "raw", "raw, whole instructions", ">", "#009E73"),
)
"""Part, kind, label, marker, colour: told apart by colour-blind readers, and by marker."""


def ifs_svg(report: Mapping[str, Any]) -> str:
    """One line per row of the report."""
    rows = report["rows"]

    def draw(figure: Figure, axes: Axes) -> None:
        for number, (part, kind, label, marker, colour) in enumerate(SERIES):
            style = {"fmt": marker, "color": colour, "label": label}
            spans(axes, [row[part][kind] for row in rows], 0.18 * (number - 1.5), style)
        lines_of(axes, [f"{row['model']}, {row['prompt']}" for row in rows])
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel(f"Instruction Following Score, {report['prompts']['n']} prompts, 95 % interval")
        figure.legend(loc="outside lower center", ncols=4, frameon=False)

    return standalone(7.0, 1.2 + 0.42 * len(rows), draw)
