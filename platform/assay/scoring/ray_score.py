"""Scoring: makes the scores that the store lacks, by local scorers, models and judges.

The driver sends chunk descriptors (a predictions artifact and a range of its rows), workers read the rows from the
store, and the driver publishes a scores artifact as soon as its last chunk is back. Run it from the driver only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import ray

from assay.errors import DataError
from assay.hooks import Progress, SilentProgress
from assay.records import Example
from assay.scoring.jobs import (
    KIND,
    SUMMARY_FILE,
    JudgeSetup,
    LocalScoring,
    ScoringBatch,
    ScoringReport,
    ScoringResources,
    WantedScores,
    check_scorers,
    is_retryable,
    scores_key,
    tasks_of,
)
from assay.scoring.ray_chunks import PREDICTIONS_KIND
from assay.scoring.ray_collected import STAGE, Collected
from assay.scoring.ray_passes import Passes
from assay.store import Store


def run_scoring(
    store: Store,
    batches: Sequence[ScoringBatch],
    examples_by_set: Mapping[str, Sequence[Example]],
    local: LocalScoring,
    judges: Sequence[JudgeSetup] = (),
    resources: ScoringResources | None = None,
    progress: Progress | None = None,
    *,
    retry_failed: bool = False,
) -> ScoringReport:
    """Make the scores of every (scorer, batch) that the store does not hold yet. Needs a started Ray.

    A row without a prediction, and a judgement that failed, is stored as unscored with its reason. A budget or an
    endpoint that stops the judge lets what is in flight end; the same call goes on from there, since replies lie in
    the ledger.

    Args:
        store: where predictions are read and scores go.
        batches: see `jobs.make_batches`.
        examples_by_set: rows by the batches' evaluation keys.
        local: local scorers, and the tasks of the rows.
        judges: judge scorers.
        resources: what it runs on.
        progress: told of rows; for judges also of calls per minute, tokens and dollars.
        retry_failed: also redo stored batches in which calls had no reply; replies at hand are not paid again.

    Raises:
        ConfigError: an unknown scorer or task, or two scorers of one name.
        DataError: predictions that the store lacks, or that belong to other rows.
        LimitReached: the budget is spent.
        EndpointError: the judge's endpoint cannot be used.
        StageError: a worker failed.
    """
    resources, progress = resources or ScoringResources(), progress or SilentProgress()
    started = time.monotonic()
    check_scorers([*local.specs, *(judge.spec for judge in judges)])
    local = local.resolved()
    scorers = local.specs
    _check_inputs(store, batches, examples_by_set)
    plan = [
        WantedScores(spec, batch, scores_key(spec, batch))
        for batch in batches
        for spec in [*scorers, *(judge.spec for judge in judges)]
    ]
    stored = store.present(KIND, {item.key for item in plan})
    is_judge = {judge.spec.name for judge in judges}

    def is_done(item: WantedScores) -> bool:
        if item.key not in stored:
            return False
        redo = retry_failed and item.spec.name in is_judge
        return not (redo and is_retryable(store.read_json(KIND, item.key, SUMMARY_FILE)))

    todo = [item for item in plan if not is_done(item)]
    sizes = {key: len(examples) for key, examples in examples_by_set.items()}
    total = sum(item.num_rows(sizes) for item in plan)
    left = sum(item.num_rows(sizes) for item in todo)
    progress.start(STAGE, total, done=total - left, unit="scores")
    collected = Collected(store, progress, sizes)
    if todo:
        used = {key: examples_by_set[key] for key in sorted({key for item in todo for key in item.batch.evaluations})}
        sets = {key: ray.put({example.example_id: example for example in rows}) for key, rows in used.items()}
        local = replace(local, tasks=tasks_of(used, local.tasks))
        passes = Passes(store, sets, local, resources, collected)
        names = {spec.name for spec in scorers if not spec.needs_model}
        if mine := [item for item in todo if item.spec.name in names]:
            passes.local(mine)
        for path in sorted({spec.path for spec in scorers if spec.needs_model}):
            if mine := [item for item in todo if item.spec.needs_model and item.spec.path == path]:
                passes.model(mine)
        for judge in judges:
            if mine := [item for item in todo if item.spec.name == judge.spec.name]:
                passes.judge(mine, judge)
    progress.finish(STAGE, collected.note())
    return ScoringReport(
        published=tuple(sorted(collected.published)),
        found=tuple(sorted({item.key for item in plan} - {item.key for item in todo})),
        num_asked=dict(collected.num_asked),
        unscored={name: dict(sorted(counts.items())) for name, counts in collected.unscored.items() if counts},
        calls=collected.calls,
        seconds=time.monotonic() - started,
    )


def _check_inputs(
    store: Store, batches: Sequence[ScoringBatch], examples_by_set: Mapping[str, Sequence[Example]]
) -> None:
    stored = store.present(PREDICTIONS_KIND, {key for batch in batches for key in batch.predictions})
    for batch in batches:
        for key, evaluation in zip(batch.predictions, batch.evaluations, strict=True):
            if key not in stored:
                raise DataError(f"scoring: saw no predictions {key} in the store; generate them first")
            if evaluation not in examples_by_set:
                raise DataError(f"scoring: saw no rows of evaluation set {evaluation}; expected them beside {key}")
