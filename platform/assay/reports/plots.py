"""The figures of a study, from its stored tables alone: SVG for the page, PNG for slides and MLflow.

Colours are Okabe and Ito's, told apart by colour-blind readers; lines differ in marker as well. Equal tables give
equal files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from assay.reports.design_plots import (
    INSTRUCTION_SET,
    Lost,
    gain_against_forgetting,
    place_in_paper,
    series_curves,
    set_means,
)
from assay.reports.drawing import (
    CURVE_SCORERS,
    Palette,
    Plot,
    Rows,
    finish,
    grid,
    line,
    or_nan,
    shared_legend,
    split_panels,
    target_axis,
    tip,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes

BEND_P = 0.05
"""Change points are drawn where a straight line would give as much of a knot with a chance below this."""
SIMILARITY = {
    ("sample", "*"): ("scorer_similarity", "the scores of single answers"),
    ("run", "*"): ("scorer_similarity_runs", "run means"),
    ("run", "mean"): ("scorer_similarity_in_tasks", "run means inside each target set, then averaged"),
}
"""(level, evaluation sets) -> name, and what is correlated."""


def draw_plots(
    tables: Mapping[str, pa.Table],
    curve_scorers: Sequence[str],
    human: str,
    *,
    places: Mapping[str, str] | None = None,
    lost: Lost = INSTRUCTION_SET,
) -> list[Plot]:
    """All figures that the tables have rows for.

    Args:
        tables: study tables by name, see `metaeval.study_tables.columns`.
        curve_scorers: scorers drawn in the learning curves, in this order.
        human: scorer of the human column.
        lost: what must not be lost.
        places: figure -> the paper's figure or table that its numbers stand for.
    """
    places = places or {}
    rows = {name: table.to_pylist() for name, table in tables.items()}
    scorers = [row["scorer"] for row in rows["scorers"]]
    colours = Palette([*curve_scorers, *(name for name in scorers if name not in curve_scorers)])
    makers: list[Callable[[], Plot | None]] = [
        lambda: learning_curves(rows["curves"], rows["phases"], curve_scorers, colours),
        lambda: series_curves(rows["curves"], curve_scorers),
        lambda: forgetting(rows["forgetting"], curve_scorers, colours),
        lambda: gain_against_forgetting(rows["leaderboard"], human, lost),
        lambda: set_means(rows["set_means"], places),
        lambda: similarity(rows["similarity"], "sample", "*", places),
        lambda: similarity(rows["similarity"], "run", "*", places),
        lambda: similarity(rows["similarity"], "run", "mean", places),
        lambda: comparability(rows["metaeval"], colours),
    ]
    return [plot for make in makers if (plot := make()) is not None]


def learning_curves(curves: Rows, phases: Rows, scorers: Sequence[str], colours: Palette) -> Plot | None:
    """Mean score against N, a panel per base model, task and series, with the N at which a curve bends."""
    parts = split_panels(curves, ("base_model", "task", "series"))
    if not parts:
        return None
    figure, axes = grid(len(parts), width=3.1, height=2.7)
    for (title, rows), ax in zip(parts, axes, strict=True):
        for scorer in scorers[:CURVE_SCORERS]:
            points = sorted((row for row in rows if row["scorer"] == scorer), key=lambda row: row["num_target"])
            line(ax, [row["num_target"] for row in points], points, "mean", "low", "high", colours.style(scorer))
        _bends(ax, rows, phases, scorers[:CURVE_SCORERS], colours)
        target_axis(ax, rows)
        ax.set_title(title, fontsize=9, loc="left")
        ax.set_ylim(-0.12, 1.03)
    axes[0].set_ylabel("mean score")
    shared_legend(figure, axes[0])
    caption = (
        "Learning curves: mean score of the target task's test rows against N, the target rows in the mixture. Bars "
        "are 95 % intervals over items and runs (draws; at N = 0 training seeds). A mark at the foot: the N at which a "
        "curve's slope changes, with its interval, where a straight line would show as much with a chance below 5 %."
    )
    return finish("learning_curves", caption, figure)


def _bends(ax: Axes, rows: Rows, phases: Rows, scorers: Sequence[str], colours: Palette) -> None:
    """The change point of each curve of a panel, at the foot of it."""
    here = {(row["base_model"], row["task"], row["series"]) for row in rows}
    for row in phases:
        is_here = (row["base_model"], row["task"], row["series"]) in here and row["scorer"] in scorers
        p = row.get("p_holm", row["p"])  # in studies finished before there is no other
        if not is_here or row["change_point"] is None or p is None or p >= BEND_P:
            continue
        style = colours.style(row["scorer"])
        height = -0.04 - 0.018 * scorers.index(row["scorer"])
        if row["low"] is not None and row["high"] is not None:
            ax.plot([row["low"], row["high"]], [height, height], color=style["color"], linewidth=1.6)
        ax.plot([row["change_point"]], [height], marker="|", markersize=7, color=style["color"])


def forgetting(rows: Rows, scorers: Sequence[str], colours: Palette) -> Plot | None:
    """Change on the instruction set against N, a panel per base model and task."""
    parts = split_panels(rows, ("base_model", "task", "series"))
    if not parts:
        return None
    figure, axes = grid(len(parts), width=3.1, height=2.3, share_y=True)
    for (title, part), ax in zip(parts, axes, strict=True):
        for scorer in scorers[:CURVE_SCORERS]:
            points = sorted((row for row in part if row["scorer"] == scorer), key=lambda row: row["num_target"])
            style = colours.style(scorer)
            line(ax, [row["num_target"] for row in points], points, "absolute", "absolute_low", "absolute_high", style)
        target_axis(ax, part)
        ax.axhline(0, color="#555555", linewidth=0.8)
        ax.set_title(title, fontsize=9, loc="left")
    axes[0].set_ylabel("change from N = 0")
    shared_legend(figure, axes[0])
    caption = (
        "Forgetting: change of the mean score on held-out rows of the instruction set when N target rows join the "
        "mixture. Below zero: the model lost some of what it could do. Bars are 95 % intervals."
    )
    return finish("forgetting", caption, figure)


def similarity(rows: Rows, level: str, scope: str, places: Mapping[str, str]) -> Plot | None:
    """Spearman's rho between scorers as a matrix; of all sets together ("*") the target sets, where they are told."""
    name, what = SIMILARITY[level, scope]
    sets = {row["evaluation_set"] for row in rows if row["level"] == level}
    has_instructions = "instructions" in sets
    if scope == "*":
        scope = "tasks" if "tasks" in sets else "*"
        what += ", all evaluation sets pooled"
        if has_instructions:
            what += ", the instruction set apart" if scope == "tasks" else ", the instruction set too"
    part = [row for row in rows if row["level"] == level and row["evaluation_set"] == scope]
    names = sorted({row["scorer_a"] for row in part})
    if len(names) < 2:
        return None
    values = {(row["scorer_a"], row["scorer_b"]): row["value"] for row in part}
    figure, (ax,) = grid(1, width=0.62 * len(names) + 1.9, height=0.5 * len(names) + 1.5)
    matrix = [[or_nan(values.get((a, b))) for b in names] for a in names]
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
    place = "" if scope == "*" and has_instructions else place_in_paper(name, places)
    caption = f"Scorer similarity: Spearman's rho between {what}{place}. – where a scorer is constant."
    return finish(name, caption, figure)


