"""Where a study is tracked: no part of its identity."""

from __future__ import annotations

from assay.config import Config


class TrackingConfig(Config):
    """Where runs are tracked."""

    uri: str | None = None
    """MLflow tracking URI; None is SQLite beside the artifacts (`<storage>/mlflow.db`)."""
    experiment: str | None = None
    """MLflow experiment; default: the study's name."""
