"""The provider's files and batches over the openai SDK, tried again while the endpoint is only shaky."""

from __future__ import annotations

import asyncio
import functools
import io
from collections.abc import Callable
from typing import Any

from assay.errors import EndpointError
from assay.llm.batch.files import PATH
from assay.llm.batch.queue import queue_full
from assay.llm.endpoint import EndpointSpec
from assay.llm.requests import ChatRequest
from assay.llm.transports.chat import ChatTransport, one_line

TAG = "assay_batch"
"""Metadata of a batch that names it as we do."""


class BatchClient:
    """Belongs to one event loop. Connects at the first call; every method may raise `EndpointError`."""

    def __init__(self, endpoint: EndpointSpec) -> None:
        self.endpoint = endpoint
        self._transport: ChatTransport | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.close()

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """A request's body, as chat completions send it."""
        return self._open().body(request)

    async def upload(self, batch_id: str, content: bytes) -> str:
        """The provider's id of a file of requests."""
        file = (f"{batch_id}.jsonl", io.BytesIO(content), "application/jsonl")
        client = self._open().client
        made = await self._retried(lambda: client.files.create(file=file, purpose="batch"))
        return str(made.id)

    async def create(self, batch_id: str, file_id: str) -> str:
        """The provider's id of a batch that it begins.

        Raises:
            QueueFullError: the provider says at once that its queue has no room.
        """
        client = self._open().client
        is_first = True

        async def begin() -> str:
            nonlocal is_first
            if not is_first and (found := await self._find(batch_id)) is not None:
                return found  # the try before did begin it; its response was lost
            is_first = False
            made = await client.batches.create(
                input_file_id=file_id, endpoint=PATH, completion_window="24h", metadata={TAG: batch_id}
            )
            return str(made.id)

        return str(await self._retried(begin))

    async def find(self, batch_id: str) -> str | None:
        """The provider's id of a batch whose creation succeeded but was not recorded; one that failed is none."""
        found: str | None = await self._retried(lambda: self._find(batch_id))
        return found

    async def _find(self, batch_id: str) -> str | None:
        async for batch in self._open().client.batches.list(limit=100):
            if (batch.metadata or {}).get(TAG) == batch_id and batch.status != "failed":
                return str(batch.id)
        return None

    async def look(self, provider_id: str) -> Any:
        """The batch as the provider tells it."""
        client = self._open().client
        return await self._retried(lambda: client.batches.retrieve(provider_id))

    async def lines(self, batch: Any) -> list[bytes]:
        """Lines of output and errors of a batch that is over."""
        client = self._open().client
        lines: list[bytes] = []
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                content = await self._retried(functools.partial(client.files.content, file_id))
                lines.extend(content.content.splitlines())
        return lines

    def _open(self) -> ChatTransport:
        self._transport = self._transport or ChatTransport(self.endpoint)
        return self._transport

    async def _retried(self, call: Callable[[], Any]) -> Any:
        import openai

        name = self.endpoint.endpoint_name
        for attempt in range(1, self.endpoint.max_attempts + 1):
            try:
                return await call()
            except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError) as error:
                self._check_queue(error)
                if attempt == self.endpoint.max_attempts:
                    reason = one_line(str(error), self._open().secret)
                    raise EndpointError(
                        f"endpoint {name}: its batch API does not answer ({reason}); "
                        "batches already up are kept: run the same command later"
                    ) from None
                await asyncio.sleep(min(30.0, 0.5 * 2**attempt))
            except openai.APIStatusError as error:
                self._check_queue(error)
                raise EndpointError(
                    f"endpoint {name}: {one_line(str(error), self._open().secret)}; expected a batch API at "
                    f"{self.endpoint.base_url}; use judge.transport=chat where it has none"
                ) from None
        raise EndpointError(f"endpoint {name}: its batch API does not answer")

    def _check_queue(self, error: Exception) -> None:
        if (full := queue_full(one_line(str(error), self._open().secret))) is not None:
            raise full from None
