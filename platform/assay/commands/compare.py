"""`assay compare A B`: two finished studies side by side, arm by arm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

from assay.errors import ConfigError
from assay.store import Store
from assay.studies.folder import find_folder

CURVE_KEY = ("task", "scorer", "num_target")


def compare_command(first: str, second: str, storage: str, as_json: bool) -> None:
    """Print the learning curves of both studies where they share task, scorer and N.

    Intervals are each study's own; the two are called different only where their intervals do not touch, since
    studies are no paired samples of each other.
    """
    store = Store(storage)
    rows = compare_rows(_curves(store, first), _curves(store, second))
    if not rows:
        raise ConfigError(
            f"compare {first} {second}: saw no task, scorer and N that both have; expected some; nothing to compare"
        )
    if as_json:
        typer.echo(json.dumps({"a": first, "b": second, "rows": rows}, indent=2))
        return
    typer.echo(f"A = {first}, B = {second}; mean [95 % interval]; * where the intervals do not touch")
    typer.echo(f"{'task':<16} {'scorer':<14} {'N':>6}  {'A':<24} {'B':<24} {'B - A':>8}")
    for row in rows:
        mark = "*" if row["apart"] else " "
        typer.echo(
            f"{row['task']:<16} {row['scorer']:<14} {row['num_target']:>6}  "
            f"{_cell(row, 'a'):<24} {_cell(row, 'b'):<24} {row['difference']:>+8.3f} {mark}"
        )


def compare_rows(
    first: Mapping[tuple[Any, ...], Mapping[str, Any]], second: Mapping[tuple[Any, ...], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One row per point that both studies have, in key order."""
    rows = []
    for key in sorted(set(first) & set(second)):
        a, b = first[key], second[key]
        if a["mean"] is None or b["mean"] is None:
            continue
        known = None not in (a["low"], a["high"], b["low"], b["high"])
        rows.append(
            {
                **dict(zip(CURVE_KEY, key[1:], strict=True)),
                "base_model": key[0],
                **{f"a_{name}": a[name] for name in ("mean", "low", "high")},
                **{f"b_{name}": b[name] for name in ("mean", "low", "high")},
                "difference": b["mean"] - a["mean"],
                "apart": known and (a["high"] < b["low"] or b["high"] < a["low"]),
            }
        )
    return rows


def _curves(store: Store, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    folder = find_folder(store, name)
    folder.done_or_fail()
    table = store.read_study_table(folder.name, "tables/curves.parquet").to_pylist()
    return {(row["base_model"], *(row[part] for part in CURVE_KEY)): row for row in table}


def _cell(row: Mapping[str, Any], side: str) -> str:
    low, high = row[f"{side}_low"], row[f"{side}_high"]
    interval = f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else " [no interval]"
    return f"{row[f'{side}_mean']:.3f}{interval}"
