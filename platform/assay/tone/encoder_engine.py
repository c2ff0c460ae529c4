"""Tone classifiers on an encoder: frozen, with a logistic regression on its embeddings, or fine-tuned as a whole.

Any encoder folder that transformers reads: the weights come from safetensors, code that lies beside them is never run.
A saved classifier carries its encoder, so that it needs no other folder.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file
from transformers.utils import logging as transformers_logging

from assay.errors import ConfigError
from assay.tone.model import (
    UNTESTED,
    WEIGHTS_FILE,
    Counted,
    ToneSpec,
    count_right,
    drop_empty,
    fit_logistic,
    labels_of,
    read_counts,
    read_spec,
    write_card,
)
from assay.tone.texts import ToneText, normalise

ENCODER_FOLDER = "encoder"
TOKENS_PER_WORD = 2
"""Room for a word's pieces: longer texts lose their end, as they do at `max_words`."""
INFERENCE_BATCH = 64
WARMUP_SHARE = 0.1
WEIGHT_DECAY = 0.01


class EmbeddingToneModel:
    """Mean of a frozen encoder's last layer, unit length, and a logistic regression."""

    def __init__(self, spec, encoder, tokenizer, weights_H, bias, sensitivity=UNTESTED, specificity=UNTESTED) -> None:
        self.spec: ToneSpec = spec
        self.sensitivity: Counted = sensitivity
        self.specificity: Counted = specificity
        self._encoder, self._tokenizer = encoder, tokenizer
        self._weights_H, self._bias = weights_H, bias

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        logits_N = embed(self._encoder, self._tokenizer, texts, self.spec) @ self._weights_H + self._bias
        return drop_empty(texts, 1.0 / (1.0 + np.exp(-logits_N)))

    def answer_like(self, texts: Sequence[str]) -> list[bool]:
        return labels_of(self.probabilities(texts))

    def save(self, folder: Path) -> None:
        _save_encoder(self._encoder, self._tokenizer, folder)
        weights = {"weights": self._weights_H.astype(np.float32), "bias": np.asarray([self._bias], dtype=np.float32)}
        save_file(weights, folder / WEIGHTS_FILE)
        write_card(self, folder)


class EncoderToneModel:
    """A sequence classifier of two labels; 1 is answer-like."""

    def __init__(self, spec, encoder, tokenizer, sensitivity=UNTESTED, specificity=UNTESTED) -> None:
        self.spec: ToneSpec = spec
        self.sensitivity: Counted = sensitivity
        self.specificity: Counted = specificity
        self._encoder, self._tokenizer = encoder, tokenizer

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        self._encoder.eval()
        found = np.zeros(len(texts))
        with torch.inference_mode():
            for places, batch in _batches(self._tokenizer, texts, self.spec):
                found[places] = self._encoder(**batch).logits.float().softmax(-1)[:, 1].numpy()
        return drop_empty(texts, found)

    def answer_like(self, texts: Sequence[str]) -> list[bool]:
        return labels_of(self.probabilities(texts))

    def save(self, folder: Path) -> None:
        _save_encoder(self._encoder, self._tokenizer, folder)
        write_card(self, folder)


def train(texts: Sequence[ToneText], held_out: Sequence[ToneText], spec: ToneSpec):
    """A classifier of the spec's kind.

    Args:
        texts: to learn from.
        held_out: what its sensitivity and specificity are counted on.
        spec: `encoder` names a local folder.

    Raises:
        ConfigError: the folder is no encoder, or holds its weights in an unsafe format only.
    """
    labels = [text.is_answer_like for text in texts]
    if spec.kind == "embedding":
        encoder, tokenizer = _load(transformers.AutoModel, Path(spec.encoder).expanduser())
        features_NH = embed(encoder, tokenizer, [text.text for text in texts], spec)
        weights_H, bias = fit_logistic(features_NH, labels, spec.inverse_regularisation)
        parts = (encoder, tokenizer, weights_H.astype(np.float32), float(np.float32(bias)))
        return EmbeddingToneModel(spec, *parts, *count_right(EmbeddingToneModel(spec, *parts), held_out))
    encoder, tokenizer = _load(
        transformers.AutoModelForSequenceClassification, Path(spec.encoder).expanduser(), seed=spec.seed, num_labels=2
    )
    _fine_tune(encoder, tokenizer, [text.text for text in texts], labels, spec)
    return EncoderToneModel(
        spec, encoder, tokenizer, *count_right(EncoderToneModel(spec, encoder, tokenizer), held_out)
    )


