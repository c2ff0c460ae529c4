"""Generation as one Ray Data stream per base model: blocks of rows in, predictions published pair by pair.

The driver sends block descriptors only (a job's number and a range of rows); evaluation sets lie in the object store
once each, and prompts are rendered beside the engine. Run it from the driver, never inside a trial.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import ray
import ray.data

from assay.cluster.devices import device_environment
from assay.cluster.ray_metrics import count
from assay.cluster.ray_nodes import beside_the_driver, capacity, grows
from assay.cluster.ray_streams import quiet_ray_data, tables_of, workers_errors
from assay.errors import AssayError, DataError, ResourceError
from assay.generation.engine_table import COME_WITHIN_S, NODE_WITHIN_S, EngineTable
from assay.generation.ray_engine import EngineActor
from assay.generation.spec import (
    KIND,
    PREDICTIONS_FILE,
    GenerationJob,
    GenerationReport,
    GenerationResources,
    GenerationSpec,
    check_jobs,
)
from assay.hooks import Progress, SilentProgress, log_event
from assay.records import Example, Prediction, from_table, to_table
from assay.store import Store

STAGE = "generation"
UNKNOWN_ROOM = 4
"""Engines where nodes may come and nobody says how many: each waiting one asks the autoscaler for a node."""


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
        engines = _room_for_engines(resources)
        todo.sort(key=lambda job: (job.base_path, job.adapter_key or "", job.evaluation_key, job.key))
        with ThreadPoolExecutor(max_workers=4) as pool:
            inputs = _StreamInputs(store, sets, sizes, spec, resources, engines, pool)
            for base_path, members in itertools.groupby(todo, key=lambda job: job.base_path):
                _run_base(base_path, list(members), inputs, collected)
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


class _Engines(NamedTuple):
    """How many engines there are to be."""

    wanted: int
    most: int
    """Places for one in the whole cluster, where that is known."""


@dataclass(frozen=True)
class _StreamInputs:
    """What the streams of all base models share."""

    store: Store
    sets: Mapping[str, ray.ObjectRef]
    sizes: Mapping[str, int]
    """Rows by evaluation set."""
    spec: GenerationSpec
    resources: GenerationResources
    engines: _Engines
    pool: ThreadPoolExecutor
    """Writes finished pairs."""


def _run_base(base_path: str, jobs: list[GenerationJob], inputs: _StreamInputs, collected: _Collected) -> None:
    """All pairs of one base model; where no engine starts, once more with engines in all places that there are."""
    sizes, spec = inputs.sizes, inputs.spec
    blocks = [
        {"job": number, "start": start}
        for number, job in enumerate(jobs)
        for start in range(0, sizes[job.evaluation_key], spec.block_rows)
    ]
    engines = inputs.engines
    if not _stream(base_path, jobs, blocks, min(engines.wanted, len(blocks)), inputs, collected):
        gc.collect()  # what is left of the first stream are cycles, and engines live as long as their handles
        _stream(base_path, jobs, blocks, engines.most, inputs, collected)


def _stream(
    base_path: str,
    jobs: list[GenerationJob],
    blocks: list[dict[str, int]],
    num_engines: int,
    inputs: _StreamInputs,
    collected: _Collected,
) -> bool:
    """Blocks through one pool of engines; false where none of them started and there are places for more."""
    spec, resources = inputs.spec, inputs.resources
    come_within_s = NODE_WITHIN_S if grows() else COME_WITHIN_S
    table = ray.remote(num_cpus=0)(EngineTable).options(**beside_the_driver()).remote(num_engines, come_within_s)
    with quiet_ray_data():
        dataset = ray.data.from_items(blocks, override_num_blocks=len(blocks)).map_batches(
            EngineActor,
            fn_constructor_kwargs={
                "store": inputs.store,
                "base_path": base_path,
                "jobs": ray.put(jobs),
                "sets": dict(inputs.sets),
                "spec": spec,
                "resources": resources,
                "max_lora_rank": max(job.lora_rank for job in jobs),
                "table": table,
            },
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                size=num_engines,
                max_concurrent_calls_per_actor=resources.num_blocks,
                max_tasks_in_flight_per_actor=2 * resources.num_blocks,  # the next ones lie ready
                enable_true_multi_threading=resources.num_blocks > 1,
            ),
            num_cpus=resources.cpus_per_engine,
            num_gpus=resources.gpus_per_engine,
            runtime_env={"env_vars": engine_environment(resources)},
        )
        try:
            with workers_errors(f"generation with {base_path}: the engine failed"):
                _collect(base_path, jobs, dataset, inputs, collected)
        except AssayError:
            if num_engines < inputs.engines.most and ray.get(table.none_starts.remote()):
                return False
            raise
        finally:
            collected.not_started += ray.get(table.failures.remote())
            for actor in ray.get(table.close.remote()):
                ray.kill(actor)  # its place is free for what comes next, and at once
    return True


def _collect(
    base_path: str,
    jobs: list[GenerationJob],
    dataset: ray.data.Dataset,
    inputs: _StreamInputs,
    collected: _Collected,
) -> None:
    """Publish each pair as its last block comes back."""
    missing = {number: inputs.sizes[job.evaluation_key] for number, job in enumerate(jobs)}
    parts: dict[int, list[pa.Table]] = {}
    for table in tables_of(dataset):
        collected.engines[base_path] = table.column("engine")[0].as_py()
        for number in dict.fromkeys(table.column("job").to_pylist()):
            mine = table.filter(pa.compute.equal(table.column("job"), number))
            parts.setdefault(number, []).append(mine)
            missing[number] -= mine.num_rows
            collected.saw(mine)
            if missing[number] == 0:
                pairs = parts.pop(number)
                collected.publishing.append(inputs.pool.submit(collected.publish, jobs[number], pairs))
        collected.reap()


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
    not_started: list[str] = dataclasses.field(default_factory=list)
    """Words of engines that could not start, while others did."""
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
        if self.not_started:
            parts.append(f"{len(self.not_started)} engines could not start, the first: {self.not_started[0]}")
        parts += [f"{path}: {engine}" for path, engine in self.engines.items() if engine != self.spec.engine]
        return ", ".join(parts)


def _room_for_engines(resources: GenerationResources) -> _Engines:
    """How many of the engines asked for can ever run here, and how many at most.

    Without this check Ray would wait for ever, silently.
    """
    share = {"CPU": resources.cpus_per_engine, "GPU": resources.gpus_per_engine}
    wanted = resources.num_engines or (None if resources.gpus_per_engine else 1)
    there = capacity()
    room = there.room_for(share)
    if room is None:  # nodes may come, nobody says how many: what was asked for is waited for
        return _Engines(wanted or UNKNOWN_ROOM, max(wanted or 0, UNKNOWN_ROOM))
    if room == 0:
        name = next((name for name, amount in share.items() if amount > there.most(name)), "CPU")
        have = there.most(name)
        raise ResourceError(
            f"generation: saw {have:g} {name} on the largest node of this Ray cluster; expected {share[name]:g} for "
            f"one engine; set generation.resources.{name.lower()}s_per_engine={have:g} or start a cluster that has them"
        )
    return _Engines(min(wanted or room, room), room)


def engine_environment(resources: GenerationResources) -> dict[str, str]:
    """Environment of engine processes; read at import, so it must stand before the process starts."""
    return {
        **device_environment(resources.gpus_per_engine),
        "OMP_NUM_THREADS": str(resources.num_threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
