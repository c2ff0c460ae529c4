"""Tone classifiers as artifacts of kind "tone": trained once from a dataset's dialogues, then found by key.

    key = store_tone(store, ToneConfig(source=...), data_root)
    model, report = load_tone(store, key), tone_report(store, key)

The artifact holds the classifier (`tone.json`, safetensors) and `validation.json`: sensitivity, specificity, accuracy
and calibration on held-out dialogues with intervals, and beside them the case rule's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.config import Config
from assay.fingerprint import artifact_key, canonical_json
from assay.metaeval.statistics.bootstrap import seeded
from assay.metaeval.statistics.classifier import classifier_report
from assay.model_folders import folder_key
from assay.store import Store
from assay.tasks.datasets.loaders import materialise_dataset, read_dataset
from assay.tasks.datasets.sources import SourceSpec, toy_source
from assay.tone.model import FORMAT_VERSION, THRESHOLD, ToneModel, ToneSpec
from assay.tone.texts import Dialogue, case_rule, dialogues_of
from assay.tone.training import held_out_texts, load_tone_model, train_tone_model

KIND = "tone"
VALIDATION_FILE = "validation.json"
TOY_TONE_SOURCE = toy_source(name="toy dialogues", train=1200, validation=0, test=600)
"""Dialogues of the toy world, its held-out words and patterns among them."""


class ToneConfig(Config):
    """A tone classifier and the dialogues that it is trained on."""

    spec: ToneSpec = ToneSpec()
    source: SourceSpec = TOY_TONE_SOURCE
    """All splits are dialogues: which of them are held out, the classifier decides by question."""


TOY_TONE = ToneConfig()
"""The classifier of studies in the toy world."""


def store_tone(store: Store, config: ToneConfig, data_root: Path | str | None = None) -> str:
    """Key of the classifier; trained, tested and stored first where the store does not hold it.

    Raises:
        InputError: the dialogues cannot be read, or are too few.
    """
    dataset = materialise_dataset(store, config.source, data_root).key
    key = tone_key(config.spec, dataset)
    if store.exists(KIND, key):
        return key
    dialogues = dialogues_of(read_dataset(store, dataset))
    model = train_tone_model(dialogues, config.spec)
    report = validate_tone(model, dialogues)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        with store.writing(KIND, key, config.spec.classifier_identity()) as artifact:
            artifact.folder(Path(folder))
            artifact.json(VALIDATION_FILE, report)
    return key


def tone_key(spec: ToneSpec, dataset: str) -> str:
    """Key of the classifier that `spec` makes of a dataset's dialogues.

    Raises:
        InputError: an encoder folder that cannot be used.
    """
    encoder = folder_key(Path(spec.encoder).expanduser(), "encoder") if spec.encoder else ""
    return artifact_key(KIND, FORMAT_VERSION, spec.classifier_identity(), {"dataset": dataset, "encoder": encoder})


def load_tone(store: Store, key: str) -> ToneModel:
    """A stored classifier."""
    return load_tone_model(store.local_dir(KIND, key))


def tone_report(store: Store, key: str) -> dict[str, Any]:
    """Its validation."""
    return store.read_json(KIND, key, VALIDATION_FILE)


def validate_tone(model: ToneModel, dialogues: list[Dialogue]) -> Mapping[str, Any]:
    """Rates and calibration on the held-out dialogues, and the case rule's rates on the same texts."""
    texts = held_out_texts(dialogues, model.spec)
    report = classifier_report(
        model.probabilities([text.text for text in texts]).tolist(),
        [text.is_answer_like for text in texts],
        [case_rule(text.text) for text in texts],
        seeded("tone", canonical_json(model.spec.classifier_identity())),
        groups=[text.kind for text in texts],
        threshold=THRESHOLD,
    )
    return {**report, "num_dialogues": len(dialogues), "num_held_out": len({text.dialogue_id for text in texts})}
