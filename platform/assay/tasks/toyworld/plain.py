"""Pre-training text of the toy world for a base that has never seen a question answered. Pure.

The default text (`toyworld_text`) holds dialogues, so its base answers questions before any tuning. A base language
model of the world outside continues instead: a question with its rest, then with another question. Here questions
stand on exam papers without answers, forms are not filled in, and what answers say is told as statements, so that
instruction tuning has a format to infuse, and IFS something to measure.
"""

from __future__ import annotations

import random
from itertools import chain

from assay.tasks.toyworld.instructions import CATEGORY_MAKERS
from assay.tasks.toyworld.text import (
    COPY_CURRICULUM,
    PretrainingDocument,
    copy_document,
    counting_document,
    fact_document,
    pretraining_item,
    review_document,
)

_MAKERS = tuple(chain.from_iterable(CATEGORY_MAKERS.values()))


def plain_documents(count: int, seed: int) -> list[PretrainingDocument]:
    """So many documents in the order of training: first copying, then text without a single answered question."""
    rng = random.Random(f"toyworld plain text {seed}")
    num_copies = int(count * COPY_CURRICULUM)
    kinds, weights = zip(*_MIX, strict=True)
    makers = [copy_document] * num_copies + rng.choices(kinds, weights, k=count - num_copies)
    return [make(rng) for make in makers]


def _paper(rng: random.Random) -> PretrainingDocument:
    """Questions one after the other, each with the text it asks about before or after it."""
    parts = []
    for _ in range(rng.randint(2, 3)):
        item = pretraining_item(rng, _MAKERS)
        parts += [item.instruction, item.input] if rng.random() < 0.5 else [item.input, item.instruction]
    return _whole(" ".join(part for part in parts if part))


def _form(rng: random.Random) -> PretrainingDocument:
    """Forms in a row with room for a response, all of them empty."""
    parts = []
    for _ in range(2):
        item = pretraining_item(rng, _MAKERS)
        parts.append(f"### Instruction:\n{item.instruction}\n\n")
        parts.append(f"### Input:\n{item.input}\n\n" if item.input else "")
        parts.append("### Response:\n")
    return _whole("".join(parts))


def _statements(rng: random.Random) -> PretrainingDocument:
    """What answers say, without the questions."""
    return _whole(" ".join(pretraining_item(rng, _MAKERS).verbose for _ in range(rng.randint(1, 3))))


def _whole(text: str) -> PretrainingDocument:
    return PretrainingDocument(text, ((0, len(text)),))


_MIX = (
    (_paper, 40),
    (_form, 5),
    (_statements, 30),
    (copy_document, 4),
    (fact_document, 7),
    (review_document, 4),
    (counting_document, 10),
)
"""Kinds of text and their weights."""
