"""The typed rows that travel between stages, and their Parquet form.

A row keeps the id that it was read with. Text stays text: nothing here formats, evaluates or interprets it.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)

Mode = Literal["strict", "compat"]
"""`compat` does what the published study did, quirks included; `strict` does it right. Every result says which."""

INSTRUCTIONS = "instructions"
"""The task of an instruction set's rows, each of which brings its own instruction; and the evaluation set of its
held-out rows, on which forgetting is measured."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task or of an instruction set."""

    example_id: str
    """Unique within its dataset and stable across machines."""
    task: str
    """Name of the task, or of the instruction set that it comes from."""
    split: str
    """One of SPLITS."""
    instruction: str
    input: str
    """What the instruction is applied to; empty where there is none."""
    reference: str
    """The gold answer."""
    category: str = ""
    """Instruction category ("Classify", "Code", ...); empty for target tasks and untagged rows."""
    history_json: str = ""
    """Earlier turns of a conversation: a JSON list of [role, text]; empty for a single turn."""
    meta_json: str = ""
    """A JSON object with what scorers may need beside the reference (all references, the truth of a toy row)."""


@dataclass(frozen=True, slots=True)
class MixtureRow:
    """One training row of a mixture: where it comes from, never its text."""

    position: int
    """Place in the mixture before any shuffling by the trainer, from 0."""
    dataset: str
    """Key of the dataset artifact that holds the example."""
    example_id: str
    component: str
    """Name of the mixture's component that drew it."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model wrote for one example of an evaluation set."""

    example_id: str
    prediction: str
    finish_reason: str
    """"stop", "length" or "error"."""
    num_prompt_tokens: int
    num_tokens: int
    """Tokens written, the end mark included."""
    error: str | None = None
    """Why this row has no prediction; None where it has one."""
    prompt_cut: bool = False
    """Whether the prompt was too long and lost some of its data."""


@dataclass(frozen=True, slots=True)
class Rating:
    """A scorer's number for one prediction, in the scorer's own range."""

    value: float
    detail: str = ""
    """What the number rests on: a raw judge reply, a matched label. For the row browser; a judge's repeats alone are
    read from it again."""


@dataclass(frozen=True, slots=True)
class Unscored:
    """A scorer that gave no number: missing data, never a zero and never a guess."""

    reason: str
    """A short, countable class: "no prediction", "unparsable", "refused", "error: timeout", ..."""
    detail: str = ""


Outcome = Rating | Unscored


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One scored prediction as it is stored. Exactly one of `rating` and `unscored` is set."""

    predictions_key: str
    example_id: str
    scorer: str
    rating: float | None
    unscored: str | None
    detail: str = ""


Row = TypeVar("Row")

_ARROW = {str: "string", int: "int64", float: "float64", bool: "bool"}


def schema_of(row_type: type[Any]) -> pa.Schema:
    """Arrow schema of a row dataclass: str, int, float, bool, each optional or not."""
    import pyarrow as pa

    hints = typing.get_type_hints(row_type)
    fields = []
    for field in dataclasses.fields(row_type):
        hint, nullable = _unwrap_optional(hints[field.name])
        fields.append(pa.field(field.name, pa.type_for_alias(_ARROW[hint]), nullable=nullable))
    return pa.schema(fields)


def to_table(rows: Iterable[Row], row_type: type[Row]) -> pa.Table:
    """Rows in the given order as an Arrow table with the type's schema."""
    import pyarrow as pa

    names = [field.name for field in dataclasses.fields(row_type)]  # type: ignore[arg-type]
    materialised = list(rows)
    columns = {name: [getattr(row, name) for row in materialised] for name in names}
    return pa.table(columns, schema=schema_of(row_type))


def from_table(table: pa.Table, row_type: type[Row]) -> list[Row]:
    """Rows of a table that `to_table` made; further columns are ignored, and fields that came later have defaults."""
    there = set(table.column_names)
    names = [
        field.name
        for field in dataclasses.fields(row_type)  # type: ignore[arg-type]
        if field.name in there or field.default is dataclasses.MISSING
    ]
    columns: list[Sequence[Any]] = [table.column(name).to_pylist() for name in names]
    return [row_type(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def _unwrap_optional(hint: Any) -> tuple[type[Any], bool]:
    if isinstance(hint, types.UnionType):
        (inner,) = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return inner, True
    return hint, False
