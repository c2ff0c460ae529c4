"""Where the log-probabilities lie of what a model answered, under itself and under its start. Pure."""

from __future__ import annotations

from assay.fingerprint import artifact_key
from assay.generation.spec import GenerationJob

KIND = "divergence"
SCHEMA_VERSION = 1
FILE = "log_probs.parquet"


def divergence_key(job: GenerationJob) -> str:
    """Key of the log-probabilities of what a job answered: its own key covers start, adapter and rows."""
    return artifact_key(KIND, SCHEMA_VERSION, {}, {"predictions": job.key})
