"""In an engine's process: which engine serves a model, and the actor that holds it for Ray Data."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping

import pyarrow as pa
import ray

from assay.cluster.ray_models import model_here
from assay.errors import AssayError, InputError, ResourceError, StageError
from assay.generation.full_queue import FullQueue
from assay.generation.prompts import encode_prompts
from assay.generation.spec import (
    AdapterError,
    AdapterRef,
    GenerationJob,
    GenerationResources,
    GenerationSpec,
    PromptRow,
    error_prediction,
)
from assay.generation.tokenizer_engine import (
    experts_missing,
    head_size_missing,
    linear_attention_missing,
    read_config,
    vllm_is_for_gpus,
)
from assay.records import Prediction, to_table
from assay.store import Store

ADAPTER_KIND = "adapter"
LEAST_PROMPT_TOKENS = 16
MOST_WORDS = 600
"""Characters of what an engine said before it gave up; the end says most."""
LOOK_EVERY_S = 1.0
"""Between two looks of an engine that could not start at whether the others go on."""


class EngineActor:
    """Holds one engine for its whole life; turns block descriptors into prediction rows."""

    def __init__(
        self,
        store: Store,
        base_path: str,
        jobs: ray.ObjectRef,
        sets: Mapping[str, ray.ObjectRef],
        spec: GenerationSpec,
        resources: GenerationResources,
        max_lora_rank: int,
        table: ray.actor.ActorHandle,
    ) -> None:
        self._store, self._spec, self._table = store, spec, table
        self._max_attempts = 1 + resources.max_restarts
        self._jobs: list[GenerationJob] = ray.get(jobs)
        self._refs, self._sets = dict(sets), {}
        self._failure: AssayError | None = None
        self._turn = threading.Lock()
        name = ray.get_runtime_context().get_actor_id()
        ray.get(table.came.remote(name))
        try:
            path = model_here(store, base_path, self._jobs[0].base_key, self._jobs[0].base_source)
            self._engine, self.label = start_engine(path, spec, resources, max_lora_rank)
        except AssayError as error:  # Ray Data starts an actor whose constructor raises again and again
            self._failure = error
        except Exception as error:
            words = " ".join(f"{type(error).__name__}: {error}".split())[-MOST_WORDS:]
            self._failure = StageError(f"generation with {base_path}: the engine could not start ({words})")
        if self._failure is None:
            ray.get(table.started.remote(name))
        elif isinstance(self._failure, ResourceError) or not isinstance(self._failure, InputError):
            self._hold_the_place(name)

    def _hold_the_place(self, name: str) -> None:
        """Wait while other engines do the work: a place where no engine starts is then given to none, and no block."""
        ray.get(self._table.failed.remote(name, str(self._failure), ray.get_runtime_context().current_actor))
        began_s = time.monotonic()
        while ray.get(self._table.is_spared.remote(name, time.monotonic() - began_s)):
            time.sleep(LOOK_EVERY_S)

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Predictions of a block, with their job's number and the engine's label."""
        if self._failure is not None:
            raise self._failure
        for number, start in zip(batch.column("job").to_pylist(), batch.column("start").to_pylist(), strict=True):
            yield self._block(number, start)

    def _block(self, number: int, start: int) -> pa.Table:
        block = (number, start)
        attempt = ray.get(self._table.begin.remote(block))
        rows = self._prompts(self._jobs[number], start)
        if attempt > self._max_attempts:
            reason = f"the engine died {self._max_attempts} times on this block of rows"
            predictions = [error_prediction(row, reason) for row in rows]
        elif isinstance(self._engine, FullQueue):
            predictions = self._engine.generate(rows, alone=attempt > 1)
        else:
            with self._turn:
                predictions = self._engine.generate(rows)
        self._table.end.remote(block)
        table = to_table(predictions, Prediction)
        table = table.append_column("job", pa.array([number] * len(rows), pa.int64()))
        return table.append_column("engine", pa.array([self.label] * len(rows), pa.string()))

    def _prompts(self, job: GenerationJob, start: int) -> list[PromptRow]:
        if job.evaluation_key not in self._sets:
            if len(self._sets) >= 8:
                self._sets.clear()
            self._sets[job.evaluation_key] = ray.get(self._refs[job.evaluation_key])
        examples = self._sets[job.evaluation_key][start : start + self._spec.block_rows]
        adapter: AdapterRef | None = None
        try:
            if job.adapter_key is not None:
                folder = job.adapter_dir or str(self._store.local_dir(ADAPTER_KIND, job.adapter_key))
                adapter = AdapterRef(job.adapter_key, folder, job.lora_rank)
                with self._turn:
                    self._engine.prepare(adapter)
        except (AdapterError, OSError) as error:
            return [PromptRow(e.example_id, (), job.max_new_tokens, None, str(error)) for e in examples]
        room = min(self._spec.max_prompt_tokens, self._engine.max_len - job.max_new_tokens)
        if room < LEAST_PROMPT_TOKENS:
            reason = f"{job.max_new_tokens} new tokens leave no room for a prompt in {self._engine.max_len}"
            return [PromptRow(e.example_id, (), job.max_new_tokens, adapter, reason) for e in examples]
        return prompt_rows(self._engine.tokenizer, examples, self._spec, room, job.max_new_tokens, adapter)


