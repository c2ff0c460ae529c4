"""Nothing of any architecture draws while its adapter trains: all that transformers can make tiny, chance turned on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from assay.training.engine.chance_engine import train_without_chance
from support.architectures import architectures, tiny_config, tiny_model

FEW = ("biogpt", "bloom", "falcon", "gpt_neox", "llama", "mixtral", "opt", "phi")
LEAST_BUILT = 140
CHANCE = ("drop", "jitter")


def with_chance(config: Any) -> dict[str, Any]:
    """Fields of a configuration whose rates of something dropped or jittered are a half, parts included."""
    from transformers import PreTrainedConfig

    found: dict[str, Any] = {}
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            if inner := with_chance(value):
                found[name] = {**value.to_dict(), **inner}
        elif isinstance(value, float) and any(word in name for word in CHANCE):
            found[name] = 0.5
    return found


def drawn_by(kind: str) -> tuple[bool, bool] | None:
    """Whether two passes of a training model differ, and whether they do with its adapter alone in training.

    None: no model of this type can be made.
    """
    try:
        model = tiny_model(kind, **with_chance(tiny_config(kind)))
        ids = torch.arange(5, 29).reshape(2, 12)

        def logits() -> torch.Tensor:
            return model(input_ids=ids, use_cache=False).logits

        model.eval()
        with torch.no_grad():
            logits()
    except Exception:
        return None
    with torch.no_grad():
        try:
            model.train()
            drawn = not torch.equal(logits(), logits())
        except Exception:  # some cannot train with these rates at all; alone they must
            drawn = True
        train_without_chance(model, gradient_checkpointing=False)
        return drawn, not torch.equal(logits(), logits())


@pytest.mark.parametrize("kind", FEW)
def test_an_architecture_draws_nothing_while_its_adapter_trains(kind: str) -> None:
    found = drawn_by(kind)
    assert found is not None
    assert not found[1]


@pytest.mark.study
def test_no_architecture_draws_while_its_adapter_trains() -> None:
    found = {kind: drawn_by(kind) for kind in architectures()}
    built = {kind: drawn for kind, drawn in found.items() if drawn is not None}
    assert len(built) >= LEAST_BUILT
    assert sum(drawn for drawn, _ in built.values()) > len(built) / 3  # chance was there to be turned off
    assert [kind for kind, (_, draws) in built.items() if draws] == []
