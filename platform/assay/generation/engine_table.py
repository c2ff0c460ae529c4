"""What is known of a stream's engines: which ones started, which could not, and how often a block was begun. Pure.

It lies in an actor beside the driver, so it outlives engine processes and knows what killed them.
"""

from __future__ import annotations

Block = tuple[int, int]
"""A job's number and the first row of the block."""

START_WITHIN_S = 300.0
"""For the first engine of a stream to start, once another could not."""


class EngineTable:
    """One stream's engines and blocks."""

    def __init__(self, num_engines: int) -> None:
        self._num_engines = num_engines
        self._begun: dict[Block, int] = {}
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

    def started(self, engine: str) -> None:
        """An engine is ready for blocks."""
        self._started.add(engine)

    def failed(self, engine: str, words: str) -> None:
        """An engine could not start."""
        self._failed[engine] = words

    def is_spared(self, engine: str, waited_s: float = 0.0) -> bool:
        """Whether an engine that could not start is to wait, and hold its place, while the others do the work.

        Not where there are no others, nor where none has started for so long that the rest may have found no place,
        nor where it has served before: blocks that were sent to it wait for it.
        """
        is_hopeless = self.none_starts() or (not self._started and waited_s > START_WITHIN_S)
        return not (self._is_over or is_hopeless or engine in self._started)

    def none_starts(self) -> bool:
        """Whether all engines of the stream failed to start."""
        return len(self._failed.keys() - self._started) >= self._num_engines

    def failures(self) -> list[str]:
        """The words of the engines that could not start."""
        return list(self._failed.values())

    def close(self) -> None:
        """The stream is over."""
        self._is_over = True
