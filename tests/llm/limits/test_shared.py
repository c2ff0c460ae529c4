"""Limits in virtual time: simulated providers of both kinds, several workers, limits that change."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.llm.limits.headers import Observation
from assay.llm.limits.shared import Caps, Knowledge, Meter, Report, SharedLimits

NO_CAPS = Caps(None, None, 1000)


@dataclass
class Provider:
    """Counts requests and tokens as a fixed window or as a bucket that holds one minute's quota."""

    rpm: float
    tpm: float
    kind: str
    tells: bool = True
    names_time: bool = True
    window: float = 0.0
    used: list[float] = field(default_factory=lambda: [0.0, 0.0])
    level: list[float] | None = None
    updated: float = 0.0
    refused: list[float] = field(default_factory=list)
    passed: list[tuple[float, int]] = field(default_factory=list)

    def ask(self, tokens: int, now: float) -> Observation:
        costs, limits = (1.0, float(tokens)), (self.rpm, self.tpm)
        if self.kind == "window":
            if now - self.window >= 60:
                self.window, self.used = now - (now - self.window) % 60, [0.0, 0.0]
            ok = all(u + c <= m for u, c, m in zip(self.used, costs, limits, strict=True))
            if ok:
                self.used = [u + c for u, c in zip(self.used, costs, strict=True)]
            left = [m - u for m, u in zip(limits, self.used, strict=True)]
            retry = self.window + 60 - now
        else:
            if self.level is None:
                self.level = list(limits)
            self.level = [min(m, v + (now - self.updated) * m / 60) for m, v in zip(limits, self.level, strict=True)]
            self.updated = now
            ok = all(c <= v for c, v in zip(costs, self.level, strict=True))
            if ok:
                self.level = [v - c for c, v in zip(costs, self.level, strict=True)]
            left = self.level
            retry = max((c - v) * 60 / m for c, v, m in zip(costs, self.level, limits, strict=True))
        (self.passed.append((now, tokens)) if ok else self.refused.append(now))
        told = (self.rpm, self.tpm, left[0], left[1]) if self.tells else (None, None, None, None)
        return Observation(not ok, None if ok or not self.names_time else max(0.01, retry), *told)


class Worker:
    """What `LimitClient` does, without a loop: holds permits, reports, retries what was refused."""

    def __init__(self, name: str, tokens: random.Random, bias: float) -> None:
        self.name, self.random, self.bias = name, tokens, bias
        self.held, self.debt, self.passed = 0, 0, 0
        self.seen: list[Observation] = []
        self.known = Knowledge()
        self.blocked_until = 0.0


def simulate(
    provider: Provider, seconds: float, caps: Caps = NO_CAPS, workers: int = 4, latency: float = 0.8,
    changes: dict[float, tuple[float, float]] | None = None, bias: float = 1.0,
) -> SharedLimits:  # fmt: skip
    limits = SharedLimits(caps, 0.0)
    crew = [Worker(f"w{i}", random.Random(i), bias) for i in range(workers)]
    order = itertools.count()
    events: list[tuple[float, int, str, object]] = [(0.01 * i, next(order), "poll", w) for i, w in enumerate(crew)]
    for when, new in (changes or {}).items():
        events.append((when, next(order), "change", new))
    heapq.heapify(events)
    while events and events[0][0] < seconds:
        now, _, what, payload = heapq.heappop(events)
        if what == "change":
            provider.rpm, provider.tpm = payload
        elif what in ("poll", "report"):
            worker = payload
            wants = [300] * 64 if what == "poll" else []
            report = Report(worker.name, wants, worker.held, (), worker.debt, worker.passed, worker.seen, worker.known)
            worker.debt, worker.passed, worker.seen = 0, 0, []
            grant = limits.exchange(report, now)
            worker.known = grant.known
            worker.blocked_until = max(worker.blocked_until, now + grant.known.blocked_for_s)
            for delay in grant.delays_s:
                start = now + delay + worker.random.uniform(0.001, 0.01)
                heapq.heappush(events, (start, next(order), "send", worker))
            worker.held += len(grant.delays_s)
            if what == "poll":
                heapq.heappush(events, (now + max(0.005, grant.poll_s), next(order), "poll", worker))
        elif what == "send":
            worker = payload
            if now < worker.blocked_until:
                heapq.heappush(events, (worker.blocked_until + 0.01, next(order), "send", worker))
                continue
            tokens = max(1, round(worker.random.gauss(300, 60) * bias))
            seen = provider.ask(tokens, now)
            took = 0.01 if seen.rate_limited else worker.random.uniform(0.5, 1.5) * latency
            heapq.heappush(events, (now + took, next(order), "done", (worker, seen, tokens)))
        else:
            worker, seen, tokens = payload
            worker.held -= 1
            worker.debt += (0 if seen.rate_limited else tokens) - 300
            worker.passed += not seen.rate_limited
            worker.seen.append(seen)
            if seen.rate_limited:  # is reported at once
                heapq.heappush(events, (now, next(order), "report", worker))
    return limits


