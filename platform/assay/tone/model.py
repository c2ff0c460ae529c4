"""The tone classifier: does a text read like an answer, or like the rest of a question? Seen without the prompt.

    model = train_tone_model(dialogues_of(examples), ToneSpec())      # or load_tone_model(folder)
    model.answer_like(texts)          # one bool per text; what IFS counts
    model.probabilities(texts)        # chance of answer-like, in [0, 1], one per text
    model.sensitivity                 # Counted(num_right, n): answers of held-out dialogues called answer-like
    model.specificity                 # Counted(num_right, n): their continuations called continuation-like

`Counted` is a pair of whole numbers, as `metaeval.statistics.ifs.corrected_ifs` takes them. An empty text is
continuation-like with probability 0: who writes nothing has not answered. Three kinds of model stand behind this:
hashed features with a logistic regression (`linear`; no torch), and a frozen or a fine-tuned encoder
(`encoder_engine`); `training` makes and reads them all. On disk: `tone.json` and safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from pydantic import Field, model_validator

from assay.config import NOT_IDENTITY, Config, validate
from assay.tone.texts import ToneText, normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT_VERSION = 1
"""Of the files; raised whenever older code could not read them, or features change."""
CARD_FILE, WEIGHTS_FILE = "tone.json", "weights.safetensors"
THRESHOLD = 0.5
"""A text is answer-like from this probability on; training weighs both labels alike."""
LEAST_DIALOGUES = 50
"""Held-out dialogues below which sensitivity and specificity say nothing."""


class ToneSpec(Config):
    """How a tone classifier is trained."""

    kind: Literal["features", "embedding", "encoder"] = "features"
    """"features": hashed words and characters. "embedding": a frozen sentence encoder. Both with a logistic regression.
    "encoder": a sequence classifier, fine-tuned."""
    seed: int = 0
    """Of cuts, of the held-out dialogues, and of training."""
    held_out: float = Field(0.2, gt=0, lt=1)
    """Share of dialogues that sensitivity and specificity are measured on."""
    max_words: int = Field(64, ge=4)
    """Words at the beginning of a text that are read: answers are cut at a token limit, training texts are not."""
    num_features: int = Field(2**18, ge=2**10)
    """Places of the hashed features."""
    inverse_regularisation: float = Field(10.0, gt=0)
    """C of the logistic regression."""
    encoder: Annotated[str, NOT_IDENTITY] = ""
    """Of the two kinds on an encoder: its local folder. Identity is what the folder holds, never where it lies."""
    learning_rate: float = Field(5e-5, gt=0)
    """Of "encoder": peak rate."""
    num_epochs: int = Field(2, ge=1)
    """Of "encoder"."""
    batch_size: int = Field(32, ge=1)
    """Of "encoder": texts per step."""

    @model_validator(mode="after")
    def _encoder_where_needed(self) -> ToneSpec:
        if bool(self.encoder) != (self.kind != "features"):
            raise ValueError(
                f"kind {self.kind!r} and encoder {self.encoder!r}; an encoder goes with the other two kinds"
            )
        return self

    def classifier_identity(self) -> dict[str, object]:
        """What names a classifier beside its inputs' content: of each kind the fields that it reads."""
        own = {
            "features": {"num_features", "inverse_regularisation"},
            "embedding": {"inverse_regularisation"},
            "encoder": {"learning_rate", "num_epochs", "batch_size"},
        }
        kept = {"kind", "seed", "held_out", "max_words", *own[self.kind]}
        return {name: value for name, value in self.identity().items() if name in kept}


class Counted(NamedTuple):
    """A rate as counts."""

    num_right: int
    n: int

    @property
    def rate(self) -> float:
        """In [0, 1]; NaN over nothing."""
        return self.num_right / self.n if self.n else float("nan")


UNTESTED = Counted(0, 0)


@runtime_checkable
class ToneModel(Protocol):
    """A trained tone classifier."""

    @property
    def spec(self) -> ToneSpec:
        """How it was trained."""
        ...

    @property
    def sensitivity(self) -> Counted:
        """Share of answers of held-out dialogues that it calls answer-like."""
        ...

    @property
    def specificity(self) -> Counted:
        """Share of continuation-like texts of held-out dialogues, one of each, that it calls so."""
        ...

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Chance that each text is answer-like, in [0, 1]; 0 for an empty one."""
        ...

    def answer_like(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is answer-like: its probability is THRESHOLD or more."""
        ...

    def save(self, folder: Path) -> None:
        """Write it as safetensors and JSON."""
        ...


def count_right(model: ToneModel, texts: Sequence[ToneText]) -> tuple[Counted, Counted]:
    """Sensitivity and specificity of a model on labelled texts."""
    found = model.answer_like([text.text for text in texts])
    answers = [label for label, text in zip(found, texts, strict=True) if text.is_answer_like]
    others = [not label for label, text in zip(found, texts, strict=True) if not text.is_answer_like]
    return Counted(sum(answers), len(answers)), Counted(sum(others), len(others))


def fit_logistic(features_NF: Any, labels: Sequence[bool], inverse_regularisation: float) -> tuple[Any, float]:
    """Weights (F,) and bias of a logistic regression in which both labels weigh alike."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=inverse_regularisation, class_weight="balanced", max_iter=1000, tol=1e-3)
    model.fit(features_NF, np.asarray(labels, dtype=int))
    return model.coef_[0], float(model.intercept_[0])


def labels_of(probabilities_N: NDArray[np.float64]) -> list[bool]:
    """Probabilities as labels."""
    return [bool(value >= THRESHOLD) for value in probabilities_N]


def drop_empty(texts: Sequence[str], probabilities_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probabilities, 0 where a text holds no letter or digit."""
    return np.where([bool(normalise(text)) for text in texts], probabilities_N, 0.0)


def write_card(model: ToneModel, folder: Path) -> None:
    """`tone.json`: format, spec and held-out counts."""
    card = {
        "format": FORMAT_VERSION,
        "spec": {**model.spec.model_dump(mode="json"), "encoder": Path(model.spec.encoder).name},
        "sensitivity": list(model.sensitivity),
        "specificity": list(model.specificity),
    }
    (folder / CARD_FILE).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def read_spec(card: dict[str, Any], folder: Path) -> ToneSpec:
    """The spec in a card."""
    return validate(ToneSpec, card["spec"], f"tone classifier {folder}")


def read_counts(card: dict[str, Any]) -> tuple[Counted, Counted]:
    """Sensitivity and specificity in a card."""
    return Counted(*card["sensitivity"]), Counted(*card["specificity"])
