"""Scoring as Ray Data streams: one pass of tasks for all local scorers, one stream of actors per model or judge.

Actors of an encoder or a reward model load it once; those of a judge are async and hold many calls in flight.

The driver sends chunk descriptors (a predictions artifact and a range of its rows), workers read the rows from the
store, and the driver publishes a scores artifact as soon as its last chunk is back. Run it from the driver only.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
import ray.data

from assay.errors import AssayError, DataError, EndpointError, ResourceError, StageError
from assay.hooks import Progress, SilentProgress, log_event
from assay.llm.gateway import Asker, open_gateway
from assay.llm.local_transport import open_local_chat
from assay.ray_metrics import count
from assay.ray_nodes import beside_the_driver, capacity, several_machines
from assay.records import Example, Prediction, ScoreRow, from_table, to_table
from assay.scoring.jobs import (
    KIND,
    MODEL_ROWS,
    SCORES_FILE,
    SUMMARY_FILE,
    CallFigures,
    JudgeSetup,
    ScoringBatch,
    ScoringReport,
    ScoringResources,
    check_scorers,
    example_of,
    judge_instance,
    may_be_mended,
    no_prediction,
    score_locally,
    score_row,
    scores_key,
    sorted_rows,
    summarise,
    tasks_of,
)
from assay.scoring.judges.calls import JudgeCall, JudgeReply, run_protocol, to_request
from assay.scoring.models import resolve
from assay.scoring.protocol import Scorer, ScorerSpec
from assay.scoring.table import check_scorer, make_scorer
from assay.store import Store
from assay.tasks.catalog import Task

STAGE = "scoring"
PREDICTIONS_KIND = "predictions"
PREDICTIONS_FILE = "predictions.parquet"
LIVE_S = 1.0
"""Seconds between two live lines."""
CALLS_AT_ONCE = 8
"""Chunks that a judge actor works on at a time, so that the end of one does not leave the rate limit unused."""
MAX_RAY_BLOCKS = 2000
ENDPOINT_GRACE_S = 2.0
"""How long calls in flight may still take once the endpoint is known to be down."""


def run_scoring(
    store: Store,
    batches: Sequence[ScoringBatch],
    examples_by_set: Mapping[str, Sequence[Example]],
    scorers: Sequence[ScorerSpec],
    judges: Sequence[JudgeSetup] = (),
    resources: ScoringResources | None = None,
    progress: Progress | None = None,
    *,
    retry_failed: bool = False,
) -> ScoringReport:
    """Make the scores of every (scorer, batch) that the store does not hold yet. Needs a started Ray.

    A row without a prediction, and a judgement that failed, is stored as unscored with its reason. A budget or an
    endpoint that stops the judge lets what is in flight end; the same call goes on from there, since replies lie in
    the ledger.

    Args:
        store: where predictions are read and scores go.
        batches: see `jobs.make_batches`.
        examples_by_set: rows by the batches' evaluation keys.
        scorers: local scorers.
        judges: judge scorers.
        resources: what it runs on.
        progress: told of rows; for judges also of calls per minute, tokens and dollars.
        retry_failed: also redo stored batches in which calls had no reply; replies at hand are not paid again.

    Raises:
        ConfigError: an unknown scorer or task, or two scorers of one name.
        DataError: predictions that the store lacks, or that belong to other rows.
        LimitReached: the budget is spent.
        EndpointError: the judge's endpoint cannot be used.
        StageError: a worker failed.
    """
    resources, progress = resources or ScoringResources(), progress or SilentProgress()
    started = time.monotonic()
    check_scorers([*scorers, *(judge.spec for judge in judges)])
    for spec in scorers:
        check_scorer(spec)
    scorers = [resolve(spec) for spec in scorers]
    _check_inputs(store, batches, examples_by_set)
    plan = [
        _Wanted(spec, batch, scores_key(spec, batch))
        for batch in batches
        for spec in [*scorers, *(judge.spec for judge in judges)]
    ]
    stored = store.present(KIND, {item.key for item in plan})
    is_judge = {judge.spec.name for judge in judges}

    def is_done(item: _Wanted) -> bool:
        if item.key not in stored:
            return False
        redo = retry_failed and item.spec.name in is_judge
        return not (redo and may_be_mended(store.read_json(KIND, item.key, SUMMARY_FILE)))

    todo = [item for item in plan if not is_done(item)]
    sizes = {key: len(examples) for key, examples in examples_by_set.items()}
    total = sum(item.num_rows(sizes) for item in plan)
    left = sum(item.num_rows(sizes) for item in todo)
    progress.start(STAGE, total, done=total - left, unit="scores")
    collected = _Collected(store, progress, sizes)
    if todo:
        shared = _share(examples_by_set, {key for item in todo for key in item.batch.evaluations})
        names = {spec.name for spec in scorers if not spec.needs_model}
        local_todo = [item for item in todo if item.spec.name in names]
        if local_todo:
            _run_local(store, local_todo, shared, sizes, resources, collected)
        for path in sorted({spec.path for spec in scorers if spec.needs_model}):
            mine = [item for item in todo if item.spec.needs_model and item.spec.path == path]
            if mine:
                _run_model(store, mine, shared, sizes, resources, collected)
        for judge in judges:
            mine = [item for item in todo if item.spec.name == judge.spec.name]
            if mine:
                _run_judge(store, mine, judge, shared, sizes, resources, collected)
    progress.finish(STAGE, collected.note())
    return ScoringReport(
        published=tuple(sorted(collected.published)),
        found=tuple(sorted({item.key for item in plan} - {item.key for item in todo})),
        num_asked=dict(collected.num_asked),
        unscored={name: dict(sorted(counts.items())) for name, counts in collected.unscored.items() if counts},
        calls=collected.calls,
        seconds=time.monotonic() - started,
    )


def read_scores(store: Store, key: str) -> pa.Table:
    """The rows of a scores artifact, sorted by predictions key and example id."""
    return store.read_table(KIND, key, SCORES_FILE)


# --- in the driver ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wanted:
    spec: ScorerSpec
    batch: ScoringBatch
    key: str

    def num_rows(self, sizes: Mapping[str, int]) -> int:
        return sum(sizes[evaluation] for evaluation in self.batch.evaluations)


@dataclass(frozen=True)
class _Shared:
    """What all workers need once: rows by evaluation set, and the tasks."""

    sets: dict[str, ray.ObjectRef]
    tasks: dict[str, Task]


@dataclass
class _Collected:
    """What has come back so far; publishes a scores artifact when its last row is there."""

    store: Store
    progress: Progress
    sizes: Mapping[str, int]
    published: list[str] = field(default_factory=list)
    num_asked: Counter[str] = field(default_factory=Counter)
    unscored: dict[str, Counter[str]] = field(default_factory=dict)
    calls: dict[str, CallFigures] = field(default_factory=dict)
    parts: dict[str, list[ScoreRow]] = field(default_factory=dict)

    def take(self, wanted: _Wanted, rows: list[ScoreRow]) -> None:
        """Rows of one chunk and scorer."""
        name = wanted.spec.name
        self.num_asked[name] += len(rows)
        self.unscored.setdefault(name, Counter()).update(row.unscored for row in rows if row.unscored is not None)
        part = self.parts.setdefault(wanted.key, [])
        part += rows
        if len(part) == wanted.num_rows(self.sizes):
            self._publish(wanted, sorted_rows(self.parts.pop(wanted.key)))

    def _publish(self, wanted: _Wanted, rows: list[ScoreRow]) -> None:
        described = {"scorer": wanted.spec.identity(), "predictions": list(wanted.batch.predictions)}
        with self.store.writing(KIND, wanted.key, described) as writer:
            writer.table(SCORES_FILE, to_table(rows, ScoreRow))
            writer.json(SUMMARY_FILE, summarise(wanted.spec, rows))
        self.published.append(wanted.key)
        log_event(STAGE, "written", key=wanted.key, scorer=wanted.spec.name, rows=len(rows))
        count("assay_scores_written", scorer=wanted.spec.name)

    def note(self) -> str:
        """One line for people."""
        parts = [f"{len(self.published)} score tables written"]
        parts += [f"{name}: {counts.total()} unscored" for name, counts in self.unscored.items() if counts]
        return ", ".join(parts)


def _check_inputs(
    store: Store, batches: Sequence[ScoringBatch], examples_by_set: Mapping[str, Sequence[Example]]
) -> None:
    stored = store.present(PREDICTIONS_KIND, {key for batch in batches for key in batch.predictions})
    for batch in batches:
        for key, evaluation in zip(batch.predictions, batch.evaluations, strict=True):
            if key not in stored:
                raise DataError(f"scoring: saw no predictions {key} in the store; generate them first")
            if evaluation not in examples_by_set:
                raise DataError(f"scoring: saw no rows of evaluation set {evaluation}; expected them beside {key}")


def _share(examples_by_set: Mapping[str, Sequence[Example]], used: set[str]) -> _Shared:
    mine = {key: examples_by_set[key] for key in sorted(used)}
    return _Shared({key: ray.put({e.example_id: e for e in rows}) for key, rows in mine.items()}, tasks_of(mine))


def _chunks(todo: Sequence[_Wanted], sizes: Mapping[str, int], chunk_rows: int) -> list[dict[str, Any]]:
    """Descriptors of the work: every chunk once, with the numbers of the scores artifacts that want it."""
    wanted_by: dict[ScoringBatch, list[int]] = {}
    for number, item in enumerate(todo):
        wanted_by.setdefault(item.batch, []).append(number)
    return [
        {"predictions": key, "evaluation": evaluation, "start": start, "wanted": numbers}
        for batch, numbers in wanted_by.items()
        for key, evaluation in zip(batch.predictions, batch.evaluations, strict=True)
        for start in range(0, sizes[evaluation], chunk_rows)
    ]


def _run_local(
    store: Store,
    todo: Sequence[_Wanted],
    shared: _Shared,
    sizes: Mapping[str, int],
    resources: ScoringResources,
    collected: _Collected,
) -> None:
    """One pass over the rows for all local scorers that need no model."""
    chunks = _chunks(todo, sizes, resources.chunk_rows)
    specs = [item.spec for item in todo]
    num_blocks = min(len(chunks), 4 * _room_for_workers(resources))
    with _quiet_ray_data():
        dataset = ray.data.from_items(chunks, override_num_blocks=num_blocks).map_batches(
            functools.partial(_score_chunks, store=store, specs=specs, shared=shared, chunk_rows=resources.chunk_rows),
            batch_size=max(1, min(16, math.ceil(len(chunks) / num_blocks))),
            batch_format="pyarrow",
            num_cpus=resources.cpus_per_worker,
        )
        for table in _stream(dataset):
            _take(table, todo, collected)
            collected.progress.advance(STAGE, table.num_rows)


def _run_model(
    store: Store,
    todo: Sequence[_Wanted],
    shared: _Shared,
    sizes: Mapping[str, int],
    resources: ScoringResources,
    collected: _Collected,
) -> None:
    """One pass over the rows for the scorers of one model, in blocks of a size that no setting changes."""
    chunks = _chunks(todo, sizes, MODEL_ROWS)
    cpus, gpus = resources.cpus_per_model_worker, resources.gpus_per_model_worker
    there = capacity()
    room = there.room_for({"CPU": cpus, "GPU": gpus})
    if room == 0:
        raise ResourceError(
            f"scoring: saw {there.most('CPU'):g} CPU and {there.most('GPU'):g} GPU on the largest node of this Ray "
            f"cluster; expected {cpus:g} and {gpus:g} for one model; set resources.scoring.cpus_per_model_worker and "
            "gpus_per_model_worker to less"
        )
    workers = min(resources.model_workers, len(chunks), resources.model_workers if room is None else room)
    with _quiet_ray_data():
        dataset = ray.data.from_items(chunks, override_num_blocks=min(len(chunks), MAX_RAY_BLOCKS)).map_batches(
            _ModelActor,
            fn_constructor_kwargs={
                "store": store,
                "specs": [item.spec for item in todo],
                "shared": shared,
                "cpus": cpus,
            },
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=cpus,
            num_gpus=gpus,
        )
        for table in _stream(dataset):
            _take(table, todo, collected)
            collected.progress.advance(STAGE, table.num_rows)


def _run_judge(
    store: Store,
    todo: Sequence[_Wanted],
    judge: JudgeSetup,
    shared: _Shared,
    sizes: Mapping[str, int],
    resources: ScoringResources,
    collected: _Collected,
) -> None:
    """One judge over its batches; live figures come through a board beside the stream."""
    judge.endpoint.api_key()  # a missing key is said before anything starts
    chunks = _chunks(todo, sizes, resources.chunk_rows)
    place = _judge_place(judge, resources)
    workers = min(resources.judge_workers, len(chunks))
    if "scheduling_strategy" not in place:
        workers = min(workers, _room_for_workers(resources, place.get("resources")))
    board = _Board.options(**beside_the_driver()).remote()
    stopped: list[str] = []
    live = _Live(judge.spec.name, collected, total=sum(item.num_rows(sizes) for item in todo))
    with _quiet_ray_data():
        dataset = ray.data.from_items(chunks, override_num_blocks=min(len(chunks), MAX_RAY_BLOCKS)).map_batches(
            _JudgeActor,
            fn_constructor_kwargs={
                "store": store,
                "specs": [item.spec for item in todo],
                "judge": judge,
                "shared": shared,
                "chunk_rows": resources.chunk_rows,
                "concurrency": _concurrency(judge, workers),
                "board": board,
            },
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                size=workers,
                max_concurrent_calls_per_actor=CALLS_AT_ONCE,
                max_tasks_in_flight_per_actor=2 * CALLS_AT_ONCE,
            ),
            **place,
            **_engine_room(judge),
        )
        for table in _stream_live(dataset, lambda: live.show(ray.get(board.read.remote()))):
            stops = table.filter(pa.compute.is_valid(table.column("stopped")))
            stopped += stops.column("stopped").to_pylist()
            _take(table.filter(pa.compute.is_null(table.column("stopped"))), todo, collected)
    live.show(ray.get(board.read.remote()))
    collected.calls[judge.spec.name] = live.figures
    if stopped:
        raise _stop_error(stopped)


def _engine_room(judge: JudgeSetup) -> dict[str, Any]:
    """What the actors of a local model need beside a CPU; nothing for judges that are asked over the network."""
    if judge.endpoint.transport != "local":
        return {}
    settings = judge.endpoint.local
    environment = {"OMP_NUM_THREADS": str(settings.num_threads), "VLLM_LOGGING_LEVEL": "ERROR"}
    return {"num_gpus": settings.gpus, "runtime_env": {"env_vars": environment}}


def _judge_place(judge: JudgeSetup, resources: ScoringResources) -> dict[str, Any]:
    """What a judge actor asks Ray for. One that talks to a server on this machine's loopback has to be on it."""
    if judge.endpoint.is_local and judge.endpoint.transport != "local" and several_machines():
        return {"num_cpus": 0, **beside_the_driver()}
    place: dict[str, Any] = {"num_cpus": resources.cpus_per_worker}
    if resources.judge_resources:
        place["resources"] = dict(resources.judge_resources)
    return place


