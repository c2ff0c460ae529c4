"""One vLLM engine for a base model and all of its adapters, LoRA chosen per row.

Traps that this file exists to avoid:
- On CPUs a batch that mixes bare base rows with adapter rows gives the base rows the last adapter's output, without
  an error (unless max_loras exceeds all adapters ever loaded). So the base model is always run in a pass of its own.
- The prefix cache knows an adapter by its name. Names are content keys, so a stale entry cannot be served; and it is
  emptied before every call, so that what a block writes does not depend on the blocks before it. (Rows that join by
  `add` share it: who is there with them is a matter of time anyway.)
- vLLM patches transformers' model classes in its process; the reference engine must live in another one.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence

# before vllm is imported: it reads some of these once
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine lives in this process
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # Ray decides who runs where
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers
import vllm
from vllm.lora.request import LoRARequest
from vllm.model_executor.models import ModelRegistry, supports_lora
from vllm.sampling_params import RequestOutputKind

from assay.adapter_files import check_adapter
from assay.errors import ConfigError, ResourceError
from assay.generation import cpu_lora_engine
from assay.generation.spec import (
    AdapterError,
    AdapterRef,
    GenerationResources,
    GenerationSpec,
    PromptRow,
    error_prediction,
    model_limit,
)
from assay.generation.tokenizer_engine import (
    load_tokenizer,
    make_prediction,
    read_config,
    row_seed,
    stop_token_ids,
)
from assay.records import Prediction
from assay.vllm_cpu import cpu_options

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM has room for; an adapter takes the next one up, padded with zeros."""


THROUGH_TRANSFORMERS = ("bert-generation", "biogpt", "gpt_neox")
"""Model types that vLLM runs through transformers, and whose adapters it was seen to serve as transformers does."""


UNREADABLE = {"lfm2": "vLLM 0.32 reads a field of Lfm2Config that transformers 5.19 does not have"}
"""Model types that vLLM implements and cannot start beside the pinned transformers."""


def takes_no_lora(config: transformers.PretrainedConfig) -> str | None:
    """Why vLLM does not serve adapters of this architecture; None where it does.

    vLLM's own implementations say so themselves. Others it runs through transformers, which fails for most of those
    that are no plain decoders (docs/architectures.md), so only the ones that were tried are left to it.
    """
    if config.model_type in UNREADABLE:
        return UNREADABLE[config.model_type]
    for architecture in config.architectures or ():
        if architecture in ModelRegistry.models:
            try:
                served = supports_lora(ModelRegistry.models[architecture].load_model_cls())
            except ImportError as error:
                return f"vLLM's {architecture} cannot be loaded here ({' '.join(str(error).split())[:80]})"
            return None if served else f"vLLM's {architecture} takes no LoRA"
    if config.model_type in THROUGH_TRANSFORMERS:
        return None
    return "an architecture that vLLM has no implementation of"


