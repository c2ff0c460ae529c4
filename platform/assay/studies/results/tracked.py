"""A study as MLflow runs: one parent, a child per cell, a child for the meta-evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.errors import ConfigError
from assay.fingerprint import delimited_hash
from assay.studies.folder import json_rows
from assay.studies.spec import JUDGE, Study
from assay.tracking.uri import check_tracking_uri

if TYPE_CHECKING:
    from assay.store import Store
    from assay.studies.designs.cell import Cell
    from assay.studies.pipeline import Results
    from assay.tracking.mlflow_traces import TrackedAnswer
    from assay.tracking.mlflow_tracker import TrackedRun
    from assay.training.spec import TrainingJob


META_TABLES = ("metaeval", "similarity", "_means")
"""Parts of the names of the tables that are kept with the meta-evaluation too; the study's run has them all."""


def tracking_uri(study: Study, store: Store) -> str:
    """Where the study's runs go.

    Raises:
        ConfigError: the store is remote and the study names no tracking server, or the URI holds a password.
    """
    if study.tracking.uri is not None:
        return check_tracking_uri(study.tracking.uri, "tracking.uri")
    if not store.is_local:
        raise ConfigError(
            f"tracking.uri: none is given and storage {store.uri} is remote; expected a tracking server; "
            "pass --set tracking.uri=http://HOST:5000"
        )
    return f"sqlite:///{store.uri}/mlflow.db"


def ui_command(uri: str) -> str:
    """The command that shows the runs in a browser."""
    return uri if uri.startswith("http") else f".venv/bin/mlflow ui --backend-store-uri {uri}"


def track_study(results: Results, files: Mapping[str, bytes]) -> str:
    """Write all runs of a finished study; runs that are there already are left as they are.

    Args:
        results: the study's results.
        files: report and figures, kept with the parent and the meta-evaluation.

    Returns:
        The tracking URI.
    """
    from assay.tracking.mlflow_tracker import MlflowTracker, TrackedRun

    study, folder = results.study, results.folder
    store = folder.store
    uri = tracking_uri(study, store)
    beside = Path(uri.removeprefix("sqlite:///")).parent  # else MLflow puts files where the command was given
    root = f"file://{beside.resolve() / 'mlflow-artifacts'}" if uri.startswith("sqlite:///") else None
    tracker = MlflowTracker(uri, study.tracking.experiment or folder.name, root)
    tables = {f"tables/{name}.json": json_rows(table) for name, table in results.tables.items()}
    parent = tracker.study_run(
        TrackedRun(
            key=folder.key,
            name=folder.name,
            params={
                "mode": study.mode,
                "base_models": ", ".join(sorted({run.base_model for run in results.wanted.runs})),
                **{f"grid.{name}": _plain(value) for name, value in study.grid.model_dump(mode="json").items()},
                "scorers": ", ".join(study.scorers),
                "human": study.statistics.human,
                "judge": study.judge.model,
            },
            metrics={
                "cells": len(results.wanted.cells),
                "trainings": len(results.wanted.tunings) + len(results.wanted.trainings),
                "predictions_artifacts": len(results.wanted.runs),
            },
            tags={"assay.study": folder.name, "mlflow.note.content": study.description},
            seconds=sum(results.costs.seconds.values()),
        )
    )
    tracker.files(parent, {**files, **tables})
    done = tracker.existing("cell", parent)
    for run in _cell_runs(results):
        if run.key not in done:
            tracker.child_run(parent, run)
    meta = tracker.child_run(parent, _metaeval_run(results), role="metaeval")
    tracker.files(meta, {name: data for name, data in tables.items() if any(part in name for part in META_TABLES)})
    tracker.files(meta, {name: data for name, data in files.items() if "comparability" in name or "similarity" in name})
    if study.tracking.traces:
        tracker.answers(parent, _answers(results))
    return uri


def _answers(results: Results) -> list[TrackedAnswer]:
    """The answers that the report's browser shows first, set by set in turn."""
    from assay.studies.results.report_input import browser_of
    from assay.tracking.mlflow_traces import TrackedAnswer

    study, found = results.study, []
    rows = [
        (name, row, answer)
        for place in zip_longest(*([(name, row) for row in rows] for name, rows in browser_of(results)["sets"].items()))
        for name, row in filter(None, place)
        for answer in row["answers"]
    ]
    for name, row, answer in rows[: study.tracking.traces]:
        label = f"{answer['arm']}, {answer['run']}"
        found.append(
            TrackedAnswer(
                key=delimited_hash([results.folder.key, name, row["id"], label]),
                name=f"{name} {row['id']}",
                prompt=row["prompt"],
                answer=answer["prediction"],
                reference=row["reference"],
                scores=answer["scores"],
                judge=JUDGE if JUDGE in answer["scores"] else "",
                judge_model=study.judge.model,
                reply=answer["judge"],
                tags={"assay.study": results.folder.name, "assay.set": name, "assay.run": label},
            )
        )
    return found