def _concurrency(judge: JudgeSetup, workers: int) -> int:
    """Rows that one worker has under way: its share of the endpoint's, or all it holds where they travel as files."""
    if judge.endpoint.transport == "batch":
        return 1_000_000
    return math.ceil(judge.endpoint.max_concurrency / workers)


@dataclass
class _Live:
    """Turns the board's sums into progress."""

    name: str
    collected: _Collected
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
            "calls_per_min": round(now.calls_per_min),
            "limit_per_min": now.limit_per_min,
            "tokens": now.prompt_tokens + now.completion_tokens,
            "usd": now.usd,
            "cached": now.cached,
            "left_s": round((self.total - rows) * (time.monotonic() - self.started_s) / rows) if rows else None,
        }
        self.collected.progress.advance(STAGE, rows - self.shown, **info)
        self.shown = rows


def _take(table: pa.Table, todo: Sequence[_Wanted], collected: _Collected) -> None:
    numbers = table.column("wanted").to_pylist()
    by_number: dict[int, list[ScoreRow]] = {}
    for number, row in zip(numbers, from_table(table, ScoreRow), strict=True):
        by_number.setdefault(number, []).append(row)
    for number, rows in by_number.items():
        collected.take(todo[number], rows)


def _stream(dataset: ray.data.Dataset) -> Iterator[pa.Table]:
    try:
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    except AssayError:
        raise
    except Exception as error:
        raise _cause(error) from error