def share(provider: Provider, start: float, end: float) -> float:
    """Of the binding limit, over a span, as the provider counted."""
    inside = [(t, n) for t, n in provider.passed if start <= t < end]
    minutes = (end - start) / 60
    return max(len(inside) / (provider.rpm * minutes), sum(n for _, n in inside) / (provider.tpm * minutes))


@pytest.mark.parametrize("kind", ["window", "bucket"])
@pytest.mark.parametrize(("rpm", "tpm"), [(600, 1e9), (6000, 1e9), (6000, 600_000), (60, 1e9)])
def test_the_binding_limit_is_spent_and_nothing_is_refused(kind: str, rpm: float, tpm: float) -> None:
    provider = Provider(rpm, tpm, kind)
    simulate(provider, 180)
    assert share(provider, 0, 180) >= 0.97
    assert len(provider.refused) <= 0.001 * len(provider.passed)


@pytest.mark.parametrize("kind", ["window", "bucket"])
def test_a_cap_holds_where_no_header_tells_a_limit(kind: str) -> None:
    provider = Provider(600, 1e9, kind, tells=False)
    simulate(provider, 180, Caps(600, None, 1000))
    assert share(provider, 0, 180) >= 0.97
    assert not provider.refused


@pytest.mark.parametrize("kind", ["window", "bucket"])
@pytest.mark.parametrize("bias", [0.4, 2.5])
def test_wrong_token_estimates_are_made_good_by_usage(kind: str, bias: float) -> None:
    provider = Provider(1e6, 300_000, kind)
    simulate(provider, 180, bias=bias)
    assert share(provider, 0, 180) >= 0.96
    assert len(provider.refused) <= 0.002 * len(provider.passed)


@pytest.mark.parametrize("kind", ["window", "bucket"])
@pytest.mark.parametrize("rpm", [600, 6000])
def test_a_changed_limit_is_spent_within_ten_seconds(kind: str, rpm: float) -> None:
    provider = Provider(rpm, 1e9, kind)
    # halved as a window begins: a fixed window cut in its middle has nothing left to give until it ends
    simulate(provider, 120, changes={60.0: (rpm / 2, 1e9), 90.0: (rpm * 2, 1e9)})
    provider.rpm = rpm / 2
    assert share(provider, 70, 90) >= 0.97
    provider.rpm = rpm * 2
    assert share(provider, 100, 120) >= 0.97
    assert len([t for t in provider.refused if t < 60 or 70 < t < 90 or t > 100]) <= 2


@pytest.mark.parametrize("kind", ["window", "bucket"])
def test_an_unknown_limit_is_learned_from_refusals(kind: str) -> None:
    provider = Provider(600, 1e9, kind, tells=False)
    simulate(provider, 400)
    assert share(provider, 200, 380) >= 0.85
    late = [t for t in provider.refused if t > 200]
    assert len(late) <= 0.02 * len(provider.passed)


@pytest.mark.parametrize("kind", ["window", "bucket"])
@pytest.mark.parametrize("rpm", [60, 600])
def test_an_unknown_limit_is_learned_without_a_retry_after_too(kind: str, rpm: float) -> None:
    """A window that is used up passes nothing for most of a minute: a rate of nothing is not what it allows."""
    provider = Provider(rpm, 1e9, kind, tells=False, names_time=False)
    limits = simulate(provider, 400)
    assert share(provider, 120, 360) >= 0.8
    # some are needed each minute to tell an exhausted limit from a 429 by chance
    assert len([t for t in provider.refused if t > 120]) <= max(0.06 * rpm, 8) * 4.7
    assert limits.guessed_requests is not None and limits.guessed_requests > 0.8 * rpm


