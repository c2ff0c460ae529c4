"""Answers in MLflow: a trace each, its scores as assessments, linked to the study's run, and written once."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow.tracking import MlflowClient

from assay.tracking.mlflow_traces import RUN, TrackedAnswer
from assay.tracking.mlflow_tracker import MlflowTracker, TrackedRun


def answers(count: int) -> list[TrackedAnswer]:
    return [
        TrackedAnswer(
            key=f"k{number}",
            name=f"sst2 row-{number}",
            prompt=f"Is it good? {number}",
            answer="positive",
            reference="negative",
            scores={"exact_match": 0.0, "heuristic": "no heuristic for this task", "judge": 0.3},
            judge="judge",
            judge_model="rubric",
            reply="3\n\nIt names the wrong label.",
            tags={"assay.set": "sst2"},
        )
        for number in range(count)
    ]


def test_answers_are_traces_with_their_scores_and_a_rerun_adds_none(tmp_path: Path) -> None:
    before = mlflow.get_tracking_uri()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = MlflowTracker(uri, "quickstart", f"file://{tmp_path}/files")
    run = tracker.study_run(TrackedRun(key="study", name="quickstart"))
    assert tracker.answers(run, answers(2)) == 2
    assert tracker.answers(run, answers(3)) == 1
    assert mlflow.get_tracking_uri() == before
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("quickstart")
    assert experiment is not None
    traces = client.search_traces(locations=[experiment.experiment_id])
    assert sorted(trace.info.tags["assay.key"] for trace in traces) == ["k0", "k1", "k2"]
    found = traces[0]
    assert found.info.trace_metadata[RUN] == run
    by_name = {assessment.name: assessment for assessment in found.info.assessments}
    assert by_name["judge"].feedback.value == 0.3
    assert by_name["judge"].rationale.startswith("3\n\nIt names")
    assert (by_name["judge"].source.source_type, by_name["judge"].source.source_id) == ("LLM_JUDGE", "rubric")
    assert by_name["exact_match"].source.source_type == "CODE"
    assert by_name["heuristic"].feedback.value is None
    assert by_name["heuristic"].feedback.error.error_message == "no heuristic for this task"
