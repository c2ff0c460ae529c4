"""What is known of a stream's engines: which ones started, which could not, and how often a block was begun. Pure.

It lies in an actor beside the driver, so it outlives engine processes and knows what killed them.
"""

from __future__ import annotations

from typing import Any

Block = tuple[int, int]
"""A job's number and the first row of the block."""

COME_WITHIN_S = 60.0
"""For a further engine to come to its place, once all that came have failed: as long as Ray gives a new process."""
NODE_WITHIN_S = 300.0
"""The same where machines may still join the cluster."""


class EngineTable:
    """One stream's engines and blocks."""

    def __init__(self, num_engines: int, come_within_s: float = COME_WITHIN_S) -> None:
        self._num_engines, self._come_within_s = num_engines, come_within_s
        self._begun: dict[Block, int] = {}
        self._came: set[str] = set()
        self._actors: dict[str, Any] = {}
        self._started: set[str] = set()
        self._failed: dict[str, str] = {}
        self._is_over = False

    def begin(self, block: Block) -> int:
        """The number of this try of a block."""
        self._begun[block] = self._begun.get(block, 0) + 1
        return self._begun[block]

    def end(self, block: Block) -> None:
        """The block came to its end, so its tries are forgotten."""
        self._begun.pop(block, None)

    def came(self, engine: str) -> None:
        """An engine has a place and begins to start."""
        self._came.add(engine)

    def started(self, engine: str) -> None:
        """An engine is ready for blocks."""
        self._started.add(engine)

    def failed(self, engine: str, words: str, actor: Any = None) -> None:
        """An engine could not start.

        Args:
            engine: which one.
            words: why.
            actor: its handle, by which its place is freed when the stream is over.
        """
        self._failed[engine], self._actors[engine] = words, actor

    def is_spared(self, engine: str, waited_s: float = 0.0) -> bool:
        """Whether an engine that could not start is to wait, and hold its place, while the others do the work.

        Not where there are no others: all failed, or all that came failed and no other came for so long, as something
        else holds their places. One that still starts may take its time. Nor where it has served before: blocks that
        were sent to it wait for it.
        """
        none_can = not (self._started or self._came - self._failed.keys()) and waited_s > self._come_within_s
        return not (self._is_over or self.none_starts() or none_can or engine in self._started)

    def none_starts(self) -> bool:
        """Whether all engines of the stream failed to start."""
        return len(self._failed.keys() - self._started) >= self._num_engines

    def failures(self) -> list[str]:
        """The words of the engines that could not start."""
        return list(self._failed.values())

    def close(self) -> list[Any]:
        """The stream is over; returns handles of the engines that could not start and hold their places."""
        self._is_over = True
        return [actor for actor in self._actors.values() if actor is not None]
