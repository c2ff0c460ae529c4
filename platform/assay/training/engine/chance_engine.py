"""Chance in training is the adapter's dropout alone, if there is one: all that a base draws of its own is off.

Dropout, dropped layers and jittered routers ask their module whether it is training, and their masks follow the batch's
shape. So every module of the base stays in evaluation while it or its adapter trains, whatever it is called and however
it draws. Layers that recompute their activations must think that they train; their own rates are zero then.
"""

from __future__ import annotations

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from assay.training.engine.row_dropout_engine import RowDropout


def train_without_chance(model: nn.Module, *, gradient_checkpointing: bool) -> None:
    """Put the adapter's own dropout into training mode, and everything else into evaluation.

    Args:
        model: a base that carries an adapter, or is trained itself.
        gradient_checkpointing: its layers recompute their activations.
    """
    model.eval()
    for module in model.modules():
        if isinstance(module, RowDropout) or hasattr(module, "lora_dropout"):  # the adapter's layers and their dropout
            module.training = True
        elif gradient_checkpointing and isinstance(module, GradientCheckpointingLayer):
            module.training = True
            _still(module)


def _still(module: nn.Module) -> None:
    """Set rates to zero that the module keeps as plain numbers: between 0 and 1, of something dropped or jittered."""
    for name, value in vars(module).items():
        if isinstance(value, float) and 0 < value < 1 and ("drop" in name or "jitter" in name):
            setattr(module, name, 0.0)
