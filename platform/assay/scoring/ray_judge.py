"""A judge's workers: async actors that hold many calls in flight, and the board that shows how far they are."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import AsyncIterator, Mapping, Sequence

import pyarrow as pa
import ray

import assay.errors
from assay.errors import AssayError, StageError
from assay.llm.opening import Asker, open_gateway
from assay.llm.transports.local import open_local_chat
from assay.records import Example, Prediction, ScoreRow
from assay.scoring.jobs import CallFigures, JudgeSetup, example_of, judge_instance, no_prediction, score_row
from assay.scoring.judges.calls import JudgeCall, JudgeReply, run_protocol, to_request
from assay.scoring.ray_chunks import ChunkReader, numbered

LIVE_S = 1.0
"""Seconds between two live figures."""
STORED_S = 0.5
"""For rows whose last reply has just come to be scored, once nothing is in flight."""


@ray.remote(num_cpus=0)
class Board:
    """The latest figures of each worker of one judge."""

    def __init__(self) -> None:
        self._reports: dict[str, tuple[int, CallFigures]] = {}

    def write(self, worker: str, rows: int, figures: CallFigures) -> None:
        """A worker's rows judged and calls so far."""
        self._reports[worker] = (rows, figures)

    def read(self) -> dict[str, tuple[int, CallFigures]]:
        return self._reports


class JudgeActor:
    """Judges chunks of rows, many calls in flight, through one gateway that shares the cluster's limits."""

    def __init__(self, reader: ChunkReader, judge: JudgeSetup, concurrency: int, board: ray.actor.ActorHandle) -> None:
        self._reader, self._judge, self._concurrency, self._board = reader, judge, concurrency, board
        self._worker = f"{ray.get_runtime_context().get_actor_id()}"
        self._gateway: Asker | None = None
        self._room: asyncio.Semaphore | None = None
        self._past = CallFigures()
        self._active = self._judged = 0
        self._reporter: asyncio.Task[None] | None = None
        self._stop: AssayError | None = None
        self._settling: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[ScoreRow | None]] = set()
        self._chat = open_local_chat(judge.endpoint)  # outlives the gateways of this actor

    async def __call__(self, batch: pa.Table) -> AsyncIterator[pa.Table]:
        """A table for each chunk, see `judged_and_stops`."""
        for chunk in batch.to_pylist():
            self._active += 1
            try:
                yield await self._judge_chunk(chunk)
            finally:
                self._active -= 1
                await self._rest()

    async def _judge_chunk(self, chunk: Mapping[str, object]) -> pa.Table:
        (number,) = chunk["wanted"]
        predictions, examples = self._reader.read(chunk)
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
        if len(rows) == len(predictions):
            return _reported(rows, number)
        return _reported(
            [_CUT_SHORT], number, _stop_text(self._stop)
        )  # its rows count for nothing; the ledger has them

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
                judgement = await run_protocol(
                    self._judge.protocol,
                    instance,
                    functools.partial(self._ask, gateway),
                    one_leads=self._judge.endpoint.kind.one_leads,
                )
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
        self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        """Wait for the replies in flight, which are paid for; rows that have sent nothing yet are dropped then."""
        if self._gateway is not None:
            await self._gateway.settle()
        await asyncio.sleep(STORED_S)
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
            self._past.add(dataclasses.replace(_figures(gateway), calls_per_min=0.0))
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


def judged_and_stops(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """What a `JudgeActor` sent: the rows that it judged, and why it cut chunks short."""
    is_judged = pa.compute.is_null(table.column("stopped"))
    return table.filter(is_judged), table.filter(pa.compute.invert(is_judged)).column("stopped").to_pylist()


def stop_error(stops: Sequence[str]) -> AssayError:
    """The first reason to stop, as the error that it was in the worker."""
    name, _, message = sorted(stops)[0].partition("\n")
    kind = getattr(assay.errors, name, StageError)
    return kind(message)


_CUT_SHORT = ScoreRow("", "", "", None, None)
"""Stands in a table for a chunk that has no rows to send."""


def _reported(rows: Sequence[ScoreRow], number: int, stopped: str | None = None) -> pa.Table:
    """Rows for the driver, or why there are none."""
    table = numbered(rows, [number] * len(rows))
    return table.append_column("stopped", pa.array([stopped] * len(rows), pa.string()))


def _stop_text(error: AssayError | None) -> str:
    return f"{type(error).__name__}\n{error}"


def _figures(gateway: Asker) -> CallFigures:
    stats = gateway.stats()
    return CallFigures(
        stats.asked, stats.done, stats.cached, stats.attempts, stats.rate_limited, stats.prompt_tokens,
        stats.completion_tokens, stats.usd, stats.calls_per_min, stats.limit_per_min, stats.cached_tokens,
    )  # fmt: skip
