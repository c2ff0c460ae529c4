"""Both forms of a tuned starting point are the model that two adapters make, as PEFT itself computes it."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from assay.store import Store
from assay.studies.artifacts import Base, MergedBase, StackedAdapter
from assay.studies.starts import make_merged_base, make_stacks
from assay.studies.tiny_bases import BASE_KIND
from assay.training.spec import ADAPTER_KIND
from support.lora_scenarios import read_from
from support.tiny_causal_models import save_tiny_model

TOKENS = torch.tensor([[5, 9, 33, 60, 120, 7]])


def store_adapter(store: Store, key: str, base: Path, rank: int, alpha: int, seed: int, folder: Path) -> None:
    """A LoRA adapter with random weights, both matrices, as an artifact."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=["q_proj", "v_proj", "down_proj"], lora_dropout=0.0)
    tuned = get_peft_model(model, config)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.2)
    tuned.save_pretrained(folder)
    with store.writing(ADAPTER_KIND, key) as artifact:
        artifact.folder(folder)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(TOKENS).logits


def with_adapter(path: Path | str, adapter: Path) -> torch.Tensor:
    return logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(path), str(adapter)))


def test_merged_and_stacked_starts_are_the_sum_of_both_adapters(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    base = save_tiny_model(tmp_path / "base", "llama")
    store_adapter(store, "tuning", base, 4, 16, 1, tmp_path / "a")
    store_adapter(store, "target", base, 8, 8, 2, tmp_path / "b")
    target = store.local_dir(ADAPTER_KIND, "target")

    merged = MergedBase(Base("tiny", "b" * 32, str(base)), "tuning")
    make_merged_base(store, merged, "float32")
    folder = store.local_dir(BASE_KIND, merged.key)
    assert AutoTokenizer.from_pretrained(folder).eos_token == "</s>"
    tuned = with_adapter(base, store.local_dir(ADAPTER_KIND, "tuning"))
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(folder)), tuned, rtol=1e-4, atol=1e-4)

    stack = StackedAdapter(("tuning", "target"), 12)
    make_stacks(store, [stack, stack])
    on_merged = with_adapter(folder, target)
    stacked = with_adapter(base, store.local_dir(ADAPTER_KIND, stack.key))
    torch.testing.assert_close(stacked, on_merged, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(stacked, tuned, atol=1e-2)
    assert not torch.allclose(stacked, with_adapter(base, target), atol=1e-2)


def test_divergence_from_a_stacked_start_is_that_from_the_merged_one(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    base = save_tiny_model(tmp_path / "base", "llama")
    store_adapter(store, "tuning", base, 4, 16, 1, tmp_path / "a")
    store_adapter(store, "target", base, 8, 8, 2, tmp_path / "b")
    merged = MergedBase(Base("tiny", "b" * 32, str(base)), "tuning")
    make_merged_base(store, merged, "float32")

    def read(path: str, tuned: str | None) -> list[tuple[float, float]]:
        rows = pool.submit(read_from, store.uri, path, "target", tuned).result(timeout=300)
        return [(float(str(row["log_prob"])), float(str(row["start_log_prob"]))) for row in rows]

    stacked = read(str(base), "tuning")
    assert len(stacked) == 2
    torch.testing.assert_close(stacked, read(str(store.local_dir(BASE_KIND, merged.key)), None), rtol=1e-4, atol=1e-3)
    bare = read(str(base), None)
    assert all(abs(ours[1] - other[1]) > 0.1 for ours, other in zip(stacked, bare, strict=True))
