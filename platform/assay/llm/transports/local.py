"""A model in this process as the judge: requests gather into batches and go to a callable instead of over HTTP.

The callable (vLLM, or anything else that answers chats) is made elsewhere. Ledger, coalescing and retries stay those
of the gateway, so a local judge's replies are kept and keyed like any other's.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from assay.errors import AssayError
from assay.llm.endpoint import EndpointSpec
from assay.llm.local_model import LocalChat, LocalReply
from assay.llm.requests import ChatRequest
from assay.llm.transports.chat import Attempted, extra_of, one_line, storable

LINGER_S = 0.02
"""How long a batch waits for company: an engine works best on many sequences at once."""
MAX_BATCH = 256


def open_local_chat(endpoint: EndpointSpec) -> LocalChat | None:
    """With `transport=local` the model that answers in this process, loaded with its first batch; else None.

    A run whose replies all lie in the ledger loads no engine.
    """
    if endpoint.kind.is_remote:
        return None
    loaded: list[LocalChat] = []

    def chat(requests: Sequence[ChatRequest]) -> Sequence[LocalReply]:
        if not loaded:
            # this process has a terminal; what vllm says of itself while it is imported is no news to who wants scores
            logging.getLogger("vllm").setLevel(logging.ERROR)
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"vllm\.")
            from assay.llm.transports.vllm_chat_engine import VllmChat

            loaded.append(VllmChat(endpoint.model, endpoint.local))
        return loaded[0](requests)

    return chat


class LocalTransport:
    """Gathers requests for a `LocalChat`. Belongs to one event loop."""

    def __init__(self, chat: LocalChat) -> None:
        self._chat = chat
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="assay-local-judge")
        self._waiting: list[tuple[ChatRequest, asyncio.Future[Attempted]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def send(self, request: ChatRequest, attempt: int) -> Attempted:
        future: asyncio.Future[Attempted] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await future

    async def close(self) -> None:
        """End the thread when its batch is done."""
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _work(self) -> None:
        try:
            await asyncio.sleep(LINGER_S)
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                requests = [request for request, _ in batch]
                try:
                    exchanges = await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, requests)
                except AssayError as error:  # a model that cannot be loaded will not be the next time either
                    exchanges = [Attempted("unusable", None, {}, detail=str(error), error=error)] * len(batch)
                except Exception as error:  # a model that fails is a server error to the gateway, which tries again
                    detail = one_line(f"{type(error).__name__}: {error}", "")
                    exchanges = [Attempted("server error", None, {}, detail=detail)] * len(batch)
                for (_, future), exchange in zip(batch, exchanges, strict=True):
                    if not future.done():
                        future.set_result(exchange)
        finally:
            self._worker = None

    def _answer(self, requests: Sequence[ChatRequest]) -> list[Attempted]:
        replies = self._chat(requests)
        if len(replies) != len(requests):
            raise ValueError(f"{len(replies)} replies to {len(requests)} requests")
        return [_exchange(reply) for reply in replies]


def _exchange(reply: LocalReply) -> Attempted:
    if reply.error:
        return Attempted("rejected", 400, {}, detail=one_line(reply.error, ""))
    return Attempted(
        "answered" if reply.text.strip() else "empty", 200, {}, storable(reply.text), reply.finish_reason,
        extra_of(reply.texts, reply.logprobs), reply.prompt_tokens, reply.completion_tokens,
    )  # fmt: skip
