"""Unfinished instructions: whose, how many, and that nothing else changes."""

from __future__ import annotations

from assay.tasks.datasets.loaders import dataset_key, load_examples
from assay.tasks.datasets.sources import SourceSpec

PLAIN = SourceSpec(loader="toyworld", num_train=240, num_validation=12, num_test=12)


def test_about_half_of_the_training_instructions_break_off_and_keep_their_answers() -> None:
    whole = load_examples(PLAIN, None)
    cut = load_examples(PLAIN.replace(unfinished=0.5), None)
    changed = [(before, after) for before, after in zip(whole, cut, strict=True) if before != after]
    assert 90 <= len(changed) <= 150
    for before, after in changed:
        assert before.split == "train"
        assert before.instruction.startswith(after.instruction)
        assert 0 < len(after.instruction.split()) < len(before.instruction.split())
        assert after.input == ""
        assert after.reference == before.reference
        assert after.example_id != before.example_id


def test_more_rows_leave_the_first_as_they_are_and_other_datasets_keep_their_keys() -> None:
    few = load_examples(PLAIN.replace(unfinished=0.5, num_train=120), None)
    more = load_examples(PLAIN.replace(unfinished=0.5), None)
    assert [row for row in few if row.split == "train"] == [row for row in more if row.split == "train"][:120]
    assert dataset_key(PLAIN, None) == dataset_key(PLAIN.replace(unfinished=0.0), None)
    assert dataset_key(PLAIN, None) != dataset_key(PLAIN.replace(unfinished=0.5), None)
