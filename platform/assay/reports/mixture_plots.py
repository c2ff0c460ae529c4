"""Figures of a mixture study: the objective against the share of each component, and over the simplex of shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.reports.drawing import COLOURS, Plot, Rows, finish, grid, tip, whiskers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[Mapping[str, Any], Mapping[str, float]]
"""A row of the objective, and the arm's shares by component."""
MOST_LABELS = 14
"""Points of a panel that are named in it; of more, the baseline and the best alone."""
MOST_PANELS = 24
HEIGHT = math.sqrt(3) / 2
"""Of a triangle with sides of 1."""


def shares_by_arm(shares: Rows) -> dict[tuple[str, str], dict[str, float]]:
    """(base model, arm) -> mean share of each component over its draws."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in shares:
        part = found.setdefault((row["base_model"], row["arm"]), {})
        part.setdefault(row["component"], []).append(row["share"])
    return {arm: {name: sum(values) / len(values) for name, values in part.items()} for arm, part in found.items()}


def points_by_base(objective: Rows, shares: Rows) -> dict[str, list[Point]]:
    """The arms of each base model by the goal's scorer, with their shares."""
    by_arm = shares_by_arm(shares)
    found: dict[str, list[Point]] = {}
    for row in objective:
        if row["is_goal"] and row["mean"] is not None and (row["base_model"], row["arm"]) in by_arm:
            found.setdefault(row["base_model"], []).append((row, by_arm[row["base_model"], row["arm"]]))
    return found


def share_curves(objective: Rows, shares: Rows) -> Plot | None:
    """The objective against the share of a component, a panel per base model and component."""
    found = points_by_base(objective, shares)
    panels = [(base, component, points) for base, points in found.items() for component in sorted(points[0][1])][
        :MOST_PANELS
    ]
    if not panels:
        return None
    figure, axes = grid(len(panels), width=3.2, height=2.7, share_y=len(found) == 1)
    for (base, component, points), ax in zip(panels, axes, strict=True):
        for row, share in points:
            _mark(ax, 100 * share[component], row, len(points))
        ax.set_title(component if len(found) == 1 else f"{component}, {base}", fontsize=9, loc="left")
        ax.set_xlabel("share of the training rows, %", fontsize=8)
        ax.set_xlim(-4, 104)
        ax.margins(y=0.12)
    axes[0].set_ylabel("weighted mean over target sets", fontsize=8)
    caption = (
        f"The objective by {_scorer(objective)} against each component's share: every point is a mixture, the same "
        "ones in all panels, so what a panel shows is also what the other components do. Bars are 95 % intervals over "
        "items and draws. Square: the baseline; star: the best that keeps the constraint; hollow: the "
        "constraint is not shown to be kept."
    )
    return finish("share_curves", caption, figure)


def simplex(objective: Rows, shares: Rows) -> Plot | None:
    """The objective over all shares at once: a triangle of three components, parallel axes of more."""
    found = points_by_base(objective, shares)
    if not found:
        return None
    names = sorted(next(iter(found.values()))[0][1])
    if len(names) < 3:
        return None
    is_triangle = len(names) == 3
    figure, axes = grid(len(found), width=4.6 if is_triangle else 1.3 * len(names) + 2.2, height=3.9, columns=2)
    means = [row["mean"] for points in found.values() for row, _ in points]
    for (base, points), ax in zip(found.items(), axes, strict=True):
        colours = _Colours(min(means), max(means))
        (_triangle if is_triangle else _parallel)(ax, names, points, colours)
        if len(found) > 1:
            ax.set_title(base, fontsize=9, loc="left")
        figure.colorbar(colours.scale, ax=ax, shrink=0.8, label="weighted mean over target sets")
    how = (
        "a corner is one component alone, the middle of the opposite side the other two by halves"
        if is_triangle
        else "a line is a mixture, its height on each axis the share of that component"
    )
    caption = (
        f"The objective by {_scorer(objective)} over the shares: {how}. Colour is the weighted mean; its "
        "interval stands in the table. Square (dashed): the baseline; star (thick): the best that keeps the constraint."
    )
    return finish("simplex", caption, figure)


class _Colours:
    """Colour of a value between the lowest and the highest mean."""

    def __init__(self, low: float, high: float) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        self.scale = ScalarMappable(Normalize(low, high if high > low else low + 1e-9), "cividis")

    def of(self, value: float) -> Any:
        import numpy as np

        return tuple(self.scale.to_rgba(np.array([value]))[0])


def _scorer(objective: Rows) -> str:
    return next(str(row["scorer"]) for row in objective if row["is_goal"])


def _is_allowed(row: Mapping[str, Any]) -> bool:
    return row["constraint"] in ("", "kept")


