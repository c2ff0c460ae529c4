"""Figures of preference studies: score against divergence with best of n, label against truth, wins, length, log p."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.preference.sources import START
from assay.reports.drawing import Palette, Plot, Rows, finish, grid, shared_legend, tip, whiskers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FRONTIER: dict[str, Any] = {"color": "#555555", "linewidth": 1.4, "linestyle": "--", "marker": "x", "markersize": 4}


def preference_plots(tables: Mapping[str, Rows], human: str) -> list[Plot]:
    """The figures of a study of preferences; none where it is none.

    Args:
        tables: rows of its tables, by name.
        human: scorer that plays the human column.
    """
    measures = tables.get("preference_measures", ())
    if not measures:
        return []
    frontier = tables["preference_frontier"]
    plots = [
        _against_divergence(measures, frontier, human),
        _label_against_truth(measures, frontier, human),
        _wins(tables["preference_wins"]),
        _lengths(measures),
        _log_probs(tables["preference_training"]),
    ]
    return [plot for plot in plots if plot is not None]


def _groups(rows: Rows) -> list[tuple[str, str]]:
    return sorted({(row["base_model"], row["pairs"]) for row in rows})


def _of(rows: Rows, group: tuple[str, str], measure: str) -> dict[str, Mapping[str, Any]]:
    """Row by method."""
    return {
        row["method"]: row
        for row in rows
        if (row["base_model"], row["pairs"]) == group and row["measure"] == measure and row["value"] is not None
    }


def _title(group: tuple[str, str], groups: Sequence[tuple[str, str]]) -> str:
    return group[1] if len({base for base, _ in groups}) == 1 else " ".join(group)


def _path(frontier: Rows, group: tuple[str, str], measure: str) -> list[Mapping[str, Any]]:
    rows = [row for row in frontier if (row["base_model"], row["pairs"]) == group and row["measure"] == measure]
    return sorted((row for row in rows if row["value"] is not None), key=lambda row: int(row["n"]))


def _bar(ax: Axes, x: float, row: Mapping[str, Any], style: dict[str, Any]) -> None:
    ends = whiskers(row["value"], row["low"], row["high"])
    ax.errorbar([x], [row["value"]], ends, markersize=5.5, capsize=2, elinewidth=0.9, linestyle="none", **style)
    tip(ax, x, row["value"], f"{style['label']}: {row['value']:.3f} at {x:.3f}")


def _against_divergence(measures: Rows, frontier: Rows, human: str) -> Plot:
    groups, palette = _groups(measures), Palette(sorted({row["method"] for row in measures}))
    figure, axes = grid(2 * len(groups), width=3.9, height=3.2, columns=2)
    for place, group in enumerate(groups):
        divergence = _of(measures, group, "kl")
        for ax, measure, name in zip(
            axes[2 * place :], (human, "label"), (human, "the label's own score"), strict=False
        ):
            path = _path(frontier, group, measure)
            ax.plot([row["kl"] for row in path], [row["value"] for row in path], label="best of n", **FRONTIER)
            for method, row in _of(measures, group, measure).items():
                if method in divergence:
                    _bar(ax, divergence[method]["value"], row, palette.style(method))
            ax.set_title(f"{_title(group, groups)}: {name}", fontsize=9, loc="left")
            _divergence_axis(ax, [row["value"] for row in divergence.values()], [row["kl"] for row in path])
    shared_legend(figure, axes[0])
    caption = (
        f"Score on the reported prompts against the divergence from the start. Left the human column ({human}), right "
        "the score that labelled the pairs. The dashed line is best of n of the start, at the largest divergence that "
        "it can have. Bars are 95 % intervals over prompts and trainings."
    )
    return finish("preference_divergence", caption, figure)


def _divergence_axis(ax: Axes, trained: Sequence[float], sampled: Sequence[float]) -> None:
    """Nats from the start: best of n ends at a nat or two, trainings may go to hundreds."""
    name = "divergence from the start, nats"
    if max([*trained, *sampled], default=0.0) > 1.0:
        ax.set_xscale("symlog", linthresh=1.0)
        ax.xaxis.set_major_formatter("{x:g}")
        name += " (logarithmic from 1)"
    ax.set_xlim(left=min([0.0, *trained]) - 0.03)
    ax.set_xlabel(name)


def _label_against_truth(measures: Rows, frontier: Rows, human: str) -> Plot:
    groups, methods = _groups(measures), sorted({row["method"] for row in measures})
    palette = Palette(methods)
    figure, axes = grid(len(groups), width=3.9, height=3.2, columns=2)
    for ax, group in zip(axes, groups, strict=True):
        own, truth = (_path(frontier, group, name) for name in ("label", human))
        both = list(zip(own, truth, strict=False))
        ax.plot([a["value"] for a, _ in both], [b["value"] for _, b in both], label="best of n", **FRONTIER)
        labels, truths = _of(measures, group, "label"), _of(measures, group, human)
        for method in methods:
            if method in labels and method in truths:
                _bar(ax, labels[method]["value"], truths[method], palette.style(method))
        ax.set_title(_title(group, groups), fontsize=9, loc="left")
        ax.set_xlabel("score by the label")
        ax.set_ylabel(human)
    shared_legend(figure, axes[0])
    caption = (
        "What was optimised against what was wanted: the label's own score, with the bias that was planted, against "
        f"the human column ({human}). Along the dashed line n of best of n grows from 1. Where a method lies right of "
        "the line and below it, it gained by the label what the truth did not."
    )
    return finish("preference_label_truth", caption, figure)


def _wins(rows: Rows) -> Plot | None:
    groups = _groups(rows)
    if not groups:
        return None
    figure, axes = grid(len(groups), width=4.6, height=4.0, columns=2)
    for ax, group in zip(axes, groups, strict=True):
        part = [row for row in rows if (row["base_model"], row["pairs"]) == group]
        methods = sorted({row["method"] for row in part})
        others = [*methods, START]
        rate = {(row["method"], row["other"]): row["rate"] for row in part}
        table = [[rate.get((method, other)) for other in others] for method in methods]
        shown = [[0.5 if value is None else value for value in line] for line in table]
        ax.imshow(shown, cmap="PuOr", vmin=0.0, vmax=1.0, aspect="auto")
        ax.grid(visible=False)
        for y, line in enumerate(table):
            for x, value in enumerate(line):
                ax.text(x, y, "–" if value is None else f"{value:.2f}", ha="center", va="center", fontsize=8)
        ax.set_xticks(range(len(others)), others, rotation=40, ha="right")
        ax.set_yticks(range(len(methods)), methods)
        ax.set_title(_title(group, groups), fontsize=9, loc="left")
    by = rows[0]["by"]
    caption = (
        f"Win rate of the method in a line against that in a column, ties half, by {by}; the last column is the start."
    )
    return finish("preference_wins", caption, figure)


def _lengths(measures: Rows) -> Plot:
    groups, methods = _groups(measures), sorted({row["method"] for row in measures})
    palette = Palette(methods)
    figure, axes = grid(len(groups), width=4.4, height=3.0, columns=2, share_y=True)
    for ax, group in zip(axes, groups, strict=True):
        rows = _of(measures, group, "words")
        for place, method in enumerate(methods):
            if method in rows:
                _bar(ax, place, rows[method], palette.style(method))
        start = next((row["start"] for row in rows.values() if row["start"] is not None), None)
        if start is not None:
            ax.axhline(start, color="#555555", linestyle="--", linewidth=1.2)
        ax.set_xticks(range(len(methods)), methods, rotation=40, ha="right")
        ax.set_title(_title(group, groups), fontsize=9, loc="left")
        ax.set_ylabel("words of an answer")
    caption = "Length of answers to the reported prompts, with 95 % intervals; the dashed line is the start."
    return finish("preference_length", caption, figure)


def _log_probs(rows: Rows) -> Plot | None:
    known = [row for row in rows if row["chosen_log_p"] is not None and row["rejected_log_p"] is not None]
    if not known:
        return None
    groups, methods = _groups(known), sorted({row["method"] for row in known})
    palette = Palette(methods)
    figure, axes = grid(len(groups), width=4.4, height=3.2, columns=2)
    for ax, group in zip(axes, groups, strict=True):
        for method in methods:
            part = sorted(
                (row for row in known if (row["base_model"], row["pairs"]) == group and row["method"] == method),
                key=lambda row: int(row["step"]),
            )
            style = {**palette.style(method), "marker": None}
            steps = [row["step"] for row in part]
            ax.plot(steps, [row["chosen_log_p"] for row in part], linewidth=1.3, **style)
            rejected = {**style, "label": "_"}
            ax.plot(steps, [row["rejected_log_p"] for row in part], linewidth=1.1, linestyle=":", **rejected)
        ax.set_title(_title(group, groups), fontsize=9, loc="left")
        ax.set_xlabel("optimizer step")
        ax.set_ylabel("log p of answers, nats")
    shared_legend(figure, axes[0])
    caption = (
        "Log-probability of chosen (lines) and rejected answers (dotted) over training, each step its own pairs, mean "
        "over seeds. Where both fall, likelihood is displaced to answers that nobody preferred."
    )
    return finish("preference_log_probs", caption, figure)
