"""Hashed features of a text's tone: what its first words are and which words follow each other. Pure.

No feature tells the text's length, since a model's answer is cut at a token limit and a training text is not. The
order of features is a hash, so there is no vocabulary to keep; two that share a place are told apart by nothing,
which at 2^18 places costs little.

Axes: N texts, F features.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.tone.texts import normalise

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEADING_WORDS = 8
"""Words whose place in the text is part of their feature."""
LEADING_WEIGHT = 3.0
"""Of a word at its place at the start, against 1 of a word anywhere: where a text begins says most of its tone."""
LEADING_CHARS = 24
"""Characters at the start that character n-grams are taken from."""
_TOKEN = re.compile(r"\w+|[^\w\s]")


def feature_matrix(texts: Sequence[str], num_features: int, max_words: int) -> csr_matrix:
    """Features of each text, rows of Euclidean length 1, shape (N, F); a text without a word is a row of zeros.

    Args:
        texts: as written; `normalise` is applied here.
        num_features: F, a power of two.
        max_words: only so many words (and marks) of the beginning count.
    """
    from scipy.sparse import csr_matrix

    places: list[int] = []
    weights: list[float] = []
    starts = [0]
    for text in texts:
        found = {
            zlib.crc32(name.encode()) % num_features: weight for name, weight in _named(normalise(text), max_words)
        }
        length = sum(weight * weight for weight in found.values()) ** 0.5
        for place in sorted(found):
            places.append(place)
            weights.append(found[place] / length)
        starts.append(len(places))
    data: tuple[Any, ...] = (np.asarray(weights), np.asarray(places, dtype=np.int64), np.asarray(starts))
    return csr_matrix(data, shape=(len(texts), num_features))


def _named(text: str, max_words: int) -> Iterator[tuple[str, float]]:
    """Features of a text and what they weigh against each other."""
    words = _TOKEN.findall(text)[:max_words]
    for place, word in enumerate(words[:LEADING_WORDS]):
        yield f"at {place} {word}", LEADING_WEIGHT
    for length in (2, 3):
        if len(words) >= length:
            yield f"first {' '.join(words[:length])}", LEADING_WEIGHT
    for word in words:
        yield f"word {word}", 1.0
    for first, second in pairwise(words):
        yield f"pair {first} {second}", 1.0
    head = f"^{text[:LEADING_CHARS]}"
    for length in (3, 4, 5):
        for start in range(len(head) - length + 1):
            yield f"chars {head[start : start + length]}", 1.0