def load(folder: Path, card: dict):
    """What `save` of either kind wrote."""
    spec = read_spec(card, folder)
    if spec.kind == "embedding":
        tensors = load_file(folder / WEIGHTS_FILE)
        encoder, tokenizer = _load(transformers.AutoModel, folder / ENCODER_FOLDER)
        return EmbeddingToneModel(
            spec, encoder, tokenizer, tensors["weights"], float(tensors["bias"][0]), *read_counts(card)
        )
    encoder, tokenizer = _load(transformers.AutoModelForSequenceClassification, folder / ENCODER_FOLDER)
    return EncoderToneModel(spec, encoder, tokenizer, *read_counts(card))


def embed(encoder, tokenizer, texts: Sequence[str], spec: ToneSpec) -> np.ndarray:
    """Mean of the last layer over a text's tokens, divided by its length, shape (N, H)."""
    found = np.zeros((len(texts), encoder.config.hidden_size))
    encoder.eval()
    with torch.inference_mode():
        for places, batch in _batches(tokenizer, texts, spec):
            hidden_BTH = encoder(**batch).last_hidden_state
            mask_BT1 = batch["attention_mask"].unsqueeze(-1).to(hidden_BTH.dtype)
            mean_BH = (hidden_BTH * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)
            found[places] = torch.nn.functional.normalize(mean_BH.float(), dim=-1).numpy()
    return found


def _batches(tokenizer, texts: Sequence[str], spec: ToneSpec):
    """(places, tokens) of batches, short texts together; the order of the texts changes no result beyond rounding."""
    plain = [_read_part(text, spec) for text in texts]
    order = sorted(range(len(plain)), key=lambda place: len(plain[place]))
    for start in range(0, len(order), INFERENCE_BATCH):
        places = order[start : start + INFERENCE_BATCH]
        yield places, _tokens(tokenizer, [plain[place] for place in places], spec)


def _read_part(text: str, spec: ToneSpec) -> str:
    return " ".join(normalise(text).split()[: spec.max_words])


def _tokens(tokenizer, texts: list[str], spec: ToneSpec):
    return tokenizer(
        texts, padding=True, truncation=True, max_length=TOKENS_PER_WORD * spec.max_words, return_tensors="pt"
    )


def _fine_tune(encoder, tokenizer, texts: Sequence[str], labels: Sequence[bool], spec: ToneSpec) -> None:
    """AdamW with a linear warm-up and decay; both labels weigh alike in the loss."""
    plain = [_read_part(text, spec) for text in texts]
    share = sum(labels) / len(labels)
    weights = torch.tensor([0.5 / (1 - share), 0.5 / share])
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=spec.learning_rate, weight_decay=WEIGHT_DECAY)
    total = spec.num_epochs * math.ceil(len(plain) / spec.batch_size)
    warmup = max(1, int(total * WARMUP_SHARE))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, (total - step) / max(1, total - warmup)))
    )
    rng = random.Random(spec.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        encoder.train()
        for _ in range(spec.num_epochs):
            order = list(range(len(plain)))
            rng.shuffle(order)
            for start in range(0, len(order), spec.batch_size):
                places = order[start : start + spec.batch_size]
                logits = encoder(**_tokens(tokenizer, [plain[place] for place in places], spec)).logits
                target = torch.tensor([int(labels[place]) for place in places])
                torch.nn.functional.cross_entropy(logits, target, weight=weights).backward()
                torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
    encoder.eval()


def _load(kind, folder: Path, seed: int = 0, **options):
    """Model and tokenizer of a local folder."""
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"encoder {folder}: saw no config.json; expected a local folder of an encoder, weights as safetensors, "
            "with its tokenizer; check the path"
        )
    showed_bars, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # a new head is new on purpose
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # of the head
            model = kind.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype="float32", **options
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"encoder {folder}: cannot be loaded ({reason}); expected safetensors and a tokenizer"
        ) from None
    finally:
        transformers_logging.set_verbosity(level)
        if showed_bars:
            transformers_logging.enable_progress_bar()
    return model.eval(), tokenizer


def _save_encoder(encoder, tokenizer, folder: Path) -> None:
    encoder.save_pretrained(folder / ENCODER_FOLDER, safe_serialization=True)
    tokenizer.save_pretrained(folder / ENCODER_FOLDER)
