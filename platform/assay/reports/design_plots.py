"""Figures of what a study's design varies: series beside each other, gain against forgetting, means by set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.metaeval.study_tables.frame import MANY
from assay.reports.drawing import (
    COLOURS,
    MARKERS,
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
    whiskers,
)

MOST_PANELS = 24
SERIES_SCORERS = 3


@dataclass(frozen=True)
class Lost:
    """What must not be lost."""

    sets: tuple[str, ...]
    """Evaluation sets."""
    words: str
    """What sentences call them."""


INSTRUCTION_SET = Lost(("instructions",), "the instruction set")


def series_curves(curves: Rows, scorers: Sequence[str]) -> Plot | None:
    """A line per series (source of the rows, starting point), a panel per base model, task and scorer."""
    rows = [row for row in curves if row["series"] and row["scorer"] in scorers[:SERIES_SCORERS]]
    names = sorted({row["series"] for row in rows})
    if len(names) < 2:
        return None
    parts = split_panels(rows, ("base_model", "task", "scorer"))[:MOST_PANELS]
    figure, axes = grid(len(parts), width=3.3, height=2.8, columns=3)
    colours = Palette(names)
    for (title, part), ax in zip(parts, axes, strict=True):
        for name in names:
            points = sorted((row for row in part if row["series"] == name), key=lambda row: row["num_target"])
            line(ax, [row["num_target"] for row in points], points, "mean", "low", "high", colours.style(name))
        target_axis(ax, part)
        ax.set_title(title, fontsize=9, loc="left")
    axes[0].set_ylabel("mean score")
    shared_legend(figure, axes[0])
    caption = (
        "Conditions beside each other: mean score of the target task's test rows against N, a line per condition (the "
        "paper's figures 3, 4 and 6). Bars are 95 % intervals; the paired differences stand in the table below."
    )
    return finish("series_curves", caption, figure)


def gain_against_forgetting(leaderboard: Rows, scorer: str, lost: Lost = INSTRUCTION_SET) -> Plot | None:
    """Every arm as a point: gain on a task against the change on the instruction set, and the front of the best."""
    rows = pareto_rows(leaderboard, scorer, lost)
    if not rows:
        return None
    parts = split_panels(rows, ("base_model", "evaluation_set"))[:MOST_PANELS]
    figure, axes = grid(len(parts), width=6.0 if len(parts) == 1 else 3.4, height=3.1)
    groups = sorted({_group(row) for row in rows})
    differ_in_size = len({row["num_target"] for row in rows}) > 1
    for (title, part), ax in zip(parts, axes, strict=True):
        for place, group in enumerate(groups):
            points = [row for row in part if _group(row) == group]
            _points(ax, points, COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], group, differ_in_size)
        front = sorted((row for row in part if row["is_pareto"]), key=lambda row: row["forgetting"])
        ax.plot([r["forgetting"] for r in front], [r["difference"] for r in front], color="#555555", lw=1.0, ls=":")
        ax.axvline(0, color="#555555", linewidth=0.8)
        ax.axhline(0, color="#555555", linewidth=0.8)
        ax.set_title(title, fontsize=9, loc="left")
        ax.set_xlabel(f"change on {lost.words}", fontsize=8)
    axes[0].set_ylabel(f"gain on the target task ({scorer})", fontsize=8)
    if any(len({_group(row) for row in part}) > 1 for _, part in parts):  # else a panel's title names its group
        shared_legend(figure, axes[0])
    told = "its number the target rows N" if differ_in_size else "those that no other beats by name"
    caption = (
        f"Gain against forgetting by {scorer}: each point is a mixture, {told}; up and to the "
        "right is better. Filled points joined by the dotted line: no other mixture has more of one without less of "
        "the other, as far as means go. Bars are 95 % intervals; 0, 0 is the baseline."
    )
    return finish("gain_against_forgetting", caption, figure)


def pareto_rows(leaderboard: Rows, scorer: str, lost: Lost = INSTRUCTION_SET) -> list[Mapping[str, Any]]:
    """The arms that have both a gain on their own task and a change on what must not be lost."""
    return [
        row
        for row in leaderboard
        if row["scorer"] == scorer
        and not row["is_baseline"]
        and row["evaluation_set"] not in lost.sets
        and row["trained_task"] in (row["evaluation_set"], MANY)
        and row["difference"] is not None
        and row["forgetting"] is not None
    ]


def set_means(rows: Rows, places: Mapping[str, str]) -> Plot | None:
    """Mean of every scorer on every evaluation set, as a matrix."""
    sets = sorted({row["evaluation_set"] for row in rows})
    names = sorted({row["scorer"] for row in rows})
    bases = sorted({row["base_model"] for row in rows})
    if len(sets) < 2 or not names:
        return None
    figure, axes = grid(len(bases), width=0.72 * len(names) + 2.0, height=0.34 * len(sets) + 1.6, columns=2)
    for base, ax in zip(bases, axes, strict=True):
        values = {(r["evaluation_set"], r["scorer"]): r["mean"] for r in rows if r["base_model"] == base}
        matrix = [[or_nan(values.get((name, scorer))) for scorer in names] for name in sets]
        ax.imshow(matrix, cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto")
        for y, line_of in enumerate(matrix):
            for x, value in enumerate(line_of):
                text = "–" if math.isnan(value) else f"{value:.2f}"
                ax.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if value < 0.5 else "black")
        ax.set_xticks(range(len(names)), names, rotation=35, ha="right")
        ax.set_yticks(range(len(sets)), sets)
        ax.grid(visible=False)
        if len(bases) > 1:
            ax.set_title(base, fontsize=9, loc="left")
    place = place_in_paper("set_means", places)
    caption = (
        f"Mean score by evaluation set, all runs together{place}. Colours run from 0 to 1; intervals and counts stand "
        "in the table."
    )
    return finish("set_means", caption, figure)


def place_in_paper(figure: str, places: Mapping[str, str]) -> str:
    """Where the paper shows what a figure shows, as the end of a sentence; empty where it does not."""
    return f" (the paper's {places[figure]})" if figure in places else ""


def _group(row: Mapping[str, Any]) -> str:
    return str(row["series"] or row["evaluation_set"])


def _points(ax: Any, points: Rows, colour: str, marker: str, label: str, differ_in_size: bool) -> None:
    from matplotlib.colors import to_rgb

    for number, point in enumerate(points):
        ax.errorbar(
            [point["forgetting"]],
            [point["difference"]],
            xerr=whiskers(point["forgetting"], point["forgetting_low"], point["forgetting_high"]),
            yerr=whiskers(point["difference"], point["low"], point["high"]),
            color=colour,
            marker=marker,
            markersize=6,
            markerfacecolor=colour if point["is_pareto"] else "white",
            linestyle="none",
            ecolor=(*to_rgb(colour), 0.3),
            elinewidth=0.8,
            label=label if number == 0 else "_",
        )
        if not differ_in_size and not point["is_pareto"]:
            continue
        ax.annotate(
            f"{point['num_target']}" if differ_in_size else point["arm"],
            (point["forgetting"], point["difference"]),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=7,
            color=colour,
        )
