"""From the store to the tables of trials that were evaluated while they trained."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.ifs.objecqa_labels import SAMPLE, ObjecqaLabels, read_labels
from assay.ifs.trial_hook import IFS_FILE
from assay.metaeval.study_tables.columns import make_table
from assay.metaeval.study_tables.ifs import (
    IFS_COLUMNS,
    Instruments,
    JudgeTest,
    TrialCurve,
    curve_rows,
    instrument_rows,
    stopping_rows,
)
from assay.studies.designs.cell import INSTRUCTIONS_ONLY, STOPPED
from assay.tone.artifact import load_tone, tone_report
from assay.training.schedule import schedule_of

if TYPE_CHECKING:
    import pyarrow as pa

    from assay.ifs.trial_spec import TrialIfsSpec
    from assay.store import Store
    from assay.studies.artifacts import StudyArtifacts
    from assay.studies.designs.cell import Cell

EXACT_MATCH = "exact_match"


def ifs_tables(
    store: Store,
    spec: TrialIfsSpec,
    plan: StudyArtifacts,
    tone: str,
    objecqa: ObjecqaLabels | None,
    scores: Sequence[pa.Table],
) -> dict[str, pa.Table]:
    """`ifs_curves`, `early_stopping` and `ifs_instruments` of a study whose artifacts are all there.

    Args:
        store: where they are.
        spec: what was evaluated.
        plan: the study's artifacts.
        tone: key of the tone classifier.
        objecqa: whose labels are stored; None: nobody was asked.
        scores: all score rows of the study, for exact match.
    """
    exact = _exact_match(plan, scores)
    curves = []
    seen = set()
    for cell, key in plan.cells:
        if cell.stops is not None and key not in seen:
            seen.add(key)
            curves.append(_curve(store, cell, key, plan, objecqa, exact.get(key, {})))
    instruments = _instruments(store, tone, objecqa)
    return {
        "ifs_curves": make_table("ifs_curves", curve_rows(curves, instruments, spec.rule), IFS_COLUMNS),
        "early_stopping": make_table("early_stopping", stopping_rows(curves, instruments, spec.rule), IFS_COLUMNS),
        "ifs_instruments": make_table("ifs_instruments", instrument_rows(instruments), IFS_COLUMNS),
    }


def _curve(
    store: Store,
    cell: Cell,
    key: str,
    plan: StudyArtifacts,
    objecqa: ObjecqaLabels | None,
    exact: Mapping[str, float | None],
) -> TrialCurve:
    job = next(job for job in plan.trainings if job.key == key)
    history = store.read_table("adapter", key, "history.parquet").to_pylist()
    num_rows = store.read_json("adapter", key, "summary.json")["num_train_rows"]
    rows = store.read_table("adapter", key, IFS_FILE).to_pylist()
    steps = tuple(dict.fromkeys(row["step"] for row in rows))
    by_step: dict[int, list[dict[str, Any]]] = {step: [] for step in steps}
    for row in rows:
        by_step[row["step"]].append(row)
    labels = read_labels(store, objecqa, key) if objecqa is not None else []
    objective = [_objective([row for row in labels if row["step"] == step]) for step in steps]
    unscored = [Counter(r["unscored"] for r in labels if r["step"] == step and r["unscored"]) for step in steps]
    at_zero = cell.num_target == 0
    series = cell.series.removesuffix(STOPPED).strip()
    return TrialCurve(
        adapter_key=key,
        base_model=job.base_name,
        arm=f"{INSTRUCTIONS_ONLY} {series}".strip() if at_zero else cell.condition,
        draw=-1 if at_zero else cell.draw,
        training_seed=cell.training_seed,
        stops=bool(cell.stops),
        batch_size=schedule_of(job.spec, num_rows).batch_size,
        steps=steps,
        labels=np.array([[row["answer_like"] for row in by_step[step]] for step in steps], dtype=bool),
        is_partial=np.array([row["is_partial"] for row in by_step[steps[0]]], dtype=bool),
        objective=np.array(objective, dtype=float).reshape(len(steps), -1),
        unscored=tuple(unscored),
        validation_loss={row["step"]: row["validation_loss"] for row in history if row["validation_loss"] is not None},
        target_scores=exact,
    )


def _objective(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """1 for Objective, 0 for Subjective, NaN without a label, in the order of the questions."""
    return [math.nan if not row["label"] else float(row["label"] == "Objective") for row in rows]


def _exact_match(plan: StudyArtifacts, scores: Sequence[pa.Table]) -> dict[str, dict[str, float | None]]:
    """Adapter -> test row of its target task -> exact match."""
    runs = {
        run.predictions_key: run
        for run in plan.runs
        if run.evaluation_set == run.trained_task or (not run.trained_task and run.evaluation_set != "instructions")
    }
    found: dict[str, dict[str, float | None]] = {}
    for table in scores:
        for row in table.to_pylist():
            run = runs.get(row["predictions_key"])
            if run is not None and row["scorer"] == EXACT_MATCH:
                name = f"{run.evaluation_set}/{row['example_id']}"
                found.setdefault(run.adapter_key, {})[name] = row["rating"]
    return found


def _instruments(store: Store, tone: str, objecqa: ObjecqaLabels | None) -> Instruments:
    model, report = load_tone(store, tone), tone_report(store, tone)
    judged = {}
    if objecqa is not None:
        for part in ("validation", "development"):
            sample = [row for row in read_labels(store, objecqa, SAMPLE) if row["question_id"].startswith(part)]
            labelled = [row for row in sample if row["label"]]
            right = sum(row["label"] == row["expected"] for row in labelled)
            judged[part] = JudgeTest((right, len(labelled)), Counter(r["unscored"] for r in sample if r["unscored"]))
    return Instruments(model.sensitivity, model.specificity, _case_rule(report), judged)


def _case_rule(report: Mapping[str, Any]) -> tuple[int, int]:
    """Counts of the case rule's accuracy, as the classifier's validation tells them."""
    told = report["rule"]["accuracy"]
    return round(told["value"] * told["n"]), int(told["n"])
