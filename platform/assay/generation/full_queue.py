"""Keeps one engine's queue full: blocks join while it works on others, so it never runs dry between two calls.

One thread owns the engine and takes its steps; callers render prompts and fetch adapters beside it, and wait for their
own block. Which rows share a batch then depends on time: answers are equal to those of block by block within the
rounding of the type of numbers. Bare rows and adapter rows are never in the engine together (`vllm_engine` says why).
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from assay.generation.spec import AdapterRef, PromptRow, error_prediction
from assay.records import Prediction


class SteppedEngine(Protocol):
    """An engine that takes rows between its steps."""

    tokenizer: Any
    max_len: int

    def generate(self, rows: Sequence[PromptRow]) -> list[Prediction]:
        """The rows by themselves, in their order."""

    def prepare(self, adapter: AdapterRef) -> None:
        """Load an adapter."""

    def add(self, row: PromptRow) -> str | Prediction:
        """Put a row into the queue: the name by which `step` gives it back, or at once the row that says why not."""

    def step(self) -> list[tuple[str, Prediction]]:
        """One step; the rows that ended with it."""

    def drop(self) -> None:
        """Forget all rows in the queue."""


@dataclass
class _Block:
    rows: Sequence[PromptRow]
    is_alone: bool
    done: dict[int, Prediction] = field(default_factory=dict)
    answer: Future[list[Prediction]] = field(default_factory=Future)

    @property
    def is_bare(self) -> bool:
        return all(row.adapter is None for row in self.rows)

    def finish(self, place: int, prediction: Prediction) -> None:
        self.done[place] = prediction
        if len(self.done) == len(self.rows):
            self.answer.set_result([self.done[place] for place in range(len(self.rows))])


@dataclass
class _Task:
    do: Callable[[], None]
    answer: Future[None] = field(default_factory=Future)


class FullQueue:
    """An engine that many threads may call at once."""

    def __init__(self, engine: SteppedEngine) -> None:
        self._engine = engine
        self.tokenizer, self.max_len = engine.tokenizer, engine.max_len
        self._inbox: queue.SimpleQueue[_Block | _Task] = queue.SimpleQueue()
        self._waiting: deque[_Block] = deque()
        self._running: dict[str, tuple[_Block, int]] = {}
        """By the engine's name of a row: its block, and its place there."""
        threading.Thread(target=self._work, daemon=True, name="assay-engine").start()

    def generate(self, rows: Sequence[PromptRow], *, alone: bool = False) -> list[Prediction]:
        """One prediction per row, same order; waits for its own rows only.

        Args:
            rows: of one adapter, or of none.
            alone: with no other block in the engine: one that was there when an engine died.
        """
        block = _Block(rows, alone)
        if not rows:
            return []
        self._inbox.put(block)
        return block.answer.result()

    def prepare(self, adapter: AdapterRef) -> None:
        """Load an adapter between two steps.

        Raises:
            AdapterError: it cannot be loaded.
        """
        task = _Task(lambda: self._engine.prepare(adapter))
        self._inbox.put(task)
        task.answer.result()

    # --- the engine's thread -----------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            self._take_new()
            while self._waiting and self._may_join(self._waiting[0]):
                self._admit(self._waiting.popleft())
            if self._running:
                self._step()

    def _take_new(self) -> None:
        """All that has come; waits for something where there is nothing to do."""
        while True:
            is_idle = not self._running and not self._waiting
            try:
                item = self._inbox.get(block=is_idle)
            except queue.Empty:
                return
            if isinstance(item, _Block):
                self._waiting.append(item)
            else:
                _settle(item.answer, item.do)

    def _may_join(self, block: _Block) -> bool:
        there = next(iter(self._running.values()), None)
        return there is None or not (block.is_alone or there[0].is_alone or block.is_bare != there[0].is_bare)

    def _admit(self, block: _Block) -> None:
        for place, row in enumerate(block.rows):
            try:
                added = error_prediction(row, row.error) if row.error else self._engine.add(row)
            except Exception as error:  # of this row alone: the engine checks what it is given
                added = error_prediction(row, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
            if isinstance(added, str):
                self._running[added] = (block, place)
            else:
                block.finish(place, added)

    def _step(self) -> None:
        try:
            ended = self._engine.step()
        except Exception:  # nobody knows whose fault it was: block by block the engine finds the row
            self._one_by_one()
            return
        for name, prediction in ended:
            block, place = self._running.pop(name)
            block.finish(place, prediction)

    def _one_by_one(self) -> None:
        """What a failed step left, block by block, as without a queue."""
        left: dict[int, tuple[_Block, list[int]]] = {}
        for block, place in self._running.values():
            left.setdefault(id(block), (block, []))[1].append(place)
        self._running.clear()
        try:
            self._engine.drop()
        except Exception as error:  # the engine is gone, and says so to everybody
            for block, _ in left.values():
                block.answer.set_exception(error)
            return
        for block, places in left.values():
            try:
                made = self._engine.generate([block.rows[place] for place in places])
            except Exception as error:
                block.answer.set_exception(error)
            else:
                for place, prediction in zip(places, made, strict=True):
                    block.finish(place, prediction)


def _settle(answer: Future[None], do: Callable[[], None]) -> None:
    try:
        do()
    except Exception as error:
        answer.set_exception(error)
    else:
        answer.set_result(None)
