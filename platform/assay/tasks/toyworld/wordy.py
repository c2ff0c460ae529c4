"""Answers that say more than they must: what a preference for length can be seen by in the toy world.

The toy world's answers are sentences of one length, so that nobody who likes long answers could say so. Here some
training answers begin with a sentence or two that add nothing: as true as without, by `toy_truth`, and longer.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

from assay.records import TRAIN, Example

FILLERS = ("Here is what there is to say of it.", "It is a good thing to ask and to know of.")
"""Said in this order, one or both."""


def with_wordy(examples: Iterable[Example], share: float, seed: int) -> Iterator[Example]:
    """The examples, the answers of about `share` of the training rows made longer in front.

    Which rows and by how much is a function of (seed, row), so more rows change none of the first.
    """
    for example in examples:
        rng = random.Random(f"wordy {seed} {example.example_id}")
        if example.split != TRAIN or rng.random() >= share:
            yield example
            continue
        filler = " ".join(FILLERS[: rng.randint(1, len(FILLERS))])
        yield replace(example, example_id=f"{example.example_id}-wordy", reference=f"{filler} {example.reference}")
