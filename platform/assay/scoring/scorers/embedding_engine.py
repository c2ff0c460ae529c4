"""BERTScore and SBERT: predictions compared with references through the vectors of an encoder.

A model is loaded once per process and kept. Rows come in fixed blocks (`jobs.MODEL_ROWS`), are sorted by length and
run in batches of about equally long texts. Vectors of a block's references are kept for the next adapter's answers to
the same rows; they are made apart from the predictions, so that no batch depends on what was scored before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from assay.errors import InputError
from assay.records import Outcome, Rating
from assay.scoring.jobs import CUT, MODEL_ROWS
from assay.scoring.protocol import ScoreRequest, ScorerSpec
from assay.scoring.scorers.references import MAX_CHARS, NO_REFERENCE, TOO_LONG, references_of

MAX_PADDED_TOKENS = 8192
"""Tokens of a forward pass, padding included."""
MAX_PAIRS = 64
"""Pairs whose token vectors are compared at a time."""
KEPT_BYTES = 256 * 2**20
"""Memory for vectors of reference texts."""
MAX_TOKENS = 512
"""Tokens of a text where the encoder states no limit; longer ones are cut, as the bert-score package does."""
_LAYER_LISTS = ("encoder.layer", "layer", "transformer.layer", "encoder.block", "layers", "encoder.layers", "block")

T = TypeVar("T")


class TokenVectors(NamedTuple):
    """One text: unit vectors of its tokens, and the weight of each in the mean (0 for the marks at the ends)."""

    vectors: torch.Tensor
    weights: torch.Tensor

    @property
    def is_empty(self) -> bool:
        """Whether there are only the marks at the ends."""
        return len(self.weights) <= 2


class BertScorer:
    """BERTScore's F1 (Zhang et al. 2020): no idf, no rescaling, best over the references, 0 for an empty prediction.

    Equal to the bert-score package within rounding. `compat` knows the one reference. Every token may match the marks
    at the ends, which weigh nothing themselves: that is what the package does.
    """

    def __init__(self, spec: ScorerSpec) -> None:
        """A scorer of a resolved spec; parameter `layer`."""
        self.spec = spec
        self._kept: Kept[list[TokenVectors]] = Kept(_bytes_of_tokens)

    def score(self, batch: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, same order."""
        return in_blocks(self._block, batch)

    def _block(self, block: Sequence[ScoreRequest]) -> list[Outcome]:
        outcomes, golds = usable(block, self.spec.mode)
        texts = distinct(request.prediction for request, gold in zip(block, golds, strict=True) if gold)
        references = distinct(text for gold in golds for text in gold)
        if not texts:
            return outcomes
        encoder = load_encoder(self.spec.path, self.spec.params.get("layer"))
        of_text = dict(zip(texts, encoder.token_vectors(texts), strict=True))
        vectors = self._kept.get(references, encoder.token_vectors)
        of_reference = dict(zip(references, vectors, strict=True))
        pairs = distinct(
            (request.prediction, text) for request, gold in zip(block, golds, strict=True) for text in gold
        )
        told = cut_details(texts, references, encoder.tokenizer, encoder.max_tokens)
        f1 = dict(zip(pairs, pair_f1([(of_text[text], of_reference[gold]) for text, gold in pairs]), strict=True))
        for place, (request, gold) in enumerate(zip(block, golds, strict=True)):
            if gold:
                value = max(f1[request.prediction, text] for text in gold)
                outcomes[place] = Rating(value, told(request.prediction, gold))
        return outcomes


