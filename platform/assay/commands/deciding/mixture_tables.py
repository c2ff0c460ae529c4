"""Tables of mixtures, as `assay predict` reads them: trained ones with scores, waiting ones, and ones with a proxy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from assay.commands.metaeval import read_table, require_columns
from assay.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from assay.metaeval.predict.proxy import ProxyTable
    from assay.metaeval.statistics.estimate import FloatArray


@dataclass(frozen=True, slots=True)
class Runs:
    """Mixtures and one score of each, joined by their key."""

    components: tuple[str, ...]
    keys: tuple[object, ...]
    shares: FloatArray
    scores: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Queue:
    """Mixtures that wait to be trained."""

    keys: tuple[object, ...]
    shares: FloatArray


def read_queue(path: Path, components: Sequence[str]) -> Queue:
    """Mixtures that wait: the components of the trained ones, and a key if there is another column.

    Raises:
        DataError: the file cannot be read, or a cell holds no number.
        ConfigError: a component is missing.
    """
    table = read_table(path, "--queued")
    if missing := [name for name in components if name not in table.column_names]:
        raise ConfigError(f"--queued {path}: saw no column {missing[0]!r}; expected those of --mixtures")
    others = [name for name in table.column_names if name not in components]
    keys = table[others[0]].to_pylist() if others else list(range(table.num_rows))
    return Queue(tuple(keys), np.stack([_numbers(table, name, path) for name in components], axis=1))


def read_proxies(path: Path, components: Sequence[str], column: str) -> ProxyTable:
    """Mixtures with a score that needed no training.

    Raises:
        DataError: the file cannot be read, or a cell holds no number.
        ConfigError: a component or the score is missing.
    """
    from assay.metaeval.predict.proxy import ProxyTable
    from assay.metaeval.predict.stacking import check_shares

    table = read_table(path, "--proxies")
    require_columns(table, (*components, column), path)
    try:
        shares = check_shares(np.stack([_numbers(table, name, path) for name in components], axis=1))
    except ValueError as error:
        raise DataError(f"--proxies {path}: saw {error}; expected shares as in --mixtures; correct it") from error
    return ProxyTable(shares, _numbers(table, column, path))


def read_runs(
    mixtures: Path, scores: Path, key: str | None, columns: Sequence[str], prefix: Literal["--", "--test-"] = "--"
) -> Runs:
    """Shares and scores, joined; the key is the first column that both tables have unless one is named.

    Raises:
        DataError: a file is missing or does not parse, keys do not match, or a cell holds no number.
        ConfigError: no column in common, or a score column that is not there.
    """
    left, right = read_table(mixtures, f"{prefix}mixtures"), read_table(scores, f"{prefix}scores")
    both = [name for name in left.column_names if name in right.column_names]
    by = key or (both[0] if both else None)
    if by is None or by not in both:
        raise ConfigError(f"--key {by or '(none)'}: saw no such column in both {mixtures} and {scores}; name one")
    require_columns(right, columns, scores)
    rows = {value: row for row, value in enumerate(right[by].to_pylist())}
    keys = left[by].to_pylist()
    missing = [value for value in keys if value not in rows]
    if missing or len(rows) != right.num_rows or len(set(keys)) != len(keys):
        seen = f"no scores for {by}={missing[0]!r}" if missing else f"a repeated {by}"
        raise DataError(f"{mixtures}, {scores}: saw {seen}; expected each {by} once in both")
    components = tuple(name for name in left.column_names if name != by)
    order = [rows[value] for value in keys]
    return Runs(
        components,
        tuple(keys),
        np.stack([_numbers(left, name, mixtures) for name in components], axis=1),
        {name: _numbers(right, name, scores)[order] for name in columns},
    )


def _numbers(table: pa.Table, column: str, path: Path) -> FloatArray:
    try:
        found = np.array([float(value) for value in table[column].to_pylist()])
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}, column {column!r}: saw a cell without a number; expected numbers alone") from error
    if not np.isfinite(found).all():
        raise DataError(f"{path}, column {column!r}: saw {found[~np.isfinite(found)][0]:g}; expected finite numbers")
    return found
