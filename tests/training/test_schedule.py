from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.training.schedule import (
    Schedule,
    barrier_step,
    batch_size,
    eval_every,
    rate_factor,
    schedule_of,
    total_steps,
    warmup_steps,
)
from assay.training.spec import TrainSpec


@pytest.mark.parametrize(
    ("num_rows", "batch", "expected"),
    [
        (10, 8, 4),  # 10 // 8 = 1, raised to 4
        (39, 8, 4),  # 39 // 8 = 4
        (40, 8, 5),
        (127, 8, 15),
        (128, 128, 4),  # 1, raised to 4
        (640, 128, 5),
        (1300, 128, 10),
        (12800, 128, 100),
        (51200, 128, 100),  # 400, lowered to 100
    ],
)
def test_warmup_is_min_100_max_4_of_n_over_batch(num_rows: int, batch: int, expected: int) -> None:
    assert warmup_steps(num_rows, batch) == expected


@pytest.mark.parametrize(
    ("num_rows", "batch", "expected"),
    [(10, 8, 20), (167, 8, 20), (168, 8, 21), (1300, 128, 20), (2688, 128, 21), (12800, 128, 100), (99999, 128, 100)],
)
def test_evaluation_is_every_min_100_max_20_of_n_over_batch(num_rows: int, batch: int, expected: int) -> None:
    assert eval_every(num_rows, batch) == expected


@pytest.mark.parametrize(("num_rows", "expected"), [(1, 1), (7, 7), (8, 8), (127, 8), (128, 128), (5000, 128)])
def test_batch_is_8_below_128_rows_and_never_more_than_the_rows(num_rows: int, expected: int) -> None:
    assert batch_size(num_rows) == expected


@pytest.mark.parametrize(
    ("num_rows", "batch", "max_steps", "num_epochs", "expected"),
    [
        (0, 8, 400, 1, 0),
        (10, 8, 400, 1, 2),  # a full batch of 8 and one of 2
        (16, 8, 400, 1, 2),
        (17, 8, 400, 1, 3),
        (51200, 128, 400, 1, 400),  # one epoch is exactly 400 steps
        (52000, 128, 400, 1, 400),  # 407, cut at 400
        (52000, 128, None, 1, 407),
        (100, 8, 400, 3, 39),  # 13 a pass
        (100, 8, 20, 3, 20),
        (100, 10, None, 0.5, 5),
        (10, 8, None, 0.1, 1),  # 0.2 of a step is a step
    ],
)
def test_training_is_400_steps_or_its_epochs_whichever_is_less(
    num_rows: int, batch: int, max_steps: int | None, num_epochs: float, expected: int
) -> None:
    assert total_steps(num_rows, batch, max_steps=max_steps, num_epochs=num_epochs) == expected


# rows -> batch, steps of one pass (at most 400), warm-up min(100, max(4, n // batch)), evaluation
# min(100, max(20, n // batch)); worked by hand
PLANS = [
    (1, 1, 1, 4, 20),
    (5, 5, 1, 4, 20),
    (8, 8, 1, 4, 20),
    (10, 8, 2, 4, 20),
    (25, 8, 4, 4, 20),
    (39, 8, 5, 4, 20),
    (40, 8, 5, 5, 20),
    (50, 8, 7, 6, 20),
    (100, 8, 13, 12, 20),
    (110, 8, 14, 13, 20),
    (127, 8, 16, 15, 20),
    (128, 128, 1, 4, 20),
    (129, 128, 2, 4, 20),
    (200, 128, 2, 4, 20),
    (500, 128, 4, 4, 20),
    (639, 128, 5, 4, 20),
    (640, 128, 5, 5, 20),
    (1000, 128, 8, 7, 20),
    (1300, 128, 11, 10, 20),
    (2687, 128, 21, 20, 20),
    (2688, 128, 21, 21, 21),
    (12_799, 128, 100, 99, 99),
    (12_800, 128, 100, 100, 100),
    (12_928, 128, 101, 100, 100),
    (51_200, 128, 400, 100, 100),
    (51_201, 128, 400, 100, 100),
    (52_002, 128, 400, 100, 100),
]


@pytest.mark.parametrize(("num_rows", "batch", "steps", "warmup", "evaluate"), PLANS)
def test_the_published_plan_of_so_many_rows(num_rows: int, batch: int, steps: int, warmup: int, evaluate: int) -> None:
    assert schedule_of(TrainSpec(), num_rows) == (batch, steps, warmup, evaluate)


def test_rate_rises_in_equal_parts_and_falls_in_equal_parts() -> None:
    factors = [rate_factor(step, total=7, warmup=3) for step in range(7)]
    assert factors == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 3 / 4, 2 / 4, 1 / 4])


def test_rate_stays_at_the_peak_without_decay() -> None:
    assert [rate_factor(step, total=4, warmup=1, decay="constant") for step in range(4)] == [0.5, 1, 1, 1]


@given(st.integers(1, 500), st.integers(0, 120))
def test_no_step_has_rate_zero_or_more_than_the_peak(total: int, warmup: int) -> None:
    assert all(0 < rate_factor(step, total=total, warmup=warmup) <= 1 for step in range(total))


def test_a_spec_may_say_otherwise() -> None:
    assert schedule_of(TrainSpec(), 1000) == (128, 8, 7, 20)
    assert schedule_of(TrainSpec(), 100) == (8, 13, 12, 20)
    spec = TrainSpec(batch_size=32, small_below=0, warmup_steps=0, eval_every=5, num_epochs=2)
    assert schedule_of(spec, 100) == (32, 8, 0, 5)


def test_half_a_cosine_falls_from_the_peak_towards_zero() -> None:
    # warm-up 1 of 5 steps: rates at 1/2, then (1 + cos(pi * t)) / 2 at t = 0, 1/4, 1/2, 3/4
    rates = [rate_factor(step, total=5, warmup=1, decay="cosine") for step in range(5)]
    assert rates == pytest.approx([0.5, 1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])


@pytest.mark.parametrize(
    ("part", "every", "expected"),
    [
        (0.25, 20, 100),  # .25 of 400 steps is a validation itself
        (0.29, 20, 100),  # step 116: the last validation before it
        (0.3, 1, 120),  # .3 * 400 = 119.99999999999999 in floats
        (0.04, 20, 0),  # before the first one
    ],
)
def test_a_barrier_is_the_last_validation_that_part_of_the_steps_has(part: float, every: int, expected: int) -> None:
    assert barrier_step(Schedule(8, 400, 4, every), part) == expected
