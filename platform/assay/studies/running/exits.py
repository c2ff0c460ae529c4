"""The barriers of a study with `exits`, run: trainings go from one to the next, and losing ones end there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from assay.hooks import log_event
from assay.studies.artifacts import placed
from assay.studies.deciding.study_rounds import KIND as DECISION_KIND
from assay.studies.exits.study_exits import StudyExits
from assay.studies.exits.wording import barrier_lines
from assay.studies.folder import EXITS, StudyFolder
from assay.studies.garbage import ARTIFACTS, references
from assay.studies.prepared import PreparedStudy
from assay.studies.running.waves import Waves
from assay.training.checkpoints import Checkpoints
from assay.training.spec import ADAPTER_KIND, TrainingJob

BARRIERS = "exits"
"""The stage of that name: sweeps up to one barrier after the other, each followed by a decision."""


def run_exits(waves: Waves, folder: StudyFolder, used: Mapping[str, Sequence[str]], stack: ExitStack) -> PreparedStudy:
    """All barriers, and what each found, kept with the study; what the study wants from then on.

    Args:
        waves: of the whole study.
        folder: the study's.
        used: keys of all that it wants if nothing ends, by kind.
        stack: Ray is joined until it closes, if anything is to be trained.

    Raises:
        ConfigError: there is nothing to compare, or a barrier comes too soon.
        StageError: trainings failed after their retries.
    """
    opened = waves.opened
    exits, store = StudyExits(opened.prepared, opened.store), opened.store
    whole = len(opened.prepared.artifacts.trainings)
    _ = exits.comparisons  # refused before anything is trained
    opened.progress.start(BARRIERS, len(exits.spec.at), unit="barriers")
    while not exits.is_over:
        _hold(waves, exits.wanted(), stack)
        decision = exits.learn()
        decision.store(store)
        store.write_study_json(folder.name, EXITS, exits.record)
        for key in exits.ended:  # nobody goes on from there
            Checkpoints(store, key).clear()
        found = "; ".join(barrier_lines(decision.content))
        opened.costs.note(BARRIERS, found)
        log_event(BARRIERS, "decided", round=len(exits.decisions), key=decision.key, found=found)
        opened.progress.advance(BARRIERS, 1, found=found)
    ended = exits.ended
    opened.progress.finish(BARRIERS, f"{len(ended)} of {whole} trainings ended early")
    left = opened.ended(ended)
    wants = references(left.artifacts, left.scoring.keys, (), left.own_bases)
    decided = {DECISION_KIND: [one.key for one in exits.decisions]}
    kept = {ADAPTER_KIND: sorted({*wants[ADAPTER_KIND], *ended.values()})}
    answers = {kind: wants[kind] for kind in ("predictions", "scores")}
    store.write_study_json(folder.name, ARTIFACTS, {**used, **answers, **kept, **decided})
    return left


def _hold(waves: Waves, jobs: Sequence[TrainingJob], stack: ExitStack) -> None:
    """Train to a barrier what is not there yet."""
    opened = waves.opened
    there = opened.store.present(ADAPTER_KIND, [key for job in jobs for key in job.kept_under])
    missing = placed([job for job in jobs if not there.intersection(job.kept_under)], opened.own_base)
    if not missing:
        return
    waves.engines.join(stack)
    if opened.preflight:
        with opened.costs.stage("preflight"):
            waves.rehearse(missing, opened.placed(opened.prepared.artifacts).generations, opened.prepared.sets)
    with opened.costs.stage("train"):
        waves.engines.train(missing, None)
