"""Dropout whose mask follows the row and the position, not the shape of the batch.

PyTorch's dropout draws its mask in the order of the batch, so another micro-batch size trains another adapter. Here
an element is dropped by a hash of (seed, step, row, position) and (layer, feature), so that micro-batches, packs and
data-parallel workers, and a trial resumed from a checkpoint, all see the same masks.
"""

from __future__ import annotations

import torch
from torch import nn

from assay.errors import ConfigError
from assay.training.batching import feature_codes

_MULTIPLIERS = (0x7FEB352D, -0x7B935975)  # lowbias32 by C. Wellons, the second one as a signed word
_WORDS = 2**32


class DropoutState:
    """What all dropout layers of a model share: the codes of the positions that are being passed through it."""

    def __init__(self) -> None:
        self.codes_BL: torch.Tensor | None = None


class RowDropout(nn.Module):
    """Inverted dropout by hash. Identity in evaluation mode."""

    def __init__(self, p: float, name: str, state: DropoutState) -> None:
        super().__init__()
        self.p, self._name, self._state = p, name, state
        self._threshold = int(p * _WORDS) - _WORDS // 2
        self._features: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` of shape (..., features), its leading axes those of the position codes, flattened or not."""
        codes = self._state.codes_BL
        if not self.training or self.p == 0 or codes is None:
            return x
        if codes.numel() != x.shape[:-1].numel():
            raise ConfigError(
                f"target_modules: saw the layer {self._name.removeprefix('base_model.model.')} with an input of shape "
                f"{tuple(x.shape)} in a batch of {tuple(codes.shape)}; expected a vector for each position, as dropout "
                "follows the row; set train.lora_dropout=0, or name layers without it"
            )
        if self._features is None or self._features.device != x.device:
            self._features = torch.from_numpy(feature_codes(self._name, x.shape[-1])).to(x.device)
        words = codes.reshape(*x.shape[:-1], 1) ^ self._features
        words.mul_(_MULTIPLIERS[0])
        words.bitwise_xor_(words >> 15)
        words.mul_(_MULTIPLIERS[1])
        return torch.where(words >= self._threshold, x * (1 / (1 - self.p)), 0.0)


def replace_dropout(model: nn.Module, p: float, state: DropoutState, adapter: str = "default") -> None:
    """Put `RowDropout` in the place of PEFT's dropout layers."""
    for name, module in model.named_modules():
        dropouts = getattr(module, "lora_dropout", None)
        if isinstance(dropouts, nn.ModuleDict) and adapter in dropouts and p > 0:
            dropouts[adapter] = RowDropout(p, name, state)
