"""Rank correlation with the truth against tokens spent: all answers in one call against every answer alone.

    python tests/bench/bench_joint.py [--quick] [--seeds 40] [--out FILE.json] [--figure FILE.svg|.png]

A judge whose errors are known (tests/support/simulated_judges.py) rates nine models, seven of them close. Both
ways use the same prompt, scale and parser; they differ in who shares a call. One line of JSON per curve and size.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.simulated_judges import SimulatedJudge, joint, solo

QUALITY = {f"m{place}": 0.7 * (3 - place) for place in range(7)} | {"best": 15.0, "worst": -15.0}
SIZES = (4, 8, 16, 32, 64, 128)
CURVES: dict[str, Callable[[SimulatedJudge, int], list[float]]] = {
    "each answer alone": solo,
    "all in one call, one order": partial(joint, repeats=1),
    "all in one call, two balanced orders": joint,
}
COLOURS = ("#D55E00", "#56B4E9", "#0072B2")


def point(curve: str, num_items: int, seeds: int) -> dict[str, Any]:
    truth = np.array(list(QUALITY.values()))
    everyone, close, tokens = [], [], []
    for seed in range(seeds):
        judge = SimulatedJudge(QUALITY, seed)
        scores = CURVES[curve](judge, num_items)
        everyone.append(spearmanr(scores, truth).statistic)
        close.append(spearmanr(scores[:7], truth[:7]).statistic)
        tokens.append(judge.tokens)
    return {
        "curve": curve,
        "prompts": num_items,
        "tokens": round(float(np.mean(tokens))),
        "spearman_all_9": round(float(np.mean(everyone)), 3),
        "spearman_close_7": round(float(np.mean(close)), 3),
        "close_7_from_10_to_90_percent": [round(float(v), 3) for v in np.percentile(close, (10, 90))],
        "share_of_runs_with_close_7_below_0.2": round(float(np.mean(np.array(close) < 0.2)), 3),
        "seeds": seeds,
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 4.2), layout="constrained")
    for colour, curve in zip(COLOURS, CURVES, strict=True):
        mine = [row for row in rows if row["curve"] == curve]
        tokens = [row["tokens"] for row in mine]
        low, high = zip(*(row["close_7_from_10_to_90_percent"] for row in mine), strict=True)
        axes.plot(tokens, [row["spearman_close_7"] for row in mine], "o-", color=colour, label=curve, markersize=4)
        axes.fill_between(tokens, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.axhline(0, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_ylim(-0.6, 1.02)
    axes.set_xlabel("tokens spent, prompts and replies")
    axes.set_ylabel("Spearman with the truth, 7 close models")
    seeds = rows[0]["seeds"]
    axes.set_title(f"Mean over {seeds} simulated judges; shaded: 10 to 90 % of them", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="6 seeds, up to 16 prompts")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    seeds, sizes = (6, SIZES[:3]) if arguments.quick else (arguments.seeds, SIZES)
    rows = []
    for curve in CURVES:
        for num_items in sizes:
            rows.append(point(curve, num_items, seeds))
            print(json.dumps(rows[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if arguments.figure:
        draw(rows, arguments.figure)


if __name__ == "__main__":
    main()
