"""What makes the host wait for the device in a pass is counted: nothing of ours. CPU, a tiny model, no DeepSpeed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from assay.training.batching import MicroBatch, TrainRow, pad
from assay.training.engine import resident_engine
from assay.training.engine.log_probs_engine import row_log_probs, target_logits
from assay.training.engine.lora_engine import _Sums
from assay.training.engine.resident_engine import TargetSelector, on_device
from assay.training.objectives.base import PassLoss
from assay.training.objectives.dpo import Dpo
from assay.training.objectives.lists import answer_lists
from support.tiny_causal_models import save_tiny_model

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero")


class Reads(TorchDispatchMode):
    """Remembers operations for whose result the host would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).split(".")[1]
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if by_mask or name in WAITS:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


class Alone:
    """Workers of a training with one."""

    def total(self, value: torch.Tensor) -> float:
        return float(value)

    def totals(self, values: torch.Tensor) -> torch.Tensor:
        return values


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("model") / "llama"
    save_tiny_model(folder, "llama")
    return AutoModelForCausalLM.from_pretrained(folder)


@pytest.fixture
def batch() -> MicroBatch:
    rng = np.random.default_rng(0)
    lengths = ((9, 4), (14, 10), (6, 1), (14, 2))
    rows = [TrainRow(rng.integers(3, 300, size=n).astype(np.int32), start, k) for k, (n, start) in enumerate(lengths)]
    groups = ((rows[0], rows[1]), (rows[2], rows[3]))
    return pad([[row] for row in rows], pad_id=0, loss_on="answer")._replace(groups=groups)


def test_the_head_sees_the_trained_positions_by_places_that_the_host_knows(model: Any, batch: MicroBatch) -> None:
    selector = TargetSelector(model)
    with Reads() as reads:
        logits_TV, targets_T = target_logits(model, selector, batch, "cpu")
        row_log_probs(logits_TV, targets_T, batch).sum().backward()
    selector.remove()
    assert reads.seen == ["_local_scalar_dense"]  # transformers' own look whether rows are packed
    mask_BL = torch.from_numpy(batch.targets) >= 0
    whole = model.model(torch.from_numpy(batch.input_ids)).last_hidden_state
    assert torch.equal(targets_T, torch.from_numpy(batch.targets)[mask_BL])
    assert torch.equal(logits_TV, model.lm_head(whole.reshape(-1, whole.shape[-1])[mask_BL.reshape(-1)]))


@pytest.mark.parametrize("is_full", [True, False])
def test_lists_of_answers_are_arranged_and_lost_without_a_look_at_them(batch: MicroBatch, is_full: bool) -> None:
    groups = batch.groups if is_full else (batch.groups[0], batch.groups[1][:1])
    groups = tuple(tuple(row._replace(reference=-3.0) for row in group) for group in groups)
    policy_R = torch.linspace(-9, -2, sum(map(len, groups)), requires_grad=True)
    objective = Dpo()
    with Reads() as reads:
        lists = answer_lists(groups, policy_R)
        objective.loss_of(lists).sum().backward()
    assert reads.seen == []


def test_sums_of_passes_are_read_once_at_the_end() -> None:
    losses = [torch.tensor(value) for value in (0.1, 2.7, 3.3, 1e-4)]
    sums = _Sums(Alone())  # type: ignore[arg-type]
    with Reads() as reads:
        for loss in losses:
            sums.add(PassLoss((loss, 2 * loss), {"margin": (loss, torch.tensor(3))}))
    assert reads.seen == []
    exact = 0.0
    for loss in losses:
        exact += float(loss.double())
    assert sums.loss([4.0, 2.0]) == exact / 4 + 2 * exact / 2
    assert sums.watched() == {"margin": exact / 12}


def test_an_array_goes_to_a_gpu_without_the_host_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Pinned:
        def pin_memory(self) -> Pinned:
            calls.append("pinned")
            return self

        def to(self, device: str, *, non_blocking: bool) -> str:
            calls.append((device, non_blocking))
            return "there"

    assert on_device(np.arange(3), "cpu").tolist() == [0, 1, 2]
    monkeypatch.setattr(resident_engine.torch, "from_numpy", lambda _: Pinned())
    on_device(np.arange(3), "cuda")
    assert calls == ["pinned", ("cuda", True)]


def test_the_norm_of_a_step_is_read_after_it() -> None:
    from types import SimpleNamespace

    from assay.training.engine.deepspeed_engine import DeepSpeedOptimizer
    from assay.training.spec import TrainSpec

    weight = torch.nn.Parameter(torch.zeros(4))
    weight.grad = torch.full((4,), 2.0)
    optimizer: Any = object.__new__(DeepSpeedOptimizer)
    optimizer._spec, optimizer._parameters = TrainSpec(dtype="float32", zero_stage=0, max_grad_norm=1.0), {"a": weight}
    optimizer.engine = SimpleNamespace(step=lambda: None)
    with Reads() as reads:
        norm = optimizer.step()
    assert reads.seen == []
    assert float(norm) == 4.0
