"""Models that a judge ranked over shared prompts: boards by evaluation set, a first sentence, and two figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from assay.reports.drawing import COLOURS, Plot, Rows, finish, grid, lines_of, spans, tip, whiskers
from assay.reports.wording import number, plural, rate, signed

Board = list[Mapping[str, Any]]
MOST_MODELS = 40
"""Lines of a panel."""
JOINT = "joint"


def boards(rows: Rows) -> list[tuple[str, Board]]:
    """Rows by evaluation set in the order of the table, the best first; models without a rank come last."""
    found: dict[str, Board] = {}
    for row in rows:
        found.setdefault(row["evaluation_set"], []).append(row)
    return [(name, sorted(part, key=lambda row: (row["rank"] or 10**6, row["arm"]))) for name, part in found.items()]


def ranked_first(rows: Rows) -> list[str]:
    """Who stands first on the board of most prompts, and whether the judge tells it from the next."""
    widest = max(boards(rows), key=lambda board: max(row["num_asked"] for row in board[1]), default=None)
    if widest is None or widest[1][0]["rank"] is None:
        return []
    name, board = widest
    best = board[0]
    interval = rate(best["low"], best["high"], 2)
    over = f"over {plural(best['num_scored'], 'prompt')} of {name}"
    if best["protocol"] != JOINT:
        sentence = (
            f"Ranked by wins against {best['baseline']} ({best['protocol']}, both orders): {best['arm']} comes first "
            f"with {number(best['value'], 2)} {interval} of the prompts, {over}."
        )
        return [sentence]
    ranks = "rank 1 in all of its interval" if best["rank_high"] == 1 else f"its rank may be 1 to {best['rank_high']}"
    sentence = (
        f"Ranked jointly, all answers in one call: {best['arm']} comes first, {signed(best['value'], 1)} {interval} "
        f"points of 100 above the mean of {plural(len(board), 'model')} {over}; {ranks}."
    )
    return [sentence]


def ranking_plot(rows: Rows) -> Plot | None:
    """A panel per evaluation set, a line per model."""
    found = boards(rows)
    if not found:
        return None
    most = max(min(MOST_MODELS, len(board)) for _, board in found)
    figure, axes = grid(len(found), width=4.6, height=0.9 + 0.3 * most, columns=2)
    is_joint = rows[0]["protocol"] == JOINT
    for (name, board), ax in zip(found, axes, strict=True):
        shown = board[:MOST_MODELS]
        spans(ax, shown, 0.0, {"fmt": "o", "color": COLOURS[0]})
        ax.axvline(0.0 if is_joint else 0.5, color="#999999", linewidth=0.8, linestyle=":")
        lines_of(ax, [row["arm"] for row in shown])
        ax.set_title(name, fontsize=9, loc="left")
        ax.set_xlabel("points above the mean of all models" if is_joint else "share of prompts won", fontsize=8)
    caption = (
        "Points of 100 above the mean of all models, from calls that show the judge all answers to a prompt"
        if is_joint
        else f"Share of prompts won against {rows[0]['baseline']}, ties half"
    )
    return finish("ranking", f"{caption}; 95 % intervals over prompts.", figure)


def loss_plot(losses: Rows, lines: Rows) -> Plot | None:
    """Judged score against test loss, a panel per evaluation set, with the line where there is one."""
    names = list(dict.fromkeys(row["evaluation_set"] for row in losses if row["value"] is not None))
    if not names:
        return None
    figure, axes = grid(len(names), width=3.6, height=3.0, columns=3)
    for name, ax in zip(names, axes, strict=True):
        points = [row for row in losses if row["evaluation_set"] == name and row["value"] is not None]
        line = next(row for row in lines if row["evaluation_set"] == name)
        far = json.loads(line["off_the_line"])
        for row in points:
            colour = COLOURS[1] if row["arm"] in far else COLOURS[0]
            ends = whiskers(row["value"], row["low"], row["high"])
            ax.errorbar([row["loss"]], [row["value"]], yerr=ends, fmt="o", color=colour, markersize=4.2, capsize=2)
            ax.annotate(row["arm"], (row["loss"], row["value"]), (4, 4), textcoords="offset points", fontsize=7)
            tip(ax, row["loss"], row["value"], f"{row['arm']}: loss {row['loss']:g}, score {row['value']:.2f}")
        if line["slope"] is not None:
            ends_x = [min(row["loss"] for row in points), max(row["loss"] for row in points)]
            ax.plot(ends_x, [line["intercept"] + line["slope"] * x for x in ends_x], color="#999999", linewidth=1)
        ax.set_title(name, fontsize=9, loc="left")
        ax.set_xlabel("test loss", fontsize=8)
        ax.margins(x=0.15, y=0.15)
    axes[0].set_ylabel("judged score", fontsize=8)
    caption = (
        "Judged score against the test loss that the study was given, one point per model, with Theil and Sen's line; "
        "models far from it in another colour."
    )
    return finish("loss_line", caption, figure)
