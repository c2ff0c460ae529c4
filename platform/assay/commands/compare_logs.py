"""`assay compare a.eval b.eval`: two logs of other tools, paired by item, metric by metric."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from assay.errors import ConfigError
from assay.foreign_logs.logs import ForeignLog, read_log


def compare_logs_command(first: str, second: str, margin: float, as_json: bool) -> None:
    """Print B - A per metric that both logs have, with interval, Holm's p and a word; higher is better."""
    logs = read_log(Path(first)), read_log(Path(second))
    rows = compare_logs(*logs, margin=margin)
    if not rows:
        raise ConfigError(
            f"compare {first} {second}: saw metrics {sorted(logs[0].scores)} and {sorted(logs[1].scores)} and no item "
            "that both score; expected some; compare logs of one task"
        )
    if as_json:
        about = {side: _about(log) for side, log in zip("ab", logs, strict=True)}
        typer.echo(json.dumps({**about, "margin": margin, "rows": rows}, indent=2))
        return
    for side, log in zip("AB", logs, strict=True):
        lost = ", ".join(f"{count} {reason}" for reason, count in sorted(log.unscored.items()))
        typer.echo(
            f"{side} = {log.model}, {log.task} ({log.tool}, {log.num_samples} samples{'; ' + lost if lost else ''})"
        )
    typer.echo(f"{'metric':<24} {'items':>7} {'A':>8} {'B':>8} {'B - A':>8}  {'95 % interval':<20} {'p (Holm)':>9}")
    for row in rows:
        interval = f"[{row['low']:+.4f}, {row['high']:+.4f}]" if row["low"] is not None else "none"
        p = f"{row['p_holm']:.4f}" if row["p_holm"] is not None else "-"
        typer.echo(
            f"{row['metric']:<24} {row['num_items']:>7} {row['a']:>8.4f} {row['b']:>8.4f} {row['difference']:>+8.4f}  "
            f"{interval:<20} {p:>9}  {row['word']}"
        )


def compare_logs(first: ForeignLog, second: ForeignLog, *, margin: float) -> list[dict[str, Any]]:
    """One row per common metric, by name.

    An item's repeats (epochs) are its cluster: their mean is one draw. Items that one side left unscored are left out
    and counted.
    """
    from assay.metaeval.statistics.paired_items import paired_items

    metrics = sorted(set(first.scores) & set(second.scores))
    sides = [_common(first.scores[metric], second.scores[metric]) for metric in metrics]
    found = [(metric, side) for metric, side in zip(metrics, sides, strict=True) if side[0]]
    compared = paired_items([(a, b) for _, (a, b, _) in found], margin=margin)
    return [
        {"metric": metric, "left_out": left_out, **one.as_json()}
        for (metric, (_, _, left_out)), one in zip(found, compared, strict=True)
    ]


def _common(
    first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]]
) -> tuple[list[float], list[float], int]:
    means = [{item: _mean(values) for item, values in side.items()} for side in (first, second)]
    items = sorted(item for item in set(first) & set(second) if not any(math.isnan(side[item]) for side in means))
    return [means[0][item] for item in items], [means[1][item] for item in items], len({*first, *second}) - len(items)


def _mean(values: Sequence[float]) -> float:
    kept = [value for value in values if not math.isnan(value)]
    return sum(kept) / len(kept) if kept else math.nan


def _about(log: ForeignLog) -> dict[str, Any]:
    names = ("path", "tool", "task", "model", "num_samples")
    return {**{name: getattr(log, name) for name in names}, "unscored": dict(log.unscored)}
