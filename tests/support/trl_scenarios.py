"""A few optimizer steps by TRL's trainers and by ours: the same rows, the same adapter to begin with."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from assay.preference.rows import PreferenceRow, Prompt
from assay.tasks.templates import PromptSpec
from assay.training.spec import TrainResources, TrainSpec

STEPS = 3
NUM_ROWS = 8
SPEC = TrainSpec(
    batch_size=NUM_ROWS, small_below=0, max_steps=STEPS, num_epochs=STEPS, learning_rate=1e-3, warmup_steps=0,
    schedule="constant", lora_dropout=0.0, max_length=128, prompt=PromptSpec(style="bare"), restore_best=False,
    early_stopping_patience=None, order="given", adam_epsilon=1e-4,
)  # fmt: skip
"""Adam's epsilon is large enough that the rounding of gradients near zero does not decide the sign of their step."""
OBJECTIVES: dict[str, dict[str, Any]] = {
    "dpo": {"method": "dpo", "beta": 0.3},
    "hinge": {"method": "hinge", "beta": 0.3},
    "ipo": {"method": "ipo", "beta": 0.3},
    "kto": {"method": "kto", "beta": 0.3, "desirable_weight": 1.2, "undesirable_weight": 0.7},
    "orpo": {"method": "orpo", "beta": 0.3},
    "simpo": {"method": "simpo", "beta": 2.5, "gamma": 0.8},
}
WORDS = ["seven", "eleven small numbers", "it is 40 or so", "no", "please add 12 and 3", "for me", "two", "add these"]


def rows_of(method: str) -> list[PreferenceRow]:
    """Pairs, or single labelled answers for KTO; prompts of one token for ORPO, whose TRL trainer imitates prompts."""
    rows = []
    for number in range(NUM_ROWS):
        question = "?" if method == "orpo" else f"Please add {number} and {number % 3}:"
        better, worse = f" {WORDS[number]}", f" {WORDS[(number + 3) % NUM_ROWS]} {number}"
        if method == "kto":
            rows.append(PreferenceRow(f"r{number}", Prompt(question), (better,), (float(number % 2 == 0),)))
        else:
            rows.append(PreferenceRow(f"r{number}", Prompt(question), (better, worse)))
    return rows


def our_steps(folder: Path, method: str) -> dict[str, Any]:
    """Losses of each step, weights before the first and after the last."""
    from assay.training.batching import TrainingRows
    from assay.training.encoding import row_groups
    from assay.training.engine.lora_engine import LoraTrainer
    from assay.training.engine.resident_engine import resident_base

    spec = SPEC.replace(objective=OBJECTIVES[method])
    base = resident_base(str(folder / "llama"), dtype="float32", device="cpu")
    table = spec.objective.encode(rows_of(method), base.tokenizer, spec)
    groups = row_groups([table], np.zeros(len(table), np.int64), np.arange(len(table)))
    trainer = LoraTrainer(spec, base, TrainingRows(groups), TrainResources(threads=1, micro_batch_size=3))
    try:
        before = {name: p.detach().clone() for name, p in trainer._model.parameters.items()}
        steps = list(trainer.steps())
        return {
            "losses": [step.loss for step in steps],
            "norms": [step.grad_norm for step in steps],
            "before": {name: tensor.numpy() for name, tensor in before.items()},
            "after": {name: tensor.numpy() for name, tensor in trainer._optimizer.weights().items()},
            "answers": [[int(t) for t in row.tokens[row.answer_start :]] for row in trained_rows(spec, groups)],
        }
    finally:
        trainer.close()


def trained_rows(spec: TrainSpec, groups: Any) -> list[Any]:
    return [row for group in groups for row in spec.objective.trained(group)]


def trl_steps(folder: Path, method: str, before: dict[str, Any]) -> dict[str, Any]:
    """The same by TRL 1.16, on one thread of a CPU in float32."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    warnings.simplefilter("ignore")  # the libraries' own
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder / "llama")
    lora = LoraConfig(
        r=SPEC.lora_rank, lora_alpha=SPEC.lora_alpha, lora_dropout=0.0, task_type="CAUSAL_LM",
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
    )  # fmt: skip
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder / "llama", dtype=torch.float32), lora)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.from_numpy(before[name]))
    trainer = trainer_of(method, model, tokenizer, str(folder / f"trl-{method}"))
    losses: list[float] = []
    plain = trainer.compute_loss

    def noted(*args: Any, **options: Any) -> Any:
        loss = plain(*args, **options)
        losses.append(float(loss.detach()))
        return loss

    trainer.compute_loss = noted
    trainer.train()
    after = {
        name: p.detach().numpy() for name, p in model.named_parameters() if p.requires_grad and ".ref." not in name
    }
    norms = [line["grad_norm"] for line in trainer.state.log_history if "grad_norm" in line]
    return {"losses": losses, "norms": norms, "after": after}


def trainer_of(method: str, model: Any, tokenizer: Any, out: str) -> Any:
    """TRL's trainer of a method, told to do what ours does."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
    from trl.experimental.cpo import CPOConfig, CPOTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    settings = OBJECTIVES[method]
    shared: dict[str, Any] = {
        "output_dir": out, "per_device_train_batch_size": NUM_ROWS, "max_steps": STEPS, "save_strategy": "no",
        "learning_rate": SPEC.learning_rate, "lr_scheduler_type": "constant", "warmup_steps": 0, "use_cpu": True,
        "adam_epsilon": SPEC.adam_epsilon, "max_grad_norm": SPEC.max_grad_norm, "weight_decay": 0.0, "bf16": False,
        "optim": "adamw_torch", "report_to": [], "logging_steps": 1, "gradient_checkpointing": False,
        "disable_tqdm": True, "beta": settings["beta"], "max_length": SPEC.max_length,
        "train_sampling_strategy": "sequential", "dataloader_pin_memory": False,
    }  # fmt: skip
    rows = rows_of(method)
    if method == "kto":
        data = Dataset.from_list(
            [
                {"prompt": row.prompt.instruction, "completion": row.answers[0], "label": row.scores == (1.0,)}
                for row in rows
            ]
        )
        weights = {name: settings[name] for name in ("desirable_weight", "undesirable_weight")}
        return KTOTrainer(
            model=model, args=KTOConfig(**shared, **weights), train_dataset=data, processing_class=tokenizer
        )
    data = Dataset.from_list(
        [{"prompt": row.prompt.instruction, "chosen": row.answers[0], "rejected": row.answers[1]} for row in rows]
    )
    if method == "orpo":
        args = ORPOConfig(**shared, disable_dropout=True)
        return ORPOTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer)
    if method == "simpo":
        args = CPOConfig(**shared, loss_type="simpo", simpo_gamma=settings["gamma"], cpo_alpha=0.0)
        return CPOTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer)
    args = DPOConfig(**shared, loss_type={"dpo": "sigmoid"}.get(method, method))
    return DPOTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer)
