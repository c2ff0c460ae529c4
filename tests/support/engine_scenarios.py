"""What the tests of the training engine's limits run in a process of their own."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np

from support.lora_scenarios import SPEC, train_once
from support.tiny_causal_models import save_tiny_model


def base_after_swap(folder: Path) -> bool:
    """Whether the weights of a base are gone once another has taken its place, without anybody else collecting."""
    import gc

    from assay.training.engine.resident_engine import resident_base

    train_once(folder, "llama", "before-swap", rows=16)  # an adapter on it makes the reference cycles of real use
    base = resident_base(str(folder / "llama"), dtype="float32", device="cpu")
    seen = weakref.ref(base.model.get_input_embeddings())
    del base
    gc.disable()
    try:
        resident_base(str(folder / "qwen2"), dtype="float32", device="cpu")
        return seen() is None
    finally:
        gc.enable()


def train_with_little_memory(folder: Path, out: str, dtype: str, most_tokens: int, recompute_at: int) -> dict[str, Any]:
    """A training on a device whose passes fail above `most_tokens`, and above `recompute_at` without recomputing.

    "next_sizes" are those of a second training of the same base.
    """
    import torch

    from assay.training.engine.lora_model_engine import LoraModel
    from assay.training.engine.resident_engine import forget_resident_base

    forget_resident_base()  # what an earlier test's training learned is its own

    plain, sizes = LoraModel.loss_sum, []

    def limited(self: Any, forward: Any, batch: Any, **options: Any) -> Any:
        tokens = batch.input_ids.size
        loss = plain(self, forward, batch, **options)
        if options.get("dropout_step") is not None:  # not in validation
            recomputes = self._gradient_checkpointing
            sizes.append((tokens, recomputes))
            if tokens > most_tokens or (tokens > recompute_at and not recomputes and len(sizes) > 1):
                raise torch.OutOfMemoryError("CUDA out of memory")
        return loss

    LoraModel.loss_sum = limited  # type: ignore[method-assign]
    try:
        found = train_once(folder, "llama", out, SPEC.replace(dtype=dtype), micro_batch_tokens=1024)
        first = list(sizes)
        train_once(folder, "llama", f"{out}-next", SPEC.replace(dtype=dtype, seed=1), micro_batch_tokens=1024)
    finally:
        LoraModel.loss_sum = plain  # type: ignore[method-assign]
        forget_resident_base()
    return {**found, "sizes": first, "next_sizes": sizes[len(first) :]}


def refused_rows(folder: Path) -> dict[str, str]:
    """What a trainer says to rows that a model cannot read: tokens without a vector, more tokens than positions."""
    from transformers import AutoTokenizer

    from assay.errors import InputError
    from assay.training.batching import TrainingRows
    from assay.training.encoding import encode, row_groups
    from assay.training.engine.lora_engine import LoraTrainer
    from assay.training.engine.resident_engine import resident_base
    from assay.training.spec import TrainResources
    from support.tiny_causal_models import arithmetic_examples

    save_tiny_model(folder / "grown", "llama", vocabulary=1)
    tokenizer = AutoTokenizer.from_pretrained(folder / "grown")
    tokenizer.add_special_tokens({"pad_token": "<padding>"})
    tokenizer.add_tokens(["<new>"], special_tokens=True)
    tokenizer.chat_template = "{{ '<new>' }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer.save_pretrained(folder / "grown")
    save_tiny_gpt2(folder / "short", positions=16)
    save_tiny_model(folder / "turning", "llama", positions=16)
    found = {}
    for name, base_name, style in (
        ("pad", "grown", "alpaca"), ("new", "grown", "chat"), ("table", "short", "alpaca"),
        ("rotary", "turning", "alpaca"),
    ):  # fmt: skip
        base = resident_base(str(folder / base_name), dtype="float32", device="cpu")
        spec = SPEC.replace(prompt={"style": style}, max_length=200)
        table = encode(arithmetic_examples(20), base.tokenizer, spec)
        rows = row_groups([table], np.zeros(len(table), np.int64), np.arange(len(table)))
        try:
            trainer = LoraTrainer(spec, base, TrainingRows(rows), TrainResources(threads=1))
            found[name] = f"trained, loss {next(trainer.steps()).loss:.1f}"
            trainer.close()
        except InputError as error:
            found[name] = str(error)
    return found


def save_tiny_gpt2(folder: Path, *, positions: int) -> Path:
    """A random GPT-2, whose positions lie in a table."""
    from transformers import GPT2Config, GPT2LMHeadModel

    save_tiny_model(folder, "llama")
    GPT2LMHeadModel(
        GPT2Config(vocab_size=384, n_positions=positions, n_embd=64, n_layer=1, n_head=2, eos_token_id=1)
    ).save_pretrained(folder)
    return folder


def buckets(folder: Path) -> tuple[int, int]:
    """Elements of ZeRO's bucket and of the adapter, of a bfloat16 training."""
    from assay.training.batching import TrainingRows, TrainRow
    from assay.training.engine.lora_engine import LoraTrainer
    from assay.training.engine.resident_engine import resident_base
    from assay.training.spec import TrainResources

    base = resident_base(str(folder / "llama"), dtype="bfloat16", device="cpu")
    rows = TrainingRows([(TrainRow(np.arange(5, 13, dtype=np.int32), 2, 0),)])
    trainer = LoraTrainer(SPEC.replace(dtype="bfloat16"), base, rows, TrainResources())
    try:
        size = trainer._optimizer.engine.optimizer.reduce_bucket_size
        return size, sum(p.numel() for p in trainer._model.parameters.values())
    finally:
        trainer.close()