@pytest.mark.parametrize("kind", ["window", "bucket"])
def test_the_first_minute_under_an_unknown_limit_wastes_few_requests(kind: str) -> None:
    provider = Provider(600, 1e9, kind, tells=False)
    simulate(provider, 60)
    assert len(provider.refused) <= 600


@pytest.mark.parametrize("kind", ["window", "bucket"])
def test_an_unknown_limit_that_doubles_is_found_out_in_minutes_and_a_halved_one_in_one(kind: str) -> None:
    provider = Provider(600, 1e9, kind, tells=False)
    simulate(provider, 720, changes={240.0: (1200.0, 1e9), 540.0: (600.0, 1e9)})
    provider.rpm = 1200
    assert share(provider, 420, 540) >= 0.85
    provider.rpm = 600
    assert 0.9 <= share(provider, 600, 720) <= 1.1
    assert len([t for t in provider.refused if 600 < t < 720]) <= 0.04 * 1200


def test_an_outage_full_of_429s_leaves_a_guess_that_recovers() -> None:
    """While nobody wants much, a run of 429s measures the demand and not the limit."""
    limits = SharedLimits(Caps(None, None, 64), 0.0)
    limits.exchange(Report("a", known=Knowledge(True, guessed_requests=6000.0)), 0.0)
    now = 0.0
    for _ in range(120):  # a minute with one request in two seconds
        now += 0.5
        limits.exchange(Report("a", (), passed=1, held=1), now)
    limits.exchange(Report("a", [1], seen=[Observation(True, 1.0)] * 12), now)
    limits.exchange(Report("a", [1]), now + 1.5)
    guess = limits.guessed_requests
    assert guess is not None and guess >= 1500.0


def test_trials_that_never_return_do_not_stop_the_work() -> None:
    limits = SharedLimits(Caps(None, None, 64), 0.0, probed=True)
    limits.exchange(Report("a", [1] * 9, passed=3, seen=[Observation(True)] * 9), 1.0)
    tried = limits.exchange(Report("a", [1] * 9), 2.5).delays_s
    assert 1 <= len(tried) <= 4, "few find out whether it passes any again"
    assert limits.exchange(Report("b", [1] * 9), 3.0).delays_s == []
    # worker a dies with its trials
    assert len(limits.exchange(Report("b", [1] * 9), 14.0).delays_s) >= 1


def test_retry_after_stops_everybody() -> None:
    limits = SharedLimits(Caps(600, None, 10), 0.0)
    limits.exchange(Report("a", [1], seen=[Observation(True, 20.0, remaining_requests=0)]), 1.0)
    assert limits.exchange(Report("b", [1]), 20.9).delays_s == []
    assert len(limits.exchange(Report("b", [1]), 21.1).delays_s) == 1


def test_a_few_429s_hold_nobody_back_and_a_run_of_them_does() -> None:
    limits = SharedLimits(Caps(600, None, 10), 0.0)
    limits.exchange(Report("a", [1], passed=20, seen=[Observation(True, 20.0)] * 4), 1.0)
    assert len(limits.exchange(Report("b", [1]), 1.1).delays_s) == 1
    limits.exchange(Report("a", [1], passed=2, seen=[Observation(True, 20.0)]), 2.0)
    assert limits.exchange(Report("b", [1]), 2.1).delays_s == []


@pytest.mark.parametrize("guess", [None, 6000.0])
def test_429s_that_come_by_chance_do_not_strangle_the_rate(guess: float | None) -> None:
    limits = SharedLimits(Caps(None, None, 64), 0.0)
    limits.exchange(Report("a", known=Knowledge(True, guessed_requests=guess)), 0.0)
    rng, now, sent = random.Random(0), 0.0, 0
    for step in range(6000):  # ten minutes in which every fiftieth answer is a 429, whatever the rate
        now += 0.1
        grant = limits.exchange(Report("a", [10] * 10), now)
        good = sum(rng.random() >= 0.02 for _ in grant.delays_s)
        sent += good if step >= 5000 else 0
        bad = [Observation(True, 1.0)] * (len(grant.delays_s) - good)
        limits.exchange(Report("a", (), passed=good, seen=bad), now)
    assert sent > 0.85 * 0.98 * 10_000


