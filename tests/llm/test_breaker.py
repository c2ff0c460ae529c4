"""The circuit breaker in virtual time."""

from __future__ import annotations

from assay.llm.breaker import THRESHOLD, Breaker
from assay.llm.transports.chat import Attempted

BAD = Attempted("server error", 503, {})
GOOD = Attempted("answered", 200, {}, "a")


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(give_up_s=200.0)
    for _ in range(THRESHOLD):
        breaker.record(BAD, at)
    return breaker


def test_a_run_of_failures_opens_the_circuit() -> None:
    breaker = Breaker(give_up_s=200.0)
    for _ in range(THRESHOLD - 1):
        breaker.record(BAD, 0.0)
    assert breaker.wait_s(0.0) == 0.0
    breaker.record(BAD, 0.0)
    assert breaker.wait_s(0.0) == 1.0


def test_one_success_closes_it() -> None:
    breaker = opened()
    breaker.record(GOOD, 0.5)
    assert breaker.wait_s(0.5) == 0.0


def test_one_trial_goes_and_the_others_wait_for_it() -> None:
    breaker = opened()
    assert breaker.wait_s(1.0) == 0.0
    assert breaker.wait_s(1.0) == 1.0


def test_failed_trials_double_the_pause_and_echoes_do_not() -> None:
    breaker = opened()
    for _ in range(50):
        breaker.record(BAD, 0.1)
    assert breaker.wait_s(0.1) == 0.9
    assert breaker.wait_s(1.0) == 0.0
    breaker.record(BAD, 1.2)
    assert round(breaker.wait_s(1.2), 9) == 2.0


def test_silence_counts_from_the_first_failure_to_the_next_usable_reply() -> None:
    breaker = opened(at=3.0)
    assert breaker.silent_s(10.0) == 7.0
    breaker.record(Attempted("rate limited", 429, {}), 11.0)
    assert breaker.silent_s(12.0) == 9.0
    breaker.record(Attempted("empty", 200, {}), 13.0)
    assert breaker.silent_s(13.0) == 0.0
