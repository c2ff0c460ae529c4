"""Passes over the rows as Ray Data streams: one of tasks for all local scorers, one of actors per model or judge."""

from __future__ import annotations

import functools
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import ray
import ray.data

from assay.cluster.devices import device_environment
from assay.cluster.ray_nodes import beside_the_driver, capacity
from assay.cluster.ray_streams import quiet_ray_data, tables_of, workers_errors
from assay.errors import ResourceError
from assay.llm.ledger.ray_ledger import start_ray_ledger
from assay.scoring.jobs import (
    MODEL_ROWS,
    CallFigures,
    JudgeSetup,
    LocalScoring,
    ScoringResources,
    WantedScores,
    chunks_of,
)
from assay.scoring.ray_chunks import ChunkReader, ModelActor, score_chunks
from assay.scoring.ray_collected import STAGE, Collected
from assay.scoring.ray_judge import LIVE_S, Board, JudgeActor, judged_and_stops, stop_error
from assay.scoring.ray_judge_place import beside_cpus, engine_room, judge_place, num_judges
from assay.store import Store

CALLS_AT_ONCE = 8
"""Chunks that a judge actor works on at a time, so that the end of one does not leave the rate limit unused."""
MAX_RAY_BLOCKS = 2000
MANY = 1_000_000
"""More rows than a worker ever holds."""


@dataclass(frozen=True)
class Passes:
    """The passes of one run; each makes some of the scores that are wanted."""

    store: Store
    sets: Mapping[str, ray.ObjectRef]
    """Rows by example id, of each evaluation set."""
    scoring: LocalScoring
    """What makes scorers, and the tasks of the rows."""
    resources: ScoringResources
    collected: Collected

    def local(self, todo: Sequence[WantedScores]) -> None:
        """All local scorers that need no model."""
        chunks = self._chunks(todo, self.resources.chunk_rows)
        num_blocks = min(len(chunks), 4 * _room_for_workers(self.resources))
        score = functools.partial(
            score_chunks, reader=self._reader(self.resources.chunk_rows), scoring=self._scoring(todo)
        )
        _run(
            chunks,
            score,
            functools.partial(self._take, todo),
            num_blocks=num_blocks,
            batch_size=max(1, min(16, math.ceil(len(chunks) / num_blocks))),
            num_cpus=self.resources.cpus_per_worker,
        )

    def model(self, todo: Sequence[WantedScores]) -> None:
        """The scorers of one model, in blocks of a size that no setting changes."""
        chunks = self._chunks(todo, MODEL_ROWS)
        cpus, gpus = self.resources.cpus_per_model_worker, self.resources.gpus_per_model_worker
        there = capacity()
        room = there.room_for({"CPU": cpus, "GPU": gpus})
        if room == 0:
            raise ResourceError(
                f"scoring: saw {there.most('CPU'):g} CPU and {there.most('GPU'):g} GPU on the largest node of this Ray "
                f"cluster; expected {cpus:g} and {gpus:g} for one model; set resources.scoring.cpus_per_model_worker "
                "and gpus_per_model_worker to less"
            )
        _run(
            chunks,
            ModelActor,
            functools.partial(self._take, todo),
            fn_constructor_kwargs={
                "reader": self._reader(MODEL_ROWS),
                "scoring": self._scoring(todo),
                "cpus": cpus,
                "gpus": gpus,
            },
            compute=ray.data.ActorPoolStrategy(size=self.resources.num_model_workers(room, len(chunks))),
            num_cpus=cpus,
            num_gpus=gpus,
            runtime_env={"env_vars": device_environment(gpus)},
        )

    def judge(self, todo: Sequence[WantedScores], judge: JudgeSetup) -> None:
        """One judge; live figures come through a board beside the stream."""
        judge.endpoint.api_key()  # a missing key is said before anything starts
        chunks = self._chunks(todo, self.resources.chunk_rows)
        place = judge_place(judge, self.resources)
        workers = min(num_judges(judge, self.resources), len(chunks))
        if judge.aside is not None:
            workers = min(workers, judge.aside.num_shares)
        elif "scheduling_strategy" not in place:
            workers = min(workers, _room_for_workers(self.resources, beside_cpus(judge, place)))
        if not judge.endpoint.kind.travels_in_files:
            start_ray_ledger(judge.ledger_url)
        board = Board.options(**beside_the_driver()).remote()
        live = _Live(judge.spec.name, self.collected, total=sum(item.num_rows(self.collected.sizes) for item in todo))
        stops: list[str] = []

        def take(table: pa.Table) -> None:
            judged, reasons = judged_and_stops(table)
            stops.extend(reasons)
            self.collected.take(judged, todo)

        _run(
            chunks,
            JudgeActor,
            take,
            tick=lambda: live.show(ray.get(board.read.remote())),
            fn_constructor_kwargs={
                "reader": self._reader(self.resources.chunk_rows),
                "judge": judge,
                "concurrency": _concurrency(judge, workers),
                "board": board,
            },
            compute=ray.data.ActorPoolStrategy(
                size=workers,
                max_concurrent_calls_per_actor=CALLS_AT_ONCE,
                max_tasks_in_flight_per_actor=2 * CALLS_AT_ONCE,
            ),
            **place,
            **engine_room(judge),
        )
        live.show(ray.get(board.read.remote()))
        self.collected.calls[judge.spec.name] = live.figures
        if stops:
            raise stop_error(stops)

    def _chunks(self, todo: Sequence[WantedScores], chunk_rows: int) -> list[dict[str, object]]:
        return chunks_of(todo, self.collected.sizes, chunk_rows)

    def _reader(self, chunk_rows: int) -> ChunkReader:
        return ChunkReader(self.store, self.sets, chunk_rows)

    def _scoring(self, todo: Sequence[WantedScores]) -> LocalScoring:
        """With the scorer of each of them, by its number."""
        return replace(self.scoring, specs=tuple(item.spec for item in todo))

    def _take(self, todo: Sequence[WantedScores], table: pa.Table) -> None:
        self.collected.take(table, todo)
        self.collected.progress.advance(STAGE, table.num_rows)


