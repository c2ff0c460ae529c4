"""The rounds of a study with `decide`, run: waves of what each wants, until the question is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.hooks import log_event
from assay.studies.deciding.parts import store_joined
from assay.studies.deciding.prices import planned_prices
from assay.studies.deciding.study_rounds import StudyRounds
from assay.studies.folder import DECISIONS, StudyFolder
from assay.studies.garbage import ARTIFACTS, references
from assay.studies.inputs import item_counts
from assay.studies.lengths import KIND as LENGTHS_KIND
from assay.studies.planning.estimate import plan as plan_of
from assay.studies.running.waves import Waves

DECIDE = "decide"
"""The stage of that name: rounds, each of which is waves of the others."""


def run_rounds(waves: Waves, folder: StudyFolder) -> StudyRounds:
    """All rounds that are wanted, and what each found, kept with the study.

    Raises:
        LimitReached: the budget stopped the judge.
        StageError: something failed after its retries, or a run has no score at all.
    """
    opened, prepared = waves.opened, waves.opened.prepared
    rounds = StudyRounds(prepared, item_counts(prepared.sets, waves.datasets))
    sets = {part.key: part for of_round in rounds.sets for part in of_round.values()}
    items, hour = rounds.num_items, rounds.spec.gpu_hour_usd
    prices = planned_prices(plan_of(opened.study.replace(decide=None)), rounds.deciding.seeds, items, hour)
    opened.progress.start(DECIDE, len(rounds.spec.rounds), unit="rounds")
    while (work := rounds.begin()) is not None:
        _list_wanted(waves, folder, rounds)
        waves.make(opened.placed(work.plan), sets, work.scoring)
        decision = rounds.learn(opened.store)
        decision.store(opened.store)
        keys = [one.key for one in rounds.decisions]
        known = {"decisions": keys, "prices": prices.as_dict(), **decision.content}
        opened.store.write_study_json(folder.name, DECISIONS, known)
        opened.costs.note(DECIDE, rounds.sentence())
        log_event(DECIDE, "decided", round=work.place + 1, key=decision.key, found=rounds.sentence())
        opened.progress.advance(DECIDE, 1, found=rounds.sentence())
    opened.progress.finish(DECIDE, rounds.sentence())
    store_joined(opened.store, rounds.joined.values())
    _list_wanted(waves, folder, rounds)
    return rounds


def _list_wanted(waves: Waves, folder: StudyFolder, rounds: StudyRounds) -> None:
    """What the rounds so far want, for `assay gc` and `assay status`."""
    prepared = waves.opened.prepared
    used = references(rounds.plan, rounds.scoring.keys, waves.datasets.keys.values(), prepared.own_bases)
    used[LENGTHS_KIND] = list(prepared.counts.keys)
    waves.opened.store.write_study_json(folder.name, ARTIFACTS, _merged_lists(used, rounds.stored_keys))


def _merged_lists(first: Mapping[str, Sequence[str]], second: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {kind: sorted({*first.get(kind, ()), *second.get(kind, ())}) for kind in {**first, **second}}
