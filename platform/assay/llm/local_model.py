"""A model of this machine as the judge: how it is loaded, and the name that its replies are kept under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from assay.config import Config
from assay.fingerprint import delimited_hash, file_hash
from assay.llm.requests import ChatRequest

SMALL_BYTES = 20_000_000
"""Files up to here are hashed whole (settings, tokenizer); of larger ones (weights) the size stands for the content."""


class LocalModel(Config):
    """How the model is loaded. All but `dtype` changes the speed and no reply beyond rounding."""

    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """"auto": bfloat16 on GPUs, float32 on the CPU, as in the stages of a study."""
    max_model_len: int | None = Field(None, ge=16)
    """Tokens of prompt and reply together; None takes what the model was made for."""
    gpus: int = Field(0, ge=0)
    """Of one judge worker; more than one splits the model over them. 0 runs on the CPU."""
    gpu_memory_fraction: float = Field(0.85, gt=0, le=1)
    kv_cache_gib: float = Field(1.0, gt=0)
    """On the CPU; on a GPU the cache takes what `gpu_memory_fraction` leaves."""
    num_threads: int = Field(1, ge=1)
    """Of the engine on the CPU."""

    @property
    def numbers(self) -> str:
        """The type that it is loaded in: part of the name that replies are kept under."""
        if self.dtype != "auto":
            return self.dtype
        return "bfloat16" if self.gpus else "float32"


def local_endpoint_name(model: str, dtype: str) -> str:
    """What ledger keys call this model: its hub id, or for a folder a hash of what lies in it, so it may be moved."""
    folder = Path(model)
    if not folder.is_dir():
        return f"local {dtype}"
    fields = []
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        size = file.stat().st_size
        fields += [file.name, file_hash(file) if size <= SMALL_BYTES else str(size)]
    return f"local {dtype} {delimited_hash(fields)[:12]}"


@dataclass(frozen=True, slots=True)
class LocalReply:
    """What the model wrote."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    """Of all replies together."""
    error: str = ""
    """Why this one request cannot be answered (a prompt that is too long); empty where it was."""
    texts: tuple[str, ...] = ()
    """All replies, `text` the first of them, where several were asked for."""
    logprobs: Any = None
    """OpenAI's `logprobs` object of the first reply, where it was asked for."""


class LocalChat(Protocol):
    """A model: one reply per request, in order. Called from one thread of its own."""

    def __call__(self, requests: Sequence[ChatRequest]) -> Sequence[LocalReply]:
        """Answer a batch."""
        ...