def _stream_live(dataset: ray.data.Dataset, tick: Any) -> Iterator[pa.Table]:
    """The stream's tables as they come, with a tick every LIVE_S: chunks of a slow judge are minutes apart."""
    results: queue.Queue[pa.Table | BaseException | None] = queue.Queue(maxsize=16)

    def feed() -> None:
        try:
            for table in _stream(dataset):
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


def _cause(error: BaseException) -> AssayError:
    """What a worker raised, out of Ray's wrapping."""
    seen: BaseException | None = error
    last = error
    while seen is not None:
        if isinstance(seen, AssayError):
            return seen
        last = seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    return StageError(f"scoring: a worker failed ({type(last).__name__}: {' '.join(str(last).split())[-300:]})")


# --- in the workers --------------------------------------------------------------------------------------------


def _score_chunks(
    batch: pa.Table, store: Store, specs: Sequence[ScorerSpec], shared: _Shared, chunk_rows: int
) -> pa.Table:
    """All local scorers over some chunks."""
    rows: list[ScoreRow] = []
    numbers: list[int] = []
    for chunk in batch.to_pylist():
        predictions, examples = _read_chunk(store, shared, chunk, chunk_rows)
        scorers = [_scorer(specs[number]) for number in chunk["wanted"]]
        rows += score_locally(scorers, chunk["predictions"], predictions, examples, shared.tasks)
        numbers += [number for number in chunk["wanted"] for _ in predictions]
    return to_table(rows, ScoreRow).append_column("wanted", pa.array(numbers, pa.int64()))