def comparability(rows: Rows, colours: Palette) -> Plot | None:
    """CIT and CAT of every scorer with intervals, run level."""
    statistics = ("CIT", "CAT", "CAT_task_centred")
    part = [
        row for row in rows if row["level"] == "run" and row["statistic"] in statistics and row["value"] is not None
    ]
    if not part:
        return None
    names = sorted({row["scorer"] for row in part})
    figure, axes = grid(len(statistics), width=3.0, height=0.34 * len(names) + 1.1, columns=len(statistics))
    for ax, statistic in zip(axes, statistics, strict=True):
        found = {row["scorer"]: row for row in part if row["statistic"] == statistic}
        for y, name in enumerate(names):
            row = found.get(name)
            if row is None:
                continue
            style = colours.style(name) | {"label": "_"}
            ends = ""
            if row["low"] is not None and row["high"] is not None:
                ax.plot([row["low"], row["high"]], [y, y], color=style["color"], linewidth=1.4)
                ends = f" [{row['low']:.3f}, {row['high']:.3f}]"
            ax.plot([row["value"]], [y], linestyle="none", markersize=5.5, **style)
            tip(ax, row["value"], y, f"{name}, {statistic.replace('_', ' ')}: {row['value']:.3f}{ends}")
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
    return finish("comparability", caption, figure)
