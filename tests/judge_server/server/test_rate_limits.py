"""Fixed windows and token buckets, with the time as an argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.judge_server.server.rate_limits import Limits, Meter, spell_duration


def test_fixed_window_is_as_new_at_its_end() -> None:
    limits = Limits(requests=Meter(3, "fixed", 60))
    for now in (10.0, 11.0, 12.0):
        assert limits.wait_for_request(now) == 0
        limits.charge(0)
    # the window began with the first request, at 10, and ends at 70
    assert limits.wait_for_request(13.0) == pytest.approx(57.0)
    assert limits.wait_for_request(70.0) == 0


def test_bucket_refills_at_its_rate() -> None:
    limits = Limits(tokens=Meter(600, "bucket", 60))  # 10 a second, room for 600
    assert limits.wait_for_tokens(600, 0.0) == 0
    limits.charge(600)
    assert limits.wait_for_tokens(50, 0.0) == pytest.approx(5.0)  # 50 tokens / 10 a second
    assert limits.wait_for_tokens(50, 5.0) == 0


def test_a_request_above_the_limit_never_fits() -> None:
    for window in ("fixed", "bucket"):
        assert Limits(tokens=Meter(100, window, 60)).wait_for_tokens(101, 0.0) == float("inf")


def test_headers_are_spelled_as_openai_spells_them() -> None:
    limits = Limits(Meter(60, "bucket", 60), Meter(6000, "fixed", 60))
    limits.wait_for_request(0.0)
    limits.wait_for_tokens(10, 0.0)
    limits.charge(10)
    headers = {name.decode(): value.decode() for name, value in limits.headers(0.0)}
    assert headers == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5990",
        "x-ratelimit-reset-tokens": "1m0s",
    }
    assert [spell_duration(value) for value in (0.02, 1.5, 360.0)] == ["20ms", "1.5s", "6m0s"]


def test_a_changed_limit_keeps_what_was_taken() -> None:
    meter = Meter(10, "fixed", 60)
    limits = Limits(requests=meter)
    for _ in range(6):
        assert limits.wait_for_request(0.0) == 0
        limits.charge(0)
    meter.change(5, 1.0)
    assert meter.remaining() == 0
    assert limits.wait_for_request(2.0) == pytest.approx(58.0)
    meter.change(20, 3.0)
    assert meter.remaining() == 14


@given(st.lists(st.floats(0, 5), min_size=1, max_size=80), st.sampled_from(["fixed", "bucket"]), st.integers(1, 90))
def test_no_span_takes_more_than_its_limit(gaps, window, limit) -> None:
    limits = Limits(requests=Meter(limit, window, 60))
    now, taken = 0.0, []
    for gap in gaps:
        now += gap
        if limits.wait_for_request(now) == 0:
            limits.charge(0)
            taken.append(now)
    if window == "fixed":
        spans = [sum(1 for at in taken if start <= at < start + 60) for start in range(0, int(now) + 1, 60)]
        first = taken[0]
        assert all(sum(1 for at in taken if first + 60 * k <= at < first + 60 * k + 60) <= limit for k in range(8))
        assert spans
    else:
        # a full bucket and what has flowed in since
        assert all(sum(1 for at in taken if at <= end) <= limit + end * limit / 60 + 1e-6 for end in taken)


@given(st.floats(0.1, 50), st.integers(1, 40))
def test_waiting_as_told_is_enough(gap, cost) -> None:
    for window in ("fixed", "bucket"):
        meter = Meter(40, window, 60)
        limits = Limits(tokens=meter)
        limits.wait_for_tokens(40, 0.0)
        limits.charge(40)
        wait = limits.wait_for_tokens(cost, gap)
        assert limits.wait_for_tokens(cost, gap + wait + 1e-6) == 0
