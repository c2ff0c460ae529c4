"""Finds training rows that a held-out row repeats: word for word, or nearly, by shared runs of words.

Pure NumPy: an inverted index over hashed shingles of the held-out rows, linear in the number of words. Near
duplicates share at least `min_overlap` of the informative shingles of whichever row has fewer. A shingle that many
held-out rows have (a template, a fixed instruction) is not informative; a row without informative shingles is compared
as a whole only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.errors import DataError
from assay.mixtures.spec import LeakSpec
from assay.records import Example

_WORDS = re.compile(r"\w+")
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
PAIRS_SHOWN = 3
"""Leaking pairs that an error message quotes."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A row and the held-out row that repeats it."""

    position: int
    """Place of the row among those that were checked."""
    seen_in: int
    """Place of the held-out row."""
    overlap: float
    """1.0 for the same text, else the share of informative shingles, in [min_overlap, 1]."""


def find_leaks(rows: Sequence[Example], held_out: Sequence[Example], spec: LeakSpec) -> list[Leak]:
    """The rows that repeat a held-out row, by position, each with the held-out row that it is closest to.

    Texts compared: instruction and input together, case and white space aside, for equality; the input, or the
    instruction where there is no input, for shingles. Answers play no part: the same question with another answer is
    a leak too.
    """
    first_with: dict[str, int] = {}
    for place, example in enumerate(held_out):
        first_with.setdefault(_whole(example), place)
    found = {
        place: Leak(place, seen, 1.0)
        for place, example in enumerate(rows)
        if (seen := first_with.get(_whole(example))) is not None
    }
    for leak in _near(rows, held_out, spec):
        found.setdefault(leak.position, leak)
    return [found[place] for place in sorted(found)]


def refuse_leaks(leaks: Sequence[Leak], rows: Sequence[Example], held_out: Sequence[Example], where: str) -> None:
    """Raise DataError, quoting the first pairs, when there is any leak."""
    if not leaks:
        return
    pairs = "; ".join(
        f"{rows[leak.position].example_id} ~ {held_out[leak.seen_in].example_id} "
        f"({'same text' if leak.overlap == 1.0 else f'overlap {leak.overlap:.2f}'}: {_shown(rows[leak.position])})"
        for leak in leaks[:PAIRS_SHOWN]
    )
    raise DataError(
        f"{where}: saw {len(leaks)} rows that validation or test rows repeat ({pairs}); expected none; set "
        "leaks.policy to drop, or fix the splits"
    )


def _near(rows: Sequence[Example], held_out: Sequence[Example], spec: LeakSpec) -> list[Leak]:
    vocabulary: dict[str, int] = {}
    held_rows, held_hashes = _shingles(held_out, spec.ngram_words, vocabulary)
    row_rows, row_hashes = _shingles(rows, spec.ngram_words, vocabulary)
    if not held_hashes.size or not row_hashes.size:
        return []
    distinct, starts, counts = np.unique(held_hashes, return_index=True, return_counts=True)  # held_hashes is sorted
    is_common = counts > spec.common_rows
    places = np.minimum(np.searchsorted(distinct, row_hashes), distinct.size - 1)
    is_known = distinct[places] == row_hashes

    held_sizes = np.bincount(held_rows[~np.repeat(is_common, counts)], minlength=len(held_out))
    is_informative = ~(is_known & is_common[places])
    row_sizes = np.bincount(row_rows[is_informative], minlength=len(rows))

    matched = is_known & is_informative
    places, owners = places[matched], row_rows[matched]
    widths = counts[places]  # at most common_rows each, so that the pairs stay linear in the words
    offsets = np.arange(int(widths.sum())) - np.repeat(np.cumsum(widths) - widths, widths)
    partners = held_rows[np.repeat(starts[places], widths) + offsets]
    pairs, shared = np.unique(np.repeat(owners, widths) * np.int64(len(held_out)) + partners, return_counts=True)
    left, right = pairs // len(held_out), pairs % len(held_out)
    overlaps = shared / np.minimum(row_sizes[left], held_sizes[right])

    best: dict[int, Leak] = {}
    for place, seen, overlap in zip(
        *(a[overlaps >= spec.min_overlap].tolist() for a in (left, right, overlaps)), strict=True
    ):
        if place not in best or overlap > best[place].overlap:
            # all shingles shared is still no equal text: say so with a number below 1
            best[place] = Leak(place, seen, min(overlap, 0.9999))
    return list(best.values())


def _shingles(
    rows: Sequence[Example], size: int, vocabulary: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """(row, hash) of each distinct shingle of each row, sorted by hash. Words get numbers as they come."""
    numbers: list[int] = []
    lengths = np.zeros(len(rows), dtype=np.int64)
    for place, example in enumerate(rows):
        words = _WORDS.findall((example.input or example.instruction).casefold())
        if len(words) >= size:
            lengths[place] = len(words)
            numbers += [vocabulary.setdefault(word, len(vocabulary)) for word in words]
    if not numbers:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
    words_W = _scramble(np.array(numbers, dtype=np.uint64))
    hashes = np.zeros(words_W.size - size + 1, dtype=np.uint64)
    for offset in range(size):  # a polynomial in an odd constant, modulo 2**64
        hashes = hashes * _MIX_1 + words_W[offset : offset + hashes.size]
    owners = np.repeat(np.arange(len(rows)), lengths)
    is_inside = owners[: hashes.size] == owners[size - 1 :]
    owners, hashes = owners[: hashes.size][is_inside], _scramble(hashes[is_inside])
    order = np.lexsort((owners, hashes))
    owners, hashes = owners[order], hashes[order]
    is_new = np.ones(owners.size, dtype=bool)
    is_new[1:] = (owners[1:] != owners[:-1]) | (hashes[1:] != hashes[:-1])
    return owners[is_new], hashes[is_new]


def _scramble(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64's finisher: near numbers become unrelated ones. Wraps modulo 2**64 by intent."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def _whole(example: Example) -> str:
    return " ".join(f"{example.history_json} {example.instruction} {example.input}".casefold().split())


def _shown(example: Example) -> str:
    text = " ".join((example.input or example.instruction).split())
    return repr(text if len(text) <= 60 else text[:57] + "...")
