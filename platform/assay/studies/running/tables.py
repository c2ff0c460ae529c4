"""The result tables of a study whose scores are all there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from assay.studies.artifacts import StudyArtifacts
from assay.studies.inside_trials import InsideTrials
from assay.studies.preferences.steps import PreferenceSteps
from assay.studies.running.opened import OpenedStudy
from assay.studies.scores import ScoreJobs, of_runs, repeat_table, stored_scores

if TYPE_CHECKING:
    import pyarrow as pa


def result_tables(
    opened: OpenedStudy,
    plan: StudyArtifacts,
    scoring: ScoreJobs,
    categories: Mapping[str, str],
    inside: InsideTrials | None,
    steps: PreferenceSteps | None,
) -> dict[str, pa.Table]:
    """All but the ranks, which a judge is asked for.

    Args:
        opened: the study.
        plan: its artifacts.
        scoring: their scores.
        categories: category of each instruction row, by its id.
        inside: what trials evaluated themselves by, if they did.
        steps: what a study of preferences made beside.
    """
    if steps is None:
        return _tables(opened, plan, scoring, categories, inside)
    from assay.studies.preferences.tables import preference_tables

    after = steps.after(plan, scoring)
    tables = _tables(opened, steps.shown(after), scoring, categories, inside)
    return tables | preference_tables(after, scoring.infos, scoring.specs)


def _tables(
    opened: OpenedStudy,
    plan: StudyArtifacts,
    scoring: ScoreJobs,
    categories: Mapping[str, str],
    inside: InsideTrials | None,
) -> dict[str, pa.Table]:
    from assay.metaeval.study_tables.build import build_study_tables

    study, store = opened.study, opened.store
    scores = of_runs(stored_scores(store, scoring), plan.runs)
    tables = dict(
        build_study_tables(
            plan.runs,
            scores,
            scoring.infos,
            study.table_options(opened.prepared.key),
            categories=categories,
            repeats=repeat_table(store, scores, study.judge.repeats),
        )
    )
    if plan.mixtures and study.objective is not None:
        from assay.studies.results.shares_table import shares_table

        tables["shares"] = shares_table(store, plan)
    if inside is None:
        return tables
    from assay.studies.trial_tables import ifs_tables

    return {**tables, **ifs_tables(store, inside.spec, plan, inside.tone, opened.prepared.objecqa, scores)}
