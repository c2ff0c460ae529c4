"""Finds training rows that a held-out row repeats: word for word, or nearly, by shared runs of words.

Pure NumPy: an inverted index over hashed shingles of the held-out rows, linear in the number of words. Near
duplicates share at least `min_overlap` of the informative shingles of whichever text has fewer. A shingle that many
held-out rows have (a template, a fixed instruction) is not informative; a text without informative shingles is compared
as a whole only. Texts are compared in their normal form (likeness.py).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.errors import DataError
from assay.mixtures.likeness import normal_form, run_length, words_of
from assay.mixtures.spec import LeakSpec
from assay.records import Example
from assay.tasks.templates import history

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


@dataclass(frozen=True)
class _Texts:
    """Normal forms of what rows say, and whose they are."""

    texts: list[str]
    owners: NDArray[np.int64]


def find_leaks(rows: Sequence[Example], held_out: Sequence[Example], spec: LeakSpec) -> list[Leak]:
    """The rows that repeat a held-out row, by position, each with the held-out row that it is closest to.

    All that training sees of a row is compared: its question, the user's earlier turns and every answer. A held-out row
    leaks by its question, or by a reference of `ngram_words` words or more that is an answer word for word. For
    equality a question is instruction and input together; for shingles it is the input, or the instruction where there
    is no input. The same question with another answer is a leak too.
    """
    first_with: dict[str, int] = {}
    for place, example in enumerate(held_out):
        for text in (_question(example), *_long_reference(example, spec)):
            first_with.setdefault(text, place)
    first_with.pop("", None)
    found: dict[int, Leak] = {}
    for place, example in enumerate(rows):
        seen = next((first_with[text] for text in (_question(example), *_said(example)) if text in first_with), None)
        if seen is not None:
            found[place] = Leak(place, seen, 1.0)
    mine = _texts(rows, lambda example: (_asked(example), *_said(example)))
    theirs = _texts(held_out, lambda example: (_asked(example),))
    for leak in _near(mine, theirs, spec):
        found.setdefault(leak.position, leak)
    return [found[place] for place in sorted(found)]


def find_copies(rows: Sequence[Example]) -> tuple[list[int], int]:
    """Rows that say what an earlier one says, by position, and how many questions have answers that differ.

    A copy has the same earlier turns, question and answer, each in its normal form.
    """
    first_answer: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    copies: list[int] = []
    contradicted: set[str] = set()
    for place, example in enumerate(rows):
        past = "\n".join(f"{role} {normal_form(text)}" for role, text in history(example))
        question, answer = f"{past}\n{_question(example)}", normal_form(example.reference)
        if (question, answer) in seen:
            copies.append(place)
        elif first_answer.setdefault(question, answer) != answer:
            contradicted.add(question)
        seen.add((question, answer))
    return copies, len(contradicted)


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


def _question(example: Example) -> str:
    return normal_form(f"{example.instruction} {example.input}")


def _asked(example: Example) -> str:
    return normal_form(example.input or example.instruction)


def _said(example: Example) -> list[str]:
    """Earlier turns but the system's, and the answer."""
    return [*(normal_form(text) for role, text in history(example) if role != "system"), normal_form(example.reference)]


def _long_reference(example: Example, spec: LeakSpec) -> list[str]:
    normal = normal_form(example.reference)
    words = words_of(normal)
    return [normal] if len(words) >= run_length(words, spec.ngram_words) else []


def _texts(rows: Sequence[Example], of: Callable[[Example], Iterable[str]]) -> _Texts:
    texts: list[str] = []
    owners: list[int] = []
    for place, example in enumerate(rows):
        for text in of(example):
            texts.append(text)
            owners.append(place)
    return _Texts(texts, np.array(owners, dtype=np.int64))


