"""What all figures share: colours, panels, lines with intervals, and the two files that a figure becomes.

Colours are Okabe and Ito's, told apart by colour-blind readers; lines differ in marker as well. Equal tables give
equal files.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
CURVE_SCORERS = 5
"""Most lines in one panel of the learning curves."""
PNG_DPI = 150
TIP = "tip: "
"""Begins the group id of a mark that says its values when a pointer rests on it."""
TIP_POINTS = 13.0
"""Diameter of the unseen mark around a point that catches the pointer."""

STYLE = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Plot:
    """A figure in both forms, with the sentence that says what it shows."""

    name: str
    caption: str
    svg: str
    png: bytes


class Palette:
    """One colour and marker per scorer, the same in every figure."""

    def __init__(self, names: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}

    def style(self, name: str) -> dict[str, Any]:
        """Keyword arguments of a line."""
        place = self._places.get(name, 0)
        return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)], "label": name}


def split_panels(rows: Rows, keys: tuple[str, ...]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Rows by panel, titled with the keys that vary."""
    varying = [key for key in keys if len({row[key] for row in rows}) > 1] or [keys[1]]
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return [
        (", ".join(str(part[0][key]) for key in varying if part[0][key]), part) for _, part in sorted(groups.items())
    ]


def grid(
    count: int, *, width: float, height: float, columns: int = 4, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, their sizes in inches."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as NewFigure

    across = min(columns, count)
    down = math.ceil(count / across)
    with mpl.rc_context(STYLE):
        figure = NewFigure(figsize=(width * across, height * down), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False, sharey=share_y)
    flat = list(axes.flat)
    for spare in flat[count:]:
        spare.set_visible(False)
    return figure, flat[:count]


def line(ax: Axes, x: Sequence[float], points: Rows, middle: str, low: str, high: str, style: dict[str, Any]) -> None:
    """Points with their intervals, joined; rows without a value are left out."""
    known = [(at, row) for at, row in zip(x, points, strict=True) if row[middle] is not None]
    if not known:
        return
    y = [row[middle] for _, row in known]
    below = [max(0.0, row[middle] - row[low]) if row[low] is not None else 0.0 for _, row in known]
    above = [max(0.0, row[high] - row[middle]) if row[high] is not None else 0.0 for _, row in known]
    ax.errorbar(
        [at for at, _ in known], y, [below, above], linewidth=1.4, markersize=4.2, capsize=2, elinewidth=0.9, **style
    )
    for at, row in known:
        ends = "" if row[low] is None or row[high] is None else f" [{row[low]:.3f}, {row[high]:.3f}]"
        over = f", {row['num_items']} items, {row['num_runs']} runs" if "num_items" in row and "num_runs" in row else ""
        tip(ax, at, row[middle], f"{style['label']}, N = {at:g}: {row[middle]:.3f}{ends}{over}")


def whiskers(value: float, low: float | None, high: float | None) -> list[list[float]] | None:
    """How far an interval reaches below and above its value, as `errorbar` takes it; None where an end is missing."""
    if low is None or high is None:
        return None
    return [[max(0.0, value - low)], [max(0.0, high - value)]]  # an end may be past the value by rounding


def tip(ax: Axes, x: float, y: float, words: str) -> None:
    """Say these words when a pointer rests on a place of the SVG; nothing is seen."""
    ax.plot([x], [y], marker="o", markersize=TIP_POINTS, alpha=0.0, linestyle="none", gid=TIP + words, label="_")


def target_axis(ax: Axes, rows: Rows) -> None:
    """N on a logarithmic axis that also has a place for 0."""
    sizes = sorted({row["num_target"] for row in rows})
    smallest = next((size for size in sizes if size > 0), 1)
    ax.set_xscale("symlog", linthresh=smallest, linscale=0.6)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel("target rows N")


def shared_legend(figure: Figure, ax: Axes) -> None:
    """One legend for all panels, below them."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(6, max(1, len(labels))), fontsize=8.5, frameon=False
    )


def finish(name: str, caption: str, figure: Figure) -> Plot:
    """The figure as SVG and PNG, free of dates."""
    import matplotlib as mpl

    vector, pixels = io.StringIO(), io.BytesIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": f"assay {name}"}):  # ids differ among the figures of one page
        figure.savefig(vector, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(pixels, format="png", dpi=PNG_DPI, metadata={"Software": None})
    svg = vector.getvalue()
    return Plot(name, caption, _with_tips(svg[svg.index("<svg") :]), pixels.getvalue())


def standalone(width: float, height: float, draw: Callable[[Figure, Axes], None], *, font_size: float = 9) -> str:
    """A figure of one panel beside a report, as SVG free of dates; `draw` fills it. Sizes in inches."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as NewFigure

    out = io.StringIO()
    with mpl.rc_context({"font.size": font_size, "svg.fonttype": "none", "svg.hashsalt": "assay"}):
        figure = NewFigure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(figure, axes)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def spans(axes: Axes, cells: Sequence[Mapping[str, Any] | None], shift: float, style: dict[str, Any]) -> None:
    """One value with its interval per line of a figure, `shift` below the line's middle; unknown ones are left out.

    Args:
        axes: lines are at 0, 1, ...
        cells: `value`, `low` and `high` per line; None, or a value without an interval: nothing is drawn.
        shift: in lines, so that several marks have room.
        style: `fmt`, `color` and `label`.
    """
    known = [
        (place, cell)
        for place, cell in enumerate(cells)
        if cell and cell["value"] is not None and cell["low"] is not None
    ]
    below = [max(0.0, cell["value"] - cell["low"]) for _, cell in known]
    above = [max(0.0, cell["high"] - cell["value"]) for _, cell in known]
    axes.errorbar(
        [cell["value"] for _, cell in known],
        [place + shift for place, _ in known],
        xerr=[below, above],
        markersize=4,
        capsize=2,
        linewidth=1,
        **style,
    )


def lines_of(axes: Axes, labels: Sequence[str]) -> None:
    """A line per label, the first on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def _with_tips(svg: str) -> str:
    """The group of each tip with a title, which browsers show where the pointer rests."""
    return re.sub(rf"""<g id=(["']){TIP}(.*?)\1>""", r"<g><title>\2</title>", svg)


def or_nan(value: float | None) -> float:
    """NaN for a missing number."""
    return math.nan if value is None else value
