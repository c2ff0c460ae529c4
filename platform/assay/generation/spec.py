"""What is generated and on what: the spec that names predictions, the resources that do not, and the jobs.

Pure. A job is one (adapter, evaluation set) pair and makes one `predictions` artifact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field, model_validator

from assay.config import Config
from assay.errors import AssayError, ConfigError
from assay.fingerprint import artifact_key
from assay.records import Mode, Prediction
from assay.tasks.templates import PromptSpec

KIND = "predictions"
LEAST_PROMPT = 16
"""Tokens that a prompt has room for at least, beside the answer."""
SCHEMA_VERSION = 1
"""Raised whenever the code writes something else for the same spec."""
BARE_VERSION = 2
"""The same of a base model's own answers in `strict`: 2 reads data as text. An adapter's key covers its mixture, whose
own version says it."""
PREDICTIONS_FILE = "predictions.parquet"
CPU_SEQUENCES = 256
GPU_BLOCKS = 8
"""Blocks of 256 rows that keep a GPU's queue full: two batches of the largest that vLLM takes there."""


class GenerationSpec(Config):
    """How predictions are made. Every field is part of their key, as is a job's `max_new_tokens`."""

    engine: Literal["vllm", "hf"] = "vllm"
    """`vllm` means vLLM wherever it can serve the model with adapters, and transformers where it cannot, by the
    fixed rule of `ray_engine.cannot_serve`; both write the same greedy tokens in float32."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Where a study does not say it: bfloat16 on GPUs, else float32. float32 with adapters on a GPU is served by
    transformers, as vLLM's LoRA kernels take none.
    bfloat16 is equal only within a tolerance: 249 of 256 tiny-model answers agreed between the engines."""
    prompt: PromptSpec = PromptSpec()
    mode: Mode = "strict"
    """`compat` cuts a prediction at a further "###", as the published study did; it shortens markdown answers."""
    max_prompt_tokens: int = Field(512, ge=16)
    """Longer prompts lose the middle of their longest field (`compat`: the end of their input), never the marker that
    asks for the response; how many did stands in the plan and the report."""
    max_model_len: int = Field(1024, ge=32)
    """Prompt and answer together; a model whose own limit is lower has that one."""
    temperature: float = Field(0.0, ge=0, le=2)
    """0 is greedy."""
    seed: int = Field(0, ge=0)
    """Of sampling; 0 where decoding is greedy, whatever is asked for, since it changes nothing there."""
    block_rows: int = Field(256, ge=1, le=4096)
    """Rows of one evaluation set that an engine call takes together, in id order. Identity, because the rows that
    share a batch decide how sums are rounded; a block is done whole or redone whole."""

    @model_validator(mode="before")
    @classmethod
    def _greedy_has_no_seed(cls, data: object) -> object:
        if isinstance(data, dict) and not data.get("temperature"):
            return {**data, "seed": 0}
        return data


class GenerationResources(Config):
    """What generation runs on: speed, never meaning."""

    num_engines: int | None = Field(None, ge=1)
    """Engine actors at most; None: as many as fit the cluster where an engine has a GPU, else one (each start costs as
    much CPU as many rows). Fewer are started where there are fewer blocks."""
    cpus_per_engine: float = Field(1.0, gt=0)
    gpus_per_engine: float = Field(0.0, ge=0)
    """0 runs on the CPU. Above 1 it must be a whole number: the model is split over so many GPUs."""
    threads: int | None = Field(None, ge=1)
    """Torch threads of a CPU engine; default `cpus_per_engine`, at least 1."""
    kv_cache_gib: float = Field(0.5, gt=0)
    """Memory of a CPU engine's key-value cache, touched at the start (2 s a GiB). A full one makes rows wait."""
    gpu_memory_fraction: float = Field(0.85, gt=0, le=1)
    """Share of its part of a GPU that an engine takes."""
    max_num_seqs: int | None = Field(None, ge=1)
    """Sequences decoded at once. None: 256, on GPUs vLLM's own choice by the device (1,024 on an H100)."""
    max_loras: int = Field(8, ge=1)
    """Adapters that an engine keeps loaded, and has in one batch at most (`blocks_at_once` brings them together)."""
    blocks_at_once: int | None = Field(None, ge=1)
    """Blocks in an engine's queue. 1 takes block by block, which keeps predictions reproducible to the byte; with more
    the next ones join while it works and the queue never drains, at predictions equal within a tolerance. None: 1
    on the CPU, 8 on a GPU."""
    enforce_eager: bool | None = None
    """None: eager on the CPU (compiling takes 10-25 s), CUDA graphs on a GPU."""
    max_restarts: int = Field(3, ge=0)
    """A block on which the engine's process died so many times and once more becomes error rows."""

    @model_validator(mode="after")
    def _whole_gpus(self) -> GenerationResources:
        if self.gpus_per_engine > 1 and not self.gpus_per_engine.is_integer():
            raise ValueError(f"gpus_per_engine={self.gpus_per_engine} must be whole above 1")
        return self

    @property
    def num_threads(self) -> int:
        """Torch threads of a CPU engine."""
        return self.threads or max(1, int(self.cpus_per_engine))

    @property
    def num_sequences(self) -> int | None:
        """Sequences decoded at once; None leaves it to vLLM."""
        return self.max_num_seqs or (None if self.gpus_per_engine else CPU_SEQUENCES)

    @property
    def num_blocks(self) -> int:
        """Blocks in an engine's queue."""
        return self.blocks_at_once or (GPU_BLOCKS if self.gpus_per_engine else 1)

    @property
    def memory_share(self) -> float:
        """Share of a whole GPU's memory for one engine: engines on one GPU must not take each other's."""
        return self.gpu_memory_fraction * min(1.0, self.gpus_per_engine)


