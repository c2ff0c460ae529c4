"""The asynchronous side of the ledger: gathers what a gateway's tasks want into batches, one commit for all.

While one batch is being committed the next one gathers, so the batches grow with the load and a lone call waits
for nobody.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from assay.llm.ledger.segments import LINGER_S as SEGMENT_LINGER_S
from assay.llm.ledger.segments import PREFIX
from assay.llm.ledger.service import CLAIM_S, Finish, LedgerService, Lookup, Operation, Release, Result, Store

LINGER_S = 0.005
"""How long a batch waits for company."""
SHARED_LINGER_S = 0.02
"""The same where a batch is a call to an actor, which costs as much CPU as a dozen operations."""
MAX_BATCH = 512

Process = Callable[[str, Sequence[Operation]], Awaitable[list[Result]]]


class LedgerClient:
    """Batches operations of one gateway. Belongs to one event loop."""

    def __init__(
        self,
        process: Process,
        *,
        close: Callable[[], None] | None = None,
        linger_s: float = LINGER_S,
        shared: bool = False,
    ) -> None:
        """Send batches to a ledger.

        Args:
            process: commits a batch and gives its results.
            close: lets go of the ledger.
            linger_s: how long a batch waits for company.
            shared: whether other sessions use the ledger too, so that it must hear that this one lives.
        """
        self.session = secrets.token_hex(6)
        self._process = process
        self._close = close
        self._linger_s = linger_s
        self._waiting: list[tuple[Operation, asyncio.Future[Result]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._num_ids = 0
        self._lent: set[str] | None = set() if shared else None
        self._beat: asyncio.TimerHandle | None = None

    def new_attempt_id(self) -> str:
        """An id for an attempt, unique over sessions."""
        self._num_ids += 1
        return f"{self.session}-{self._num_ids:x}"

    async def submit(self, operation: Operation) -> Result:
        """The operation's result, once the transaction that holds it is committed."""
        return await self.post(operation)

    def post(self, operation: Operation) -> asyncio.Future[Result]:
        """Hand an operation in; awaiting the future is optional."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        return future

    async def close(self) -> None:
        """Commit what waits, then let go of the ledger."""
        if self._beat is not None:
            self._beat.cancel()
        if self._flusher is not None:
            await self._flusher
        if self._close is not None:
            self._close()

    async def _flush(self) -> None:
        try:
            await asyncio.sleep(self._linger_s)
            while True:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._commit(batch)  # an empty batch says that this session lives
                if not self._waiting:
                    break
        finally:
            self._flusher = None
            if self._lent and self._beat is None:
                self._beat = asyncio.get_running_loop().call_later(CLAIM_S / 4, self._heartbeat)

    def _heartbeat(self) -> None:
        self._beat = None
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())

    async def _commit(self, batch: list[tuple[Operation, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._process(self.session, [operation for operation, _ in batch])
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (operation, future), result in zip(batch, results, strict=True):
            if self._lent is not None:
                self._note_lent(self._lent, operation, result)
            if not future.done():
                future.set_result(result)

    def _note_lent(self, lent: set[str], operation: Operation, result: Result) -> None:
        if isinstance(operation, Lookup):
            if result is None:
                lent.add(operation.key)
        elif isinstance(operation, Release):
            lent.discard(operation.key)
        elif isinstance(operation, (Finish, Store)) and operation.call is not None:
            lent.discard(operation.call["key"])


def open_local_ledger(url: str) -> LedgerClient:
    """A ledger in a thread of this process.

    Raises:
        StorageError: the database cannot be opened.
    """
    service = LedgerService(url)
    thread = ThreadPoolExecutor(1, thread_name_prefix="assay-ledger")

    async def process(session: str, operations: Sequence[Operation]) -> list[Result]:
        return await asyncio.get_running_loop().run_in_executor(thread, service.process, session, operations)

    def close() -> None:
        thread.submit(service.close).result()
        thread.shutdown()

    return LedgerClient(process, close=close, linger_s=linger_of(url))


def linger_of(url: str, *, shared: bool = False) -> float:
    """How long batches for this ledger wait for company."""
    if url.startswith(PREFIX):
        return SEGMENT_LINGER_S
    return SHARED_LINGER_S if shared else LINGER_S
