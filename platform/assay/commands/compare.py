"""`assay compare A B`: two finished studies side by side, arm by arm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from assay.errors import ConfigError
from assay.store import Store
from assay.studies.folder import find_folder

CURVE_KEY = ("task", "scorer", "num_target")
CURVES, MEASURES = "curves", "preference_measures"
MEASURE_KEY = ("pairs", "method", "measure")


def compare_command(first: str, second: str, storage: str, as_json: bool) -> None:
    """Print where both studies have a point of a learning curve, or, of preferences, a method with a measure.

    Intervals are each study's own; the two are called different only where their intervals do not touch, since
    studies are no paired samples of each other.
    """
    store = Store(storage)
    tables = [_tables(store, name) for name in (first, second)]
    of_preferences = all(MEASURES in found for found in tables)
    rows = _measures(*tables) if of_preferences else _curves(*tables)
    if not rows:
        what = "no pairs, method and measure" if of_preferences else "no task, scorer and N"
        raise ConfigError(f"compare {first} {second}: saw {what} that both have; expected some; nothing to compare")
    if as_json:
        typer.echo(json.dumps({"a": first, "b": second, "rows": rows}, indent=2))
        return
    key = MEASURE_KEY if of_preferences else CURVE_KEY
    widths = [max(len(name), *(len(str(row[name])) for row in rows)) for name in key]
    typer.echo(f"A = {first}, B = {second}; mean [95 % interval]; * where the intervals do not touch")
    titles = "  ".join(f"{name.replace('num_target', 'N'):<{width}}" for name, width in zip(key, widths, strict=True))
    typer.echo(f"{titles}  {'A':<24} {'B':<24} {'B - A':>8}")
    for row in rows:
        mark = "*" if row["apart"] else " "
        cells = "  ".join(f"{row[name]!s:<{width}}" for name, width in zip(key, widths, strict=True))
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


def _tables(store: Store, name: str) -> dict[str, list[dict[str, Any]]]:
    folder = find_folder(store, name)
    return {
        table: store.read_study_table(folder.name, f"tables/{table}.parquet").to_pylist()
        for table in folder.done_or_fail()["tables"]
        if table in (CURVES, MEASURES)
    }


def _curves(*tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    first, second = (
        {(row["base_model"], *(row[part] for part in CURVE_KEY)): row for row in found[CURVES]} for found in tables
    )
    return compare_rows(first, second)


def _measures(*tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    first, second = (
        {
            (row["base_model"], *(row[part] for part in MEASURE_KEY)): {**row, "mean": row["value"]}
            for row in found[MEASURES]
        }
        for found in tables
    )
    return compare_rows(first, second, MEASURE_KEY)


def _cell(row: Mapping[str, Any], side: str) -> str:
    low, high = row[f"{side}_low"], row[f"{side}_high"]
    interval = f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else " [no interval]"
    return f"{row[f'{side}_mean']:.3f}{interval}"
