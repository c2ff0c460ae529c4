"""When a sweep is given up: its first trainings all failed alike."""

from __future__ import annotations

import pytest

from assay.training.sweep.first_failures import FirstFailures

OUT_OF_MEMORY = "torch.OutOfMemoryError: tried to allocate {} MiB, {:.2f} GiB free of 39.4"


@pytest.mark.parametrize(("slots", "limit"), [(1, 3), (3, 3), (8, 8)])
def test_a_sweep_is_given_up_after_as_many_like_failures_as_run_at_a_time_and_three_at_least(
    slots: int, limit: int
) -> None:
    first = FirstFailures(slots)
    for number in range(limit):
        assert not first.are_alike
        first.failed(OUT_OF_MEMORY.format(20 + number, number / 7))
    assert first.are_alike


@pytest.mark.parametrize("place", range(3))
def test_one_training_that_fails_otherwise_lets_the_sweep_go_on(place: int) -> None:
    first = FirstFailures(1)
    for number in range(6):
        first.failed("RuntimeError: no" if number == place else "ValueError: no")
    assert not first.are_alike


def test_the_same_words_of_another_kind_of_error_are_another_failure() -> None:
    first = FirstFailures(1)
    for kind in ("ValueError", "ValueError", "RuntimeError"):
        first.failed(f"{kind}: no")
    assert not first.are_alike


def test_one_success_lets_the_sweep_go_on() -> None:
    first = FirstFailures(1)
    first.succeeded()
    for _ in range(9):
        first.failed("ValueError: no")
    assert not first.are_alike
