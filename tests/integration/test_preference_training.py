"""Every preference method on the real PEFT and DeepSpeed: however a step is cut, the same weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.training.objectives.shipped import SHIPPED
from support import lora_scenarios
from support.lora_scenarios import SPEC, largest_difference

Run = Callable[..., dict[str, Any]]
PAIRS = SPEC.replace(batch_size=8, num_epochs=1, max_steps=3, learning_rate=2e-3, warmup_steps=0)
METHODS = sorted({*SHIPPED} - {"sft"})


@pytest.fixture(scope="module")
def folder(pool: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("preference")
    pool.submit(lora_scenarios.make_models, home, ("llama",)).result(timeout=120)
    return home


@pytest.fixture(scope="module")
def prefer(pool: ProcessPoolExecutor, folder: Path) -> Run:
    def run(*args: Any, **options: Any) -> dict[str, Any]:
        return pool.submit(lora_scenarios.prefer_once, folder, *args, **options).result(timeout=180)

    return run


@pytest.mark.parametrize("method", METHODS)
def test_a_method_moves_its_margin_however_its_step_is_cut(prefer: Run, method: str) -> None:
    spec = PAIRS.replace(objective=method)
    whole = prefer(method, spec, micro_batch_size=8)
    first, last = whole["metrics"][0].watched, whole["metrics"][-1].watched
    if method == "sft_chosen":
        assert whole["metrics"][-1].loss < whole["metrics"][0].loss
        assert "rejected_log_prob" not in first
    else:
        assert {"chosen_log_prob", "rejected_log_prob", "margin", "accuracy"} <= first.keys()
        assert method == "conditional" or last["margin"] > first["margin"]
    assert {"validation_chosen_log_prob", "validation_rejected_log_prob", "validation_margin"} <= last.keys()
    assert math.isfinite(whole["metrics"][-1].validation_loss)
    differences = [
        largest_difference(whole, prefer(f"{method}1", spec, micro_batch_size=1)),
        largest_difference(whole, prefer(f"{method}p", spec, packing=True, pack_length=160)),
        largest_difference(whole, prefer(f"{method}z", spec.replace(zero_stage=2), micro_batch_size=8)),
    ]
    print(f"{method}: largest differences {differences}")
    assert max(differences) < 1e-5
    assert any(np.abs(tensor).max() > 1e-3 for name, tensor in whole["tensors"].items() if "lora_B" in name)


def test_the_reference_is_computed_once_for_all_methods_and_seeds(prefer: Run, folder: Path) -> None:
    store = str(folder / "once")
    first = prefer("r-dpo", PAIRS.replace(objective="dpo"), store=store)
    assert len(first["references"]) == 1
    for method, seed in (("ipo", 1), ("hinge", 2), ("ipo_sum", 0), ("dpo", 3)):
        again = prefer(f"r-{method}{seed}", PAIRS.replace(objective=method, seed=seed), store=store)
        assert again["references"] == first["references"]
    assert prefer("r-simpo", PAIRS.replace(objective="simpo"), store=store)["references"] == first["references"]
    # KTO looks at all answers of a list, and at answers to other prompts
    assert len(prefer("r-kto", PAIRS.replace(objective="kto"), store=store)["references"]) == 3


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_training_starts_at_the_reference_whatever_the_dropout(prefer: Run, dropout: float) -> None:
    spec = PAIRS.replace(objective={"method": "dpo", "beta": 0.5}, lora_dropout=dropout)
    metrics = prefer(f"start{dropout}", spec, micro_batch_size=8)["metrics"]
    assert metrics[0].loss == pytest.approx(math.log(2), abs=1e-5)
    assert metrics[0].watched["margin"] == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_killed_training_resumes_to_the_same_weights(prefer: Run, folder: Path, method: str) -> None:
    spec, store = PAIRS.replace(objective=method, max_steps=6, num_epochs=2), str(folder / f"resume-{method}")
    whole = prefer(f"whole{method}", spec, store=store)
    prefer(f"{method}-1", spec, store=store, checkpoints=True, checkpoint_every=2, kill_at=3)
    resumed = prefer(f"{method}-2", spec, store=store, checkpoints=True, checkpoint_every=2)
    assert [step.step for step in resumed["metrics"]] == [3, 4, 5, 6]
    assert largest_difference(whole, resumed) == 0.0