class SentenceScorer:
    """Cosine of the sentence vectors of prediction and reference, in strict mode the best over the references."""

    def __init__(self, spec: ScorerSpec) -> None:
        """A scorer of a resolved spec."""
        self.spec = spec
        self._kept: Kept[np.ndarray] = Kept(lambda vectors: vectors.nbytes)

    def score(self, batch: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, same order."""
        return in_blocks(self._block, batch)

    def _block(self, block: Sequence[ScoreRequest]) -> list[Outcome]:
        outcomes, golds = usable(block, self.spec.mode)
        texts = distinct(request.prediction for request, gold in zip(block, golds, strict=True) if gold)
        references = distinct(text for gold in golds for text in gold)
        if not texts:
            return outcomes
        encode = sentence_encoder(self.spec.path)
        vectors = encode(texts)
        gold_vectors = self._kept.get(references, encode)
        told = cut_details(texts, references, encode.tokenizer, encode.max_tokens)
        place_of = {text: place for place, text in enumerate(texts)}
        gold_of = {text: place for place, text in enumerate(references)}
        for place, (request, gold) in enumerate(zip(block, golds, strict=True)):
            if gold:
                own = vectors[place_of[request.prediction]]
                cosine = max(float(own @ gold_vectors[gold_of[text]]) for text in gold)
                outcomes[place] = Rating(min(1.0, max(-1.0, cosine)), told(request.prediction, gold))
        return outcomes


class Encoder:
    """A transformer whose hidden states stand for tokens."""

    def __init__(self, path: str, layer: int | None) -> None:
        """Load it.

        Raises:
            InputError: the folder cannot be loaded as an encoder, or has no such layer.
        """
        transformers_logging.disable_progress_bar()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(path)
            model = AutoModel.from_pretrained(path, dtype=torch.float32, use_safetensors=True)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"encoder {path}: saw {reason}; expected a transformers model; check the folder") from None
        model = model.encoder if hasattr(model, "encoder") and hasattr(model, "decoder") else model
        cut_layers(model, layer, path)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.eval().to(self.device)
        limit = getattr(model.config, "max_position_embeddings", None) or MAX_TOKENS
        if getattr(model.config, "model_type", "") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
            limit -= 2  # their positions start behind the padding mark
        stated = self.tokenizer.model_max_length
        self.max_tokens = min(limit, stated) if stated < 10**6 else min(limit, MAX_TOKENS)
        self.pad = self.tokenizer.pad_token_id or 0
        self.marks = {self.tokenizer.cls_token_id, self.tokenizer.sep_token_id}

    def token_vectors(self, texts: Sequence[str]) -> list[TokenVectors]:
        """Unit vectors of each text's tokens, in the order given; texts are stripped, as the package does."""
        stripped = [text.strip() for text in texts]
        tokens = self.tokenizer(stripped, truncation=True, max_length=self.max_tokens)["input_ids"]
        found: list[TokenVectors | None] = [None] * len(texts)
        for places in length_batches([len(row) for row in tokens], MAX_PADDED_TOKENS):
            rows = [torch.tensor(tokens[place]) for place in places]
            ids = pad_sequence(rows, batch_first=True, padding_value=self.pad).to(self.device)
            mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True).to(self.device)
            with torch.inference_mode():
                states = self.model(ids, attention_mask=mask)[0]
                states = states / states.norm(dim=-1, keepdim=True)
            for row, place in enumerate(places):
                size = len(tokens[place])
                weights = torch.tensor([float(token not in self.marks) for token in tokens[place]])
                found[place] = TokenVectors(states[row, :size].clone(), weights.to(self.device))
        return [item for item in found if item is not None]


def pair_f1(pairs: Sequence[tuple[TokenVectors, TokenVectors]]) -> list[float]:
    """F1 of greedy matching for each (prediction, reference), in [-1, 1]; 0 where one of them is empty."""
    found = [0.0] * len(pairs)
    sizes = [len(first.weights) * len(second.weights) for first, second in pairs]
    order = sorted(range(len(pairs)), key=lambda place: (-sizes[place], place))
    order = [place for place in order if not (pairs[place][0].is_empty or pairs[place][1].is_empty)]
    for start in range(0, len(order), MAX_PAIRS):
        places = order[start : start + MAX_PAIRS]
        texts, golds = [pairs[place][0] for place in places], [pairs[place][1] for place in places]
        text_weights, gold_weights = _padded([t.weights for t in texts]), _padded([g.weights for g in golds])
        similarity = torch.bmm(
            _padded([text.vectors for text in texts]), _padded([gold.vectors for gold in golds]).transpose(1, 2)
        )
        # padding has cosine 0 with everything, as in the package
        precision = (similarity.amax(dim=2) * text_weights).sum(dim=1) / text_weights.sum(dim=1)
        recall = (similarity.amax(dim=1) * gold_weights).sum(dim=1) / gold_weights.sum(dim=1)
        f1 = (2 * precision * recall / (precision + recall)).nan_to_num(0.0, 0.0, 0.0)
        for place, value in zip(places, f1.tolist(), strict=True):
            found[place] = min(1.0, max(-1.0, value))
    return found


def cut_layers(model: torch.nn.Module, layer: int | None, path: str) -> None:
    """Drop the layers above `layer`, so that the model's output is that layer's, as the bert-score package does.

    Raises:
        InputError: there is no such layer, or the architecture is not known to have any.
    """
    if layer is None:
        return
    for name in _LAYER_LISTS:
        owner: object = model
        *parents, last = name.split(".")
        for parent in parents:
            owner = getattr(owner, parent, None)
        layers = getattr(owner, last, None)
        if isinstance(layers, torch.nn.ModuleList):
            if not 1 <= layer <= len(layers):
                raise InputError(f"encoder {path}: saw layer {layer}; expected 1 to {len(layers)}; set `layer` so")
            setattr(owner, last, layers[:layer])
            return
    raise InputError(
        f"encoder {path}: saw a {type(model).__name__}, whose layers are not known; expected a BERT-like encoder; "
        "leave `layer` out to take the last one"
    )


