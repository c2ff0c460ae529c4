"""Studies in MLflow: a parent run per study, a child run per cell, a run for the meta-evaluation.

Runs are found again by the tag `assay.key`, so that a study that was killed and run again, or finished twice,
leaves one run per cell and not two. The file store is gone from MLflow 3, so the default is SQLite.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from assay.errors import InputError
from assay.fingerprint import content_hash

if TYPE_CHECKING:
    from assay.tracking.mlflow_traces import TrackedAnswer

KEY_TAG = "assay.key"
CONTENT_TAG = "assay.content"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""What the experiment is for. MLflow's pages show its runs under "Model training"."""
METRICS_PER_CALL = 1000
"""MLflow refuses larger batches."""
PARAMS_PER_CALL = 100
HTTP_RETRIES, HTTP_TIMEOUT_S = 2, 20
"""MLflow's own are 7 and 120: minutes of silence where no server listens."""


@dataclass(frozen=True)
class TrackedRun:
    """What one MLflow run shows."""

    key: str
    """Names the run across reruns; unique within an experiment and role."""
    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[tuple[int, Mapping[str, float]]] = ()
    """(optimizer step, metrics) in order of steps."""
    tags: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """How long its work took, shown as the run's duration."""


class MlflowTracker:
    """Writes one study's runs. Every call is idempotent."""

    def __init__(self, uri: str, experiment: str, artifact_root: str | None = None) -> None:
        """Open (and at first use create) the experiment.

        Args:
            uri: tracking URI: `sqlite:///path/mlflow.db`, `http://server:5000`, ...
            experiment: one per study.
            artifact_root: where a new experiment keeps its files; None leaves it to the server.

        Raises:
            InputError: the URI cannot be used.
        """
        _quiet()
        self.uri = uri
        try:
            # the schema migration prints a page, and two processes at it would be in each other's way
            with _alone(uri), contextlib.redirect_stderr(io.StringIO()):
                self._client = MlflowClient(tracking_uri=uri)
                found = self._client.get_experiment_by_name(experiment)
                if found is None:
                    self._experiment = self._client.create_experiment(experiment, artifact_root, EXPERIMENT_TAGS)
                else:
                    self._experiment = found.experiment_id
                    if found.lifecycle_stage == "deleted":  # MLflow makes no second one of the name
                        self._client.restore_experiment(found.experiment_id)
        except (MlflowException, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"tracking uri {uri}: {reason}; expected a store that MLflow can open; check --set tracking.uri"
            ) from error

    def study_run(self, run: TrackedRun) -> str:
        """The study's parent run; returns its id."""
        return self._write(run, role="study", parent=None)

    def child_run(self, parent: str, run: TrackedRun, role: str = "cell") -> str:
        """A run below the study's own; returns its id."""
        return self._write(run, role=role, parent=parent)

    def existing(self, role: str, parent: str) -> dict[str, str]:
        """Run ids by key of all runs of a role that are finished below a parent."""
        return {key: run.info.run_id for key, run in self._runs(role, parent).items() if run.info.status == "FINISHED"}

    def answers(self, run_id: str, answers: Sequence[TrackedAnswer]) -> int:
        """Traces of answers, linked to a run; returns how many are new."""
        from assay.tracking.mlflow_traces import write_traces

        return write_traces(self.uri, self._experiment, run_id, answers)

    def files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Files of a run: tables, figures, the report."""
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            self._client.log_artifacts(run_id, folder)

    def _runs(self, role: str, parent: str) -> dict[str, Run]:
        found: dict[str, Run] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                f"tags.`assay.role` = '{role}' and tags.`mlflow.parentRunId` = '{parent}'",
                max_results=1000,
                page_token=token,
            )
            found |= {run.data.tags[KEY_TAG]: run for run in page if KEY_TAG in run.data.tags}
            token = page.token
            if not token:
                return found

    def _write(self, run: TrackedRun, role: str, parent: str | None) -> str:
        found = self._find(run.key, role, parent)
        content = _content(run)
        if found is not None and found.data.tags.get(CONTENT_TAG) == content and found.info.status == "FINISHED":
            return str(found.info.run_id)  # a metric logged twice would be two points of its curve
        now_ms = int(time.time() * 1000)
        run_id = found.info.run_id if found is not None else None
        tags = {**run.tags, KEY_TAG: run.key, CONTENT_TAG: content, "assay.role": role}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        if run_id is None:
            began_ms = now_ms - int(1000 * run.seconds)
            run_id = self._client.create_run(self._experiment, began_ms, tags, run.name).info.run_id
        metrics = [Metric(_name(name), value, now_ms, 0) for name, value in run.metrics.items() if value == value]
        for step, values in run.history:
            metrics += [Metric(_name(name), value, now_ms, step) for name, value in values.items() if value == value]
        params = [Param(_name(name), str(value)[:6000]) for name, value in run.params.items()]
        if found is not None:  # MLflow changes no parameter: what differs now (a folder that moved) is a tag
            kept = found.data.params
            tags |= {
                f"now.{param.key}": param.value for param in params if kept.get(param.key, param.value) != param.value
            }
            params = [param for param in params if param.key not in kept]
        batches = [metrics[i : i + METRICS_PER_CALL] for i in range(0, len(metrics), METRICS_PER_CALL)] or [[]]
        for number, batch in enumerate(batches):
            first = number == 0
            self._client.log_batch(
                run_id,
                metrics=batch,
                params=params[:PARAMS_PER_CALL] if first else (),
                tags=[RunTag(key, value) for key, value in tags.items()] if first else (),
            )
        for start in range(PARAMS_PER_CALL, len(params), PARAMS_PER_CALL):
            self._client.log_batch(run_id, params=params[start : start + PARAMS_PER_CALL])
        self._client.set_terminated(run_id)
        return run_id

    def _find(self, key: str, role: str, parent: str | None) -> Run | None:
        """The run of this key below this parent: studies that share an adapter have a run each."""
        query = f"tags.`{KEY_TAG}` = '{key}' and tags.`assay.role` = '{role}'"
        if parent is not None:
            query += f" and tags.`mlflow.parentRunId` = '{parent}'"
        found = self._client.search_runs([self._experiment], query, max_results=1)
        return found[0] if found else None


def default_uri(storage: Path) -> str:
    """SQLite beside the artifacts of a local store."""
    return f"sqlite:///{storage}/mlflow.db"


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """For a SQLite store: no other process of this machine opens it at the same time."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    with Path(uri.removeprefix("sqlite:///") + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _content(run: TrackedRun) -> str:
    """Names what the run says, to tell a rerun from a change."""
    text = repr((sorted(run.params.items()), sorted(run.metrics.items()), list(run.history), sorted(run.tags.items())))
    return content_hash(text.encode())


def _name(text: str) -> str:
    """MLflow's names: letters, digits and a few marks."""
    return "".join(char if char.isalnum() or char in "_-./ :" else "_" for char in text)


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")  # a trace is there once it is written
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(HTTP_RETRIES))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(HTTP_TIMEOUT_S))
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
