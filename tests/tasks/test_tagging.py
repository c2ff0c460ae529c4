"""Categories from a judge for a sample, and from a classifier for the rest, with what it was measured at."""

from __future__ import annotations

import random

import pytest

from assay.errors import DataError
from assay.records import Example
from assay.tasks.tagging import JudgeTags, learn_tags, rows_for_judge

STARTS = {
    "Translate": ("Translate this sentence into French", "Say this in Spanish"),
    "Classify": ("Classify the sentiment of the text", "Sort the items into two classes"),
    "Create": ("Write a short poem about", "Invent a story about"),
}
THINGS = ("rain", "a train", "old friends", "mountains", "the sea", "a clock", "bread", "winter", "a letter", "music")


def rows(count: int) -> list[tuple[Example, str]]:
    rng = random.Random(0)
    made = []
    for number in range(count):
        category = rng.choice(sorted(STARTS))
        text = f"{rng.choice(STARTS[category])}: {rng.choice(THINGS)} and {rng.choice(THINGS)}"
        made.append((Example(f"row{number}", "instructions", "train", text, "", ""), category))
    return made


def test_what_the_judge_tags_grows_by_adding_rows() -> None:
    examples = [row for row, _ in rows(300)]
    few, more = (rows_for_judge(JudgeTags(of="x", judge_rows=size), examples) for size in (60, 120))
    assert len(few) == 60
    assert {row.example_id for row in few} <= {row.example_id for row in more}
    assert rows_for_judge(JudgeTags(of="x"), examples) == examples


def test_the_classifier_learns_from_tags_and_is_measured_on_rows_it_did_not_see() -> None:
    pairs = rows(400)
    tagged, untagged = pairs[:200], pairs[200:]
    guesses, report = learn_tags(JudgeTags(of="x"), tagged, [row for row, _ in untagged])
    assert (report.num_train, report.num_held_out) == (160, 40)
    assert sum(count for _, count in report.by_category.values()) == 40
    assert report.num_right == sum(right for right, _ in report.by_category.values())
    right = sum(guess == category for guess, (_, category) in zip(guesses, untagged, strict=True))
    assert right / len(untagged) > 0.95
    assert abs(report.num_right / 40 - right / len(untagged)) < 0.1


def test_tags_by_chance_are_not_learned() -> None:
    rng = random.Random(1)
    noise = [(row, rng.choice(sorted(STARTS))) for row, _ in rows(300)]
    _, report = learn_tags(JudgeTags(of="x"), noise, [])
    assert report.num_right / report.num_held_out < 0.6


def test_too_few_tags_are_refused() -> None:
    with pytest.raises(DataError, match="saw 10 tagged rows"):
        learn_tags(JudgeTags(of="x"), rows(10), [])
