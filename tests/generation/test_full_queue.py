"""An engine whose queue never drains: blocks join while it works and get their own answers. No engine is loaded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from assay.generation.full_queue import FullQueue
from assay.generation.spec import AdapterError, AdapterRef, PromptRow
from assay.records import Prediction

ADAPTER = AdapterRef("a", "/a", 8)


def row(name: str, steps: int, adapter: AdapterRef | None = ADAPTER, error: str | None = None) -> PromptRow:
    return PromptRow(name, (1, 2), steps, adapter, error)


def answer(row: PromptRow) -> Prediction:
    return Prediction(row.example_id, f"{row.example_id} by {row.adapter.key if row.adapter else 'base'}", "stop", 2, 1)


class CountingEngine:
    """Takes as many steps for a row as it has new tokens; notes who is in each step. Steps wait for `go`."""

    tokenizer, max_len = "tokenizer", 64

    def __init__(self, *, fails_with: str = "") -> None:
        self.queued: dict[str, list[object]] = {}
        self.together: list[set[str]] = []
        self.alone: list[list[str]] = []
        self.dropped = self.num_added = 0
        self.fails_with = fails_with
        self.go = threading.Event()

    def generate(self, rows: Sequence[PromptRow]) -> list[Prediction]:
        self.alone.append([row.example_id for row in rows])
        if any(row.example_id == "deadly" for row in rows):
            raise RuntimeError("the engine is gone")
        return [answer(row) for row in rows]

    def prepare(self, adapter: AdapterRef) -> None:
        if adapter.key == "broken":
            raise AdapterError("adapter broken: cannot be loaded")

    def add(self, row: PromptRow) -> str | Prediction:
        if row.example_id == "wide":
            raise ValueError("prompt too long")
        self.num_added += 1
        name = str(self.num_added)
        self.queued[name] = [row, row.max_new_tokens]
        return name

    def step(self) -> list[tuple[str, Prediction]]:
        self.go.wait(10)
        self.together.append({entry[0].example_id for entry in self.queued.values()})
        if any(entry[0].example_id == self.fails_with for entry in self.queued.values()):
            raise RuntimeError("an illegal memory access")
        for entry in self.queued.values():
            entry[1] -= 1
        ended = [name for name, entry in self.queued.items() if entry[1] == 0]
        return [(name, answer(self.queued.pop(name)[0])) for name in ended]

    def drop(self) -> None:
        self.dropped += 1
        self.queued.clear()


def ask(engine: CountingEngine, *blocks: list[PromptRow], alone: Sequence[int] = ()) -> list[list[Prediction] | str]:
    """Each block from a thread of its own, in this order; an error as its words."""
    queue = FullQueue(engine)
    with ThreadPoolExecutor(len(blocks)) as pool:
        asked = []
        for place, block in enumerate(blocks):
            asked.append(pool.submit(queue.generate, block, alone=place in alone))
            while asked[-1].running() and queue._inbox.empty() and not engine.queued:
                pass  # until it has come: the order is part of the test
        engine.go.set()
        return [str(one.exception()) if one.exception(10) else one.result() for one in asked]


def test_each_block_gets_its_own_answers_in_its_own_order() -> None:
    first, second = [row("a", 3), row("b", 1), row("c", 2)], [row("d", 2), row("a", 1)]
    assert ask(CountingEngine(), first, second) == [[answer(one) for one in block] for block in (first, second)]


def test_a_second_block_joins_while_the_first_is_in_the_engine() -> None:
    engine = CountingEngine()
    ask(engine, [row("long", 5), row("short", 1)], [row("next", 4)])
    assert any({"long", "next"} <= step for step in engine.together)
    assert len(engine.together) < 5 + 4  # one after the other


def test_bare_rows_and_adapter_rows_are_never_in_one_step() -> None:
    engine = CountingEngine()
    bare = [row("bare", 3, adapter=None)]
    found = ask(engine, [row("adapted", 3)], bare, [row("later", 2)])
    assert found[1] == [answer(bare[0])]
    assert not [step for step in engine.together if "bare" in step and len(step) > 1]


def test_a_block_that_is_to_be_alone_is_alone() -> None:
    engine = CountingEngine()
    ask(engine, [row("one", 2)], [row("suspect", 2)], [row("other", 2)], alone=[1])
    assert not [step for step in engine.together if "suspect" in step and len(step) > 1]


def test_a_row_that_the_engine_does_not_take_is_an_error_row_and_spares_its_block() -> None:
    ((first, wide, none),) = ask(CountingEngine(), [row("a", 1), row("wide", 1), row("none", 1, error="no template")])
    assert first.error is None
    assert wide.error == "ValueError: prompt too long"
    assert none.error == "no template"


def test_after_a_failed_step_each_block_is_done_by_itself_and_only_the_guilty_one_fails() -> None:
    engine = CountingEngine(fails_with="deadly")
    good, bad = [row("a", 3), row("b", 3)], [row("deadly", 3)]
    found = ask(engine, good, bad)
    assert found == [[answer(one) for one in good], "the engine is gone"]
    assert engine.dropped == 1
    assert engine.alone == [["a", "b"], ["deadly"]]


def test_an_adapter_that_cannot_be_loaded_is_said_to_who_asked() -> None:
    queue = FullQueue(CountingEngine())
    queue.prepare(ADAPTER)
    with pytest.raises(AdapterError, match="broken"):
        queue.prepare(AdapterRef("broken", "/b", 8))
    assert queue.generate([]) == []
