"""Where a study is tracked: no part of its identity."""

from __future__ import annotations

from pydantic import Field

from assay.config import Config


class TrackingConfig(Config):
    """Where runs are tracked."""

    uri: str | None = None
    """MLflow tracking URI; None is SQLite beside the artifacts (`<storage>/mlflow.db`)."""
    experiment: str | None = None
    """MLflow experiment; default: the study's name."""
    traces: int = Field(20, ge=0, le=1000)
    """Answers that are shown as MLflow traces, their scores as assessments with the judge's raw reply: those that the
    report's browser shows first. Each takes about a fifth of a second."""
