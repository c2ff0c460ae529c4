"""Which engines of a stream serve, which hold their place, and how often a block was begun."""

from __future__ import annotations

from assay.generation.engine_table import START_WITHIN_S, EngineTable


def test_an_engine_that_cannot_start_waits_while_another_starts_or_serves() -> None:
    table = EngineTable(2)
    table.failed("bad", "CUDA error")
    assert table.is_spared("bad")  # the other one is still starting
    table.started("good")
    assert table.is_spared("bad")
    assert table.failures() == ["CUDA error"]
    table.close()
    assert not table.is_spared("bad")


def test_where_no_engine_starts_none_waits() -> None:
    table = EngineTable(2)
    table.failed("one", "CUDA error")
    assert not table.none_starts()
    table.failed("two", "CUDA error")
    assert table.none_starts()
    assert not table.is_spared("one")
    assert not table.is_spared("two")


def test_where_the_others_find_no_place_an_engine_that_cannot_start_does_not_wait_for_ever() -> None:
    table = EngineTable(3)
    table.failed("one", "CUDA error")
    assert table.is_spared("one", START_WITHIN_S)
    assert not table.is_spared("one", START_WITHIN_S + 1)
    table.started("two")
    assert table.is_spared("one", START_WITHIN_S + 1)


def test_an_engine_that_served_and_cannot_start_again_does_not_let_its_blocks_wait() -> None:
    table = EngineTable(2)
    table.started("one")
    table.started("two")
    table.failed("one", "CUDA error")
    assert not table.is_spared("one")
    assert not table.none_starts()


def test_a_blocks_tries_are_counted_until_it_ends() -> None:
    table = EngineTable(1)
    assert [table.begin((0, 0)), table.begin((0, 256)), table.begin((0, 0))] == [1, 1, 2]
    table.end((0, 0))
    assert table.begin((0, 0)) == 1
