"""The figures of a study, from its stored tables alone: SVG for the page, PNG for slides and MLflow.

Colours are Okabe and Ito's, told apart by colour-blind readers; lines differ in marker as well. Equal tables give
equal files.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
CURVE_SCORERS = 5
"""Most lines in one panel of the learning curves."""
PNG_DPI = 150

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
    "svg.hashsalt": "assay",
}


@dataclass(frozen=True)
class Plot:
    """A figure in both forms, with the sentence that says what it shows."""

    name: str
    caption: str
    svg: str
    png: bytes


def draw_plots(tables: Mapping[str, pa.Table], curve_scorers: Sequence[str], human: str) -> list[Plot]:
    """All figures that the tables have rows for.

    Args:
        tables: study tables by name, see `metaeval.study_columns`.
        curve_scorers: scorers drawn in the learning curves, in this order.
        human: scorer of the human column.
    """
    rows = {name: table.to_pylist() for name, table in tables.items()}
    scorers = [row["scorer"] for row in rows["scorers"]]
    colours = Palette([*curve_scorers, *(name for name in scorers if name not in curve_scorers)])
    makers: list[Callable[[], Plot | None]] = [
        lambda: learning_curves(rows["curves"], curve_scorers, colours),
        lambda: forgetting(rows["forgetting"], curve_scorers, colours),
        lambda: gain_against_forgetting(rows["leaderboard"], human),
        lambda: similarity(rows["similarity"]),
        lambda: comparability(rows["metaeval"], colours),
    ]
    return [plot for make in makers if (plot := make()) is not None]


class Palette:
    """One colour and marker per scorer, the same in every figure."""

    def __init__(self, names: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}

    def style(self, name: str) -> dict[str, Any]:
        """Keyword arguments of a line."""
        place = self._places.get(name, 0)
        return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)], "label": name}


def learning_curves(curves: Rows, scorers: Sequence[str], colours: Palette) -> Plot | None:
    """Mean score against N, a panel per base model and task."""
    panels = _panels(curves, ("base_model", "task", "series"))
    if not panels:
        return None
    figure, axes = _grid(len(panels), width=3.1, height=2.7)
    for (title, rows), ax in zip(panels, axes, strict=True):
        for scorer in scorers[:CURVE_SCORERS]:
            points = sorted((row for row in rows if row["scorer"] == scorer), key=lambda row: row["num_target"])
            _line(ax, [row["num_target"] for row in points], points, "mean", "low", "high", colours.style(scorer))
        _target_axis(ax, rows)
        ax.set_title(title, fontsize=9, loc="left")
        ax.set_ylim(-0.03, 1.03)
    axes[0].set_ylabel("mean score")
    _shared_legend(figure, axes[0])
    caption = (
        "Learning curves: mean score of the target task's test rows against N, the target rows in the mixture. Bars "
        "are 95 % intervals over items and runs (draws; at N = 0 training seeds)."
    )
    return _finish("learning_curves", caption, figure)


def forgetting(rows: Rows, scorers: Sequence[str], colours: Palette) -> Plot | None:
    """Change on the instruction set against N, a panel per base model and task."""
    panels = _panels(rows, ("base_model", "task", "series"))
    if not panels:
        return None
    figure, axes = _grid(len(panels), width=3.1, height=2.3, share_y=True)
    for (title, part), ax in zip(panels, axes, strict=True):
        for scorer in scorers[:CURVE_SCORERS]:
            points = sorted((row for row in part if row["scorer"] == scorer), key=lambda row: row["num_target"])
            style = colours.style(scorer)
            _line(ax, [row["num_target"] for row in points], points, "absolute", "absolute_low", "absolute_high", style)
        _target_axis(ax, part)
        ax.axhline(0, color="#555555", linewidth=0.8)
        ax.set_title(title, fontsize=9, loc="left")
    axes[0].set_ylabel("change from N = 0")
    _shared_legend(figure, axes[0])
    caption = (
        "Forgetting: change of the mean score on held-out rows of the instruction set when N target rows join the "
        "mixture. Below zero: the model lost some of what it could do. Bars are 95 % intervals."
    )
    return _finish("forgetting", caption, figure)


def gain_against_forgetting(leaderboard: Rows, scorer: str) -> Plot | None:
    """Every arm as a point: gain on its task against the change on the instruction set."""
    rows = [
        row
        for row in leaderboard
        if row["scorer"] == scorer
        and not row["is_baseline"]
        and row["evaluation_set"] == row["trained_task"]
        and row["difference"] is not None
        and row["forgetting"] is not None
    ]
    if not rows:
        return None
    figure, (ax,) = _grid(1, width=5.2, height=3.6)
    tasks = sorted({row["evaluation_set"] for row in rows})
    for place, task in enumerate(tasks):
        points = [row for row in rows if row["evaluation_set"] == task]
        style: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        ax.scatter([p["forgetting"] for p in points], [p["difference"] for p in points], s=34, label=task, **style)
        for point in points:
            ax.annotate(
                f"{point['num_target']}",
                (point["forgetting"], point["difference"]),
                xytext=(5, 3),
                textcoords="offset points",
                fontsize=7.5,
            )
    ax.axvline(0, color="#555555", linewidth=0.8)
    ax.axhline(0, color="#555555", linewidth=0.8)
    ax.set_xlabel(f"change on the instruction set ({scorer})")
    ax.set_ylabel(f"gain on the target task ({scorer})")
    ax.legend(fontsize=8, loc="best")
    caption = (
        f"Gain against forgetting by {scorer}: each point is a mixture, its number the target rows N; up and to the "
        "right is better."
    )
    return _finish("gain_against_forgetting", caption, figure)


def similarity(rows: Rows, level: str = "sample") -> Plot | None:
    """Spearman's rho between scorers as a matrix."""
    part = [row for row in rows if row["level"] == level and row["evaluation_set"] == "*"]
    names = sorted({row["scorer_a"] for row in part})
    if len(names) < 2:
        return None
    values = {(row["scorer_a"], row["scorer_b"]): row["value"] for row in part}
    figure, (ax,) = _grid(1, width=0.62 * len(names) + 1.9, height=0.5 * len(names) + 1.5)
    matrix = [[_or_nan(values.get((a, b))) for b in names] for a in names]
    image = ax.imshow(matrix, cmap="cividis", vmin=-0.2, vmax=1.0, aspect="auto")
    for y, a in enumerate(names):
        for x, b in enumerate(names):
            value = values.get((a, b))
            text = "–" if value is None else f"{value:.2f}"
            ax.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if (value or 0) < 0.55 else "black")
    ax.set_xticks(range(len(names)), names, rotation=35, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.grid(visible=False)
    figure.colorbar(image, ax=ax, shrink=0.85, label="Spearman's rho")
    caption = (
        "Scorer similarity: Spearman's rho between the scores of single answers, all evaluation sets pooled (the "
        "paper's figure 1). – where a scorer is constant."
    )
    return _finish("scorer_similarity", caption, figure)


def comparability(rows: Rows, colours: Palette) -> Plot | None:
    """CIT and CAT of every scorer with intervals, run level."""
    statistics = ("CIT", "CAT", "CAT_task_centred")
    part = [
        row for row in rows if row["level"] == "run" and row["statistic"] in statistics and row["value"] is not None
    ]
    if not part:
        return None
    names = sorted({row["scorer"] for row in part})
    figure, axes = _grid(len(statistics), width=3.0, height=0.34 * len(names) + 1.1, columns=len(statistics))
    for ax, statistic in zip(axes, statistics, strict=True):
        found = {row["scorer"]: row for row in part if row["statistic"] == statistic}
        for y, name in enumerate(names):
            row = found.get(name)
            if row is None:
                continue
            style = colours.style(name) | {"label": "_"}
            if row["low"] is not None and row["high"] is not None:
                ax.plot([row["low"], row["high"]], [y, y], color=style["color"], linewidth=1.4)
            ax.plot([row["value"]], [y], linestyle="none", markersize=5.5, **style)
        ax.axvline(0, color="#555555", linewidth=0.8)
        ax.set_xlim(-1.05, 1.05)
        ax.set_ylim(-0.6, len(names) - 0.4)
        ax.set_yticks(range(len(names)), names if ax is axes[0] else [""] * len(names))
        ax.set_title(statistic.replace("_", " "), fontsize=9, loc="left")
        ax.set_xlabel("Spearman's rho with the human column", fontsize=8)
    caption = (
        "Which scorer deserves belief: correlation with the human column inside tasks (CIT), over all tasks pooled "
        "(CAT), and pooled after taking out task means. One row per run; bars are 95 % intervals."
    )
    return _finish("comparability", caption, figure)


def _panels(rows: Rows, keys: tuple[str, ...]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Rows by panel, titled with the keys that vary."""
    varying = [key for key in keys if len({row[key] for row in rows}) > 1] or [keys[1]]
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return [
        (", ".join(str(part[0][key]) for key in varying if part[0][key]), part) for _, part in sorted(groups.items())
    ]


def _grid(
    count: int, *, width: float, height: float, columns: int = 4, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
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


def _line(ax: Axes, x: Sequence[float], points: Rows, middle: str, low: str, high: str, style: dict[str, Any]) -> None:
    known = [(at, row) for at, row in zip(x, points, strict=True) if row[middle] is not None]
    if not known:
        return
    y = [row[middle] for _, row in known]
    below = [max(0.0, row[middle] - row[low]) if row[low] is not None else 0.0 for _, row in known]
    above = [max(0.0, row[high] - row[middle]) if row[high] is not None else 0.0 for _, row in known]
    ax.errorbar(
        [at for at, _ in known], y, [below, above], linewidth=1.4, markersize=4.2, capsize=2, elinewidth=0.9, **style
    )


def _target_axis(ax: Axes, rows: Rows) -> None:
    """N on a logarithmic axis that also has a place for 0."""
    sizes = sorted({row["num_target"] for row in rows})
    smallest = next((size for size in sizes if size > 0), 1)
    ax.set_xscale("symlog", linthresh=smallest, linscale=0.6)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel("target rows N")


def _shared_legend(figure: Figure, ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(6, max(1, len(labels))), fontsize=8.5, frameon=False
    )


def _finish(name: str, caption: str, figure: Figure) -> Plot:
    import matplotlib as mpl

    vector, pixels = io.StringIO(), io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(vector, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(pixels, format="png", dpi=PNG_DPI, metadata={"Software": None})
    svg = vector.getvalue()
    return Plot(name, caption, svg[svg.index("<svg") :], pixels.getvalue())


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
