"""Generation as one Ray Data stream per base model: blocks of rows in, predictions published pair by pair.

The driver sends block descriptors only (a job's number and a range of rows); evaluation sets lie in the object store
once each, and prompts are rendered beside the engine. Run it from the driver, never inside a trial.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import ray
import ray.data

from assay.errors import AssayError, DataError, ResourceError, StageError
from assay.generation.prompts import encode_prompts
from assay.generation.spec import (
    KIND,
    PREDICTIONS_FILE,
    AdapterError,
    AdapterRef,
    GenerationJob,
    GenerationReport,
    GenerationResources,
    GenerationSpec,
    PromptRow,
    check_jobs,
    error_prediction,
)
from assay.generation.tokenizer_engine import head_size_missing, read_config
from assay.hooks import Progress, SilentProgress, log_event
from assay.ray_metrics import count
from assay.ray_nodes import beside_the_driver, capacity
from assay.records import Example, Prediction, from_table, to_table
from assay.store import Store

STAGE = "generation"
ADAPTER_KIND = "adapter"
BASE_KIND = "base"
LEAST_PROMPT_TOKENS = 16


def run_generation(
    store: Store,
    jobs: Sequence[GenerationJob],
    examples_by_set: Mapping[str, Sequence[Example]],
    spec: GenerationSpec,
    resources: GenerationResources,
    progress: Progress | None = None,
) -> GenerationReport:
    """Make the predictions of every job that the store does not hold yet. Needs a started Ray.

    A row that fails is stored as an error row. A pair without a single answer (its adapter cannot be loaded) is
    stored not at all and named in the report; the others are not touched by it. Killed anywhere, the next call
    skips what was published and redoes the rest, whole blocks at a time.

    Args:
        store: where adapters are found and predictions go.
        jobs: pairs wanted; equal keys are one pair.
        examples_by_set: rows by `GenerationJob.evaluation_key`; their order does not matter.
        spec: how predictions are made; the jobs' keys must have been made of it.
        resources: what the engines run on.
        progress: told of rows and tokens per second as blocks come back.

    Raises:
        ConfigError: a job that no engine could do, or a base model without tokenizer.
        DataError: a job whose evaluation set is missing or empty.
        ResourceError: the cluster has no room for one engine, and would never have.
        StageError: an engine could not be started, or raised what is no row's fault.
    """
    progress = progress or SilentProgress()
    started = time.monotonic()
    wanted = {job.key: job for job in jobs}
    check_jobs(list(wanted.values()), spec)
    for job in wanted.values():
        if not examples_by_set.get(job.evaluation_key):
            raise DataError(f"generation: saw no rows in evaluation set {job.evaluation_key}; expected at least one")
    found = store.present(KIND, wanted)
    todo = [job for key, job in sorted(wanted.items()) if key not in found]
    sizes = {key: len(examples_by_set[key]) for key in {job.evaluation_key for job in wanted.values()}}
    total = sum(sizes[job.evaluation_key] for job in wanted.values())
    num_left = sum(sizes[job.evaluation_key] for job in todo)
    progress.start(STAGE, total, done=total - num_left, unit="rows")
    collected = _Collected(store, spec, progress, started)
    if todo:
        sets = {
            key: ray.put(sorted(examples_by_set[key], key=lambda example: example.example_id))
            for key in sorted({job.evaluation_key for job in todo})
        }
        num_engines = _room_for_engines(resources)
        todo.sort(key=lambda job: (job.base_path, job.adapter_key or "", job.evaluation_key, job.key))
        with ThreadPoolExecutor(max_workers=4) as pool:
            for base_path, members in itertools.groupby(todo, key=lambda job: job.base_path):
                _run_base(store, base_path, list(members), sets, sizes, spec, resources, num_engines, collected, pool)
            collected.wait()
    progress.finish(STAGE, collected.note())
    return GenerationReport(
        published=tuple(sorted(collected.published)),
        found=tuple(sorted(found)),
        failed=dict(sorted(collected.failed.items())),
        num_rows=collected.num_rows,
        num_error_rows=collected.num_error_rows,
        num_tokens=collected.num_tokens,
        seconds=time.monotonic() - started,
        engines=collected.engines,
    )


def read_predictions(store: Store, key: str) -> list[Prediction]:
    """The rows of a predictions artifact, sorted by example id."""
    return from_table(store.read_table(KIND, key, PREDICTIONS_FILE), Prediction)


# --- in the driver ---------------------------------------------------------------------------------------------


def _run_base(
    store: Store,
    base_path: str,
    jobs: list[GenerationJob],
    sets: Mapping[str, ray.ObjectRef],
    sizes: Mapping[str, int],
    spec: GenerationSpec,
    resources: GenerationResources,
    num_engines: int,
    collected: _Collected,
    pool: ThreadPoolExecutor,
) -> None:
    """One stream: all pairs of one base model through one pool of engines."""
    blocks = [
        {"job": number, "start": start}
        for number, job in enumerate(jobs)
        for start in range(0, sizes[job.evaluation_key], spec.block_rows)
    ]
    num_calls = math.ceil(len(blocks) / resources.blocks_per_call)
    with _quiet_ray_data():
        dataset = ray.data.from_items(blocks, override_num_blocks=num_calls).map_batches(
            _EngineActor,
            fn_constructor_kwargs={
                "store": store,
                "base_path": base_path,
                "jobs": ray.put(jobs),
                "sets": dict(sets),
                "spec": spec,
                "resources": resources,
                "max_lora_rank": max(job.lora_rank for job in jobs),
                "attempts": _Attempts.options(**beside_the_driver()).remote(),
            },
            batch_size=resources.blocks_per_call,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(num_engines, num_calls)),
            num_cpus=resources.cpus_per_engine,
            num_gpus=resources.gpus_per_engine,
            runtime_env={"env_vars": _engine_environment(resources)},
        )
        missing = {number: sizes[job.evaluation_key] for number, job in enumerate(jobs)}
        parts: dict[int, list[pa.Table]] = {}
        try:
            for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                collected.engines[base_path] = table.column("engine")[0].as_py()
                numbers = table.column("job").to_pylist()
                for number in dict.fromkeys(numbers):
                    mine = table.filter(pa.compute.equal(table.column("job"), number))
                    parts.setdefault(number, []).append(mine)
                    missing[number] -= mine.num_rows
                    collected.saw(mine)
                    if missing[number] == 0:
                        pairs = parts.pop(number)
                        collected.publishing.append(pool.submit(collected.publish, jobs[number], pairs))
                collected.reap()
        except AssayError:
            raise
        except Exception as error:  # Ray wraps whatever an engine process raised
            raise _cause(error, base_path) from error


@contextmanager
def _quiet_ray_data() -> Iterator[None]:
    """Ray Data without bars and banners: progress is ours to show."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()  # its copy() warns of fields that it deprecates itself
    before = context.enable_progress_bars, context.print_on_execution_start
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        yield
    finally:
        context.enable_progress_bars, context.print_on_execution_start = before


