"""The provider's batch API as a transport: files of requests go up, replies come down hours later, for half the price.

Every step is written to the ledger before the next one is taken, so a process that dies between upload and ingest
goes on where it was: prepared -> uploaded -> created -> ingested. A batch whose creation was not recorded is found
again by the id that it carries in its metadata. Replies become rows of `calls` under the same keys as those of chat
completions, so the transports serve each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from assay.errors import ConfigError, EndpointError, LimitReached
from assay.llm.batch.client import BatchClient
from assay.llm.batch.files import MAX_ROWS, RequestFile, RequestLine, read_line, request_line
from assay.llm.batch.ledger import BatchLedger, BatchState, Ended
from assay.llm.batch.queue import BatchQueue, QueueFullError, queue_refusal
from assay.llm.endpoint import EndpointSpec, with_reported_name
from assay.llm.figures import Figures, GatewayStats
from assay.llm.learned_parameters import LearnedParameters, not_honoured
from assay.llm.ledger.call_rows import (
    completed,
    reply_of,
    reply_row,
    request_of,
    request_row,
    stored_reply,
    told_beside,
    usd_of,
)
from assay.llm.ledger.segments import PREFIX
from assay.llm.ledger.tables import FINAL
from assay.llm.prices import price_of
from assay.llm.requests import ChatRequest, Failure, Reply, request_key
from assay.llm.response_format import FormatSupport
from assay.llm.token_estimate import TokenEstimate
from assay.llm.transports.chat import Attempted, one_line
from assay.records import Mode

MAX_CALL_TRIES = 3
"""Batches that a request may be part of before it counts as failed."""
BESIDE = "beside"
"""Field of a batch item's JSON that is no column of `calls`: what was not sent as asked, and our estimates."""
ENDED = ("ingested", "failed")
MAX_QUEUE_PAUSE_S = 600.0
"""Between two tries to get into the provider's queue, at most."""
OVER = frozenset({"completed", "failed", "expired", "cancelled"})
ABANDONED_S = 60.0
"""A batch that its process has not touched for so long, and that is not created yet, has been left behind."""
FIRST_POLL_S = 0.5
GATHER_S = 2.0
"""How long nobody may have asked before a batch begins."""


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is."""

    batch_id: str
    status: str
    total: int
    completed: int
    failed: int


class BatchGateway:
    """Asks one endpoint through its batch API for one study. Belongs to one event loop; use as `async with`."""

    def __init__(
        self,
        endpoint: EndpointSpec,
        *,
        ledger_url: str,
        budget_usd: float | None = None,
        study: str = "",
        judge: str = "",
        mode: Mode = "strict",
        poll_s: float = 30.0,
        on_progress: Callable[[BatchProgress], None] = lambda _: None,
    ) -> None:
        """Open the ledger; nothing is sent yet.

        Args:
            endpoint: whom to ask; replies are booked under its name, whichever transport fetched them.
            ledger_url: SQLite or PostgreSQL.
            budget_usd: dollars that the study may have spent in all; a batch is not begun when its estimate passes it.
            study: name under which the ledger books the calls.
            judge: likewise.
            mode: `compat` makes the protocol's name part of the key.
            poll_s: seconds between two looks at a batch, at most; the first ones follow each other sooner.
            on_progress: told after every look.
        """
        self.endpoint = with_reported_name(endpoint).replace(transport="batch")
        self.price = price_of(self.endpoint)
        if budget_usd is not None and self.price is None:
            raise ConfigError(
                f"--max-usd {budget_usd:g}: the price of {endpoint.model!r} is not known; set it, or drop the cap"
            )
        if ledger_url.startswith(PREFIX):
            raise ConfigError("judge.transport=batch: saw a ledger in an object store; expected SQLite or PostgreSQL")
        self._ledger = BatchLedger(ledger_url, self.endpoint, study=study, judge=judge)
        self._client = BatchClient(self.endpoint)
        self._study, self._judge, self._mode = study, judge, self.endpoint.key_mode(mode)
        self._budget_usd, self._poll_s, self._on_progress = budget_usd, poll_s, on_progress
        self._estimate = TokenEstimate()
        self._formats = FormatSupport()
        self._learned = LearnedParameters(may_grow=endpoint.max_reply_tokens is None)
        self._queue = BatchQueue(endpoint.batch.max_enqueued_tokens)
        self._asked_anew: set[str] = set()
        self._failed: dict[str, Reply] = {}
        self._figures = Figures()
        self._fresh: set[str] = set()
        self._gathered: list[tuple[ChatRequest, asyncio.Future[Reply]]] = []
        self._gathering: asyncio.Task[None] | None = None
        self._last_asked = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def settle(self) -> None:
        """Nothing to wait for: a batch goes on at the provider, and the same command takes its replies."""

    async def close(self) -> None:
        """Close the connections and the ledger."""
        if self._gathering is not None:
            self._gathering.cancel()
        await self._client.close()
        self._ledger.close()

    def stats(self) -> GatewayStats:
        """Live figures, for progress lines."""
        return self._figures.stats(priced=self.price is not None, limit_per_min=None)

    async def ask(self, request: ChatRequest) -> Reply:
        """The reply to a request, which waits for others to share a batch with.

        A batch begins when nobody has asked for GATHER_S, so the steps of a protocol become one batch each.

        Raises:
            EndpointError: as `ask_many`.
            LimitReached: as `ask_many`.
        """
        request = self._formats.allowed(completed(request, self.endpoint))
        reply = await self._ask_once(request)
        if self._formats.is_refused(request, reply):
            reply = await self._ask_once(self._formats.allowed(request))
        return reply

    async def _ask_once(self, request: ChatRequest) -> Reply:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._gathered.append((request, future))
        self._last_asked = time.monotonic()
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._gather())
        return await future

    async def ask_many(
        self, requests: Iterable[ChatRequest], concurrency: int | None = None
    ) -> AsyncIterator[tuple[int, Reply]]:
        """(index, reply) of every request: stored ones first, the others when their batch is over.

        Args:
            requests: all are held until they are answered.
            concurrency: of no meaning here; the provider decides.

        Batches that an earlier process left behind are taken up first, whatever requests they hold.

        Raises:
            EndpointError: the endpoint is down, refuses the key, or has no batch API.
            LimitReached: the budget would be passed.
        """
        await self._resume()
        waiting: dict[str, list[int]] = {}
        asked: dict[str, ChatRequest] = {}
        for index, request in enumerate(requests):
            request = completed(request, self.endpoint)
            key = request_key(self.endpoint.endpoint_name, request, self._mode)
            waiting.setdefault(key, []).append(index)
            asked[key] = request
            self._figures.asked += 1
        for tries in range(1, MAX_CALL_TRIES + 2):
            for key, stored in self._ledger.stored(list(waiting)).items():
                for index in waiting.pop(key):
                    yield index, self._counted(stored_reply(stored, key))
            hopeless = [key for key in waiting if tries > MAX_CALL_TRIES or self._is_hopeless(key)]
            for key in hopeless:
                missing = Failure("connection", "no batch brought a line for it", key, tries - 1)
                reply = self._failed.get(key, missing)
                for index in waiting.pop(key):
                    yield index, self._counted(reply)
            if not waiting:
                return
            files = self._files({key: asked[key] for key in waiting}, tries)
            affordable = self._affordable(files)
            await asyncio.gather(*(self._run(file) for file in affordable))
            if len(affordable) < len(files):
                raise LimitReached(
                    f"study {self._study or '(none)'}: the next batch of {len(files[len(affordable)].rows)} calls may "
                    f"pass --max-usd {self._budget_usd:g}; replies so far are stored; run again with a higher --max-usd"
                )

    async def _gather(self) -> None:
        most = max(MAX_ROWS, self.endpoint.batch.max_rows)
        try:
            while self._gathered:
                while (quiet_s := time.monotonic() - self._last_asked) < GATHER_S and len(self._gathered) < most:
                    await asyncio.sleep(GATHER_S - quiet_s)
                batch, self._gathered = self._gathered, []
                try:
                    async for index, reply in self.ask_many([request for request, _ in batch]):
                        if not batch[index][1].done():
                            batch[index][1].set_result(reply)
                except Exception as error:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
        finally:
            self._gathering = None

    def _counted(self, reply: Reply) -> Reply:
        if reply.key in self._fresh:  # it came in this process's own batch, so it was paid for here
            self._fresh.discard(reply.key)
            reply = dataclasses.replace(reply, cached=False)
        self._figures.count(reply)
        return reply

    def _is_hopeless(self, key: str) -> bool:
        """Whether asking again would bring the same refusal."""
        failed = self._failed.get(key)
        return isinstance(failed, Failure) and failed.reason == "rejected" and key not in self._asked_anew

    def _files(self, requests: dict[str, ChatRequest], tries: int) -> list[RequestFile]:
        limits = (tries, self.endpoint.batch.max_rows, self._queue.limit)
        files = [RequestFile(*limits)]
        for key, request in requests.items():
            sent = self._learned.sent(request)
            line = request_line(key, self._client.body(sent), sent, self.endpoint)
            queue_tokens = self._estimate.prompt_tokens(request)
            if not files[-1].has_room_for(line, queue_tokens):
                files.append(RequestFile(*limits))
            usd = self._estimate.usd(request, self.price) if self.price is not None else 0.0
            row = request_row(request, key, endpoint=self.endpoint, study=self._study, judge=self._judge)
            beside = {"not_honoured": not_honoured(request, sent), "est_usd": usd, "queue_tokens": queue_tokens}
            told = json.dumps({**row, BESIDE: beside}, ensure_ascii=False)
            files[-1].add(key, RequestLine(line, told, self._estimate.tokens(request), queue_tokens, usd))
        return files

    def _affordable(self, files: list[RequestFile]) -> list[RequestFile]:
        """The first files whose estimates the budget still covers."""
        if self._budget_usd is None:
            return files
        spent = self._ledger.spent_usd()
        for number, file in enumerate(files):
            spent += file.usd
            if spent > self._budget_usd:
                return files[:number]
        return files

    # --- one batch ---------------------------------------------------------------------------------------

    async def _run(self, file: RequestFile) -> None:
        """Send a file as one batch, or in parts where the provider's queue has no room for it."""
        async with self._queue.room(file.queue_tokens):
            batch_id = secrets.token_hex(16)
            self._ledger.prepare(batch_id, file)
            async with self._held(batch_id):
                file_id = await self._client.upload(batch_id, file.content)
                self._ledger.note(batch_id, status="uploaded", input_file_id=file_id)
            is_over = await self._see_through(batch_id, file)
        if not is_over and len(file.lines) > 1:
            for half in file.halves():
                await self._run(half)

    async def _resume(self) -> None:
        """Take up what an earlier process left between upload and ingest, and await what another one is sending."""
        for found in self._ledger.open_batches():
            batch = await self._created_or_abandoned(found.id)
            if batch.status in ENDED:
                continue
            if batch.status == "prepared":  # its content was never up as far as we know: its requests are asked anew
                self._ledger.note(batch.id, status="failed", detail="its process died before the upload was recorded")
                self._ledger.end_attempts(batch.id, {}, "never created")
                continue
            await self._see_through(batch.id)

    async def _see_through(self, batch_id: str, file: RequestFile | None = None) -> bool:
        """From an upload to its replies, waiting for the provider's queue as long as it takes.

        Args:
            batch_id: of a batch that is uploaded or created.
            file: its requests, where this process has uploaded them; None where another process did.

        Returns:
            False where it can only run in parts: then it counts as failed, and its requests are free to be asked again.
        """
        is_ours = file is not None
        began, pause_s = time.monotonic(), self._poll_s
        while True:
            batch = self._ledger.batch(batch_id) if is_ours else await self._created_or_abandoned(batch_id)
            if batch.status in ENDED:
                return True
            try:
                if batch.status == "uploaded":
                    async with self._held(batch_id):
                        await self._create(batch_id, look_first=not is_ours)
                await self._finish(batch_id)
                return True
            except QueueFullError as full:
                is_ours = self._ledger.take_back(batch_id, full.provider_id)
                if not is_ours:
                    continue  # another process has seen it first, and creates it again
                if not self._waits(batch_id, full, time.monotonic() - began):
                    return False
            async with self._held(batch_id):
                await asyncio.sleep(pause_s)
            pause_s = min(MAX_QUEUE_PAUSE_S, 1.5 * pause_s)

    def _waits(self, batch_id: str, full: QueueFullError, waited_s: float) -> bool:
        """Whether a refused batch is to wait for room; else it is ended, and what can never fit is told."""
        self._queue.learn(full.limit)
        rows = self._ledger.rows(batch_id)
        tokens = sum(row.get(BESIDE, {}).get("queue_tokens", 0) for row in rows.values())
        never_fits = len(rows) == 1 and self._queue.limit is not None and tokens > self._queue.limit
        if not never_fits and (len(rows) == 1 or not self._queue.must_split(tokens, waited_s)):
            self._on_progress(BatchProgress(batch_id, "waiting for the provider's queue", len(rows), 0, 0))
            return True
        self._ledger.note(batch_id, status="failed", detail=one_line(full.detail, ""))
        self._ledger.end_attempts(batch_id, {}, "no room")
        if never_fits:
            detail = f"about {tokens} tokens, and the provider's queue holds {self._queue.limit}"
            (key,) = rows
            self._failed[key] = Failure("rejected", detail, key, 1)
        return False

    async def _created_or_abandoned(self, batch_id: str) -> BatchState:
        """The batch, once nobody is about to create it."""
        while True:
            batch = self._ledger.batch(batch_id)
            if batch.status not in ("prepared", "uploaded") or time.time() - batch.updated_at > ABANDONED_S:
                return batch
            await asyncio.sleep(1.0)

    @contextlib.asynccontextmanager
    async def _held(self, batch_id: str) -> AsyncIterator[None]:
        """Others see that this process lives, until the batch is created."""

        async def touch() -> None:
            while True:
                self._ledger.note(batch_id)
                await asyncio.sleep(ABANDONED_S / 6)

        task = asyncio.create_task(touch())
        try:
            yield
        finally:
            task.cancel()

    async def _create(self, batch_id: str, *, look_first: bool = False) -> None:
        provider_id = await self._client.find(batch_id) if look_first else None
        if provider_id is None:
            provider_id = await self._client.create(batch_id, self._ledger.batch(batch_id).input_file_id)
        self._ledger.note(batch_id, status="created", provider_id=provider_id)

    async def _finish(self, batch_id: str) -> None:
        """Wait until the batch is over, then ingest what it brought.

        Raises:
            QueueFullError: the provider's queue had no room for it.
        """
        provider_id = self._ledger.batch(batch_id).provider_id
        pause_s = min(FIRST_POLL_S, self._poll_s)
        while True:
            batch = await self._client.look(provider_id)
            counts = batch.request_counts
            done, failed, total = (counts.completed, counts.failed, counts.total) if counts else (0, 0, 0)
            self._on_progress(BatchProgress(batch_id, batch.status, total, done, failed))
            if batch.status in OVER:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(self._poll_s, pause_s * 1.5)
        errors = batch.errors.data if batch.errors and batch.errors.data else []
        if batch.status == "failed" and (full := queue_refusal(errors, provider_id)) is not None:
            raise full
        lines = await self._client.lines(batch)
        if self._ledger.batch(batch_id).status in ENDED:
            return  # by another process that awaited it too
        self._ingest(batch_id, lines)
        detail = one_line("; ".join(str(error.message) for error in errors), "")
        ended_well = batch.status != "failed"
        self._ledger.note(batch_id, status="ingested" if ended_well else "failed", detail=detail)
        if not ended_well:
            raise EndpointError(f"endpoint {self.endpoint.endpoint_name}: batch {provider_id} was refused ({detail})")

    def _ingest(self, batch_id: str, lines: Sequence[bytes]) -> None:
        rows = self._ledger.rows(batch_id)
        ended: dict[str, Ended] = {}
        replies = []
        for line in lines:
            key, exchange = read_line(line, self.endpoint)
            if key not in rows or key in ended:
                continue  # not ours, or told twice
            row = dict(rows[key])
            beside = row.pop(BESIDE, {})
            estimate = beside.get("est_usd") if self.price is not None else None
            usd = usd_of(exchange, self.price, estimate)
            ended[key] = Ended(exchange, usd)
            self._figures.attempts += 1
            self._figures.pay(usd, exchange.prompt_tokens, exchange.completion_tokens, exchange.cached_tokens)
            request = request_of(row)
            self._estimate.learn(request, exchange)
            if self._learns(request, exchange, beside.get("not_honoured", ())):
                self._asked_anew.add(key)
                continue
            self._asked_anew.discard(key)
            exchange = told_beside(exchange, self.price, beside.get("not_honoured", ()), estimate, row["model"])
            replies.append(reply_row(row, exchange, usd=usd, number=1, seconds=0.0))
            if exchange.outcome in FINAL:
                self._fresh.add(key)
            else:
                self._failed[key] = reply_of(exchange, key, usd=usd, number=1)
        self._ledger.store(replies)
        self._ledger.end_attempts(batch_id, ended, "no line")

    def _learns(self, request: ChatRequest, exchange: Attempted, not_sent: Sequence[str]) -> bool:
        """Whether the endpoint refused a parameter that can be done without, so that the next batch asks again."""
        if exchange.outcome == "cut" and exchange.reasoning_tokens > 0 and "max_tokens" not in not_sent:
            self._learned.grow(request)
            return self._learned.sent(request).sampling.max_tokens != request.sampling.max_tokens
        if exchange.outcome != "rejected":
            return False
        self._learned.learn(request, exchange.http_status, exchange.detail)
        # all lines of a batch meet the same refusal, and only the first of them teaches
        return LearnedParameters().learn(request, exchange.http_status, exchange.detail)
