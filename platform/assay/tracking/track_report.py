"""Reports on judges as MLflow runs: a parent per command, a child per run of a judge, tables and figure as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.fingerprint import fingerprint
from assay.store import Store
from assay.tracking.uri import check_tracking_uri

OFF = "none"


def tracking_uri(asked: str | None, storage: str, field: str = "--tracking") -> str | None:
    """Where runs go: what was asked for, else SQLite in a local storage; None for `none` or a remote storage.

    Raises:
        ConfigError: a URI with a password in it. Ask before anything is paid for.
    """
    if asked == OFF:
        return None
    if asked:
        return check_tracking_uri(asked, field)
    store = Store(storage)
    return f"sqlite:///{store.uri}/mlflow.db" if store.is_local else None


def track_report(
    uri: str,
    experiment: str,
    name: str,
    params: Mapping[str, object],
    children: Sequence[tuple[str, Mapping[str, object], Mapping[str, Any]]],
    files: Mapping[str, bytes],
    role: str = "judge",
) -> None:
    """Write the runs; those that are there with the same content are left as they are.

    Args:
        uri: tracking URI.
        experiment: its name.
        name: of the parent run.
        params: what names the parent: equal parameters are the same run, whose numbers are replaced.
        children: (name, parameters, numbers) of each child; numbers that are None are left out.
        files: by name, kept with the parent.
        role: what each child is a run of.

    Raises:
        InputError: the tracking URI cannot be used.
    """
    from assay.tracking.mlflow_tracker import MlflowTracker, TrackedRun

    local = uri.removeprefix("sqlite:///")
    root = None
    if uri.startswith("sqlite:///"):
        Path(local).parent.mkdir(parents=True, exist_ok=True)
        root = f"file://{Path(local).resolve().parent / 'mlflow-artifacts'}"
    tracker = MlflowTracker(uri, experiment, root)
    key = fingerprint([experiment, dict(params)])
    parent = tracker.study_run(TrackedRun(key=key, name=name, params=params, metrics={"runs": len(children)}))
    tracker.files(parent, files)
    for child, child_params, numbers in children:
        metrics = {metric: float(value) for metric, value in numbers.items() if value is not None}
        run = TrackedRun(fingerprint([key, dict(child_params)]), child, child_params, metrics)
        tracker.child_run(parent, run, role=role)