def _words(row: Mapping[str, Any], share: Mapping[str, float] | None = None) -> str:
    ends = "" if row["mean_low"] is None else f" [{row['mean_low']:.3f}, {row['mean_high']:.3f}]"
    parts = "" if share is None else ", " + ", ".join(f"{name} {value:.0%}" for name, value in sorted(share.items()))
    return f"{row['arm']}: {row['mean']:.3f}{ends}{parts}"


def _mark(ax: Axes, x: float, row: Mapping[str, Any], count: int) -> None:
    colour = COLOURS[1] if row["is_baseline"] else COLOURS[2] if row["is_best"] else COLOURS[0]
    ax.errorbar(
        [x],
        [row["mean"]],
        whiskers(row["mean"], row["mean_low"], row["mean_high"]),
        color=colour,
        marker=_marker(row),
        markersize=9 if row["is_best"] else 5,
        markerfacecolor=colour if _is_allowed(row) else "white",
        linestyle="none",
        elinewidth=0.8,
        capsize=2,
    )
    tip(ax, x, row["mean"], f"{_words(row)}, share {x:.1f} %")
    if row["is_baseline"] or row["is_best"]:
        ax.annotate(row["arm"], (x, row["mean"]), xytext=(6, 5), textcoords="offset points", fontsize=7, color=colour)


def _marker(row: Mapping[str, Any]) -> str:
    return "*" if row["is_best"] else "s" if row["is_baseline"] else "o"


def _triangle(ax: Axes, names: Sequence[str], points: Sequence[Point], colours: _Colours) -> None:
    ax.set_axis_off()
    ax.set_aspect("equal")
    corners = {names[0]: (0.0, 0.0), names[1]: (1.0, 0.0), names[2]: (0.5, HEIGHT)}
    ax.plot([0, 1, 0.5, 0], [0, 0, HEIGHT, 0], color="#888888", linewidth=0.9)
    for step in range(1, 5):
        _grid_lines(ax, step / 5)
    for place, name in enumerate(names):
        x, y = corners[name]
        ax.annotate(
            f"{name} 100 %",
            (x, y),
            xytext=(0, 7 if place == 2 else -12),
            textcoords="offset points",
            ha=("left", "right", "center")[place],
            fontsize=8,
        )
    labels: dict[tuple[float, float], list[str]] = {}
    for row, share in points:
        x = sum(share[name] * corners[name][0] for name in names)
        y = sum(share[name] * corners[name][1] for name in names)
        size = 13 if row["is_best"] else 8
        ax.plot([x], [y], _marker(row), color=colours.of(row["mean"]), markersize=size, mec="#222222", mew=0.7)
        tip(ax, x, y, _words(row, share))
        is_corner = max(share.values()) > 0.999
        if not is_corner and (len(points) <= MOST_LABELS or row["is_best"] or row["is_baseline"]):
            labels.setdefault((round(x, 2), round(y, 2)), []).append(row["arm"])
    for at, arms in labels.items():
        words = ", ".join(arms)
        ax.annotate(words, at, xytext=(6, 4), textcoords="offset points", fontsize=6.5, color="#333333")
    ax.set_xlim(-0.06, 1.12)
    ax.set_ylim(-0.09, HEIGHT + 0.08)


def _grid_lines(ax: Axes, at: float) -> None:
    """Where each component has this share."""
    for ends in (
        ((1 - at, 0.0), ((1 - at) / 2, (1 - at) * HEIGHT)),
        ((at, 0.0), (at + (1 - at) / 2, (1 - at) * HEIGHT)),
        ((at / 2, at * HEIGHT), (1 - at / 2, at * HEIGHT)),
    ):
        ax.plot([ends[0][0], ends[1][0]], [ends[0][1], ends[1][1]], color="#e3e3e3", linewidth=0.6, zorder=0)


def _parallel(ax: Axes, names: Sequence[str], points: Sequence[Point], colours: _Colours) -> None:
    for row, share in sorted(points, key=lambda point: float(point[0]["mean"])):
        heights = [100 * share[name] for name in names]
        ax.plot(
            range(len(names)),
            heights,
            color=colours.of(row["mean"]),
            linewidth=2.8 if row["is_best"] else 1.2,
            linestyle="--" if row["is_baseline"] else "-",
            marker=_marker(row),
            markersize=8 if row["is_best"] else 4,
        )
        tip(ax, len(names) - 1, heights[-1], _words(row, share))
        if row["is_best"] or row["is_baseline"]:
            ax.annotate(
                row["arm"], (len(names) - 1, heights[-1]), xytext=(6, 0), textcoords="offset points", fontsize=7
            )
    ax.set_xticks(range(len(names)), names)
    ax.set_ylabel("share of the training rows, %", fontsize=8)
    ax.set_xlim(-0.2, len(names) - 0.4)
