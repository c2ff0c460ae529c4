"""Figures beside reports on judges, as SVG: accuracy and agreement of every run, models in the order of a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from assay.reports.drawing import lines_of, spans, standalone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from assay.metaeval.statistics.estimate import Estimate

COLOURS = ("#0072B2", "#D55E00")
"""Accuracy and positional agreement; told apart by colour-blind readers, and by marker."""
MAX_ROWS = 60


class ShownRun(Protocol):
    """What the figure shows of a run."""

    @property
    def subset(self) -> str: ...

    @property
    def strategy(self) -> str:
        """How the judge was asked."""
        ...

    @property
    def rates(self) -> Mapping[str, Estimate]:
        """Shares by name."""
        ...


def runs_svg(runs: Sequence[ShownRun], title: str) -> str:
    """One line per run, chance at 50 %; the first `MAX_ROWS` runs."""
    shown = list(runs[:MAX_ROWS])

    def draw(figure: Figure, axes: Axes) -> None:
        for number, (name, label, marker) in enumerate(
            (("accuracy", "accuracy", "o"), ("positional_agreement", "same verdict in both orders", "s"))
        ):
            cells = [run.rates[name].as_json() for run in shown]
            spans(axes, cells, 0.16 * (2 * number - 1), {"fmt": marker, "color": COLOURS[number], "label": label})
        axes.axvline(0.5, color="#999999", linewidth=0.8, linestyle=":")
        lines_of(axes, [f"{run.subset}  {run.strategy}" for run in shown])
        axes.set_xlim(0, 1)
        axes.set_xlabel("share, with 95 % interval over pairs; dotted: chance")
        axes.set_title(title, fontsize=9)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)

    return standalone(7.0, 1.1 + 0.34 * len(shown), draw)


class ShownModel(Protocol):
    """What the figures of `assay rank` show of a model."""

    @property
    def model(self) -> str: ...

    @property
    def shown(self) -> Sequence[Estimate]:
        """Its effect; or its win rates, as judged and at equal length."""
        ...


def joint_svg(models: Sequence[ShownModel], title: str) -> str:
    """A line per model: its effect, with its interval."""
    label = "points of 100 above the mean of all models, with 95 % interval over prompts"
    return _ranks(models, title, label, middle=0.0, marks=("",))


def wins_svg(models: Sequence[ShownModel], title: str, baseline: str) -> str:
    """A line per model: its win rates against the baseline, with intervals."""
    label = f"share of prompts won against {baseline}, with 95 % interval over prompts"
    return _ranks(models, title, label, middle=0.5, marks=("as judged", "at equal length"))


def _ranks(models: Sequence[ShownModel], title: str, label: str, *, middle: float, marks: Sequence[str]) -> str:
    rows = models[:MAX_ROWS]

    def draw(figure: Figure, axes: Axes) -> None:
        for number, mark in enumerate(marks):
            shift = 0.16 * (2 * number - 1) * (len(marks) - 1)
            style = {"fmt": "os"[number], "color": COLOURS[number], "label": mark}
            spans(axes, [row.shown[number].as_json() for row in rows], shift, style)
        axes.axvline(middle, color="#999999", linewidth=0.8, linestyle=":")
        lines_of(axes, [row.model for row in rows])
        axes.set_xlabel(label)
        axes.set_title(title, fontsize=9)
        if len(marks) > 1:
            axes.set_xlim(0, 1)
            figure.legend(loc="outside lower center", ncols=2, frameon=False)

    return standalone(7.0, 1.2 + 0.34 * len(rows), draw)