class VllmEngine:
    """A base model and its adapters behind `generate`."""

    name = "vllm"

    def __init__(
        self, base_path: str, spec: GenerationSpec, resources: GenerationResources, *, max_lora_rank: int = 0
    ) -> None:
        """Start the engine in this process.

        Args:
            base_path: local folder or hub id, tokenizer included.
            spec: what is generated.
            resources: what it runs on.
            max_lora_rank: highest rank of any adapter that will come; 0 serves the base model alone.

        Raises:
            ConfigError: the folder lacks its tokenizer, or an adapter's rank is beyond what vLLM takes.
            ResourceError: a GPU was asked for and there is none.
        """
        on_gpu = resources.gpus_per_engine > 0
        if on_gpu and not torch.cuda.is_available():
            raise ResourceError(
                f"generation: saw gpus_per_engine={resources.gpus_per_engine:g} and no CUDA device; expected one; "
                "set generation.resources.gpus_per_engine=0 or run on a GPU machine with the `gpu` extra installed"
            )
        self.tokenizer = load_tokenizer(base_path)
        self._spec = spec
        config = read_config(base_path)
        self.max_len = model_limit(config, spec.max_model_len)
        self._vocabulary = config.get_text_config().vocab_size
        self._stops = stop_token_ids(base_path, self.tokenizer, spec.prompt)
        self._ids: dict[str, int] = {}
        self._bad: dict[str, str] = {}
        self._num_added = 0
        self._queued: dict[str, PromptRow] = {}
        options: dict[str, object] = {}
        if max_lora_rank:
            options = {
                "enable_lora": True,
                "max_loras": min(resources.max_loras, resources.num_blocks),
                "max_cpu_loras": resources.max_loras,
                "max_lora_rank": _room_for(max_lora_rank),
            }
        if on_gpu:
            options["gpu_memory_utilization"] = resources.memory_share
            options["tensor_parallel_size"] = max(1, int(resources.gpus_per_engine))
        else:
            torch.set_num_threads(resources.num_threads)
            options |= cpu_options(resources.kv_cache_gib)
        eager = resources.enforce_eager if resources.enforce_eager is not None else not on_gpu
        if max_lora_rank and eager and not on_gpu:
            cpu_lora_engine.install()
        self._llm = vllm.LLM(
            model=base_path,
            dtype=spec.dtype,
            max_model_len=self.max_len,
            max_num_seqs=resources.num_sequences,
            enforce_eager=eager,
            generation_config="vllm",  # no sampling defaults out of the model's folder
            disable_log_stats=True,
            use_tqdm_on_load=False,
            trust_remote_code=False,
            seed=0,
            **options,
        )

    def generate(self, rows: Sequence[PromptRow]) -> list[Prediction]:
        """One prediction per row, same order; a row that fails carries its reason.

        Raises:
            AdapterError: an adapter cannot be loaded, so none of its rows can be answered.
        """
        done = {i: error for i, row in enumerate(rows) if (error := self._refused(row)) is not None}
        todo = sorted((i for i in range(len(rows)) if i not in done), key=lambda i: (_adapter_key(rows[i]), i))
        bare = [i for i in todo if rows[i].adapter is None]
        adapted = [i for i in todo if rows[i].adapter is not None]
        for indices in (bare, adapted):  # never in one batch: see the traps above
            if indices:
                self._llm.reset_prefix_cache()
                done.update(zip(indices, self._call([rows[i] for i in indices]), strict=True))
        return [done[i] for i in range(len(rows))]

    def prepare(self, adapter: AdapterRef) -> None:
        """Load an adapter, so that a broken one is found before its rows are asked.

        Raises:
            AdapterError: it cannot be loaded.
        """
        self._request(adapter)

    def add(self, row: PromptRow) -> str | Prediction:
        """Put a row into the queue: the name by which `step` gives it back, or at once the row that says why not."""
        if (refused := self._refused(row)) is not None:
            return refused
        self._num_added += 1
        name, sampling = str(self._num_added), self._sampling(row)
        sampling.output_kind = RequestOutputKind.FINAL_ONLY
        self._llm.llm_engine.add_request(
            name,
            {"prompt_token_ids": list(row.prompt_ids)},
            sampling,
            lora_request=None if row.adapter is None else self._request(row.adapter),
        )
        self._queued[name] = row
        return name

    def step(self) -> list[tuple[str, Prediction]]:
        """One step of the queue; the rows that ended with it."""
        ended = [output for output in self._llm.llm_engine.step() if output.finished]
        return [(output.request_id, self._prediction(self._queued.pop(output.request_id), output)) for output in ended]

    def drop(self) -> None:
        """Forget all rows in the queue: what a failed call left behind, so that the next one answers only its own."""
        engine = self._llm.llm_engine
        engine.abort_request(list(engine.output_processor.request_states), internal=True)
        self._queued.clear()

    def _refused(self, row: PromptRow) -> Prediction | None:
        """The error row of a row that the engine cannot be asked."""
        if row.error:
            return error_prediction(row, row.error)
        if not row.prompt_ids or max(row.prompt_ids) >= self._vocabulary:
            return error_prediction(row, f"token ids outside the model's vocabulary of {self._vocabulary}")
        return None

    def _prediction(self, row: PromptRow, output: vllm.RequestOutput) -> Prediction:
        return make_prediction(row, output.outputs[0].token_ids, self._stops, self.tokenizer, self._spec)

    def _call(self, rows: list[PromptRow]) -> list[Prediction]:
        adapters = [self._request(row.adapter) for row in rows] if rows[0].adapter is not None else None
        try:
            outputs = self._llm.generate(
                [{"prompt_token_ids": list(row.prompt_ids)} for row in rows],
                [self._sampling(row) for row in rows],
                lora_request=adapters,
                use_tqdm=False,
            )
        except (ValueError, RuntimeError, IndexError, KeyError, AssertionError) as error:
            self.drop()
            if len(rows) == 1:
                return [error_prediction(rows[0], f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")]
            middle = len(rows) // 2
            return self._call(rows[:middle]) + self._call(rows[middle:])
        return [self._prediction(row, output) for row, output in zip(rows, outputs, strict=True)]

    def _sampling(self, row: PromptRow) -> vllm.SamplingParams:
        return vllm.SamplingParams(
            temperature=self._spec.temperature,
            max_tokens=row.max_new_tokens,
            stop_token_ids=self._stops,
            seed=row_seed(self._spec.seed, row.example_id) if self._spec.temperature else None,
            detokenize=False,
        )

    def _request(self, adapter: AdapterRef) -> LoRARequest:
        """The adapter as vLLM knows it: named by its key, loaded once beforehand so that a broken one is found here."""
        if adapter.key in self._bad:
            raise AdapterError(self._bad[adapter.key])
        is_new = adapter.key not in self._ids
        number = self._ids.setdefault(adapter.key, len(self._ids) + 1)
        request = LoRARequest(adapter.key, number, adapter.path)
        if is_new:
            try:
                check_adapter(adapter.path)
                self._llm.llm_engine.add_lora(request)
            except Exception as error:
                reason = " ".join(str(error).split())[:200]
                self._bad[adapter.key] = f"adapter {adapter.key}: cannot be loaded ({reason})"
                raise AdapterError(self._bad[adapter.key]) from None
        return request

    def close(self) -> None:
        """Let go of the engine's memory."""
        self._llm = None
        gc.collect()


def _adapter_key(row: PromptRow) -> str:
    return row.adapter.key if row.adapter else ""


def _room_for(rank: int) -> int:
    for room in LORA_RANKS:
        if rank <= room:
            return room
    raise ConfigError(f"generation: saw a LoRA rank of {rank}; expected at most {LORA_RANKS[-1]}; use engine 'hf'")
