"""`assay compare A B`: two finished studies side by side, arm by arm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from assay.commands.kinds.known import kind_in
from assay.errors import ConfigError
from assay.store import Store

CURVE_KEY = ("task", "scorer", "num_target")


def compare_command(first: str, second: str, storage: str, as_json: bool) -> None:
    """Print what both studies have a number of: points of a curve, measures of a method, scores of a model.

    Intervals are each study's own; the two are called different only where their intervals do not touch, since
    studies are no paired samples of each other.
    """
    store = Store(storage)
    found = [kind_in(store, name).points(store, name) for name in (first, second)]
    both = next((name for name in found[0] if name in found[1]), None)
    if both is None:
        seen = " and ".join(" or ".join(part.what for part in points.values()) or "nothing" for points in found)
        raise ConfigError(f"compare {first} {second}: saw studies by {seen}; expected two by the same")
    a, b = (points[both] for points in found)
    rows = compare_rows(a.points, b.points, a.named)
    if not rows:
        raise ConfigError(
            f"compare {first} {second}: saw no {a.what} that both have; expected some; nothing to compare"
        )
    if as_json:
        typer.echo(json.dumps({"a": first, "b": second, "rows": rows}, indent=2))
        return
    widths = [max(len(name), *(len(str(row[name])) for row in rows)) for name in a.named]
    typer.echo(f"A = {first}, B = {second}; mean [95 % interval]; * where the intervals do not touch")
    titles = "  ".join(
        f"{name.replace('num_target', 'N'):<{width}}" for name, width in zip(a.named, widths, strict=True)
    )
    typer.echo(f"{titles}  {'A':<24} {'B':<24} {'B - A':>8}")
    for row in rows:
        mark = "*" if row["apart"] else " "
        cells = "  ".join(f"{row[name]!s:<{width}}" for name, width in zip(a.named, widths, strict=True))
        typer.echo(f"{cells}  {_cell(row, 'a'):<24} {_cell(row, 'b'):<24} {row['difference']:>+8.3f} {mark}")


def compare_rows(
    first: Mapping[tuple[Any, ...], Mapping[str, Any]],
    second: Mapping[tuple[Any, ...], Mapping[str, Any]],
    named: Sequence[str] = CURVE_KEY,
) -> list[dict[str, Any]]:
    """One row per point that both studies have, in key order.

    Args:
        first: base model and the values of `named` -> mean, low and high.
        second: the same of the other study.
        named: what the parts of a key after the first are.
    """
    rows = []
    for key in sorted(set(first) & set(second)):
        a, b = first[key], second[key]
        if a["mean"] is None or b["mean"] is None:
            continue
        known = None not in (a["low"], a["high"], b["low"], b["high"])
        rows.append(
            {
                **dict(zip(named, key[1:], strict=True)),
                "base_model": key[0],
                **{f"a_{name}": a[name] for name in ("mean", "low", "high")},
                **{f"b_{name}": b[name] for name in ("mean", "low", "high")},
                "difference": b["mean"] - a["mean"],
                "apart": known and (a["high"] < b["low"] or b["high"] < a["low"]),
            }
        )
    return rows


def _cell(row: Mapping[str, Any], side: str) -> str:
    low, high = row[f"{side}_low"], row[f"{side}_high"]
    interval = f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else " [no interval]"
    return f"{row[f'{side}_mean']:.3f}{interval}"
