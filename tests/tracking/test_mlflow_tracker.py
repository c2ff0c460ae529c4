"""MLflow runs: one per key however often they are written, with metrics that are points of one curve."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.errors import InputError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


def test_a_rerun_leaves_one_run_per_key_and_one_point_per_step(store: Path) -> None:
    from mlflow.tracking import MlflowClient

    from assay.tracking.mlflow_tracker import MlflowTracker, TrackedRun, default_uri

    uri = default_uri(store)
    history = [(step, {"train/loss": 1 / step, "bad": float("nan")}) for step in range(1, 1501)]
    cell = TrackedRun("c", "cell", {"lr": 0.1, **{f"p{i}": i for i in range(150)}}, {"truth": 0.5}, history)
    for _ in range(2):
        tracker = MlflowTracker(uri, "study", str(store / "files"))
        parent = tracker.study_run(TrackedRun("s", "study", seconds=90.0))
        child = tracker.child_run(parent, cell)
        tracker.files(parent, {"tables/x.json": b"[]"})
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("study").experiment_id])
    assert len(runs) == 2
    stored = client.get_run(child)
    assert stored.data.tags["mlflow.parentRunId"] == parent
    assert len(stored.data.params) == 151
    assert stored.data.metrics["truth"] == 0.5
    assert "bad" not in stored.data.metrics
    assert len(client.get_metric_history(child, "train/loss")) == 1500
    assert [item.path for item in client.list_artifacts(parent, "tables")] == ["tables/x.json"]
    assert tracker.existing("cell", parent) == {"c": child}
    times = client.get_run(parent).info
    assert 90_000 <= times.end_time - times.start_time < 150_000
    # models are trained here, and no traces are written
    assert client.get_experiment_by_name("study").tags["mlflow.experimentKind"] == "custom_model_development"


OPEN = """
import sys
from assay.tracking.mlflow_tracker import MlflowTracker
MlflowTracker(sys.argv[1], sys.argv[2], sys.argv[3])
"""


def test_two_studies_may_make_the_store_at_once(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    command = [sys.executable, "-W", "ignore", "-c", OPEN, uri]
    started = [subprocess.Popen([*command, f"study {i}", str(tmp_path)], stderr=subprocess.PIPE) for i in range(2)]
    for process in started:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said.decode()[-2000:]


def test_an_unusable_uri_is_one_line() -> None:
    from assay.tracking.mlflow_tracker import MlflowTracker

    with pytest.raises(InputError) as caught:
        MlflowTracker("sqlite:////proc/nowhere/x.db", "study")
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_told_within_half_a_minute() -> None:
    from assay.tracking.mlflow_tracker import MlflowTracker

    started = time.monotonic()
    with pytest.raises(InputError):
        MlflowTracker("http://127.0.0.1:9", "study")
    assert time.monotonic() - started < 30


def test_studies_that_share_an_adapter_have_a_run_each(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    from assay.tracking.mlflow_tracker import MlflowTracker, TrackedRun, default_uri

    uri = default_uri(tmp_path)
    tracker = MlflowTracker(uri, "shared", str(tmp_path / "files"))
    parents = [tracker.study_run(TrackedRun(key, key)) for key in ("one", "two")]
    children = [
        tracker.child_run(parent, TrackedRun("adapter", "cell", metrics={name: 0.5}))
        for parent, name in zip(parents, ("a.truth", "b.truth"), strict=True)
    ]
    assert children[0] != children[1]
    found = [MlflowClient(tracking_uri=uri).get_run(child).data.metrics for child in children]
    assert found == [{"a.truth": 0.5}, {"b.truth": 0.5}]
    assert tracker.existing("cell", parents[1]) == {"adapter": children[1]}


def test_a_parameter_that_changed_is_told_and_no_error(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    from assay.tracking.mlflow_tracker import MlflowTracker, TrackedRun, default_uri

    uri = default_uri(tmp_path)
    tracker = MlflowTracker(uri, "moved", str(tmp_path / "files"))
    for base in ("/old/base", "/new/base"):
        run = tracker.study_run(TrackedRun("s", "study", {"base": base}, {"cells": 3}))
    data = MlflowClient(tracking_uri=uri).get_run(run).data
    assert data.params == {"base": "/old/base"}
    assert data.tags["now.base"] == "/new/base"


def test_a_deleted_experiment_comes_back(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    from assay.tracking.mlflow_tracker import MlflowTracker, TrackedRun, default_uri

    uri = default_uri(tmp_path)
    first = MlflowTracker(uri, "gone", str(tmp_path / "files")).study_run(TrackedRun("s", "study"))
    client = MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    again = MlflowTracker(uri, "gone", str(tmp_path / "files")).study_run(
        TrackedRun("s", "study", metrics={"cells": 1})
    )
    assert client.get_run(again).data.metrics == {"cells": 1}
    assert client.get_experiment_by_name("gone").lifecycle_stage == "active"
    assert first == again
