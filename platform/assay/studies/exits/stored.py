"""What a study with `exits` decided, as its folder says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.store import Store
from assay.studies.folder import EXITS, folder_of
from assay.studies.prepared import PreparedStudy


def stored_exits(prepared: PreparedStudy, store: Store) -> Mapping[str, Any] | None:
    """The record of its barriers so far; None where it has none."""
    folder = None if prepared.study.exits is None else folder_of(store, prepared.study.name, prepared.key)
    if folder is None or not store.study_has(folder.name, EXITS):
        return None
    record: Mapping[str, Any] = store.read_study_json(folder.name, EXITS)
    return record


def without_ended(prepared: PreparedStudy, store: Store) -> PreparedStudy:
    """The study as its barriers left it: arms that ended have no answers."""
    record = stored_exits(prepared, store)
    return prepared if record is None else prepared.without(record["ended"])
