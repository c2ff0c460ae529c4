"""How far a study is, read from the store alone: what it wants against what is there."""

from __future__ import annotations

from typing import Any

from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.store import Store
from assay.studies.cells import expand
from assay.studies.folder import STUDY, StudyFolder
from assay.studies.inputs import dataset_keys, find_bases, study_key, tiny_key
from assay.studies.judge_endpoint import endpoint_of
from assay.studies.scores import scoring_plan
from assay.studies.spec import TINY, Study
from assay.studies.tiny_bases import BASE_KIND
from assay.studies.wanted import Base, wanted


def study_status(study: Study, store: Store, embedded_name: str) -> dict[str, Any]:
    """Counts by stage, and where the report is. Starts nothing and writes nothing."""
    keys = dataset_keys(study, embedded_name)
    bases = {name: Base(base.name, base.key, base.path) for name, base in find_bases(study).items()}
    if TINY in study.all_models:
        bases[TINY] = Base(TINY, tiny_key(study, keys), "")
    endpoint = endpoint_of(study.judge, embedded_name=embedded_name)
    key = study_key(study, keys, {name: base.key for name, base in bases.items()}, endpoint.endpoint_name)
    plan = wanted(study, expand(study), bases, keys)
    scoring = scoring_plan(study, plan, endpoint)
    own_base = [*([bases[TINY].key] if TINY in bases else []), *(part.key for part in plan.merged)]
    stages = [
        _stage(store, "base", BASE_KIND, own_base),
        _stage(store, "mixtures", MIXTURE_KIND, list(plan.mixtures)),
        _stage(store, "trainings", "adapter", [job.key for job in (*plan.tunings, *plan.trainings)]),
        _stage(store, "predictions", "predictions", [job.key for job in plan.generations]),
        _stage(store, "scores", "scores", scoring.keys),
    ]
    folder = _folder(store, study.name, key)
    done = folder.done() if folder else None
    return {
        "study": study.name,
        "key": key,
        "storage": store.uri,
        "finished": done is not None,
        "stages": stages,
        "report": folder.report_path if folder and done else None,
    }


def _stage(store: Store, name: str, kind: str, wanted_keys: list[str]) -> dict[str, Any]:
    distinct = set(wanted_keys)
    return {"stage": name, "wanted": len(distinct), "done": len(store.present(kind, distinct))}


def _folder(store: Store, name: str, key: str) -> StudyFolder | None:
    for candidate in (name, f"{name}-{key[:8]}"):
        if store.study_has(candidate, STUDY) and store.read_study_json(candidate, STUDY)["key"] == key:
            return StudyFolder(store, candidate, key)
    return None
