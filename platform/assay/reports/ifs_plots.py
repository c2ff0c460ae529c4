"""Format infusion in one figure: IFS, ObjecQA and validation loss against rows seen, and where the rule stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assay.reports.drawing import COLOURS, Plot, Rows, finish, grid

TRAINING = ("base_model", "arm", "draw", "training_seed")
THRESHOLD = 0.9
"""Of the rule's default; the stopped run's own point is drawn where it really stopped."""


def infusion(curves: Rows, stopping: Rows) -> Plot | None:
    """A panel per training: the full run's curves, and a line where the stopped run ended.

    Args:
        curves: rows of `ifs_curves`.
        stopping: rows of `early_stopping`.
    """
    full = [row for row in curves if row["run"] == "full"]
    if not full:
        return None
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in full:
        groups.setdefault(tuple(row[name] for name in TRAINING), []).append(row)
    ends = {tuple(row[name] for name in TRAINING): row for row in stopping}
    figure, axes = grid(len(groups), width=5.4, height=3.4, columns=2)
    handles: dict[str, Any] = {}
    for ax, (name, rows) in zip(axes, sorted(groups.items()), strict=True):
        handles |= _panel(ax, rows, ends.get(name))
        ax.set_title(_title(name, list(groups)), fontsize=9, loc="left")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=8.5, frameon=False)
    caption = (
        "Format infusion while training: IFS corrected for the classifier's errors (all prompts), IFS on fragments "
        "alone, and the share of preference questions answered objectively (ObjecQA), against training rows seen; "
        "the first point is the untrained model. Validation loss on the right axis. Bands and bars are 95 % intervals "
        "over prompts and questions. The vertical line is where the stopping rule ended the same training."
    )
    return finish("format_infusion", caption, figure)


def _panel(ax: Any, rows: Sequence[Mapping[str, Any]], end: Mapping[str, Any] | None) -> dict[str, Any]:
    rows = sorted(rows, key=lambda row: row["step"])
    x = [row["examples"] for row in rows]
    handles: dict[str, Any] = {}
    blue, orange, green, _, _, sky, black, _ = COLOURS
    handles["IFS, corrected"] = ax.plot(
        x, [row["corrected"] for row in rows], color=blue, marker="o", markersize=3.6, linewidth=1.6
    )[0]
    ax.fill_between(
        x,
        [row["corrected_low"] for row in rows],
        [row["corrected_high"] for row in rows],
        color=blue,
        alpha=0.18,
        linewidth=0,
    )
    handles["IFS, fragments"] = ax.plot(
        x, [row["ifs_partial"] for row in rows], color=sky, marker="s", markersize=3.2, linewidth=1.1, linestyle="--"
    )[0]
    judged = [row for row in rows if row["objecqa"] is not None]
    if judged:
        middle = [row["objecqa"] for row in judged]
        handles["ObjecQA"] = ax.errorbar(
            [row["examples"] for row in judged],
            middle,
            [
                [max(0.0, row["objecqa"] - row["objecqa_low"]) for row in judged],
                [max(0.0, row["objecqa_high"] - row["objecqa"]) for row in judged],
            ],
            color=orange, marker="^", markersize=4, linewidth=1.3, elinewidth=0.7, capsize=1.5,
        )  # fmt: skip
    ax.axhline(THRESHOLD, color=black, linewidth=0.7, linestyle=":")
    ax.set_ylim(-0.03, 1.05)
    ax.set_xlabel("training rows seen")
    ax.set_ylabel("share of answers")
    if end is not None and end["infused_examples"] is not None:
        handles["stopped by the rule"] = ax.axvline(end["infused_examples"], color=black, linewidth=1.2)
        ax.annotate(
            f"step {end['infused_step']}, {100 * end['share_saved']:.0f} % saved",
            (end["infused_examples"], 0.5),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=7.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
    losses = [row for row in rows if row["validation_loss"] is not None]
    if losses:
        right = ax.twinx()
        handles["validation loss (right)"] = right.plot(
            [row["examples"] for row in losses],
            [row["validation_loss"] for row in losses],
            color=green, marker="D", markersize=3, linewidth=1.1, linestyle="-.",
        )[0]  # fmt: skip
        right.set_ylabel("validation loss, nats", color=green, fontsize=9)
        right.tick_params(labelsize=9)
        right.spines["top"].set_visible(False)
        right.set_ylim(bottom=0)
        right.spines["right"].set_visible(True)
        right.grid(visible=False)
    return handles


def _title(name: tuple[Any, ...], names: Sequence[tuple[Any, ...]]) -> str:
    """What tells this training from the others."""
    parts = []
    for place, label in enumerate(TRAINING):
        if label in ("base_model", "arm") or len({other[place] for other in names}) > 1:
            shown = {"draw": f"draw {name[place]}", "training_seed": f"seed {name[place]}"}.get(label, str(name[place]))
            parts.append(shown)
    return ", ".join(parts)