def save_model_with_eyes(folder: Path) -> Path:
    """A random Gemma-3 that reads images too, with the tokenizer of the tiny models."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    save_tiny_model(folder, "llama")
    text = {
        "vocab_size": 384, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 512,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 32, "patch_size": 16,
    }  # fmt: skip
    config = Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=383,
        boi_token_index=382, eoi_token_index=381, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def adapted_layers(folder: Path) -> tuple[list[str], list[str]]:
    """Names of a multimodal model's trained layers, and of its layers that read images."""
    from safetensors import safe_open

    from assay.training.engine.resident_engine import resident_base

    save_model_with_eyes(folder / "eyes")
    train_once(folder, "eyes", "eyes-adapter", SPEC.replace(target_modules="all-linear"), rows=16)
    base = resident_base(str(folder / "eyes"), dtype="float32", device="cpu")
    with safe_open(folder / "eyes-adapter" / "adapter_model.safetensors", "np") as file:
        return sorted(file.keys()), [name for name, _ in base.model.named_modules() if "vision" in name]


def serving_rule(folder: Path, eyes: bool) -> str | None:
    """Why vLLM does not serve the model."""
    from assay.generation.ray_engine import cannot_serve

    return cannot_serve(str(save_model_with_eyes(folder / "eyes") if eyes else folder), on_gpu=False)


def fused_against_peft(dropout: float) -> dict[str, float]:
    """Largest difference, relative to the largest value, of output and gradients: the fused layer and PEFT's own."""
    import peft
    import torch
    from peft import LoraConfig
    from torch import nn

    from assay.training.engine.fused_lora_engine import fuse
    from assay.training.engine.row_dropout_engine import DropoutState, replace_dropout

    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(48, 96), nn.SiLU(), nn.Linear(96, 32)).to(torch.bfloat16)
    model = peft.get_peft_model(
        inner, LoraConfig(r=4, lora_alpha=8, target_modules=["0", "2"], lora_dropout=dropout),
        autocast_adapter_dtype=False,
    ).train()  # fmt: skip
    state = DropoutState()
    state.codes_BL = torch.randint(-(2**31), 2**31 - 1, (3, 7), dtype=torch.int32)
    replace_dropout(model, dropout, state)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in trained.values():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(3, 7, 48, dtype=torch.bfloat16, requires_grad=True)

    def run() -> dict[str, Any]:
        model.zero_grad()
        x.grad = None
        out = model(x)
        out.float().square().sum().backward()
        found = {"output": out.detach(), "x": x.grad, **{name: p.grad for name, p in trained.items()}}
        return {name: value.float().clone() for name, value in found.items()}

    plain = run()
    assert fuse(model) == 2
    fused = run()
    return {name: float((plain[name] - fused[name]).abs().max() / plain[name].abs().max()) for name in plain}


def how_weights_are_read(folder: Path, device: str) -> Any:
    """The device map that transformers is given for a base on this device."""
    from assay.errors import InputError
    from assay.training.engine import resident_engine

    seen: list[Any] = []

    class Reader:
        @staticmethod
        def from_pretrained(path: str, **options: Any) -> Any:
            seen.append(options.get("device_map"))
            raise OSError("looked at")

    plain, resident_engine.AutoModelForCausalLM = resident_engine.AutoModelForCausalLM, Reader
    try:
        resident_engine.ResidentBase(str(folder / "llama"), dtype="bfloat16", device=device)
    except InputError:
        return seen[0]
    finally:
        resident_engine.AutoModelForCausalLM = plain
    raise AssertionError("nothing was read")


def train_from_the_store(folder: Path) -> tuple[int, float]:
    """Rows encoded, and a step's loss, on a machine that lacks the folder of the driver's base: the store has it."""
    from assay.store import Store
    from assay.training.batching import TrainingRows
    from assay.training.encoding import row_groups
    from assay.training.spec import TrainingJob, TrainResources
    from assay.training.sweep.ray_trial import Encoder, SweepInputs, open_trainer
    from support.tiny_causal_models import arithmetic_examples

    store = Store(str(folder / "s3"))
    with store.writing("base", "b" * 32, {}) as writer:
        writer.folder(folder / "llama")
    job = TrainingJob("k" * 32, "b" * 32, "/on/the/head/only", "m" * 32, SPEC)
    encoder = Encoder.__ray_metadata__.modified_class()
    table = encoder.encode(store, "toy", job, lambda *_: arithmetic_examples(32))
    rows = row_groups([table], np.zeros(len(table), np.int64), np.arange(len(table)))

    class Rows:
        def of(self, _: TrainingJob) -> TrainingRows:
            return TrainingRows(rows)

    inputs = SweepInputs(store, [job], {}, TrainResources(threads=1), lambda *_: ([], []), None)
    trainer = open_trainer(inputs, job, Rows())  # type: ignore[arg-type]
    try:
        return len(rows), next(trainer.steps()).loss
    finally:
        trainer.close()
