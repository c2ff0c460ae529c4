"""The provider's queue of batch tokens: what of ours may stand in it at once, and what a refusal for it says.

Providers limit the tokens of all batches that are not over. A batch above what is left fails as a whole, minutes after
it was accepted, and nothing of it was worked on.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

_FULL = re.compile(r"enqueued tokens?\b|token[_ ]limit[_ ]exceeded|batch queue (?:is full|limit)", re.IGNORECASE)
_LIMIT = re.compile(r"\blimit:? ([\d,]{1,20})", re.IGNORECASE)
MAX_WAIT_S = 1800.0
"""Seconds of refusals, with nothing else of ours in the queue, after which a batch is split: our estimate of its
tokens may be wrong, and then no waiting helps."""


class QueueFullError(Exception):
    """The provider's queue has no room for a batch now."""

    def __init__(self, detail: str, provider_id: str = "", limit: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.provider_id = provider_id
        """Of the batch that failed; empty where none was made."""
        self.limit = limit
        """Tokens that the queue holds, where told."""


def queue_refusal(errors: Sequence[Any], provider_id: str) -> QueueFullError | None:
    """The refusal among a failed batch's errors (objects with `code` and `message`); None where it failed otherwise."""
    for error in errors:
        code, message = str(getattr(error, "code", "") or ""), str(getattr(error, "message", "") or "")
        if (found := queue_full(f"{code} {message}", provider_id)) is not None:
            return found
    return None


def queue_full(words: str, provider_id: str = "") -> QueueFullError | None:
    """What words say about a full queue; None where they speak of something else."""
    if _FULL.search(words[:2000]) is None:
        return None
    told = _LIMIT.search(words[:2000])
    limit = int(told[1].replace(",", "") or "0") if told is not None else 0
    return QueueFullError(words, provider_id, limit or None)


class BatchQueue:
    """Tokens of this process's batches that are not over. Belongs to one event loop."""

    def __init__(self, limit: int | None) -> None:
        """Begin with nothing in it.

        Args:
            limit: tokens that may be in it at once; None: no limit is known.
        """
        self.limit = limit
        self.num_running = 0
        self._tokens = 0
        self._changed = asyncio.Condition()

    def learn(self, limit: int | None) -> None:
        """The provider told its limit, which holds where it is lower."""
        if limit is not None:
            self.limit = limit if self.limit is None else min(self.limit, limit)

    @contextlib.asynccontextmanager
    async def room(self, tokens: int) -> AsyncIterator[None]:
        """Wait until so many fit in beside what is there; a batch above the limit goes alone."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self.num_running == 0 or self.limit is None or self._tokens + tokens <= self.limit
            )
            self.num_running += 1
            self._tokens += tokens
        try:
            yield
        finally:
            async with self._changed:
                self.num_running -= 1
                self._tokens -= tokens
                self._changed.notify_all()

    def must_split(self, tokens: int, waited_s: float) -> bool:
        """Whether waiting will not help a batch of so many tokens that has been refused for so long."""
        is_above = self.limit is not None and tokens > self.limit
        return is_above or (waited_s > MAX_WAIT_S and self.num_running <= 1)
