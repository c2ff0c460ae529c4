"""How much memory a training takes, and the passes that fit: rules over counts. Pure; no torch.

`engine/memory_engine.py` counts a model on the meta device; this says what follows for a device.
"""

from __future__ import annotations

from dataclasses import dataclass

from assay.errors import StageError

DEFAULT_TOKENS = 4096
"""Tokens of a pass where the device has memory enough, or is a CPU."""
LEAST_TOKENS = 512
"""Below so many tokens a pass, recomputing activations is the better way."""
RESERVED = 0.15
"""Share of a device that is left alone: fragments, the kernels' work space, the CUDA context."""
ADAM_BYTES = 16
"""Of each trained parameter: float32 master weight, gradient and two moments."""


@dataclass(frozen=True, slots=True)
class ModelMemory:
    """A base model with its adapter, counted."""

    weight_bytes: int
    trained_parameters: int
    bytes_per_token: float
    """What a token of a pass leaves for the backward pass, the output head left out."""
    checkpointed_bytes_per_token: float
    """The same where each layer keeps its input alone and is computed again."""
    vocabulary: int


@dataclass(frozen=True, slots=True)
class PassSize:
    """How a training's passes are cut."""

    micro_batch_tokens: int
    gradient_checkpointing: bool


class PassTooLarge(StageError):
    """A pass ran out of memory in one of several workers: the others wait for its sums, so the step has no way back."""

    def __init__(self, message: str, less: PassSize | None = None) -> None:
        super().__init__(message)  # alone, as it is what an exception is made of again in another process
        self.less = less
        """What to begin all of them again with."""


def training_bytes(memory: ModelMemory, size: PassSize, *, trained_share: float = 0.5) -> float:
    """Bytes that a training takes at its largest pass.

    Args:
        memory: the model's.
        size: of its passes.
        trained_share: of a pass's tokens that the output head sees, each with three rows of float32 logits.
    """
    token = memory.checkpointed_bytes_per_token if size.gradient_checkpointing else memory.bytes_per_token
    logits = 3 * 4 * memory.vocabulary * trained_share
    fixed = memory.weight_bytes + ADAM_BYTES * memory.trained_parameters
    return fixed + size.micro_batch_tokens * (token + logits)


def choose_pass_size(
    memory: ModelMemory, device_bytes: float, *, longest: int, tokens: int | None, checkpointing: bool | None
) -> PassSize:
    """The largest pass up to `DEFAULT_TOKENS` that fits, without recomputing where that leaves passes of a fair size.

    Args:
        memory: the model's.
        device_bytes: memory of one device, or the worker's share of it.
        longest: tokens of the longest row: a pass holds at least one row.
        tokens: asked for by name; None chooses.
        checkpointing: asked for by name; None chooses.
    """
    room = device_bytes * (1 - RESERVED)
    choices = (False, True) if checkpointing is None else (checkpointing,)
    least = max(LEAST_TOKENS, longest)
    for recompute in choices:
        size = DEFAULT_TOKENS if tokens is None else tokens
        while tokens is None and size > least and training_bytes(memory, PassSize(size, recompute)) > room:
            size //= 2
        chosen = PassSize(max(size, longest) if tokens is None else size, recompute)
        if training_bytes(memory, chosen) <= room:
            return chosen
    return chosen


def smaller(size: PassSize, *, longest: int) -> PassSize | None:
    """What to try after a pass ran out of memory: half the tokens, then recomputing; None where nothing is left."""
    half = size.micro_batch_tokens // 2
    if half >= max(longest, 1):
        return PassSize(half, size.gradient_checkpointing)
    if not size.gradient_checkpointing:
        return PassSize(size.micro_batch_tokens, True)
    return None
