"""What a tiny base model is: the embedded default's stand-in for a pre-trained language model. Pure; no torch.

Three flavours. "toy" reads the toy world's documents, one by one, with a tokenizer of whole words; "toy_plain" does the
same with documents in which no question is answered. "text" reads any documents, packed into blocks, with a byte-level
BPE tokenizer trained on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, model_validator

from assay.config import Config
from assay.records import TRAIN, Example
from assay.tasks.toyworld.world import PretrainingDocument

SCHEMA_VERSION = 1
"""Raised whenever the engine builds something else for the same spec and documents."""

HEAD_SIZES = (32, 64, 80, 96, 112, 128, 192, 256)
"""Attention head sizes that vLLM's CPU attention takes; 16 fails there."""


class TinyBaseSpec(Config):
    """A Llama-architecture model and its pre-training. Every field is identity."""

    flavour: Literal["toy", "toy_plain", "text"] = "toy"
    """What is read, and how it is tokenised and put into batches."""
    hidden_size: int = Field(128, ge=32)
    num_layers: int = Field(2, ge=1)
    num_heads: int = Field(4, ge=1)
    feed_forward_size: int = Field(256, ge=1)
    vocabulary_size: int = Field(4096, ge=300)
    """Of the BPE tokenizer; the word tokenizer of "toy" takes every word of its documents instead."""
    max_positions: int = Field(256, ge=16)
    """Longest sequence, in tokens."""

    num_documents: int = Field(80_000, ge=1)
    """Documents that the toy world makes; "text" reads those it is given, again and again, until the last step."""
    num_steps: int = Field(2500, ge=1)
    """Optimizer steps: fixed, since a time limit would make the model depend on the machine."""
    batch_size: int = Field(32, ge=1)
    """Documents (toy world) or blocks ("text") per step."""
    block_length: int = Field(128, ge=8)
    """Tokens per packed block; "text" only."""
    learning_rate: float = Field(6e-3, gt=0)
    """Peak of AdamW's rate; after the warm-up it falls along a cosine to a tenth."""
    warmup_steps: int = Field(50, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    beta2: float = Field(0.95, gt=0, lt=1)
    other_weight: float = Field(0.15, ge=0, le=1)
    """Loss weight of what is no answer, against 1 for answers, in documents that mark answers."""
    seed: int = 0

    @model_validator(mode="after")
    def _head_size_is_served(self) -> Self:
        size, rest = divmod(self.hidden_size, self.num_heads)
        if rest or size not in HEAD_SIZES:
            raise ValueError(
                f"hidden_size {self.hidden_size} / num_heads {self.num_heads} must be a head size that "
                f"vLLM's CPU attention takes: {', '.join(map(str, HEAD_SIZES))}"
            )
        return self

    @property
    def reads_toyworld(self) -> bool:
        """Whether its documents are made by the toy world's grammar, from `num_documents` and `seed`."""
        return self.flavour != "text"


TOY_BASE = TinyBaseSpec()
"""Reads the toy world."""

QUICK_BASE = TOY_BASE.replace(num_steps=1900, num_documents=30_400)
"""The tiny base of all small studies: one store trains it once."""

PLAIN_BASE = TinyBaseSpec(flavour="toy_plain", num_documents=16_000, num_steps=1000)
"""Reads the toy world's plain text and answers nothing: what instruction tuning starts from, in small."""


def text_documents(examples: Iterable[Example]) -> list[PretrainingDocument]:
    """The train rows as plain text, without any prompt; other splits are never read.

    The answer is marked, so that `other_weight` applies to what comes before it.
    """
    documents = []
    for example in examples:
        if example.split != TRAIN:
            continue
        before = "\n".join(part for part in (example.instruction, example.input) if part) + "\n"
        text = before + example.reference
        documents.append(PretrainingDocument(text, ((len(before), len(text)),)))
    return documents
