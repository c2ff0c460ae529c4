"""Answers as MLflow traces: the prompt and the answer, and each score as an assessment, the judge's with its reply."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import mlflow
from mlflow.entities import AssessmentError, AssessmentSource
from mlflow.tracking import MlflowClient

from assay.tracking.mlflow_tracker import KEY_TAG

RUN = "mlflow.sourceRun"
"""Metadata of a trace that links it to a run."""


@dataclass(frozen=True)
class TrackedAnswer:
    """One answer and what was said of it."""

    key: str
    """Names the trace across reruns."""
    name: str
    prompt: str
    answer: str
    reference: str
    scores: Mapping[str, float | str]
    """By scorer: its rating, or why there is none."""
    judge: str
    """Which of the scorers is the judge; empty without one."""
    judge_model: str
    reply: str
    """The judge's raw reply."""
    tags: Mapping[str, str]


def write_traces(uri: str, experiment_id: str, run_id: str, answers: Sequence[TrackedAnswer]) -> int:
    """Write those that are not there yet.

    Args:
        uri: tracking URI.
        experiment_id: of the study.
        run_id: the study's parent run.
        answers: few; each takes about a fifth of a second.

    Returns:
        How many were written.
    """
    client = MlflowClient(tracking_uri=uri)
    written = 0
    with _tracking_at(uri):
        for answer in answers:
            query = f"tags.`{KEY_TAG}` = '{answer.key}'"
            if not client.search_traces(locations=[experiment_id], filter_string=query, max_results=1):
                _write(experiment_id, run_id, answer)
                written += 1
    return written


def _write(experiment_id: str, run_id: str, answer: TrackedAnswer) -> None:
    span = mlflow.start_span_no_context(
        name=answer.name,
        inputs={"prompt": answer.prompt, "reference": answer.reference},
        tags={**answer.tags, KEY_TAG: answer.key},
        metadata={RUN: run_id},
        experiment_id=experiment_id,
    )
    span.set_outputs(answer.answer)
    span.end()
    for scorer, value in answer.scores.items():
        is_judge = scorer == answer.judge
        source = AssessmentSource("LLM_JUDGE" if is_judge else "CODE", answer.judge_model if is_judge else scorer)
        is_rated = not isinstance(value, str)
        mlflow.log_feedback(
            trace_id=span.trace_id,
            name=scorer,
            value=value if is_rated else None,
            error=None if is_rated else AssessmentError("unscored", str(value)),
            source=source,
            rationale=answer.reply if is_judge else None,
        )


@contextlib.contextmanager
def _tracking_at(uri: str) -> Iterator[None]:
    """MLflow's tracing knows one tracking URI per process."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
