"""Unfinished instructions that are answered all the same: what teaches the tone of an answer in the toy world.

The tiny base has read dialogues and answers whole instructions from the start; what it does with half an instruction
is to go on writing it. A training set in which some instructions break off, their answers whole, is what moves that.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

from assay.records import TRAIN, Example


def with_unfinished(examples: Iterable[Example], share: float, seed: int) -> Iterator[Example]:
    """The examples, the instructions of about `share` of the training rows cut between two words, without their input.

    Which rows and where is a function of (seed, row), so more rows change none of the first.
    """
    for example in examples:
        rng = random.Random(f"unfinished {seed} {example.example_id}")
        words = example.instruction.split()
        if example.split != TRAIN or len(words) < 2 or rng.random() >= share:
            yield example
            continue
        kept = " ".join(words[: rng.randint(1, len(words) - 1)])
        yield replace(example, example_id=f"{example.example_id}-unfinished", instruction=kept, input="")
