"""What one training is (`TrainSpec`, hashed), what it runs on (`TrainResources`, not), and one wanted adapter. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from assay.config import Config, Later
from assay.errors import ConfigError
from assay.fingerprint import artifact_key
from assay.tasks.templates import PromptSpec
from assay.training.objectives.base import Objective
from assay.training.objectives.sft import Sft
from assay.training.objectives.shipped import read_objective
from assay.training.schedule import Decay

ADAPTER_KIND = "adapter"
"""Kind of what trainings make: a LoRA adapter's folder or, of method "full", a whole model's."""
ADAPTER_SCHEMA = 1
"""Raised whenever the code trains something else from the same spec."""
CHECKPOINT_KIND = "checkpoint"
LORA_FIELDS = frozenset({"lora_rank", "lora_alpha", "lora_dropout", "target_modules"})
"""Fields of an adapter: full training has none."""
MOST_TRAINED_WHOLE = 500_000_000
"""Parameters of a base that may be trained whole."""

_OTHER_METHODS: Mapping[str, str] = {
    "use_rslora": "rsLoRA of alpha a and rank r is LoRA of alpha a times the square root of r; set lora_alpha to that",
    "use_dora": "DoRA is not trained, as vLLM serves no such adapters; leave it out for LoRA",
    "load_in_4bit": "QLoRA is not trained: bases are kept in float32 or bfloat16; set dtype and zero_stage for memory",
    "load_in_8bit": "bases of 8 bits are not trained: they are kept in float32 or bfloat16; set dtype and zero_stage",
}
"""What people ask for by PEFT's and bitsandbytes' names -> what to do instead."""


class TrainSpec(Config):
    """What is trained. Every field is part of the adapter's key."""

    objective: Annotated[SerializeAsAny[Objective], BeforeValidator(read_objective), Later(Sft())] = Sft()
    """What is minimised: "sft", or a method that learns from preferences with its settings, as in
    {method: dpo, beta: 0.1} (docs/preference.md). Supervised training says nothing in an adapter's key."""
    method: Annotated[Literal["lora", "full"], Later("lora")] = "lora"
    """What is trained: an adapter of the fields below, or all weights of a base of up to 500 million parameters, where
    `lora_...` and `target_modules` play no part. Rates of full training are a tenth of an adapter's or less."""
    lora_rank: int = Field(8, ge=1)
    """Rank of the adapter's matrices."""
    lora_alpha: float = Field(16.0, gt=0)
    """The adapter's output is scaled by alpha / rank."""
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout before the adapter; its mask depends on (seed, step, row, position), never on the batch's shape."""
    target_modules: Literal["auto", "all-linear"] | tuple[str, ...] = "auto"
    """Linear layers that get an adapter: last parts of module names; "auto" knows the usual architectures
    (q, k, v, o projections, or the fused qkv, dense and MLP linears), "all-linear" takes all but the output head."""
    learning_rate: float = Field(5e-4, gt=0)
    """Peak rate after warm-up."""
    schedule: Decay = "linear"
    """What follows warm-up: decay to zero, linear or by half a cosine, or the peak rate to the end."""
    warmup_steps: int | None = Field(None, ge=0)
    """None: min(100, max(4, rows // batch)), see `schedule.warmup_steps`."""
    weight_decay: float = Field(0.0, ge=0)
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    adam_epsilon: float = Field(1e-8, gt=0)
    max_grad_norm: float = Field(1.0, ge=0)
    """Gradients are scaled down to this norm; 0 turns clipping off."""
    max_steps: int | None = Field(400, ge=1)
    """Optimizer steps at most; None leaves it to `num_epochs`."""
    num_epochs: float = Field(1.0, gt=0)
    """Passes over the training rows at most."""
    batch_size: int = Field(128, ge=1)
    """Rows per optimizer step, over all workers and micro-batches; a pair or a list of answers is one row."""
    small_batch_size: int = Field(8, ge=1)
    """Rows per optimizer step where there are fewer than `small_below` training rows."""
    small_below: int = Field(128, ge=0)
    """Training sets below this many rows take `small_batch_size`; 0 turns the rule off."""
    eval_every: int | None = Field(None, ge=1)
    """Steps between validation losses; None: min(100, max(20, rows // batch)). There is always one at the end."""
    early_stopping_patience: int | None = Field(1, ge=1)
    """Stop after this many validation losses in a row that are no better than the best; None never stops early."""
    restore_best: bool = True
    """Keep the weights of the best validation loss, not the last ones."""
    max_length: int = Field(512, ge=16)
    """Tokens of prompt, answer and end mark at most."""
    too_long: Literal["drop", "cut"] = "drop"
    """Rows over `max_length`: left out (and counted), or cut in the input, never losing the response marker."""
    loss_on: Literal["answer", "all"] = "answer"
    """Which tokens count in the loss (all of them in the published study); the end mark is trained in both."""
    prompt: PromptSpec = PromptSpec()
    """How a row becomes a prompt."""
    order: Literal["shuffled", "given"] = "shuffled"
    """"given" keeps the mixture's own order (a curriculum)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the base model's weights; the adapter's master weights are float32 in both. A study that does not say it,
    or says "auto", takes bfloat16 where its trainings ask for GPUs, else float32 (`studies/dtypes.py`)."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO stage. Part of the identity as it moves the rounding."""
    seed: int = Field(0, ge=0)
    """Training seed: adapter initialisation, row order and dropout. Sampling of rows has seeds of its own."""

    @model_validator(mode="before")
    @classmethod
    def _known_methods(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for name, said in _OTHER_METHODS.items():
                if data.get(name):
                    raise ValueError(f"{name}: {said}")
        return data

    @field_validator("target_modules")
    @classmethod
    def _targets_named(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, tuple):
            if not value or not all(value):
                raise ValueError("name at least one module, or say 'auto' or 'all-linear'")
            return tuple(sorted(set(value)))
        return value

    @model_validator(mode="after")
    def _answers_are_compared(self) -> TrainSpec:
        if self.objective.learns_from_pairs and self.loss_on != "answer":
            raise ValueError(
                f"loss_on: saw {self.loss_on!r} with objective {self.objective.method!r}; expected 'answer': prompts "
                "are masked where answers are compared"
            )
        return self

    @model_validator(mode="after")
    def _whole_weights_are_not_cut(self) -> TrainSpec:
        if self.method == "full" and self.zero_stage == 3:
            raise ValueError("zero_stage: saw 3 with method 'full'; expected 0 to 2, as such bases are small")
        return self

    def replace(self, **changes: Any) -> Self:
        """As every config; the objective stays the value that it is, one of a plug-in with its code."""
        return super().replace(**{"objective": self.objective, **changes})

    def identity(self) -> dict[str, Any]:
        """By the marks; of full training without the fields of an adapter."""
        silent = LORA_FIELDS if self.method == "full" else ()
        return {name: said for name, said in super().identity().items() if name not in silent}


class TrainResources(Config):
    """What trainings run on: speed, never meaning (the loss is averaged over a step's tokens, however it is cut up)."""

    num_workers: int = Field(1, ge=1)
    """Processes per trial; more than one trains through Ray Train with ZeRO."""
    cpus_per_worker: float = Field(1, gt=0)
    gpus_per_worker: float = Field(0, ge=0)
    threads: int | None = Field(None, ge=1)
    """Torch threads per worker; None: as many as its CPUs. Pinned, as the order of float sums follows it."""
    max_concurrent: int | None = Field(None, ge=1)
    """Trials at a time; None: as many as fit the cluster."""
    max_retries: int = Field(2, ge=0)
    """New attempts after a failed one."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Rows per forward pass at most (a pair or a list of answers is one); None leaves it to `micro_batch_tokens`."""
    micro_batch_tokens: int | None = Field(None, ge=16)
    """Tokens per forward pass at most, padding included (a longer row still passes, alone). None: 4096, and fewer
    where a GPU's memory asks for it by the estimate of `memory.py`."""
    packing: bool = False
    """Put several rows into one sequence with attention kept inside each row. Pays on GPUs with short rows; on CPUs
    rows sorted by length are as fast. Models whose attention does not isolate rows fall back to padding."""
    pack_length: int = Field(512, ge=16)
    """Tokens per packed sequence."""
    gradient_checkpointing: bool | None = None
    """Recompute activations in the backward pass: less memory, about a third more time. None: where a GPU's memory asks
    for it."""
    checkpoint_every: int | None = Field(None, ge=1)
    """Optimizer steps between checkpoints in the store; None: none, a killed trial starts over."""
    report_every_s: float = Field(2.0, gt=0)
    """Seconds of training between two reports of a trial."""

    @model_validator(mode="after")
    def _shares_fit(self) -> TrainResources:
        if self.gpus_per_worker > 1 and self.gpus_per_worker != int(self.gpus_per_worker):
            raise ValueError("gpus_per_worker above 1 must be a whole number")
        if self.num_workers > 1 and self.gpus_per_worker not in (0, 1):
            raise ValueError("several workers take one whole GPU each (gpus_per_worker: 1), or none")
        if self.num_workers > 1 and self.cpus_per_worker < 0.1:
            raise ValueError("several workers take at least 0.1 CPU each")
        return self


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One wanted adapter: where its inputs lie and what it is called."""

    key: str
    """Key of the adapter artifact, see `adapter_key`."""
    base_key: str
    base_path: str
    """Folder of the base model and its tokenizer where it was found; `model_folders.local_model` says where a worker
    reads it."""
    mixture_key: str
    spec: TrainSpec
    base_name: str = ""
    """What the adapter's config calls its base (a hub id, a name); never a path. Default: derived from `base_key`."""
    dataset_keys: tuple[str, ...] = ()
    """Datasets that the mixture draws from; empty: read from the mixture."""
    base_source: str = ""
    """`owner/model@commit` of a base from the hub: a worker on another machine fetches it itself."""
    start_adapter_key: str | None = None
    """An adapter that is merged into the base before training (the base is then an instruction-tuned one)."""
    evaluation_key: str | None = None
    """What is evaluated inside the trial, and may stop it: `make_hooks` knows it by this key."""
    num_rows: int = 0
    """Training rows, as far as known: large trainings are started first."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """For people: task, arm, draw, seed."""
    hold_at: int | None = None
    """Optimizer step at which the training waits for a decision: it is kept there under `stopped_adapter_key`, with a
    checkpoint from which the same job without this goes on. No part of the key. None: it is trained to its end."""

    @property
    def kept_under(self) -> tuple[str, ...]:
        """Keys of which any, once it is there, leaves nothing to train."""
        return (self.key,) if self.hold_at is None else (self.key, stopped_adapter_key(self.key, self.hold_at))


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """What one optimizer step did."""

    step: int
    """From 1."""
    total_steps: int
    loss: float
    """What the objective minimises, over the step: of supervised training the mean over its trained tokens, nats."""
    learning_rate: float
    grad_norm: float
    """Before clipping."""
    answer_tokens: int
    """Trained tokens of the step."""
    step_s: float
    """Seconds of forward, backward and optimizer, evaluation and bookkeeping left out."""
    eval_s: float = 0.0
    """Seconds that evaluation hooks took after this step."""
    validation_loss: float | None = None
    """Where this step ended with a validation: the objective's loss over the validation rows."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of evaluation hooks that ran after this step."""
    watched: Mapping[str, float] = field(default_factory=dict)
    """What the objective watches beside its loss: means over the step, and over the validation rows as
    `validation_...` where this step ended with a validation."""


def adapter_key(
    spec: TrainSpec,
    *,
    base_key: str,
    mixture_key: str,
    start_adapter_key: str | None = None,
    evaluation_key: str | None = None,
) -> str:
    """Key of the adapter that `spec` makes of a base and a mixture (whose key covers its datasets).

    An evaluation inside the trial is part of it: its records lie with the adapter, and it may end the training.
    """
    inputs: dict[str, str | list[str]] = {"base": base_key, "mixture": mixture_key}
    if start_adapter_key is not None:
        inputs["start_adapter"] = start_adapter_key
    if evaluation_key is not None:
        inputs["evaluation"] = evaluation_key
    return artifact_key(ADAPTER_KIND, ADAPTER_SCHEMA, spec, inputs)


def check_size(base: str, parameters: int) -> None:
    """Refuse to train all weights of a large base.

    Raises:
        ConfigError: it has too many parameters.
    """
    if parameters > MOST_TRAINED_WHOLE:
        raise ConfigError(
            f"train.method 'full': saw base model {base} of {parameters:,} parameters; expected at most "
            f"{MOST_TRAINED_WHOLE:,}; set train.method: lora, or take a smaller base"
        )


def stopped_adapter_key(key: str, step: int) -> str:
    """Key of what was cut short, or held, at `step`: never the full training's key."""
    return artifact_key("adapter-stopped", ADAPTER_SCHEMA, {"stopped_at_step": step}, {"adapter": key})


def longest_first(jobs: Sequence[TrainingJob]) -> list[TrainingJob]:
    """The order to start jobs in: grouped by base model, and large trainings first in each group.

    So workers seldom change their base, and none ends long after the others.
    """
    totals: dict[tuple[str, str, str], int] = {}
    for job in jobs:
        totals[_group(job)] = totals.get(_group(job), 0) + job.num_rows
    return sorted(jobs, key=lambda job: (-totals[_group(job)], _group(job), -job.num_rows, job.key))


def _group(job: TrainingJob) -> tuple[str, str, str]:
    return job.base_key, job.start_adapter_key or "", job.spec.dtype