@dataclass(frozen=True)
class GenerationJob:
    """One (adapter, evaluation set) pair. Rows are named by the set's key and never travel with the job."""

    key: str
    """Of the predictions artifact, see `predictions_key`."""
    base_path: str
    """Local folder or hub id of the base model, tokenizer included."""
    evaluation_key: str
    """Names the rows in `examples_by_set`."""
    max_new_tokens: int
    adapter_key: str | None = None
    """None: the base model itself. Also the adapter's name inside the engine, so equal names are equal weights."""
    adapter_dir: str | None = None
    """Folder of an adapter that is not in the store; None: the store's artifact `adapter_key`."""
    lora_rank: int = 0
    base_key: str = ""
    """Content key of the base; an artifact of the store is fetched from there where the path is missing."""
    base_source: str = ""
    """`owner/model@commit` of a base from the hub: an engine on another machine fetches it itself."""

    def keyed(self, spec: GenerationSpec) -> GenerationJob:
        """The same job under the key that its base, adapter and rows give; made with any key, such as ""."""
        key = predictions_key(
            spec,
            base_key=self.base_key,
            adapter_key=self.adapter_key,
            evaluation_key=self.evaluation_key,
            max_new_tokens=self.max_new_tokens,
        )
        return replace(self, key=key)


@dataclass(frozen=True)
class PromptRow:
    """One row on its way through an engine: prompt as token ids, special tokens in place."""

    example_id: str
    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    adapter: AdapterRef | None = None
    error: str | None = None
    """Why there is no prompt; such a row passes through as an error row."""
    is_cut: bool = False
    """Whether the prompt was too long and lost some of its data."""


@dataclass(frozen=True)
class AdapterRef:
    """An adapter on local disk under its content key."""

    key: str
    path: str
    rank: int


@dataclass(frozen=True)
class GenerationReport:
    """What a run of generation did. Times are for people; no result table holds them."""

    published: tuple[str, ...]
    """Keys written by this run, sorted."""
    found: tuple[str, ...]
    """Keys that were already in the store, sorted."""
    failed: dict[str, str]
    """Key of each pair without a single prediction -> why. Nothing is stored for it, so the next run tries again."""
    num_rows: int
    num_error_rows: int
    num_tokens: int
    """Tokens written by this run."""
    seconds: float
    engines: dict[str, str]
    """Base path -> the engine that served it ("vllm", or "hf: why")."""


def predictions_key(
    spec: GenerationSpec,
    *,
    base_key: str,
    adapter_key: str | None,
    evaluation_key: str,
    max_new_tokens: int,
) -> str:
    """Key of the predictions of one (adapter, evaluation set) pair.

    Args:
        spec: how they are made.
        base_key: content key of the base model.
        adapter_key: content key of the adapter; None for the base model itself.
        evaluation_key: key of the evaluation rows: a dataset key and split, or a hash of the rows.
        max_new_tokens: of the task.
    """
    inputs = {"base": base_key, "adapter": adapter_key or "", "evaluation": evaluation_key}
    version = BARE_VERSION if adapter_key is None and spec.prompt.rules == "strict" else SCHEMA_VERSION
    identity = {**spec.identity(), "max_new_tokens": max_new_tokens}
    return artifact_key(KIND, version, identity, inputs)


def check_jobs(jobs: Sequence[GenerationJob], spec: GenerationSpec) -> None:
    """Refuse what no engine could do.

    Raises:
        ConfigError: no room for an answer beside the prompt, or an adapter without a rank.
    """
    for job in jobs:
        if job.max_new_tokens < 1 or job.max_new_tokens + LEAST_PROMPT > spec.max_model_len:
            raise ConfigError(
                f"generation: saw max_new_tokens={job.max_new_tokens} with max_model_len={spec.max_model_len}; "
                f"expected 1 to max_model_len - {LEAST_PROMPT}; raise max_model_len or ask for fewer tokens"
            )
        if (job.adapter_key is None) != (job.lora_rank == 0):
            raise ConfigError(
                f"generation: saw adapter {job.adapter_key} with lora_rank={job.lora_rank}; expected a rank of at "
                "least 1 for an adapter and 0 for the base model"
            )


class AdapterError(AssayError):
    """An adapter that no engine can load: its job fails, the engine and the other jobs go on."""


def model_limit(config: Any, max_model_len: int) -> int:
    """Tokens of prompt and answer: `max_model_len`, or the model's own limit where that is lower."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    own = getattr(text, "max_position_embeddings", None)
    return min(max_model_len, own) if isinstance(own, int) and own > 0 else max_model_len


def error_prediction(row: PromptRow, reason: str) -> Prediction:
    """The row that stands for an answer that could not be made."""
    return Prediction(row.example_id, "", "error", len(row.prompt_ids), 0, reason)
