"""What stages stored, read back as rows."""

from __future__ import annotations

from assay.generation.spec import KIND as PREDICTIONS_KIND
from assay.generation.spec import PREDICTIONS_FILE
from assay.mixtures.sampling import SUMMARY_FILE, TRAIN_FILE, VALIDATION_FILE, Mixture
from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.records import MixtureRow, Prediction, from_table
from assay.store import Store


def read_mixture(store: Store, key: str) -> Mixture:
    """A stored mixture."""
    train, validation = (
        from_table(store.read_table(MIXTURE_KIND, key, name), MixtureRow) for name in (TRAIN_FILE, VALIDATION_FILE)
    )
    return Mixture(key, train, validation, dict(store.read_json(MIXTURE_KIND, key, SUMMARY_FILE)))


def read_predictions(store: Store, key: str) -> list[Prediction]:
    """The rows of a predictions artifact, sorted by example id."""
    return from_table(store.read_table(PREDICTIONS_KIND, key, PREDICTIONS_FILE), Prediction)