def _run(
    chunks: list[dict[str, object]],
    worker: Callable[..., Any],
    take: Callable[[pa.Table], None],
    *,
    tick: Callable[[], None] | None = None,
    num_blocks: int = MAX_RAY_BLOCKS,
    batch_size: int = 1,
    **options: Any,
) -> None:
    """One stream: chunks through workers to `take`.

    Args:
        chunks: descriptors, see `jobs.chunks_of`.
        worker: function, or class of an actor.
        take: called in the driver with each table that comes back.
        tick: called every LIVE_S beside it.
        num_blocks: Ray's blocks, at most.
        batch_size: chunks that a worker is given at a time.
        options: further ones of `map_batches`.
    """
    with quiet_ray_data():
        dataset = ray.data.from_items(chunks, override_num_blocks=min(len(chunks), num_blocks)).map_batches(
            worker, batch_size=batch_size, batch_format="pyarrow", **options
        )
        tables = _tables(dataset)
        for table in tables if tick is None else _with_ticks(tables, tick):
            take(table)


def _tables(dataset: ray.data.Dataset) -> Iterator[pa.Table]:
    with workers_errors("scoring: a worker failed"):
        yield from tables_of(dataset)


def _with_ticks(tables: Iterator[pa.Table], tick: Callable[[], None]) -> Iterator[pa.Table]:
    """The tables as they come, with a tick every LIVE_S: chunks of a slow judge are minutes apart."""
    results: queue.Queue[pa.Table | BaseException | None] = queue.Queue(maxsize=16)

    def feed() -> None:
        try:
            for table in tables:
                results.put(table)
            results.put(None)
        except BaseException as error:
            results.put(error)

    threading.Thread(target=feed, daemon=True, name="assay-scoring").start()
    last = time.monotonic()
    while True:
        try:
            item = results.get(timeout=LIVE_S)
        except queue.Empty:
            item = pa.table({})
        if time.monotonic() - last >= LIVE_S:
            tick()
            last = time.monotonic()
        if item is None:
            return
        if isinstance(item, BaseException):
            raise item
        if item.num_columns:
            yield item


@dataclass
class _Live:
    """Turns the board's sums into progress."""

    name: str
    collected: Collected
    total: int
    started_s: float = field(default_factory=time.monotonic)
    shown: int = 0
    figures: CallFigures = field(default_factory=CallFigures)

    def show(self, reports: Mapping[str, tuple[int, CallFigures]]) -> None:
        """Say how far the judge is: rows judged, calls a minute against the limit, tokens, dollars."""
        self.figures = CallFigures()
        for _, figures in reports.values():
            self.figures.add(figures)
        rows = sum(count for count, _ in reports.values())
        now = self.figures
        info: dict[str, object] = {
            "judge": self.name,
            "calls": f"{now.done}/{max(now.asked, self.total)}",
            "calls_per_min": round(now.calls_per_min or self._mean_rate(now)),
            "limit_per_min": now.limit_per_min,
            "tokens": now.prompt_tokens + now.completion_tokens,
            "usd": now.usd,
            "cached": now.cached,
            "left_s": round((self.total - rows) * (time.monotonic() - self.started_s) / rows) if rows else None,
        }
        self.collected.progress.advance(STAGE, rows - self.shown, **info)
        self.shown = rows

    def _mean_rate(self, figures: CallFigures) -> float:
        """Calls a minute since the start: what is left to say when all gateways are closed."""
        return 60 * (figures.done - figures.cached) / max(1e-3, time.monotonic() - self.started_s)


def _concurrency(judge: JudgeSetup, workers: int) -> int:
    """Rows that one worker has under way: its share of the endpoint's, or all it holds where they travel as files."""
    return judge.endpoint.kind.width(MANY, math.ceil(judge.endpoint.max_concurrency / workers))


def _room_for_workers(resources: ScoringResources, custom: Mapping[str, float] | None = None) -> int:
    """How many workers can ever run here; those asked for and more where nobody can say.

    Raises:
        ResourceError: not one.
    """
    share = {"CPU": resources.cpus_per_worker, **(custom or {})}
    there = capacity()
    room = there.room_for(share)
    if room is None:
        return max(resources.judge_workers, int(there.total("CPU") / resources.cpus_per_worker))
    if room == 0:
        name = next((name for name, amount in share.items() if amount > there.most(name)), "CPU")
        raise ResourceError(
            f"scoring: saw {there.most(name):g} {name} on the largest node of this Ray cluster; expected "
            f"{share[name]:g} for one worker; lower resources.scoring, or add nodes that have them"
        )
    return room
