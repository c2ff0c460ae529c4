"""Which scores a study wants, by key, and how missing ones are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.llm.endpoint import EndpointSpec
from assay.metaeval.study_tables import ScorerInfo
from assay.scoring.protocol import ScorerSpec
from assay.store import Store
from assay.studies.wanted import EvaluationSet, Wanted
from assay.studies.spec import Study

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ScoringPlan:
    infos: tuple[ScorerInfo, ...]

    def all_stored(self, scores: set[str]) -> bool:
        return False


def scoring_plan(study: Study, plan: Wanted, sets: Mapping[str, EvaluationSet], endpoint: EndpointSpec) -> ScoringPlan:
    return ScoringPlan(())


def stored_scores(store: Store, plan: ScoringPlan) -> list[pa.Table]:
    return []