@dataclass
class _Collected:
    """What has come back so far."""

    store: Store
    spec: GenerationSpec
    progress: Progress
    started_s: float
    published: list[str] = dataclasses.field(default_factory=list)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    engines: dict[str, str] = dataclasses.field(default_factory=dict)
    publishing: list[Future[None]] = dataclasses.field(default_factory=list)
    num_rows: int = 0
    num_error_rows: int = 0
    num_tokens: int = 0
    first_s: float | None = None
    """When the first block came: rates leave the engines' start out."""

    def saw(self, table: pa.Table) -> None:
        """Count a block's rows and say so."""
        self.num_rows += table.num_rows
        self.num_error_rows += table.num_rows - table.column("error").null_count
        self.num_tokens += pa.compute.sum(table.column("num_tokens")).as_py() or 0
        now = time.monotonic()
        busy_s = now - (self.first_s or self.started_s)
        self.first_s = self.first_s or now
        rate = self.num_tokens / busy_s if busy_s > 0 else 0.0
        self.progress.advance(STAGE, table.num_rows, tokens_per_s=round(rate), errors=self.num_error_rows)

    def publish(self, job: GenerationJob, tables: list[pa.Table]) -> None:
        """Write a finished pair, or note that it failed as a whole."""
        rows = sorted(from_table(pa.concat_tables(tables), Prediction), key=lambda row: row.example_id)
        if all(row.error is not None for row in rows):
            self.failed[job.key] = rows[0].error or ""
            return
        described = {
            **self.spec.model_dump(mode="json"),
            "max_new_tokens": job.max_new_tokens,
            "base": job.base_key,
            "adapter": job.adapter_key,
            "evaluation": job.evaluation_key,
        }
        with self.store.writing(KIND, job.key, described) as writer:
            writer.table(PREDICTIONS_FILE, to_table(rows, Prediction))
        self.published.append(job.key)
        log_event(STAGE, "written", key=job.key, adapter=job.adapter_key, evaluation=job.evaluation_key, rows=len(rows))
        count("assay_predictions_written")

    def reap(self) -> None:
        """Raise what a finished write raised."""
        for future in [future for future in self.publishing if future.done()]:
            self.publishing.remove(future)
            future.result()

    def wait(self) -> None:
        """Until all pairs are written."""
        for future in self.publishing:
            future.result()
        self.publishing.clear()

    def note(self) -> str:
        """One line for people."""
        parts = [f"{len(self.published)} pairs written"]
        if self.num_error_rows:
            parts.append(f"{self.num_error_rows} rows without an answer")
        if self.failed:
            parts.append(f"{len(self.failed)} pairs failed")
        parts += [f"{path}: {engine}" for path, engine in self.engines.items() if engine != self.spec.engine]
        return ", ".join(parts)


