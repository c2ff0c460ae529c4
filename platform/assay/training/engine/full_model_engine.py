"""A base model whose own weights are trained, all of them: its folder is a model like its base's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from assay.training.engine.resident_engine import ResidentBase, forget_resident_base, save_model
from assay.training.engine.trained_model_engine import TrainedModel
from assay.training.spec import check_size
from assay.training.targets import OTHER_SENSES


class FullModel(TrainedModel):
    """All weights of a base but those that read images or sound. `close` lets the process's base go."""

    targets = "all weights"

    def __init__(self, base: ResidentBase, *, gradient_checkpointing: bool) -> None:
        """Make the weights trainable.

        Raises:
            ConfigError: the base is too large.
        """
        check_size(Path(base.path).name, base.model.num_parameters())
        super().__init__(base)
        self.module = base.model
        for name, parameter in base.model.named_parameters():
            parameter.requires_grad_(not OTHER_SENSES.fullmatch(name))
        self.parameters = {name: p for name, p in base.model.named_parameters() if p.requires_grad}
        if gradient_checkpointing:
            self.recompute()

    def write(self, folder: Path, weights: Mapping[str, torch.Tensor], base_name: str) -> None:
        """Write the model with `weights`, in the base's type of numbers, and its tokenizer."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.data.copy_(weights[name])
        save_model(self._base, folder)

    def close(self) -> None:
        """Let the process's base go: the next training loads it again."""
        self._selector.remove()
        forget_resident_base()
