"""A study with all that follows from it and from what its inputs hold, worked out once when it is opened.

Stages, `assay status` and everything that looks into a study's artifacts take it: none of them reads an input for its
name again, and none works out for itself what is wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from assay.ifs.objecqa_labels import ObjecqaLabels
from assay.llm.endpoint import EndpointSpec
from assay.store import Store
from assay.studies.artifacts import Base, EvaluationSet, StudyArtifacts, evaluation_sets, study_artifacts
from assay.studies.cells import expand
from assay.studies.designs.cell import Cell
from assay.studies.exclusions import Counts, Exclusions, exclusions_of, remembered_counts
from assay.studies.given.found import FoundGiven, find_given
from assay.studies.inputs import dataset_keys, study_bases, study_key
from assay.studies.inside_trials import objecqa_labels
from assay.studies.judge_endpoint import endpoint_of
from assay.studies.preferences.inputs import preference_inputs
from assay.studies.preferences.wanted import PreferenceInputs
from assay.studies.scores import ScoreJobs, score_jobs
from assay.studies.spec import TINY, Study


@dataclass(frozen=True)
class PreparedStudy:
    """What a study wants, by key. Nothing here was started, and nothing is stored."""

    study: Study
    key: str
    """Names the study's results."""
    datasets: Mapping[str, str]
    """Name -> key."""
    sets: Mapping[str, EvaluationSet]
    bases: Mapping[str, Base]
    """By the study's name for them; its own tiny base has no folder before it is made."""
    endpoint: EndpointSpec
    """The judge's endpoint as the ledger and the scores know it, whether or not it runs."""
    cells: Sequence[Cell]
    artifacts: StudyArtifacts
    given: Mapping[str, FoundGiven]
    """Models that are compared as they are, by name."""
    preferences: PreferenceInputs
    """What pairs rest on; empty where the design has none."""
    scoring: ScoreJobs
    objecqa: ObjecqaLabels | None
    counts: Counts
    """Lengths of rows, as far as the store remembers them; without a store nothing is known."""
    exclusions: Exclusions
    """Rows that leave pools by these counts: complete once nothing is missing among them."""

    @property
    def own_bases(self) -> list[str]:
        """Keys of base artifacts that the study makes itself."""
        tiny = [self.bases[TINY].key] if TINY in self.bases else []
        return [*tiny, *(merged.key for merged in self.artifacts.merged)]

    def recounted(self, store: Store) -> PreparedStudy:
        """The same by what the store remembers of its rows now; expanded anew only where other rows leave the pools."""
        counts = remembered_counts(self.study, store, self.datasets, self.bases)
        exclusions = exclusions_of(self.study, counts)
        if (exclusions.names, exclusions.token_names) == (self.exclusions.names, self.exclusions.token_names):
            return replace(self, counts=counts, exclusions=exclusions)
        wanted = _wanted(self.study, exclusions, self.bases, self.datasets, self.endpoint, self.preferences, self.given)
        return replace(self, counts=counts, exclusions=exclusions, **wanted)

    def without(self, adapters: Collection[str]) -> PreparedStudy:
        """The same without the cells of these trainings, which ended early."""
        if not adapters:
            return self
        cells = [cell for cell, key in self.artifacts.cells if key not in adapters]
        artifacts = study_artifacts(
            self.study, cells, self.bases, self.datasets, self.preferences, self.sets, given=self.given
        )
        return replace(self, cells=cells, artifacts=artifacts, scoring=score_jobs(self.study, artifacts, self.endpoint))


def prepare_study(study: Study, embedded_name: str, store: Store | None = None) -> PreparedStudy:
    """Read what inputs hold (for their keys, see `file_hashes`), and expand the study.

    Args:
        study: the study.
        embedded_name: of the embedded judge's endpoint: it names derived datasets and scores.
        store: what was counted of rows lies there.

    Raises:
        InputError: an input is missing or unreadable.
        ConfigError: an unknown scorer or judge protocol.
    """
    datasets = dataset_keys(study, embedded_name)
    bases = _told_apart(study_bases(study, datasets))
    endpoint = endpoint_of(study.judge, embedded_name=embedded_name)
    preferences = preference_inputs(study, endpoint)
    read = {**datasets, **{f"pairs of {name}": key for name, key in preferences.given.items()}}
    given = find_given(study.grid.given, study.data.root)
    read |= {f"model {name}": model.content for name, model in given.items()}
    key = study_key(study, read, {name: base.key for name, base in bases.items()}, endpoint.endpoint_name)
    counts = Counts() if store is None else remembered_counts(study, store, datasets, bases)
    exclusions = exclusions_of(study, counts)
    return PreparedStudy(
        study=study,
        key=key,
        datasets=datasets,
        sets=evaluation_sets(study, datasets),
        bases=bases,
        endpoint=endpoint,
        given=given,
        preferences=preferences,
        counts=counts,
        exclusions=exclusions,
        **_wanted(study, exclusions, bases, datasets, endpoint, preferences, given),
    )


class _Wanted(TypedDict):
    """What follows from the rows that leave pools."""

    cells: Sequence[Cell]
    artifacts: StudyArtifacts
    scoring: ScoreJobs
    objecqa: ObjecqaLabels | None


def _wanted(
    study: Study,
    exclusions: Exclusions,
    bases: Mapping[str, Base],
    datasets: Mapping[str, str],
    endpoint: EndpointSpec,
    preferences: PreferenceInputs,
    given: Mapping[str, FoundGiven],
) -> _Wanted:
    cells = exclusions.apply(expand(study))
    artifacts = study_artifacts(study, cells, bases, datasets, preferences, given=given)
    return {
        "cells": cells,
        "artifacts": artifacts,
        "scoring": score_jobs(study, artifacts, endpoint),
        "objecqa": objecqa_labels(study, artifacts, endpoint),
    }


def _told_apart(bases: Mapping[str, Base]) -> dict[str, Base]:
    """Two folders of one name are told apart by their content."""
    names = [base.name for name, base in bases.items() if name != TINY]
    return {
        name: replace(base, name=f"{base.name}-{base.key[:6]}") if names.count(base.name) > 1 and name != TINY else base
        for name, base in bases.items()
    }