def _near(rows: _Texts, held_out: _Texts, spec: LeakSpec) -> list[Leak]:
    vocabulary: dict[str, int] = {}
    held_rows, held_hashes = _shingles(held_out.texts, spec.ngram_words, vocabulary)
    row_rows, row_hashes = _shingles(rows.texts, spec.ngram_words, vocabulary)
    if not held_hashes.size or not row_hashes.size:
        return []
    distinct, starts, counts = np.unique(held_hashes, return_index=True, return_counts=True)  # held_hashes is sorted
    is_common = counts > spec.common_rows
    places = np.minimum(np.searchsorted(distinct, row_hashes), distinct.size - 1)
    is_known = distinct[places] == row_hashes

    held_sizes = np.bincount(held_rows[~np.repeat(is_common, counts)], minlength=len(held_out.texts))
    is_informative = ~(is_known & is_common[places])
    row_sizes = np.bincount(row_rows[is_informative], minlength=len(rows.texts))

    matched = is_known & is_informative
    places, owners = places[matched], row_rows[matched]
    widths = counts[places]  # at most common_rows each, so that the pairs stay linear in the words
    offsets = np.arange(int(widths.sum())) - np.repeat(np.cumsum(widths) - widths, widths)
    partners = held_rows[np.repeat(starts[places], widths) + offsets]
    pairs, shared = np.unique(np.repeat(owners, widths) * np.int64(len(held_out.texts)) + partners, return_counts=True)
    left, right = pairs // len(held_out.texts), pairs % len(held_out.texts)
    overlaps = shared / np.minimum(row_sizes[left], held_sizes[right])

    best: dict[int, Leak] = {}
    is_near = overlaps >= spec.min_overlap
    positions, places_seen = rows.owners[left[is_near]], held_out.owners[right[is_near]]
    for place, seen, overlap in zip(positions.tolist(), places_seen.tolist(), overlaps[is_near].tolist(), strict=True):
        if place not in best or overlap > best[place].overlap:
            # all shingles shared is still no equal text: say so with a number below 1
            best[place] = Leak(place, seen, min(overlap, 0.9999))
    return list(best.values())


def _shingles(
    texts: Sequence[str], size: int, vocabulary: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """(text, hash) of each distinct shingle of each text, sorted by hash. Words get numbers as they come."""
    numbers: dict[int, array[int]] = {}
    lengths: dict[int, NDArray[np.int64]] = {}
    for place, text in enumerate(texts):
        words = words_of(text)
        run = run_length(words, size)
        if len(words) >= run:
            lengths.setdefault(run, np.zeros(len(texts), dtype=np.int64))[place] = len(words)
            numbers.setdefault(run, array("q")).extend(vocabulary.setdefault(word, len(vocabulary)) for word in words)
    if not numbers:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
    found = [_runs(np.array(numbers[run], dtype=np.uint64), lengths[run], run) for run in sorted(numbers)]
    owners, hashes = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((owners, hashes))
    owners, hashes = owners[order], hashes[order]
    is_new = np.ones(owners.size, dtype=bool)
    is_new[1:] = (owners[1:] != owners[:-1]) | (hashes[1:] != hashes[:-1])
    return owners[is_new], hashes[is_new]


def _runs(
    numbers_W: NDArray[np.uint64], lengths: NDArray[np.int64], run: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """(text, hash) of each run of so many words in texts of these lengths, their words one after the other."""
    words_W = _scramble(numbers_W)
    hashes = np.full(words_W.size - run + 1, run, dtype=np.uint64)
    for offset in range(run):  # a polynomial in an odd constant, modulo 2**64
        hashes = hashes * _MIX_1 + words_W[offset : offset + hashes.size]
    owners = np.repeat(np.arange(lengths.size), lengths)
    is_inside = owners[: hashes.size] == owners[run - 1 :]
    return owners[: hashes.size][is_inside], _scramble(hashes[is_inside])


def _scramble(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64's finisher: near numbers become unrelated ones. Wraps modulo 2**64 by intent."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def _shown(example: Example) -> str:
    text = " ".join((example.input or example.instruction).split())
    return repr(text if len(text) <= 60 else text[:57] + "...")