def _cell_runs(results: Results) -> list[TrackedRun]:
    """One run per distinct training: its recipe, its loss curve, its scores."""
    from assay.tracking.mlflow_tracker import TrackedRun

    store = results.folder.store
    inside, stopping = _trial_curves(results), _stopping_metrics(results)
    scores: dict[str, dict[str, float]] = {}
    for row in results.tables["run_scores"].to_pylist():
        if row["mean"] is not None:
            scores.setdefault(row["adapter_key"], {})[f"{row['evaluation_set']}.{row['scorer']}"] = row["mean"]
    counted: dict[str, int] = {}
    cells: dict[str, Cell] = {}
    for cell, key in results.wanted.cells:
        counted[key] = counted.get(key, 0) + 1
        cells.setdefault(key, cell)
    runs = []
    for job in results.wanted.tunings:
        runs.append(_tuning_run(results, job))
    for job in results.wanted.trainings:
        cell = cells[job.key]
        spec = job.spec
        history = store.read_table("adapter", job.key, "history.parquet").to_pylist()
        at_zero = cell.num_target == 0
        runs.append(
            TrackedRun(
                key=job.key,
                name=f"{job.base_name} {cell.arm}" + ("" if at_zero else f" draw {cell.draw}") + f" seed {spec.seed}",
                params={
                    "base_model": job.base_name,
                    "task": "" if at_zero else cell.task,
                    "series": cell.series,
                    "num_target": cell.num_target,
                    "draw": "" if at_zero else cell.draw,
                    "training_seed": spec.seed,
                    "mixture_key": job.mixture_key,
                    "adapter_key": job.key,
                    "cells": counted[job.key],
                    **{f"train.{name}": value for name, value in spec.model_dump(mode="json").items()},
                },
                metrics={**scores.get(job.key, {}), **stopping.get(job.key, {})},
                history=[*((row["step"], _step_metrics(row)) for row in history), *inside.get(job.key, ())],
                tags={
                    "assay.arm": cell.arm,
                    "assay.adapter": store.study_path(results.folder.name).split("/studies/")[0]
                    + f"/artifacts/adapter/{job.key}",
                },
            )
        )
    return runs


def _tuning_run(results: Results, job: TrainingJob) -> TrackedRun:
    """The instruction tuning that S2 starts from."""
    from assay.tracking.mlflow_tracker import TrackedRun

    store = results.folder.store
    history = store.read_table("adapter", job.key, "history.parquet").to_pylist()
    return TrackedRun(
        key=job.key,
        name=f"{job.base_name} instruction tuning seed {job.spec.seed}",
        params={
            "base_model": job.base_name,
            "mixture_key": job.mixture_key,
            "adapter_key": job.key,
            **{f"train.{name}": value for name, value in job.spec.model_dump(mode="json").items()},
        },
        metrics={},
        history=[(row["step"], _step_metrics(row)) for row in history],
        tags={"assay.arm": "instruction tuning"},
    )


def _plain(value: object) -> str:
    """A field as MLflow shows it: lists as words, nothing longer than it takes."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text[:500]


def _step_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one history row that are worth a curve."""
    names = ("loss", "learning_rate", "grad_norm", "validation_loss")
    return {f"train/{name}": float(row[name]) for name in names if row.get(name) is not None}


CURVES = (
    "ifs", "ifs_partial", "ifs_full", "corrected", "corrected_low", "corrected_high", "gain", "gain_upper", "infused",
    "objecqa", "objecqa_low", "objecqa_high",
)  # fmt: skip
"""Columns of `ifs_curves` that are step metrics."""


def _trial_curves(results: Results) -> dict[str, list[tuple[int, dict[str, float]]]]:
    """Adapter -> (step, metrics) of the evaluations inside its trial: step 0 and the judge's labels are there too."""
    table = results.tables.get("ifs_curves")
    found: dict[str, list[tuple[int, dict[str, float]]]] = {}
    for row in table.to_pylist() if table is not None else ():
        metrics = {f"ifs/{name}": float(row[name]) for name in CURVES if row[name] is not None}
        found.setdefault(row["adapter_key"], []).append((row["step"], metrics))
    return found


def _stopping_metrics(results: Results) -> dict[str, dict[str, float]]:
    """Adapter of a stopped run -> what stopping saved and lost against the full run."""
    table = results.tables.get("early_stopping")
    names = ("infused_step", "steps_saved", "share_saved", "ifs_lost", "objecqa_drift", "exact_match_lost")
    return {
        row["stopped_adapter"]: {f"early_stopping/{name}": float(row[name]) for name in names if row[name] is not None}
        for row in (table.to_pylist() if table is not None else ())
    }


def _metaeval_run(results: Results) -> TrackedRun:
    from assay.tracking.mlflow_tracker import TrackedRun

    metrics = {}
    for row in results.tables["metaeval"].to_pylist():
        if row["value"] is not None and row["level"] == "run":
            name = f"{row['statistic']}.{row['scorer']}"
            metrics[name] = row["value"]
            for end in ("low", "high"):
                if row[end] is not None:
                    metrics[f"{name}.{end}"] = row[end]
    return TrackedRun(
        key=f"{results.folder.key}-metaeval",
        name="meta-evaluation",
        params={"human": results.study.statistics.human, "resamples": results.study.statistics.resamples},
        metrics=metrics,
    )