class _ModelActor:
    """Scores blocks of rows by the scorers of one model, which this process keeps."""

    def __init__(self, store: Store, specs: Sequence[ScorerSpec], shared: _Shared, cpus: float) -> None:
        import torch

        torch.set_num_threads(max(1, int(cpus)))
        self._score = functools.partial(_score_chunks, store=store, specs=specs, shared=shared, chunk_rows=MODEL_ROWS)

    def __call__(self, batch: pa.Table) -> pa.Table:
        return self._score(batch)


_SCORERS: dict[str, Scorer] = {}


def _scorer(spec: ScorerSpec) -> Scorer:
    """A scorer per process: some hold tokenizers."""
    name = spec.model_dump_json()
    if name not in _SCORERS:
        _SCORERS[name] = make_scorer(spec)
    return _SCORERS[name]


def _read_chunk(
    store: Store, shared: _Shared, chunk: Mapping[str, Any], chunk_rows: int
) -> tuple[list[Prediction], Mapping[str, Example]]:
    examples: Mapping[str, Example] = ray.get(shared.sets[chunk["evaluation"]])
    table = store.read_table(PREDICTIONS_KIND, chunk["predictions"], PREDICTIONS_FILE)
    if table.num_rows != len(examples):
        raise DataError(
            f"predictions {chunk['predictions']}: saw {table.num_rows} rows; expected {len(examples)}, one per example "
            "of its evaluation set; the predictions belong to another set"
        )
    return from_table(table.slice(chunk["start"], chunk_rows), Prediction), examples


