"""The figure of the human benchmark: scorers x tasks as a heat map with numbers, CIT and CAT at its right, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from assay.reports.drawing import standalone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from assay.metaeval.statistics.estimate import Estimate

SUMMARY = ("CIT", "CAT", "CAT, centred")


class ShownTask(Protocol):
    """A column of the figure."""

    @property
    def name(self) -> str:
        """Of the set."""
        ...

    @property
    def has_references(self) -> bool:
        """False: compared with the source."""
        ...


class ShownScorer(Protocol):
    """A row of the figure."""

    @property
    def tasks(self) -> Mapping[str, Estimate]:
        """Task -> rho."""
        ...

    @property
    def shown(self) -> Sequence[Estimate]:
        """What `SUMMARY` names; rows are sorted by the first."""
        ...


def benchmark_svg(tasks: Sequence[ShownTask], scorers: Mapping[str, ShownScorer], title: str) -> str:
    """Spearman's rho with people, rows sorted by CIT; told apart by number as well as by colour."""
    import numpy as np

    labels = [task.name + ("" if task.has_references else "*") for task in tasks]
    names = sorted(scorers, key=lambda name: -(scorers[name].shown[0].as_json()["value"] or -math.inf))
    cells = [[*(scorers[name].tasks[task.name] for task in tasks), *scorers[name].shown] for name in names]
    values = np.array([[cell.value for cell in row] for row in cells])

    def draw(figure: Figure, axes: Axes) -> None:
        shown = axes.imshow(values, cmap="cividis", vmin=-0.2, vmax=0.8, aspect="auto")
        for row in range(values.shape[0]):
            for place in range(values.shape[1]):
                cell, value = cells[row][place], values[row, place]
                if math.isnan(value):
                    axes.text(place, row, "–", ha="center", va="center")
                    continue
                ends = "" if math.isnan(cell.low) else f"\n{cell.low:.2f} {cell.high:.2f}"
                dark = value < 0.35
                axes.text(place, row - 0.12, f"{value:.2f}", ha="center", va="center", color="w" if dark else "k")
                axes.text(place, row + 0.12, ends, ha="center", va="center", fontsize=5, color="w" if dark else "k")
        axes.axvline(len(tasks) - 0.5, color="w", linewidth=3)
        axes.set_xticks(range(values.shape[1]), [*labels, *SUMMARY], rotation=40, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_title(title, fontsize=9)
        note = "Spearman's rho with people; small: 95 % interval over documents"
        if any(not task.has_references for task in tasks):
            note += "; *: no references, compared with the source"
        axes.set_xlabel(note, fontsize=7)
        figure.colorbar(shown, ax=axes, shrink=0.7, label="rho")

    return standalone(2.2 + 0.72 * values.shape[1], 1.9 + 0.38 * values.shape[0], draw, font_size=8)
