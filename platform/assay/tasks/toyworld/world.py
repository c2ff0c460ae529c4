"""A small world made by a grammar, with the truth of every row known: the embedded default's data.

Four target tasks with terse answers of four shapes, and an instruction set of twelve categories that answers the
same kinds of question in whole sentences, so that a model learns a target task's format from target rows alone.

Rows are a function of (task, split, seed): the first n rows stay the same when more are asked for. No two splits
share a row, a person, a place or a company; test rows also use words and sentence patterns that no train row has;
and no fine-tuning row stands in pre-training text (`is_for_pretraining` divides what could be made). Pure: no torch,
no NumPy.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from assay.errors import ConfigError, InputError
from assay.fingerprint import delimited_hash
from assay.records import INSTRUCTIONS, SPLITS, TEST, Example
from assay.tasks.toyworld.instructions import CATEGORY_MAKERS
from assay.tasks.toyworld.items import HELD_OUT, MAKERS, SEEN, Item, Maker, is_for_pretraining
from assay.tasks.toyworld.text import PretrainingDocument, lexicon, pretraining_documents
from assay.tasks.toyworld.truth import toy_truth
from assay.tasks.toyworld.vocabulary import pool

__all__ = [
    "INSTRUCTIONS",
    "TOY_TASKS",
    "VERSION",
    "PretrainingDocument",
    "ToyTask",
    "lexicon",
    "pretraining_documents",
    "toy_instruction_examples",
    "toy_task_examples",
    "toy_truth",
]

VERSION = 1
"""Raised whenever the grammar changes what it makes for the same seed; part of a dataset's identity."""


@dataclass(frozen=True)
class ToyTask:
    """A target task of the toy world."""

    name: str
    instruction: str
    answer_format: Literal["label", "integer", "json", "span"]
    max_new_tokens: int
    """Enough for a verbose answer as well, in tokens of the toy tokenizer."""
    labels: tuple[str, ...] = ()
    chance: float | None = None
    """Truth that answering without the input reaches; None where that is about zero."""


TOY_TASKS: Mapping[str, ToyTask] = {
    task.name: task
    for task in (
        ToyTask(
            "toy_sentiment",
            "Say whether the review is positive or negative.",
            "label",
            max_new_tokens=20,
            labels=("positive", "negative"),
            chance=0.5,
        ),
        ToyTask(
            "toy_arithmetic",
            "Give the number of things at the end of the story.",
            "integer",
            max_new_tokens=16,
            chance=0.1,
        ),
        ToyTask(
            "toy_entities",
            "Give the places, people and companies of the text as JSON.",
            "json",
            max_new_tokens=36,
        ),
        ToyTask("toy_question", "Answer the question with words of the text.", "span", max_new_tokens=20, chance=0.25),
    )
}

MAX_MISSES = 2000
"""Rows tried in a row without a new one before a grammar counts as exhausted."""


def toy_task_examples(task: str, counts: Mapping[str, int], seed: int) -> list[Example]:
    """Rows of a target task, terse references, in the order of SPLITS and then of drawing.

    Args:
        task: a key of `TOY_TASKS`.
        counts: rows wanted of each split; a split that is not named gets none.
        seed: another seed gives other rows of the same distribution.

    Raises:
        ConfigError: no such task, or no such split.
        InputError: the grammar cannot make so many different rows.
    """
    if task not in TOY_TASKS:
        raise ConfigError(f"toyworld: saw task {task!r}; expected one of {', '.join(TOY_TASKS)}")
    instruction = TOY_TASKS[task].instruction
    rows = []
    for split, number in _checked(counts):

        def example(item: Item, split: str = split) -> Example:
            text = f"{item.input} {item.instruction}" if task == "toy_question" else item.input
            return _example(task, split, "", instruction, text, item.terse, item)

        rows += _distinct((MAKERS[task],), example, task, split, number, seed)
    return rows


def toy_instruction_examples(counts: Mapping[str, int], seed: int) -> list[Example]:
    """Rows of the instruction set, verbose references: the categories in turn, as even as the count allows.

    Arguments and errors as for `toy_task_examples`.
    """
    rows = []
    for split, number in _checked(counts):
        columns = []
        for rank, (category, makers) in enumerate(CATEGORY_MAKERS.items()):

            def example(item: Item, split: str = split, category: str = category) -> Example:
                return _example(INSTRUCTIONS, split, category, item.instruction, item.input, item.verbose, item)

            share = (number - rank + len(CATEGORY_MAKERS) - 1) // len(CATEGORY_MAKERS)
            columns.append(_distinct(makers, example, f"{INSTRUCTIONS} {category}", split, share, seed))
        rows += [row for turn in zip_longest(*columns) for row in turn if row is not None]
    return rows


def _checked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    unknown = sorted(set(counts) - set(SPLITS))
    if unknown or min(counts.values(), default=0) < 0:
        raise ConfigError(f"toyworld: saw counts {dict(counts)}; expected counts >= 0 of {', '.join(SPLITS)}")
    return [(split, counts[split]) for split in SPLITS if counts.get(split, 0)]


def _distinct(
    makers: Sequence[Maker], to_example: Callable[[Item], Example], name: str, split: str, number: int, seed: int
) -> list[Example]:
    rng = random.Random(f"toyworld {VERSION} {name} {split} {seed}")
    words = pool(split)
    found: dict[tuple[str, str], Example] = {}
    misses = 0
    while len(found) < number:
        patterns = HELD_OUT if split == TEST and rng.random() < 0.5 else SEEN
        item = rng.choice(makers)(rng, words, patterns)
        item.truth["patterns"] = patterns
        example = to_example(item)
        if not is_for_pretraining(item) and (example.instruction, example.input) not in found:
            found[example.instruction, example.input] = example
            misses = 0
            continue
        misses += 1
        if misses > MAX_MISSES:
            raise InputError(
                f"toyworld {name!r}: saw a request for {number} {split!r} rows; expected at most about {len(found)}, "
                "which is all that the grammar can make; ask for fewer"
            )
    return list(found.values())


def _example(task: str, split: str, category: str, instruction: str, text: str, reference: str, item: Item) -> Example:
    name = delimited_hash([task, split, category, instruction, text, reference])[:12]
    meta = json.dumps(item.truth, sort_keys=True)
    return Example(f"{task}-{split}-{name}", task, split, instruction, text, reference, category, meta_json=meta)