def test_concurrency_is_shared_and_a_dead_worker_gives_its_part_back() -> None:
    limits = SharedLimits(Caps(None, None, 4), 0.0, probed=True)
    assert len(limits.exchange(Report("a", [1] * 9), 0.0).delays_s) == 4
    assert len(limits.exchange(Report("b", [1] * 9), 1.0).delays_s) == 0
    assert len(limits.exchange(Report("b", [1] * 9), 9.0).delays_s) == 0
    assert len(limits.exchange(Report("b", [1] * 9), 10.5).delays_s) == 4, "a has been silent for more than 10 s"


def test_two_hungry_workers_get_equal_shares() -> None:
    limits = SharedLimits(Caps(None, None, 8), 0.0, probed=True)
    limits.exchange(Report("b", [1], held=0), 0.0)
    assert len(limits.exchange(Report("a", [1] * 9), 0.0).delays_s) == 4


def test_before_the_first_response_one_request_goes() -> None:
    limits = SharedLimits(Caps(None, None, 100), 0.0)
    assert len(limits.exchange(Report("a", [1] * 9), 0.0).delays_s) == 1
    assert len(limits.exchange(Report("b", [1] * 9), 0.1).delays_s) == 0
    told = Observation(requests_per_min=600.0)
    assert len(limits.exchange(Report("a", [1] * 9, seen=[told]), 0.2).delays_s) > 1


def test_a_limiter_begun_anew_learns_from_its_workers_and_starts_without_credit() -> None:
    limits = SharedLimits(NO_CAPS, 100.0)
    known = Knowledge(probed=True, told_requests=600.0, blocked_for_s=3.0)
    assert limits.exchange(Report("a", [1] * 9, known=known), 100.0).delays_s == []
    delays = limits.exchange(Report("a", [1] * 9, known=known), 103.1).delays_s
    assert limits.requests_per_min == 600.0
    assert 1 <= len(delays) <= 1 + 600 / 60 * 0.9


def test_unused_permits_come_back() -> None:
    limits = SharedLimits(Caps(60, None, 100), 0.0, probed=True)
    first = limits.exchange(Report("a", [50] * 9), 0.0)
    assert len(first.delays_s) == 1
    # rate .985/s: without the return the next credit would be there after about a second
    again = limits.exchange(Report("a", [50] * 9, unused=[50]), 0.01)
    assert len(again.delays_s) == 1
    assert again.delays_s[0] < 0.05


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.05, 200.0),
    st.lists(st.tuples(st.floats(0.0, 0.7), st.floats(0.5, 40.0)), min_size=1, max_size=80),
)
def test_a_meter_never_gives_more_than_rate_and_burst(rate: float, steps: list[tuple[float, float]]) -> None:
    meter = Meter(rate, max(1.0, rate / 2), 0.0, 0.0)
    now = given_out = largest = 0.0
    for pause, cost in steps:
        now += pause
        meter.advance(now)
        if meter.delay_s(cost) == 0:
            meter.take(cost)
            given_out += cost
            largest = max(largest, cost)
    # credit of the whole time, the stored burst, and the one debt that a cost above burst may leave
    assert given_out <= rate * now + meter.burst + largest + 1e-6


@given(st.floats(0.1, 50.0), st.floats(0.1, 50.0), st.floats(0.0, 30.0))
def test_a_debt_is_paid_by_waiting_and_keeps_its_length_when_the_rate_changes(
    old: float, new: float, debt: float
) -> None:
    meter = Meter(old, 1.0, -debt, 0.0)
    before = meter.delay_s(0.0)
    meter.set_rate(new, 1.0)
    assert meter.delay_s(0.0) == pytest.approx(before)
    meter.advance(before + 1e-6)
    assert meter.delay_s(0.0) == pytest.approx(0.0, abs=1e-6)