def _room_for_engines(resources: GenerationResources) -> int:
    """How many of the engines asked for can ever run here. Without this check Ray would wait for ever, silently."""
    share = {"CPU": resources.cpus_per_engine, "GPU": resources.gpus_per_engine}
    there = capacity()
    room = there.room_for(share)
    if room is None:  # nodes may come, nobody says how many: what was asked for is waited for
        return resources.num_engines
    if room == 0:
        name = next((name for name, amount in share.items() if amount > there.most(name)), "CPU")
        have = there.most(name)
        raise ResourceError(
            f"generation: saw {have:g} {name} on the largest node of this Ray cluster; expected {share[name]:g} for "
            f"one engine; set generation.resources.{name.lower()}s_per_engine={have:g} or start a cluster that has them"
        )
    return min(resources.num_engines, room)


def _engine_environment(resources: GenerationResources) -> dict[str, str]:
    """Environment of engine processes; read at import, so it must stand before the process starts."""
    return {
        "OMP_NUM_THREADS": str(resources.num_threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }


def _cause(error: BaseException, base_path: str) -> AssayError:
    """What an engine process raised, out of Ray's wrapping."""
    seen: BaseException | None = error
    last = error
    while seen is not None:
        if isinstance(seen, AssayError):
            return seen
        last = seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    reason = " ".join(str(last).split())[-300:]
    return StageError(f"generation with {base_path}: the engine failed ({type(last).__name__}: {reason})")


# --- in the engine's process -----------------------------------------------------------------------------------


@ray.remote(num_cpus=0)
class _Attempts:
    """Counts how often each engine call was begun. It outlives engine processes, so it knows what killed them."""

    def __init__(self) -> None:
        self._begun: dict[tuple[int, ...], int] = {}

    def begin(self, call: tuple[int, ...]) -> int:
        self._begun[call] = self._begun.get(call, 0) + 1
        return self._begun[call]

    def end(self, call: tuple[int, ...]) -> None:
        self._begun.pop(call, None)


class _EngineActor:
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
        attempts: ray.actor.ActorHandle,
    ) -> None:
        self._store, self._spec, self._attempts = store, spec, attempts
        self._max_attempts = 1 + resources.max_restarts
        self._jobs: list[GenerationJob] = ray.get(jobs)
        self._refs, self._sets = dict(sets), {}
        self._failure: AssayError | None = None
        try:
            path = _local_base(store, base_path, self._jobs[0].base_key)
            self._engine, self.label = start_engine(path, spec, resources, max_lora_rank)
        except AssayError as error:  # Ray Data starts an actor whose constructor raises again and again
            self._failure = error

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        if self._failure is not None:
            raise self._failure
        rows: list[PromptRow] = []
        numbers: list[int] = []
        blocks = list(zip(batch.column("job").to_pylist(), batch.column("start").to_pylist(), strict=True))
        for number, start in blocks:
            block = self._prompts(self._jobs[number], start)
            rows += block
            numbers += [number] * len(block)
        call = tuple(part for block in blocks for part in block)
        if ray.get(self._attempts.begin.remote(call)) > self._max_attempts:
            reason = f"the engine died {self._max_attempts} times on this block of rows"
            predictions = [error_prediction(row, reason) for row in rows]
        else:
            predictions = self._engine.generate(rows)
        self._attempts.end.remote(call)
        table = to_table(predictions, Prediction)
        table = table.append_column("job", pa.array(numbers, pa.int64()))
        yield table.append_column("engine", pa.array([self.label] * len(rows), pa.string()))

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
        else PromptRow(example.example_id, tuple(ids), max_new_tokens, adapter)
        for example, ids in zip(examples, encoded, strict=True)
    ]


def start_engine(base_path: str, spec: GenerationSpec, resources: GenerationResources, max_lora_rank: int):
    """The engine that serves this model by the spec's rule, and its label: "vllm", "hf", or "hf: why not vllm".

    Starts it in this process; vLLM changes transformers' classes, so a process holds one engine in its life.
    """
    label = spec.engine
    if spec.engine == "vllm":
        reason = cannot_serve(base_path, on_gpu=resources.gpus_per_engine > 0)
        if reason is None:
            from assay.generation.vllm_engine import VllmEngine

            return VllmEngine(base_path, spec, resources, max_lora_rank=max_lora_rank), label
        label = f"hf: {reason}"
    from assay.generation.hf_engine import HfEngine

    return HfEngine(base_path, spec, resources), label


def cannot_serve(base_path: str, *, on_gpu: bool) -> str | None:
    """Why vLLM does not serve this model with adapters; None where it does.

    The fixed rule by which `engine="vllm"` means transformers: attention of a head size that vLLM lacks (CPUs only),
    or an architecture whose vLLM implementation takes no LoRA. It asks nothing of the jobs, so all predictions of a
    base model come from one engine.
    """
    config = read_config(base_path)
    reason = None if on_gpu else head_size_missing(config)
    if reason is None:
        from assay.generation.vllm_engine import takes_no_lora

        reason = takes_no_lora(config)
    return reason


def _local_base(store: Store, base_path: str, base_key: str) -> str:
    """The base model where this machine can read it; one that the store holds is fetched."""
    if Path(base_path).is_dir() or not base_key or not store.exists(BASE_KIND, base_key):
        return base_path
    return str(store.local_dir(BASE_KIND, base_key))
