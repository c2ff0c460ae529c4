"""The provider's batch API as a transport: files of requests go up, replies come down hours later, for half the price.

Every step is written to the ledger before the next one is taken, so a process that dies between upload and ingest
goes on where it was: prepared -> uploaded -> created -> ingested. A batch whose creation was not recorded is found
again by the id that it carries in its metadata. Replies become rows of `calls` under the same keys as those of chat
completions, so the transports serve each other.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import io
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from assay.errors import ConfigError, EndpointError, LimitReached, StorageError
from assay.llm.call_rows import completed, reply_of, reply_row, request_row, stored_reply
from assay.llm.chat_transport import ChatTransport, Exchange, one_line, read_refusal, read_reply
from assay.llm.endpoint import EndpointSpec, with_told_name
from assay.llm.figures import Figures, GatewayStats
from assay.llm.ledger import LedgerService, Lookup, Store, StoredCall
from assay.llm.ledger_segments import PREFIX
from assay.llm.ledger_tables import ATTEMPTS, BATCH_ITEMS, BATCHES, FINAL
from assay.llm.prices import price_of
from assay.llm.requests import ChatRequest, Failure, Mode, Reply, request_key
from assay.llm.token_estimate import TokenEstimate

MAX_ROWS = 20_000
"""Requests per file; providers allow 50,000 and 200 MB."""
MAX_BYTES = 90_000_000
MAX_CALL_TRIES = 3
"""Batches that a request may be part of before it counts as failed."""
OVER = frozenset({"completed", "failed", "expired", "cancelled"})
TAG = "assay_batch"
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
        self.endpoint = with_told_name(endpoint).replace(transport="batch")
        self.price = price_of(self.endpoint)
        if budget_usd is not None and self.price is None:
            raise ConfigError(
                f"--max-usd {budget_usd:g}: the price of {endpoint.model!r} is not known; set it, or drop the cap"
            )
        if ledger_url.startswith(PREFIX):
            raise ConfigError("judge.transport=batch: saw a ledger in an object store; expected SQLite or PostgreSQL")
        self._service = LedgerService(ledger_url)
        self._session = secrets.token_hex(6)
        self._study, self._judge, self._mode = study, judge, mode
        self._budget_usd, self._poll_s, self._on_progress = budget_usd, poll_s, on_progress
        self._estimate = TokenEstimate()
        self._failed: dict[str, Reply] = {}
        self._figures = Figures()
        self._fresh: set[str] = set()
        self._gathered: list[tuple[ChatRequest, asyncio.Future[Reply]]] = []
        self._gathering: asyncio.Task[None] | None = None
        self._last_asked = 0.0
        self._transport: ChatTransport | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections and the ledger."""
        if self._gathering is not None:
            self._gathering.cancel()
        if self._transport is not None:
            await self._transport.close()
        self._service.close()

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
            for key, stored in self._stored(list(waiting)).items():
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
            chunks = self._chunks({key: asked[key] for key in waiting}, tries)
            affordable = self._affordable(chunks)
            await asyncio.gather(*(self._run(chunk) for chunk in affordable))
            if len(affordable) < len(chunks):
                raise LimitReached(
                    f"study {self._study or '(none)'}: the next batch of {len(chunks[len(affordable)].rows)} calls may "
                    f"pass --max-usd {self._budget_usd:g}; replies so far are stored; run again with a higher --max-usd"
                )

    async def _gather(self) -> None:
        try:
            while self._gathered:
                while (quiet_s := time.monotonic() - self._last_asked) < GATHER_S and len(self._gathered) < MAX_ROWS:
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

    # --- one batch ---------------------------------------------------------------------------------------

    async def _run(self, chunk: _Chunk) -> None:
        batch_id = secrets.token_hex(16)
        self._prepare(batch_id, chunk)
        await self._upload(batch_id, chunk.content)
        await self._create(batch_id)
        await self._finish(batch_id)

    async def _resume(self) -> None:
        """Take up what an earlier process left between upload and ingest."""
        query = sa.select(BATCHES.c.id, BATCHES.c.status).where(
            BATCHES.c.endpoint == self.endpoint.endpoint_name,
            BATCHES.c.study == self._study,
            BATCHES.c.status.in_(("prepared", "uploaded", "created")),
        )
        with self._service.engine.begin() as connection:
            open_batches = connection.execute(query).all()
        for batch_id, status in open_batches:
            if status == "prepared":  # its content was never up as far as we know: its requests are asked anew
                self._note(batch_id, status="failed", detail="its process died before the upload was recorded")
                self._end_attempts(batch_id, {}, "never created")
                continue
            if status == "uploaded":
                await self._create(batch_id, look_first=True)
            await self._finish(batch_id)

    def _prepare(self, batch_id: str, chunk: _Chunk) -> None:
        now = time.time()
        with self._service.engine.begin() as connection:
            connection.execute(
                sa.insert(BATCHES),
                {
                    "id": batch_id, "endpoint": self.endpoint.endpoint_name, "model": self.endpoint.model,
                    "study": self._study, "judge": self._judge, "status": "prepared", "input_file_id": "",
                    "provider_id": "", "detail": "", "created_at": now, "updated_at": now,
                },
            )  # fmt: skip
            connection.execute(
                sa.insert(BATCH_ITEMS),
                [{"batch_id": batch_id, "key": key, "call_json": row} for key, row in chunk.rows.items()],
            )
            connection.execute(
                sa.insert(ATTEMPTS),
                [
                    {
                        "id": _attempt_id(batch_id, key), "key": key, "session": self._session, "study": self._study,
                        "number": chunk.tries, "transport": "batch", "sent_at": now, "est_tokens": tokens,
                    }
                    for key, tokens in chunk.tokens.items()
                ],
            )  # fmt: skip

    async def _upload(self, batch_id: str, content: bytes) -> None:
        file = (f"{batch_id}.jsonl", io.BytesIO(content), "application/jsonl")
        client = self._client()
        made = await self._sdk(lambda: client.files.create(file=file, purpose="batch"))
        self._note(batch_id, status="uploaded", input_file_id=made.id)

    async def _create(self, batch_id: str, *, look_first: bool = False) -> None:
        provider_id = await self._find_created(batch_id) if look_first else None
        if provider_id is None:
            file_id, client = self._batch(batch_id).input_file_id, self._client()
            made = await self._sdk(
                lambda: client.batches.create(
                    input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h",
                    metadata={TAG: batch_id},
                )
            )  # fmt: skip
            provider_id = made.id
        self._note(batch_id, status="created", provider_id=provider_id)

    async def _find_created(self, batch_id: str) -> str | None:
        """The provider's id of a batch whose creation succeeded but was not recorded."""
        client = self._client()
        page = await self._sdk(lambda: client.batches.list(limit=100))
        for batch in page.data:
            if (batch.metadata or {}).get(TAG) == batch_id:
                return str(batch.id)
        return None

    async def _finish(self, batch_id: str) -> None:
        """Wait until the batch is over, then ingest what it brought."""
        provider_id, client = self._batch(batch_id).provider_id, self._client()
        pause_s = min(FIRST_POLL_S, self._poll_s)
        while True:
            batch = await self._sdk(lambda: client.batches.retrieve(provider_id))
            counts = batch.request_counts
            done, failed, total = (counts.completed, counts.failed, counts.total) if counts else (0, 0, 0)
            self._on_progress(BatchProgress(batch_id, batch.status, total, done, failed))
            if batch.status in OVER:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(self._poll_s, pause_s * 1.5)
        lines: list[bytes] = []
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                content = await self._sdk(functools.partial(client.files.content, file_id))
                lines.extend(content.content.splitlines())
        self._ingest(batch_id, lines)
        errors = batch.errors.data if batch.errors and batch.errors.data else []
        detail = one_line("; ".join(str(error.message) for error in errors), "")
        ended_well = batch.status != "failed"
        self._note(batch_id, status="ingested" if ended_well else "failed", detail=detail)
        if not ended_well:
            raise EndpointError(f"endpoint {self.endpoint.endpoint_name}: batch {provider_id} was refused ({detail})")

    def _ingest(self, batch_id: str, lines: Sequence[bytes]) -> None:
        with self._service.engine.begin() as connection:
            query = sa.select(BATCH_ITEMS.c.key, BATCH_ITEMS.c.call_json).where(BATCH_ITEMS.c.batch_id == batch_id)
            rows = {key: json.loads(text) for key, text in connection.execute(query)}
        ended: dict[str, Exchange] = {}
        calls = []
        for line in lines:
            key, exchange = self._read_line(line)
            if key not in rows or key in ended:
                continue  # not ours, or told twice
            ended[key] = exchange
            usd = self._usd(exchange)
            calls.append(Store(reply_row(rows[key], exchange, usd=usd, number=1, seconds=0.0)))
            self._figures.attempts += 1
            if exchange.outcome in FINAL:
                self._fresh.add(key)
            else:
                self._failed[key] = reply_of(exchange, key, usd=usd, number=1)
        for start in range(0, len(calls), 500):
            self._service.process(self._session, calls[start : start + 500])
        self._end_attempts(batch_id, ended, "no line")

    def _read_line(self, line: bytes) -> tuple[str, Exchange]:
        try:
            data = json.loads(line)
            key, response = str(data["custom_id"]), data.get("response")
            if response is None:
                message = (data.get("error") or {}).get("message", "no response")
                return key, Exchange("server error", None, {}, detail=one_line(str(message), ""))
            body = json.dumps(response["body"]).encode()
            status = int(response["status_code"])
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            return "", Exchange("malformed", None, {})
        if status == 200:
            return key, read_reply(body, {})
        exchange = read_refusal(status, body, {}, endpoint=self.endpoint, secret="")
        if exchange.outcome == "unusable":  # of one line, which is no reason to end the work
            exchange = Exchange("rejected", status, {}, detail=exchange.detail)
        return key, exchange

    def _end_attempts(self, batch_id: str, ended: dict[str, Exchange], otherwise: str) -> None:
        statement = (
            sa.update(ATTEMPTS)
            .where(ATTEMPTS.c.id == sa.bindparam("attempt_id"))
            .values(
                outcome=sa.bindparam("new_outcome"),
                http_status=sa.bindparam("new_status"),
                usd=sa.bindparam("new_usd"),
                prompt_tokens=sa.bindparam("new_prompt"),
                completion_tokens=sa.bindparam("new_completion"),
                ended_at=time.time(),
            )
        )
        missing = Exchange("connection", None, {})
        with self._service.engine.begin() as connection:
            query = sa.select(BATCH_ITEMS.c.key).where(BATCH_ITEMS.c.batch_id == batch_id)
            values = []
            for (key,) in connection.execute(query):
                exchange = ended.get(key, missing)
                values.append(
                    {
                        "attempt_id": _attempt_id(batch_id, key),
                        "new_outcome": exchange.outcome if key in ended else otherwise,
                        "new_status": exchange.http_status, "new_usd": self._usd(exchange),
                        "new_prompt": exchange.prompt_tokens, "new_completion": exchange.completion_tokens,
                    }
                )  # fmt: skip
            if values:
                connection.execute(statement, values)

    # --- plumbing ----------------------------------------------------------------------------------------

    def _stored(self, keys: list[str]) -> dict[str, StoredCall]:
        found: dict[str, StoredCall] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            results = self._service.process(self._session, [Lookup(key) for key in part])
            found |= {k: r for k, r in zip(part, results, strict=True) if isinstance(r, StoredCall)}
        return found

    def _chunks(self, requests: dict[str, ChatRequest], tries: int) -> list[_Chunk]:
        transport = self._open()
        chunks = [_Chunk(tries)]
        for key, request in requests.items():
            line: dict[str, Any] = {
                "custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": transport.body(request),
            }  # fmt: skip
            if self.endpoint.sends_step_headers:
                line["assay"] = {
                    "protocol": request.protocol, "step": request.step, "replicate": str(request.replicate),
                }  # fmt: skip
            data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
            if len(chunks[-1].rows) >= MAX_ROWS or chunks[-1].num_bytes + len(data) > MAX_BYTES:
                chunks.append(_Chunk(tries))
            row = json.dumps(
                request_row(request, key, endpoint=self.endpoint, study=self._study, judge=self._judge),
                ensure_ascii=False,
            )
            chunks[-1].add(key, data, row, self._estimate.tokens(request))
        return chunks

    def _is_hopeless(self, key: str) -> bool:
        """Whether asking again would bring the same refusal."""
        failed = self._failed.get(key)
        return isinstance(failed, Failure) and failed.reason == "rejected"

    def _affordable(self, chunks: list[_Chunk]) -> list[_Chunk]:
        """The first chunks whose estimates the budget still covers."""
        if self._budget_usd is None or self.price is None:
            return chunks
        query = sa.select(sa.func.coalesce(sa.func.sum(ATTEMPTS.c.usd), 0.0)).where(ATTEMPTS.c.study == self._study)
        with self._service.engine.begin() as connection:
            spent = float(connection.execute(query).scalar_one())
        for number, chunk in enumerate(chunks):
            spent += self.price.usd(sum(chunk.tokens.values()), 0)
            if spent > self._budget_usd:
                return chunks[:number]
        return chunks

    def _usd(self, exchange: Exchange) -> float | None:
        if self.price is None or exchange.prompt_tokens is None or exchange.completion_tokens is None:
            return None
        return self.price.usd(exchange.prompt_tokens, exchange.completion_tokens)

    def _batch(self, batch_id: str) -> Any:
        with self._service.engine.begin() as connection:
            row = connection.execute(sa.select(BATCHES).where(BATCHES.c.id == batch_id)).one_or_none()
        if row is None:
            raise StorageError(f"ledger: saw no batch {batch_id}; expected the one just written")
        return row

    def _note(self, batch_id: str, **changes: str) -> None:
        with self._service.engine.begin() as connection:
            values = {**changes, "updated_at": time.time()}
            connection.execute(sa.update(BATCHES).where(BATCHES.c.id == batch_id).values(**values))

    def _open(self) -> ChatTransport:
        self._transport = self._transport or ChatTransport(self.endpoint)
        return self._transport

    def _client(self) -> Any:
        return self._open().client

    async def _sdk(self, call: Callable[[], Any]) -> Any:
        """One call of the file and batch API, tried again while the endpoint is only shaky."""
        import openai

        name = self.endpoint.endpoint_name
        for attempt in range(1, self.endpoint.max_attempts + 1):
            try:
                return await call()
            except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError) as error:
                if attempt == self.endpoint.max_attempts:
                    reason = one_line(str(error), self._open().secret)
                    raise EndpointError(
                        f"endpoint {name}: its batch API does not answer ({reason}); "
                        "batches already up are kept: run the same command later"
                    ) from None
                await asyncio.sleep(min(30.0, 0.5 * 2**attempt))
            except openai.APIStatusError as error:
                raise EndpointError(
                    f"endpoint {name}: {one_line(str(error), self._open().secret)}; expected a batch API at "
                    f"{self.endpoint.base_url}; use judge.transport=chat where it has none"
                ) from None
        raise EndpointError(f"endpoint {name}: its batch API does not answer")


class _Chunk:
    """The requests of one file."""

    def __init__(self, tries: int) -> None:
        self.tries = tries
        self.rows: dict[str, str] = {}
        self.tokens: dict[str, int] = {}
        self._lines: list[bytes] = []
        self.num_bytes = 0

    def add(self, key: str, line: bytes, row: str, tokens: int) -> None:
        self.rows[key], self.tokens[key] = row, tokens
        self._lines.append(line)
        self.num_bytes += len(line)

    @property
    def content(self) -> bytes:
        return b"".join(self._lines)


def _attempt_id(batch_id: str, key: str) -> str:
    return f"{batch_id[:15]}-{key[:16]}"
