"""All answers of a study's models, from the store alone."""

from __future__ import annotations

from collections.abc import Iterator

from assay.errors import DataError
from assay.human.labels import Answer
from assay.records import Prediction, from_table
from assay.store import Store
from assay.studies.artifacts import StudyArtifacts
from assay.studies.deciding.study_rounds import replayed
from assay.studies.exits.stored import without_ended
from assay.studies.inputs import Datasets, item_counts, store_datasets
from assay.studies.prepared import PreparedStudy, prepare_study
from assay.studies.spec import Study


def study_answers(study: Study, store: Store, embedded_name: str) -> Iterator[Answer]:
    """Every answer with the run that gave it; rows without an answer are left out.

    Args:
        study: whose answers.
        store: where they lie.
        embedded_name: of the embedded judge's endpoint, which derived datasets are named by.

    Raises:
        DataError: the study's predictions are not there yet.
    """
    prepared = prepare_study(study, embedded_name, store)
    plan = _plan(prepared, store)
    missing = sum(not store.exists("predictions", key) for key in {run.predictions_key for run in plan.runs})
    if missing:
        raise DataError(
            f"study {study.name!r}: saw {missing} of {len(plan.runs)} sets of answers missing in {store.uri}; expected "
            f"them all; run `assay run {study.name} --until generate` first"
        )
    datasets = store_datasets(study, store, prepared.datasets)
    examples = {
        name: {row.example_id: row for row in datasets.evaluation_rows(part)} for name, part in prepared.sets.items()
    }
    for run in plan.runs:
        source = f"{run.base_model}, {run.arm}, draw {run.draw}, seed {run.training_seed}, {run.evaluation_set}"
        for row in from_table(store.read_table("predictions", run.predictions_key, "predictions.parquet"), Prediction):
            example = examples[run.evaluation_set].get(row.example_id)
            if row.error is None and example is not None:
                yield Answer(example.instruction, example.input, row.prediction, source, row.example_id)


def _plan(prepared: PreparedStudy, store: Store) -> StudyArtifacts:
    """What the study wants; with `decide`, what its rounds wanted so far, and without arms that ended by `exits`."""
    if prepared.study.decide is None:
        return without_ended(prepared, store).artifacts
    counts = item_counts(prepared.sets, Datasets(store, prepared.datasets))
    return replayed(prepared, counts, store).plan