def prompt_rows(tokenizer, examples, spec, room, max_new_tokens, adapter) -> list[PromptRow]:
    """Examples as an engine takes them; a row without a prompt carries the reason.

    Args:
        tokenizer: the base model's.
        examples: rows of one evaluation set.
        spec: its `prompt` says how an example becomes text.
        room: tokens of a prompt at most.
        max_new_tokens: of the answer.
        adapter: for all of these rows; None is the base model.
    """
    encoded = encode_prompts(tokenizer, examples, spec.prompt, room)
    return [
        PromptRow(example.example_id, (), max_new_tokens, adapter, str(ids))
        if isinstance(ids, ValueError)
        else PromptRow(example.example_id, tuple(ids.ids), max_new_tokens, adapter, is_cut=ids.is_cut)
        for example, ids in zip(examples, encoded, strict=True)
    ]


def start_engine(base_path: str, spec: GenerationSpec, resources: GenerationResources, max_lora_rank: int):
    """The engine that serves this model by the spec's rule, and its label: "vllm", "hf", or "hf: why not vllm".

    Starts it in this process; vLLM changes transformers' classes, so a process holds one engine in its life.
    """
    label = spec.engine
    if spec.engine == "vllm":
        reason = cannot_serve(base_path, on_gpu=resources.gpus_per_engine > 0)
        reason = reason or wrong_numbers(spec, resources, max_lora_rank)
        if reason is None:
            from assay.generation.vllm_engine import VllmEngine

            engine = VllmEngine(base_path, spec, resources, max_lora_rank=max_lora_rank)
            return (FullQueue(engine) if resources.num_blocks > 1 else engine), label
        label = f"hf: {reason}"
    from assay.generation.hf_engine import HfEngine

    return HfEngine(base_path, spec, resources), label


def wrong_numbers(spec: GenerationSpec, resources: GenerationResources, max_lora_rank: int) -> str | None:
    """Why vLLM does not serve adapters in this type of numbers; None where it does."""
    if spec.dtype == "float32" and resources.gpus_per_engine > 0 and max_lora_rank > 0:
        return "vLLM's LoRA kernels on GPUs take no float32"
    return None


def cannot_serve(base_path: str, *, on_gpu: bool) -> str | None:
    """Why vLLM does not serve this model with adapters; None where it does.

    The fixed rule by which `engine="vllm"` means transformers: attention of a head size that vLLM lacks, experts or
    linear attention (CPUs only), an engine on the CPU where vLLM's CUDA build is installed, a model that reads images
    or sound as well, or an architecture whose vLLM implementation takes no LoRA or does not start. It asks nothing of
    the jobs, so all predictions of a base model come from one engine.
    """
    config = read_config(base_path)
    if config.get_text_config() is not config:
        return "a model of several senses, whose adapters vLLM names otherwise"
    if not on_gpu and vllm_is_for_gpus():
        return "vLLM's CUDA build has no CPU engine"
    missing = (head_size_missing, experts_missing, linear_attention_missing)
    reason = None if on_gpu else next(filter(None, (look(config) for look in missing)), None)
    if reason is None:
        from assay.generation.vllm_engine import takes_no_lora

        reason = takes_no_lora(config)
    return reason
