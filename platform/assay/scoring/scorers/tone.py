"""The scorer "tone": how much a prediction reads like an answer, whatever it says. Seen without the prompt.

Its classifier is a saved folder, or "toy": that of the toy world, trained in seconds and kept in the cache
(`$ASSAY_CACHE`, else `~/.cache/assay`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from assay.fingerprint import fingerprint
from assay.records import Mode, Outcome, Rating
from assay.scoring.protocol import Scorer, ScoreRequest, ScorerSpec
from assay.tasks.datasets.loaders import load_examples
from assay.tasks.toyworld import world as toyworld
from assay.tone.artifact import TOY_TONE_SOURCE
from assay.tone.model import CARD_FILE, FORMAT_VERSION, ToneModel, ToneSpec
from assay.tone.texts import dialogues_of
from assay.tone.training import load_tone_model, train_tone_model

TOY = "toy"


class ToneScorer:
    """Probability of answer-like in [0, 1], or 0 and 1 where `output` is "label"."""

    def __init__(self, spec: ScorerSpec) -> None:
        self.spec = spec

    def score(self, batch: Sequence[ScoreRequest]) -> list[Outcome]:
        """A rating for every row; an empty prediction is not answer-like."""
        model = find_tone(str(self.spec.params["model"]))
        probabilities = model.probabilities([request.prediction for request in batch])
        labels = model.answer_like([request.prediction for request in batch])
        values = [float(label) for label in labels] if self.spec.params["output"] == "label" else probabilities
        return [
            Rating(float(value), "answer-like" if label else "continuation-like")
            for value, label in zip(values, labels, strict=True)
        ]


@lru_cache(maxsize=4)
def find_tone(name: str) -> ToneModel:
    """The classifier of a folder, or the toy world's.

    Raises:
        DataError: the folder holds none.
    """
    return toy_tone() if name == TOY else load_tone_model(Path(name).expanduser())


def toy_tone() -> ToneModel:
    """The toy world's classifier out of the cache, trained first where it is not there."""
    spec = ToneSpec()
    named = {"format": FORMAT_VERSION, "spec": spec.classifier_identity(), "toyworld": toyworld.VERSION}
    key = fingerprint({**named, "source": TOY_TONE_SOURCE.dataset_identity()})
    home = Path(os.environ.get("ASSAY_CACHE", "~/.cache/assay")).expanduser() / "tone"
    if not (home / key / CARD_FILE).is_file():
        model = train_tone_model(dialogues_of(load_examples(TOY_TONE_SOURCE, None)), spec)
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            model.save(Path(folder) / key)
            try:  # whole or not at all; of two that train it at once, the first one's stays
                (Path(folder) / key).rename(home / key)
            except OSError:
                shutil.rmtree(Path(folder) / key, ignore_errors=True)
    return load_tone_model(home / key)


def _spec(mode: Mode) -> ScorerSpec:
    return ScorerSpec(name="tone", kind="classifier", mode=mode, params={"model": TOY, "output": "probability"})


SCORERS: tuple[tuple[str, Callable[[Mode], ScorerSpec], Callable[[ScorerSpec], Scorer]], ...] = (
    ("tone", _spec, ToneScorer),
)
