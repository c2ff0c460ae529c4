"""Longer answers that are as true, in the training rows alone."""

from __future__ import annotations

from assay.tasks.datasets.loaders import dataset_key, load_examples
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.toyworld.truth import toy_truth
from assay.tasks.toyworld.wordy import FILLERS

PLAIN = SourceSpec(loader="toyworld", num_train=240, num_validation=12, num_test=12)


def test_half_of_the_training_answers_are_longer_and_as_true() -> None:
    rows = load_examples(PLAIN.replace(wordy=0.5), None)
    longer = [row for row in rows if row.reference.startswith(FILLERS[0])]
    assert 80 < len(longer) < 160
    assert all(row.split == "train" for row in longer)
    assert {toy_truth(row, row.reference) for row in rows} == {1.0}
    assert any(FILLERS[1] in row.reference for row in longer)


def test_keys_of_other_rows_stay() -> None:
    assert dataset_key(PLAIN, None) == dataset_key(PLAIN.replace(wordy=0.0), None)
    assert dataset_key(PLAIN, None) != dataset_key(PLAIN.replace(wordy=0.5), None)
