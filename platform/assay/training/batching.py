"""From a training's rows to the arrays of its forward passes.

A group is what is trained together and never cut apart: one row in supervised training, a prompt's answers where a
loss compares them. The groups of an optimizer step are fixed by (seed, step) alone. How they are cut into
micro-batches (sorted by length, or packed) changes the speed and nothing else: a loss is a sum divided by the step's
own weight, and dropout masks follow the row and the position. NumPy only.

Axes: B sequences of a micro-batch, L positions, R rows of a micro-batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assay.fingerprint import fingerprint

IntArray = npt.NDArray[np.int64]
TokenArray = npt.NDArray[np.int32]
NO_TARGET = -100
"""Target of a position whose next token is not trained (torch's ignore_index)."""


class TrainRow(NamedTuple):
    """One row of a training, ready to be batched."""

    tokens: TokenArray
    answer_start: int
    place: int
    """Place among all rows of the training set; dropout masks follow it."""
    label: int = 0
    """The objective's own mark."""
    reference: float = math.nan
    """Log-probability of the answer under the reference model, nats, where the objective asked for it."""

    @property
    def first_target(self) -> int:
        """Place of the answer's first token that something stands before."""
        return max(self.answer_start, 1)

    @property
    def num_answer_tokens(self) -> int:
        """Tokens of the answer, its end mark among them."""
        return len(self.tokens) - self.first_target


RowGroup = tuple[TrainRow, ...]
"""Rows that one forward pass holds together."""


class MicroBatch(NamedTuple):
    """Arrays of one forward pass, all (B, L); targets are shifted: position t predicts the row's token t + 1."""

    input_ids: IntArray
    targets: IntArray
    """Next token where it is trained, else NO_TARGET."""
    rows: IntArray
    """`TrainRow.place` of each position's row, -1 on padding."""
    positions: IntArray
    """Position within the row, from 0."""
    is_packed: bool
    """Several rows per sequence: the model needs `positions` to keep attention inside each row."""
    groups: tuple[RowGroup, ...] = ()
    """What is in the pass, in the order of its sequences; empty where nothing of it counts."""

    @property
    def num_targets(self) -> int:
        return int(np.count_nonzero(self.targets != NO_TARGET))


@dataclass(frozen=True)
class TrainingRows:
    """What a training sees, as the objective encoded it."""

    train: Sequence[RowGroup]
    """In the mixture's order."""
    validation: Sequence[RowGroup] = ()
    """For validation loss and early stopping."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why examples are not among them -> how many, see `encoding.left_out`."""


def as_groups(rows: Sequence[TrainRow]) -> list[RowGroup]:
    """Rows as groups of one."""
    return [(row,) for row in rows]


def padded_length(group: RowGroup) -> int:
    """Positions that a group takes when its rows are padded to the longest of them."""
    return len(group) * max(len(row.tokens) for row in group)


def step_rows(num_rows: int, batch: int, step: int, *, seed: int, shuffled: bool) -> IntArray:
    """Places of the groups of optimizer step `step`, counted from 0: a function of its arguments alone.

    Each pass over the groups has an order of its own; its last batch may be smaller.
    """
    per_epoch = -(-num_rows // batch)
    epoch, within = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(num_rows) if shuffled else np.arange(num_rows)
    return order[within * batch : (within + 1) * batch].astype(np.int64)


def group_by_length(groups: Sequence[RowGroup], *, max_groups: int | None, max_tokens: int) -> list[list[RowGroup]]:
    """Groups of similar length together: longest first, each batch within both limits once padded.

    A group over `max_tokens` passes alone. The first batch is the largest in memory, so that what does not fit is
    seen at once.
    """
    batches: list[list[RowGroup]] = []
    width = num_rows = 0
    for group in sorted(groups, key=_longest_first):
        full = bool(batches) and max_groups is not None and len(batches[-1]) >= max_groups
        if not batches or full or (num_rows + len(group)) * width > max_tokens:
            batches.append([])
            width, num_rows = max(len(row.tokens) for row in group) - 1, 0
        batches[-1].append(group)
        num_rows += len(group)
    return batches


def group_into_packs(
    groups: Sequence[RowGroup], *, pack_length: int, max_groups: int | None, max_tokens: int
) -> list[list[list[RowGroup]]]:
    """Micro-batches of packs of groups: first fit, longest first; a longer group is a pack of its own."""
    packs: list[list[RowGroup]] = []
    room: list[int] = []
    for group in sorted(groups, key=_longest_first):
        length = _packed_length([group])
        place = next((i for i, free in enumerate(room) if free >= length), None)
        if place is None:
            packs.append([])
            room.append(max(pack_length, length))
            place = len(packs) - 1
        packs[place].append(group)
        room[place] -= length
    batches: list[list[list[RowGroup]]] = []
    width = num_groups = 0
    for pack in packs:
        length = _packed_length(pack)
        grown = max(width, length)
        too_many = max_groups is not None and num_groups + len(pack) > max_groups
        if not batches or too_many or (len(batches[-1]) + 1) * grown > max_tokens:
            batches.append([])
            grown, num_groups = length, 0
        batches[-1].append(pack)
        width, num_groups = grown, num_groups + len(pack)
    return batches


def pad(lines: Sequence[Sequence[TrainRow]], *, pad_id: int, loss_on: Literal["answer", "all"]) -> MicroBatch:
    """Arrays of one forward pass: one sequence per line, rows one after the other, padding at the end.

    Padding at the end needs no mask in a causal model: no row sees what stands after it. In a packed sequence the
    padding counts its positions from 0 again and so is a document of its own.
    """
    width = max(sum(len(row.tokens) - 1 for row in line) for line in lines)
    shape = (len(lines), width)
    input_ids, targets = np.full(shape, pad_id, np.int64), np.full(shape, NO_TARGET, np.int64)
    rows, positions = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    for number, line in enumerate(lines):
        begin = 0
        for row in line:
            length = len(row.tokens) - 1
            end = begin + length
            first = row.first_target if loss_on == "answer" else 1
            input_ids[number, begin:end] = row.tokens[:-1]
            targets[number, begin + first - 1 : end] = row.tokens[first:]
            rows[number, begin:end] = row.place
            positions[number, begin:end] = np.arange(length)
            begin = end
        positions[number, begin:] = np.arange(width - begin)
    return MicroBatch(input_ids, targets, rows, positions, is_packed=any(len(line) > 1 for line in lines))


def micro_batches(
    groups: Sequence[RowGroup],
    *,
    pad_id: int,
    loss_on: Literal["answer", "all"],
    max_groups: int | None,
    max_tokens: int,
    pack_length: int | None = None,
) -> list[MicroBatch]:
    """A step's groups as forward passes; their order and shapes are a function of the arguments.

    Args:
        groups: the step's groups.
        pad_id: token that fills up sequences.
        loss_on: which tokens are trained.
        max_groups: groups per forward pass at most.
        max_tokens: tokens per forward pass at most, padding included.
        pack_length: tokens per packed sequence; None pads instead.
    """
    if pack_length is None:
        made = [
            ([[row] for group in batch for row in group], batch)
            for batch in group_by_length(groups, max_groups=max_groups, max_tokens=max_tokens)
        ]
    else:
        packed = group_into_packs(groups, pack_length=pack_length, max_groups=max_groups, max_tokens=max_tokens)
        made = [
            ([[row for group in pack for row in group] for pack in batch], [group for pack in batch for group in pack])
            for batch in packed
        ]
    return [pad(lines, pad_id=pad_id, loss_on=loss_on)._replace(groups=tuple(batch)) for lines, batch in made]


def share_of_worker(batches: Sequence[MicroBatch], rank: int, num_workers: int) -> Iterator[MicroBatch]:
    """The forward passes of one worker: as many as every other one's, as ZeRO's collectives need.

    Where the count does not divide, the last workers repeat the first pass with nothing to train.
    """
    if num_workers == 1:
        yield from batches
        return
    for start in range(0, len(batches), num_workers):
        if start + rank < len(batches):
            yield batches[start + rank]
        else:
            yield without_targets(batches[0])


def without_targets(batch: MicroBatch) -> MicroBatch:
    """The same pass with nothing to train."""
    return batch._replace(targets=np.full_like(batch.targets, NO_TARGET), groups=())


def dropout_codes(batch: MicroBatch, *, seed: int, step: int) -> npt.NDArray[np.int32]:
    """One random 32-bit word per position, (B, L): a function of (seed, step, row, position) and of nothing else."""
    mixed = _splitmix(np.array([seed], np.uint64)) + np.uint64(step)
    rows = _splitmix(_splitmix(mixed) + batch.rows.astype(np.uint64))
    words = _splitmix(rows + batch.positions.astype(np.uint64))
    return (words >> np.uint64(32)).astype(np.uint32).view(np.int32)


def feature_codes(name: str, num_features: int) -> npt.NDArray[np.int32]:
    """One random 32-bit word per feature of the layer called `name`, (features,)."""
    seed = np.uint64(int(fingerprint(name)[:16], 16))
    words = _splitmix(np.arange(num_features, dtype=np.uint64) + seed)
    return (words >> np.uint64(32)).astype(np.uint32).view(np.int32)


def _splitmix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Steele et al. 2014, "Fast splittable pseudorandom number generators": the finalizer."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _longest_first(group: RowGroup) -> tuple[int, int]:
    return -max(len(row.tokens) for row in group), group[0].place


def _packed_length(groups: Sequence[RowGroup]) -> int:
    return sum(len(row.tokens) - 1 for group in groups for row in group)