@lru_cache(maxsize=2)
def load_encoder(path: str, layer: int | None) -> Encoder:
    """The encoder of a folder, loaded once."""
    return Encoder(path, layer)


@dataclass(frozen=True)
class SentenceEncoder:
    """From texts to unit vectors (rows), by a folder's own pooling."""

    model: Any
    """Of sentence-transformers."""

    @property
    def tokenizer(self) -> Any:
        return self.model.tokenizer

    @property
    def max_tokens(self) -> int:
        """Longer texts are cut."""
        return int(self.model.max_seq_length or MAX_TOKENS)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors, in the order of the texts."""
        found = self.model.encode(
            list(texts), batch_size=64, convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(found, dtype=np.float32)


@lru_cache(maxsize=2)
def sentence_encoder(path: str) -> SentenceEncoder:
    """The sentence encoder of a folder, loaded once.

    Raises:
        InputError: the package sentence-transformers is missing, or the folder cannot be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise InputError(
            "sentence encoder: saw no package sentence-transformers; expected it; pip install 'assay[embeddings]'"
        ) from None
    transformers_logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model = SentenceTransformer(path, device=device, local_files_only=True, model_kwargs={"use_safetensors": True})
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"encoder {path}: saw {reason}; expected a sentence encoder; check the folder") from None
    return SentenceEncoder(model)


def cut_details(
    texts: Sequence[str], references: Sequence[str], tokenizer: Any, max_tokens: int
) -> Callable[[str, Sequence[str]], str]:
    """A function from a prediction and its references to the detail that says which of them were cut; empty if none."""
    too_long = _longer_than(dict.fromkeys([*texts, *references]), tokenizer, max_tokens)

    def told(prediction: str, gold: Sequence[str]) -> str:
        what = [name for name, found in (("prediction", [prediction]), ("reference", gold)) if too_long & set(found)]
        return f"{CUT}{max_tokens} tokens: {' and '.join(what)}" if what else ""

    return told


def _longer_than(texts: Iterable[str], tokenizer: Any, max_tokens: int) -> set[str]:
    """Texts of more tokens, the marks at the ends included; only those are counted whose bytes might be so many."""
    candidates = [text for text in texts if len(text.encode("utf-8", "replace")) + 2 > max_tokens]
    if not candidates:
        return set()
    tokens = tokenizer([text.strip() for text in candidates], truncation=False, verbose=False)["input_ids"]
    return {text for text, row in zip(candidates, tokens, strict=True) if len(row) > max_tokens}


class Kept(Generic[T]):
    """What was computed of whole lists of texts, the latest of it, up to KEPT_BYTES."""

    def __init__(self, size: Callable[[T], int]) -> None:
        """With `size` giving the bytes of a value."""
        self._size = size
        self._values: OrderedDict[tuple[str, ...], T] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, texts: Sequence[str], make: Callable[[Sequence[str]], T]) -> T:
        """The value of exactly this list."""
        key = tuple(texts)
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make(texts)
        with self._lock:
            self._values[key] = value
            self._bytes += self._size(value)
            while self._bytes > KEPT_BYTES and len(self._values) > 1:
                self._bytes -= self._size(self._values.popitem(last=False)[1])
        return value


def in_blocks(score: Callable[[Sequence[ScoreRequest]], list[Outcome]], batch: Sequence[ScoreRequest]) -> list[Outcome]:
    """Outcomes of a batch of any size, block by block."""
    blocks = [batch[start : start + MODEL_ROWS] for start in range(0, len(batch), MODEL_ROWS)]
    return [outcome for block in blocks for outcome in score(block)]


def usable(block: Sequence[ScoreRequest], mode: str) -> tuple[list[Outcome], list[tuple[str, ...]]]:
    """For each row the references to compare with; where there are none, the outcome that says why."""
    outcomes: list[Outcome] = []
    golds: list[tuple[str, ...]] = []
    for request in block:
        all_references = references_of(request) if mode == "strict" else (request.example.reference,)
        gold = tuple(text for text in all_references if text.strip() and len(text) <= MAX_CHARS)
        is_long = len(request.prediction) > MAX_CHARS
        outcomes.append(TOO_LONG if is_long else NO_REFERENCE)
        golds.append(() if is_long else gold)
    return outcomes, golds


def distinct(values: object) -> list:
    """Each value once, in order of first appearance."""
    return list(dict.fromkeys(values))


def length_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Places in batches of about equal length, longest first, each at most `max_tokens` with padding (or one text)."""
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    batches: list[list[int]] = []
    for place in order:
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= max_tokens:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


def _padded(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    return pad_sequence(list(rows), batch_first=True)


def _bytes_of_tokens(vectors: Sequence[TokenVectors]) -> int:
    return sum(item.vectors.numel() * item.vectors.element_size() for item in vectors)