@ray.remote(num_cpus=0)
class _Board:
    """The latest figures of each worker of one judge."""

    def __init__(self) -> None:
        self._reports: dict[str, tuple[int, CallFigures]] = {}

    def write(self, worker: str, rows: int, figures: CallFigures) -> None:
        self._reports[worker] = (rows, figures)

    def read(self) -> dict[str, tuple[int, CallFigures]]:
        return self._reports


class _JudgeActor:
    """Judges chunks of rows, many calls in flight, through one gateway that shares the cluster's limits."""

    def __init__(
        self,
        store: Store,
        specs: Sequence[ScorerSpec],
        judge: JudgeSetup,
        shared: _Shared,
        chunk_rows: int,
        concurrency: int,
        board: ray.actor.ActorHandle,
    ) -> None:
        self._store, self._specs, self._judge, self._shared = store, specs, judge, shared
        self._chunk_rows, self._concurrency, self._board = chunk_rows, concurrency, board
        self._worker = f"{ray.get_runtime_context().get_actor_id()}"
        self._gateway: Asker | None = None
        self._room: asyncio.Semaphore | None = None
        self._past = CallFigures()
        self._active = self._judged = 0
        self._reporter: asyncio.Task[None] | None = None
        self._stop: AssayError | None = None
        self._tasks: set[asyncio.Task[ScoreRow | None]] = set()
        self._chat = open_local_chat(judge.endpoint)  # outlives the gateways of this actor

    async def __call__(self, batch: pa.Table) -> AsyncIterator[pa.Table]:
        for chunk in batch.to_pylist():
            self._active += 1
            try:
                yield await self._judge_chunk(chunk)
            finally:
                self._active -= 1
                await self._rest()

    async def _judge_chunk(self, chunk: Mapping[str, Any]) -> pa.Table:
        (number,) = chunk["wanted"]
        predictions, examples = _read_chunk(self._store, self._shared, chunk, self._chunk_rows)
        results: list[ScoreRow | BaseException | None] = []
        if self._stop is None:
            gateway = self._open()
            tasks = [
                asyncio.create_task(self._judge_row(gateway, chunk["predictions"], row, examples))
                for row in predictions
            ]
            self._tasks.update(tasks)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.difference_update(tasks)
        for result in results:
            if isinstance(result, Exception):
                raise result
        rows = [row for row in results if isinstance(row, ScoreRow)]
        is_whole = len(rows) == len(predictions)
        table = to_table(rows if is_whole else [], ScoreRow)  # a chunk cut short counts for nothing; the ledger has it
        table = table.append_column("wanted", pa.array([number] * table.num_rows, pa.int64()))
        table = table.append_column("stopped", pa.array([None] * table.num_rows, pa.string()))
        if is_whole:
            return table
        empty = ScoreRow("", "", "", None, None)
        note = to_table([empty], ScoreRow).append_column("wanted", pa.array([number], pa.int64()))
        return note.append_column("stopped", pa.array([_stop_text(self._stop)], pa.string()))

    async def _judge_row(
        self, gateway: Asker, key: str, row: Prediction, examples: Mapping[str, Example]
    ) -> ScoreRow | None:
        """The row's score; None where the judge was stopped before it had one."""
        name = self._judge.spec.name
        if row.error is not None:
            self._judged += 1
            return score_row(name, key, row.example_id, no_prediction(row))
        instance = judge_instance(example_of(row, examples, key), row.prediction)
        assert self._room is not None
        async with self._room:
            if self._stop is not None:
                return None
            try:
                judgement = await run_protocol(self._judge.protocol, instance, functools.partial(self._ask, gateway))
            except AssayError as error:
                self._halt(error)
                return None
        self._judged += 1
        return score_row(name, key, row.example_id, judgement.outcome())

    def _halt(self, error: AssayError) -> None:
        """Budget spent or endpoint down: nothing new starts, what is in flight may end, what only waits is dropped."""
        if self._stop is not None:
            return
        self._stop = error
        # a gateway tries a silent endpoint by one request at a time, with pauses: each row would wait its turn
        grace_s = ENDPOINT_GRACE_S if isinstance(error, EndpointError) else self._judge.endpoint.timeout_s
        asyncio.get_running_loop().call_later(grace_s, self._drop_tasks)

    def _drop_tasks(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    async def _ask(self, gateway: Asker, call: JudgeCall) -> JudgeReply:
        return await gateway.ask(to_request(call, self._judge.protocol.name))

    def _open(self) -> Asker:
        """The gateway of this event loop, with its reporter."""
        if self._gateway is None:
            self._gateway = open_gateway(
                self._judge.endpoint,
                ledger_url=self._judge.ledger_url,
                budget_usd=self._judge.budget_usd,
                study=self._judge.study,
                judge=self._judge.spec.name,
                mode=self._judge.protocol.mode,
                local=self._chat,
            )
            self._room = asyncio.Semaphore(self._concurrency)
            self._reporter = asyncio.create_task(self._report_on())
        return self._gateway

    async def _rest(self) -> None:
        """With nothing left to do, give permits back and close the connections: nobody tells an actor that it ends."""
        if self._active == 0 and self._gateway is not None:
            gateway, self._gateway = self._gateway, None
            if self._reporter is not None:
                self._reporter.cancel()
            self._past.add(_figures(gateway))
            await gateway.close()
        if self._active == 0:
            await self._board.write.remote(self._worker, self._judged, self._past)

    async def _report_on(self) -> None:
        while self._gateway is not None:
            now = CallFigures()
            now.add(self._past)
            now.add(_figures(self._gateway))
            await self._board.write.remote(self._worker, self._judged, now)
            await asyncio.sleep(LIVE_S)


def _figures(gateway: Asker) -> CallFigures:
    stats = gateway.stats()
    return CallFigures(
        stats.asked, stats.done, stats.cached, stats.attempts, stats.rate_limited, stats.prompt_tokens,
        stats.completion_tokens, stats.usd, stats.calls_per_min, stats.limit_per_min,
    )  # fmt: skip


def _stop_text(error: AssayError | None) -> str:
    return f"{type(error).__name__}\n{error}"


def _stop_error(texts: Sequence[str]) -> AssayError:
    """The first reason to stop, as the error that it was in the worker."""
    import assay.errors

    name, _, message = sorted(texts)[0].partition("\n")
    kind = getattr(assay.errors, name, StageError)
    return kind(message)
