"""Which kind a study is of. The only place that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.commands.kinds.ifs_models import IfsModelStudies
from assay.commands.kinds.kind import StudyKind
from assay.commands.kinds.trained import TrainedStudies
from assay.studies.status import PLAIN

if TYPE_CHECKING:
    from assay.store import Store

KINDS: tuple[StudyKind, ...] = (IfsModelStudies(), TrainedStudies())
"""The last takes what no other knows, and says what is wrong with it."""


def kind_of(reference: str, store: Store | None = None) -> StudyKind:
    """Of a builtin study, of a study file, or of what lies in the store under this name."""
    known = next((kind for kind in KINDS if kind.knows(reference)), None)
    if known is None and store is not None and PLAIN.fullmatch(reference):
        return kind_in(store, reference)
    return known or KINDS[-1]


def kind_in(store: Store, name: str) -> StudyKind:
    """Of a study in the store, by the name of its folder."""
    return next((kind for kind in KINDS if kind.wrote(store, name)), KINDS[-1])
