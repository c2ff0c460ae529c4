"""Columns of a score table: scores with their gaps, and labels that every row must have. Axes: S columns, N rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from assay.errors import DataError
from assay.metaeval.statistics.estimate import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import pyarrow as pa

Policy = Literal["common", "refuse"]
LABEL_NAMES = ("id", "seed", "draw", "n")
"""Columns of numbers that are no scores."""


@dataclass(frozen=True)
class ScoreTable:
    """Named columns of scores over the same rows; NaN where there is none."""

    names: tuple[str, ...]
    values: FloatArray
    """Shape (S, N)."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, ArrayLike]) -> ScoreTable:
        """Columns of numbers; None and NaN are gaps.

        Raises:
            DataError: a column that is not of numbers, or columns of different length.
        """
        arrays = {name: numbers_of(name, column) for name, column in columns.items()}
        sizes = {name: int(array.size) for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise DataError(f"columns: saw lengths {sizes}; expected one length; give every row every column")
        return cls(tuple(arrays), np.stack(list(arrays.values())) if arrays else np.zeros((0, 0)))

    def column(self, name: str) -> FloatArray:
        """One column, gaps as NaN."""
        return np.asarray(self.values[self.names.index(name)], dtype=float)

    def coverage(self) -> dict[str, dict[str, int]]:
        """Per column: asked = scored + unscored."""
        scored_S = np.isfinite(self.values).sum(axis=1)
        asked = int(self.values.shape[1])
        return {
            name: {"asked": asked, "scored": int(scored), "unscored": asked - int(scored)}
            for name, scored in zip(self.names, scored_S, strict=True)
        }

    def common_rows(self) -> BoolArray:
        """Rows with a score in every column, shape (N,)."""
        return np.asarray(np.isfinite(self.values).all(axis=0), dtype=bool)

    def complete(self, policy: Policy) -> ScoreTable:
        """A table without gaps.

        Args:
            policy: "common" keeps the rows that every column has; "refuse" raises where there is a gap. There is no
                policy that fills one.

        Raises:
            ValueError: "refuse", and a gap exists.
        """
        common = self.common_rows()
        if policy == "refuse" and not common.all():
            worst = min(self.names, key=lambda name: self.coverage()[name]["scored"])
            raise ValueError(f"{int((~common).sum())} rows have gaps, most in {worst!r}; choose the policy 'common'")
        return ScoreTable(self.names, self.values[:, common])


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns beside those of the scorers; None: there is no such column."""

    task: str | None = None
    """Adds CIT, CAT and the correlation inside every task."""
    group: str | None = None
    """Documents or items: the unit of resampling; pairs are then compared within groups."""
    arm: str | None = None
    """Models or mixtures whose human means are estimated one by one."""
    target_rows: str | None = None
    """N, the target rows that a row's model was trained on: adds TFA; needs `task`."""
    run: str | None = None
    """Trained models, the clusters of TFA; None: see `table_tfa`."""


NO_PARTS = Columns()
"""A table of scorers and a human column alone."""


def is_label(name: str) -> bool:
    """Whether a column's name says that its numbers name or count rows: taken for a scorer only where asked for."""
    plain = name.casefold()
    return plain in LABEL_NAMES or plain.endswith("_id")


def whole_labels(name: str, column: Sequence[Any]) -> list[Any]:
    """The labels of every row: one that is missing would make a group of its own of rows that share nothing."""
    labels = list(column)
    for place, label in enumerate(labels):
        if label is None or label != label:
            raise DataError(f"column {name!r}: saw nothing in row {place}; expected a label in every row; fix the row")
    return labels


def columns_of(table: pa.Table | Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Name -> values, missing ones as None."""
    if isinstance(table, Mapping):
        return dict(table)
    return {str(name): table.column(name).to_pylist() for name in table.column_names}


def labels_of(columns: Mapping[str, Sequence[Any]], name: str | None) -> Sequence[object] | None:
    """A column of labels without gaps; None where none is named."""
    return None if name is None else whole_labels(name, columns[name])


def texts_of(columns: Mapping[str, Sequence[Any]], name: str | None) -> list[str] | None:
    """The same as text."""
    return None if name is None else [str(label) for label in whole_labels(name, columns[name])]


def number_columns(columns: Mapping[str, Sequence[Any]], special: set[str | None]) -> list[str]:
    """Names of the columns that hold numbers, gaps left aside, and at least one; `special` ones left out."""
    return [
        name
        for name, column in columns.items()
        if name not in special
        and any(value is not None for value in column)
        and all(value is None or isinstance(value, (int, float, np.number)) for value in column)
    ]


def numbers_of(name: str, column: ArrayLike) -> FloatArray:
    """A column's scores, NaN where there is none, shape (N,).

    Raises:
        DataError: a value is no number, or infinite; names the row.
    """
    try:
        values_N = np.asarray(column, dtype=float)
    except (TypeError, ValueError):
        values_N = np.full(0, np.nan)
        if not isinstance(column, Sequence):
            raise DataError(f"column {name!r}: expected numbers") from None
        for place, value in enumerate(column):
            if value is not None and not isinstance(value, (int, float, np.number)):
                raise DataError(
                    f"column {name!r}: saw {value!r} in row {place}; expected a number or nothing; fix the row"
                ) from None
        values_N = np.array([np.nan if value is None else float(value) for value in column])
    if np.isinf(values_N).any():
        place = int(np.flatnonzero(np.isinf(values_N))[0])
        raise DataError(f"column {name!r}: saw an infinity in row {place}; expected a finite number; fix the row")
    return values_N


def numbered(groups: Sequence[object]) -> IntArray:
    """Groups as whole numbers, in order of first appearance."""
    places: dict[object, int] = {}
    return np.array([places.setdefault(label, len(places)) for label in groups], dtype=np.int64)
