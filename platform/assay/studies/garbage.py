"""What no study in a storage wants any more.

A study writes down the artifacts that it wants before it trains the first adapter (`side/artifacts.json`). Garbage is
what lies in the storage, is of a kind that studies list, is on no study's list and has not been written to for a while:
the storage is listed before the lists are read, and the age keeps what a running study made before it wrote its list.
Deleting too much would cost time and no money: artifacts are made again by their keys, and judges' replies lie in the
ledger, which nothing here touches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from assay.errors import ConfigError
from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.preference.rows import KIND as PAIRS_KIND
from assay.scoring.jobs import KIND as SCORES_KIND
from assay.store import Store, StoredArtifact
from assay.studies.artifacts import StudyArtifacts
from assay.studies.folder import DONE, STUDY
from assay.studies.tiny_bases import BASE_KIND

ARTIFACTS = "side/artifacts.json"


@dataclass(frozen=True)
class Garbage:
    """What `assay gc` found."""

    unwanted: tuple[StoredArtifact, ...]
    """To be deleted, in order of kind and key."""
    too_young: tuple[StoredArtifact, ...]
    """On no list, but written lately."""
    wanted: int
    """Artifacts on a study's list."""
    left_alone: Mapping[str, int]
    """Artifacts by kind of the kinds that studies do not list."""


def references(
    plan: StudyArtifacts, scores: Iterable[str], datasets: Iterable[str], bases: Iterable[str]
) -> dict[str, list[str]]:
    """Keys of all artifacts that a study wants, by kind."""
    found: dict[str, set[str]] = {
        "dataset": set(datasets),
        BASE_KIND: {*bases, *(merged.key for merged in plan.merged)},
        MIXTURE_KIND: set(plan.mixtures),
        "adapter": {job.key for job in (*plan.tunings, *plan.trainings)}
        | {job.adapter_key for job in plan.generations if job.adapter_key is not None and job.adapter_dir is None},
        "predictions": set(plan.predictions),
        SCORES_KIND: set(scores),
    }
    pairs = [*plan.pairs, *(part for part, _ in plan.rounds)]
    if pairs:
        found[PAIRS_KIND] = {part.key for part in pairs}
        sides = [side for part in pairs for side in (part.samples, part.losing, part.critique) if side is not None]
        found["predictions"] |= {side.job.key for side in sides}
        found[SCORES_KIND] |= {part.scores_key for part in pairs if part.scores_key}
        found["adapter"] |= {job.key for _, job in plan.rounds}
        found["adapter"] |= {side.job.adapter_key for side in sides if side.job.adapter_key is not None}
    return {kind: sorted(keys) for kind, keys in found.items()}


def find_garbage(store: Store, *, now_s: float, min_age_s: float, forget: Collection[str] = ()) -> Garbage:
    """Look for garbage; deletes nothing.

    Args:
        store: the storage.
        now_s: seconds since 1970.
        min_age_s: artifacts written to within so many seconds are kept.
        forget: studies whose lists do not count.

    Raises:
        ConfigError: a study that has no list: what it wants is not known, so nothing may go.
    """
    stored = store.inventory()  # before the lists, see above
    kinds: set[str] = set()
    wanted: set[tuple[str, str]] = set()
    for study in store.studies():
        if study in forget or not (store.study_has(study, STUDY) or store.study_has(study, DONE)):
            continue
        if not store.study_has(study, ARTIFACTS):
            raise ConfigError(
                f"gc: saw no list of what study {study!r} wants; expected studies/{study}/{ARTIFACTS}; run the study "
                f"again, or pass --forget {study} if its artifacts may go"
            )
        for kind, keys in store.read_study_json(study, ARTIFACTS).items():
            kinds.add(kind)
            wanted |= {(kind, key) for key in keys}
    unwanted: list[StoredArtifact] = []
    young: list[StoredArtifact] = []
    left: dict[str, int] = {}
    for artifact in stored:
        if artifact.kind not in kinds:
            left[artifact.kind] = left.get(artifact.kind, 0) + 1
        elif (artifact.kind, artifact.key) not in wanted:
            (young if now_s - artifact.written_at < min_age_s else unwanted).append(artifact)
    num_wanted = sum((artifact.kind, artifact.key) in wanted for artifact in stored)
    return Garbage(tuple(unwanted), tuple(young), num_wanted, left)
