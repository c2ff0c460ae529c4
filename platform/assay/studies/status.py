"""How far a study is: what it wants against what is there.

What it wants comes from its specification, or, anywhere and without its data, from the list that a running study keeps
in the store. Whichever it is, nothing is started and nothing is written.
"""

from __future__ import annotations

import json
import re
from typing import Any

from assay.generation.spec import KIND as PREDICTIONS_KIND
from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.preference.rows import KIND as PAIRS_KIND
from assay.scoring.jobs import KIND as SCORES_KIND
from assay.store import Store
from assay.studies.deciding.prices import prices_of
from assay.studies.deciding.wording import decision_lines
from assay.studies.exits.wording import exit_lines
from assay.studies.folder import DECISIONS, EXITS, find_folder, folder_of
from assay.studies.garbage import ARTIFACTS
from assay.studies.prepared import prepare_study
from assay.studies.spec import Study
from assay.studies.tiny_bases import BASE_KIND
from assay.training.spec import ADAPTER_KIND

PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]*")
STAGES = (
    ("base", BASE_KIND),
    ("mixtures", MIXTURE_KIND),
    ("pairs", PAIRS_KIND),
    ("trainings", ADAPTER_KIND),
    ("predictions", PREDICTIONS_KIND),
    ("scores", SCORES_KIND),
)


def study_status(study: Study, store: Store, embedded_name: str) -> dict[str, Any]:
    """Counts by stage, and where the report is. Starts nothing and writes nothing."""
    prepared = prepare_study(study, embedded_name, store)
    plan = prepared.artifacts
    pairs = [*(part for part, _ in plan.rounds), *plan.pairs]
    trainings = [*plan.tunings, *(job for _, job in plan.rounds), *plan.trainings]
    stages = [
        _stage(store, "base", BASE_KIND, prepared.own_bases),
        _stage(store, "mixtures", MIXTURE_KIND, list(plan.mixtures)),
        *([_stage(store, "pairs", PAIRS_KIND, [part.key for part in pairs])] if pairs else []),
        _stage(store, "trainings", ADAPTER_KIND, [job.key for job in trainings]),
        _stage(store, "predictions", PREDICTIONS_KIND, plan.predictions),
        _stage(store, "scores", SCORES_KIND, prepared.scoring.keys),
    ]
    folder = folder_of(store, study.name, prepared.key)
    is_decided_on = study.decide is not None or study.exits is not None
    if is_decided_on and folder and store.study_has(folder.name, ARTIFACTS):
        # what is wanted follows from what was decided: the run that wrote the list knows
        wants = store.read_study_json(folder.name, ARTIFACTS)
        stages = [_stage(store, stage, kind, wants.get(kind, [])) for stage, kind in STAGES]
    done = folder.done() if folder else None
    return {
        "study": study.name,
        "key": prepared.key,
        "storage": store.uri,
        "finished": done is not None,
        "stages": stages,
        "report": folder.report_path if folder and done else None,
        "last": _last_event(store, folder.name) if folder else None,
        "decisions": _decisions(store, folder.name) if folder else [],
    }


def stored_status(store: Store, name: str) -> dict[str, Any] | None:
    """The same of the study in the folder `name`, from the store alone: neither its file nor its data are needed.

    None where the store has no such folder, or the study was not yet at its first training.
    """
    if not PLAIN.fullmatch(name) or not store.study_has(name, ARTIFACTS):
        return None
    folder = find_folder(store, name)
    wants = store.read_study_json(name, ARTIFACTS)
    done = folder.done()
    return {
        "study": name,
        "key": folder.key,
        "storage": store.uri,
        "finished": done is not None,
        "stages": [
            _stage(store, stage, kind, wants.get(kind, []))
            for stage, kind in STAGES
            if kind != PAIRS_KIND or kind in wants
        ],
        "report": folder.report_path if done else None,
        "last": _last_event(store, name),
        "decisions": _decisions(store, name),
    }


def _last_event(store: Store, name: str) -> dict[str, Any] | None:
    """The newest line of the study's newest log."""
    logs = store.study_files(name, "side/log")
    lines = store.read_study_bytes(name, logs[-1]).splitlines() if logs else []
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:  # cut short by a kill
            continue
        return event if isinstance(event, dict) else None
    return None


def _decisions(store: Store, name: str) -> list[str]:
    """A line for each decision that a study came to while it ran, with its evidence; none of other studies."""
    if store.study_has(name, EXITS):
        return exit_lines(store.read_study_json(name, EXITS))
    if not store.study_has(name, DECISIONS):
        return []
    told = store.read_study_json(name, DECISIONS)
    prices = prices_of(told)
    return [line for family in told["families"] for line in decision_lines(family, prices)]


def _stage(store: Store, name: str, kind: str, wanted_keys: list[str]) -> dict[str, Any]:
    distinct = set(wanted_keys)
    return {"stage": name, "wanted": len(distinct), "done": len(store.present(kind, distinct))}
