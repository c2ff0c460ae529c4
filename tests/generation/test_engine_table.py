"""Which engines of a stream serve, which hold their place, and how often a block was begun."""

from __future__ import annotations

from assay.generation.engine_table import COME_WITHIN_S, EngineTable


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
    table.came("one")
    table.failed("one", "CUDA error")
    assert table.is_spared("one", COME_WITHIN_S)
    assert not table.is_spared("one", COME_WITHIN_S + 1)
    table.came("two")
    table.started("two")
    assert table.is_spared("one", COME_WITHIN_S + 1)


def test_a_slow_start_is_waited_for_however_long_it_takes() -> None:
    table = EngineTable(3, come_within_s=5.0)
    table.came("one")
    table.came("large")
    table.failed("one", "CUDA error")
    assert table.is_spared("one", 3600.0)  # "large" still loads
    table.failed("large", "CUDA error")
    assert table.is_spared("one", 5.0)  # the third may come
    assert not table.is_spared("one", 6.0)


def test_the_places_of_engines_that_could_not_start_are_known_when_the_stream_is_over() -> None:
    table = EngineTable(2)
    table.failed("bad", "CUDA error", "its handle")
    table.started("good")
    assert table.close() == ["its handle"]


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
