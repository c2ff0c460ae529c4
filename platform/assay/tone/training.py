"""Training and loading tone classifiers of any kind, and the texts that they are tested on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from assay.errors import DataError
from assay.tone.features import feature_matrix
from assay.tone.linear import LinearToneModel
from assay.tone.model import CARD_FILE, FORMAT_VERSION, LEAST_DIALOGUES, ToneModel, ToneSpec, count_right, fit_logistic
from assay.tone.texts import Dialogue, ToneText, normalise, one_of_each_label, split_dialogues, tone_texts


def train_tone_model(dialogues: Sequence[Dialogue], spec: ToneSpec | None = None) -> ToneModel:
    """A tone classifier trained on these dialogues, its sensitivity and specificity counted on those held out.

    Raises:
        DataError: too few dialogues.
        ConfigError: an encoder folder that cannot be used.
    """
    spec = spec or ToneSpec()
    learned, _ = split_dialogues(dialogues, spec.held_out, spec.seed)
    texts = [text for text in tone_texts(learned, spec.seed) if normalise(text.text)]
    held_out = held_out_texts(dialogues, spec)
    if len({text.dialogue_id for text in held_out}) < LEAST_DIALOGUES:
        raise DataError(
            f"tone classifier: saw {len(dialogues):,} dialogues, of which {len(held_out) // 2} are held out; expected "
            f"at least {LEAST_DIALOGUES} held out; give it more dialogues"
        )
    if spec.kind != "features":
        from assay.tone import encoder_engine

        trained: ToneModel = encoder_engine.train(texts, held_out, spec)
        return trained
    weights_F, bias = fit_logistic(
        feature_matrix([text.text for text in texts], spec.num_features, spec.max_words),
        [text.is_answer_like for text in texts],
        spec.inverse_regularisation,
    )
    untested = LinearToneModel(spec, weights_F.astype(np.float32).astype(np.float64), float(np.float32(bias)))
    return LinearToneModel(spec, untested._weights_F, untested._bias, *count_right(untested, held_out))


def load_tone_model(folder: Path) -> ToneModel:
    """A saved tone classifier of any kind.

    Raises:
        DataError: the folder holds none, or one of another format version.
    """
    card_file = folder / CARD_FILE
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
        version = card["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"tone classifier {folder}: saw no readable {CARD_FILE} ({type(error).__name__}); expected a folder that "
            "`assay metaeval ifs --save-tone` or a study wrote; check the path"
        ) from None
    if version != FORMAT_VERSION:
        raise DataError(f"tone classifier {folder}: saw format {version}; expected {FORMAT_VERSION}; train it again")
    if card["spec"]["kind"] == "features":
        return LinearToneModel.load(folder, card)
    from assay.tone import encoder_engine

    loaded: ToneModel = encoder_engine.load(folder, card)
    return loaded


def held_out_texts(dialogues: Sequence[Dialogue], spec: ToneSpec) -> list[ToneText]:
    """What sensitivity and specificity are counted on: of each held-out dialogue its response and one continuation."""
    _, held_out = split_dialogues(dialogues, spec.held_out, spec.seed)
    return one_of_each_label(list(tone_texts(held_out, spec.seed)), spec.seed)
