"""Requests per minute, tokens per minute and concurrency of one endpoint and account, shared by workers. Pure.

Workers exchange reports for grants: permits that start now or within the next fraction of a second, evenly spaced.
Even spacing a little below the limit spends it whole under both kinds of provider: a fixed window never sees more
than its quota between two resets, a token bucket never runs dry; and nothing needs to know which kind it is.

Limits come from three sources: a cap that the user sets, what the endpoint's headers tell, and, where they tell
nothing, a guess from what passed before an answer 429. All times are seconds of one monotonic clock, given as
arguments; the same reports at the same times give the same grants.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from assay.llm.limits.guess import LimitGuess
from assay.llm.limits.headers import Observation

PACE = 0.985
"""Share of a limit that is aimed at: the rest is for arrival jitter at the edges of a window."""
BURST_S = 0.5
"""Credit that may pile up while nobody asks. PACE + BURST_S / 60 < 1, so a fixed window holds even then."""
LOOKAHEAD_S = 0.4
"""How far ahead permits are given out: two exchanges fit in, so that a slow one leaves no gap."""
POLL_S = LOOKAHEAD_S / 2
NEXT_POLL_S = 0.01
SLOT_POLL_S = 0.1
"""When a slot may have come free elsewhere; one that comes free at the asker itself makes it ask at once."""
WORKER_SILENT_S = 10.0
"""A worker that reports nothing for so long is dead, and what it held comes back."""
GRACE_S = 3.0
"""After the endpoint told another limit, answers 429 are echoes of the old one."""
QUIET_S = 5.0
LONGEST_BLOCK_S = 120.0
"""An exchange tells a longer Retry-After to the gateway, which stops the work rather than sleep through it."""


@dataclass
class Meter:
    """Credits of one kind: they grow at `rate_per_s` up to `burst`, may be owed, and a debt is paid by waiting."""

    rate_per_s: float
    burst: float
    level: float
    updated_s: float

    def advance(self, now: float) -> None:
        """Let credits grow until now."""
        if now > self.updated_s:
            self.level = min(self.burst, self.level + (now - self.updated_s) * self.rate_per_s)
            self.updated_s = now

    def delay_s(self, cost: float) -> float:
        """Seconds until `cost` may be taken; a cost above `burst` starts at `burst` and leaves a debt."""
        return max(0.0, (min(cost, self.burst) - self.level) / self.rate_per_s)

    def take(self, cost: float) -> None:
        """Spend, into debt if need be; a negative cost gives back."""
        self.level = min(self.burst, self.level - cost)

    def set_rate(self, rate_per_s: float, least_burst: float) -> None:
        """Go on at another rate: a debt keeps its length in time, not in credits."""
        if self.level < 0:
            self.level *= rate_per_s / self.rate_per_s
        self.rate_per_s = rate_per_s
        self.burst = max(least_burst, rate_per_s * BURST_S)
        self.level = min(self.level, self.burst)


@dataclass(frozen=True, slots=True)
class Caps:
    """What the user set."""

    requests_per_min: float | None
    tokens_per_min: float | None
    max_concurrency: int


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of the endpoint. Workers carry it, so that a limiter that was killed is taught anew."""

    probed: bool = False
    """Whether any response came yet; before that one request is let through at a time."""
    told_requests: float | None = None
    told_tokens: float | None = None
    guessed_requests: float | None = None
    blocked_for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says in an exchange."""

    worker: str
    wants: Sequence[int] = ()
    """Estimated tokens of the requests that wait for a permit, in order."""
    held: int = 0
    """Permits in its hands: unstarted ones and requests under way."""
    unused: Sequence[int] = ()
    """Tokens of permits that it gives back unstarted."""
    token_debt: int = 0
    """Tokens used beyond the estimates (negative: fewer) by requests that ended since the last exchange."""
    passed: int = 0
    """Answers since the last exchange that were no 429."""
    seen: Sequence[Observation] = ()
    """What responses since the last exchange said: all 429s, and the newest of the others."""
    known: Knowledge = Knowledge()  # frozen


@dataclass(frozen=True, slots=True)
class Grant:
    """What the limiter answers."""

    delays_s: Sequence[float]
    """Of the first so many wants: seconds from now at which each may start."""
    poll_s: float
    """When to ask again for the others."""
    slots_bind: bool
    """Whether more would have been granted but for the concurrency."""
    metered: bool
    """Whether each request needs a permit of its own; if not, a slot goes from one to the next."""
    max_held: int
    """Fair share of the concurrency while others wait; slots above it are not passed on."""
    known: Knowledge
    requests_per_min: float | None
    """The limit in force, for people; None where there is none."""


@dataclass
class _Worker:
    held: int = 0
    seen_s: float = 0.0
    wants: int = 0


@dataclass
class SharedLimits:
    """The limiter of one endpoint and account."""

    caps: Caps
    now: float
    told_requests: float | None = None
    told_tokens: float | None = None
    probed: bool = False
    workers: dict[str, _Worker] = field(default_factory=dict)
    _requests: Meter | None = None
    _tokens: Meter | None = None
    _trim_requests: float = 1.0
    _trim_tokens: float = 1.0
    _blocked_until: float = float("-inf")
    _last_cut: float = float("-inf")
    _cuts: int = 0
    _last_refusal: float = float("-inf")
    _last_told: float = float("-inf")
    _last_growth: float = 0.0
    _recent: deque[bool] = field(default_factory=lambda: deque(maxlen=100))
    _last_exchange: float = 0.0
    _guess: LimitGuess = field(init=False)

    def __post_init__(self) -> None:
        self._last_growth = self._last_exchange = self.now
        self._guess = LimitGuess(self.now)
        self._apply_rates(self.now)

    def exchange(self, report: Report, now: float) -> Grant:
        """Book a report and grant what the limits allow."""
        self._advance(now)
        self._learn(report.known, now)
        self._count(report.passed, now)
        self._recent.extend([False] * min(report.passed, 100))
        for seen in report.seen:
            self._observe(seen, now)
        self._guess.measure(now)
        self._grow(now)
        self._apply_rates(now)
        worker = self.workers.setdefault(report.worker, _Worker())
        worker.seen_s, worker.held, worker.wants = now, report.held, len(report.wants)
        self._drop_dead(now)
        if self._requests is not None:
            self._requests.take(-len(report.unused))
        if self._tokens is not None:
            self._tokens.take(report.token_debt - sum(report.unused))
        room = self._room(worker, now)
        delays = self._permit(report.wants[:room], worker, now)
        slots_bind = len(delays) == room < len(report.wants)
        return Grant(
            delays_s=delays,
            poll_s=SLOT_POLL_S if slots_bind else self._poll_s(report, len(delays), now),
            slots_bind=slots_bind,
            metered=self._requests is not None or self._tokens is not None,
            max_held=self._fair_share(),
            known=self._knowledge(now),
            requests_per_min=self.requests_per_min,
        )

    @property
    def guessed_requests(self) -> float | None:
        """Requests per minute that refusals tell; None before the first exhaustion."""
        return self._guess.per_min

    @property
    def requests_per_min(self) -> float | None:
        """The limit in force."""
        return _least(self.caps.requests_per_min, self.told_requests, self.guessed_requests)

    @property
    def tokens_per_min(self) -> float | None:
        """The limit in force."""
        return _least(self.caps.tokens_per_min, self.told_tokens)

    def _room(self, worker: _Worker, now: float) -> int:
        """Slots that the worker may get."""
        total = self._under_way
        room = min(self.caps.max_concurrency - total, self._fair_share() - worker.held)
        trials = self._guess.room(total, is_open=now >= self._blocked_until)
        if not self.probed:
            trials = 1 - total
        return max(0, room if trials is None else min(room, trials))

    def _permit(self, wants: Sequence[int], worker: _Worker, now: float) -> list[float]:
        delays: list[float] = []
        if now < self._blocked_until:
            return delays
        share = self._fair_credit()
        for cost in wants:
            delay = self._delay_s(cost)
            if delay > LOOKAHEAD_S or len(delays) >= share:
                break
            if self._requests:
                self._requests.take(1.0)
            if self._tokens:
                self._tokens.take(cost)
            delays.append(delay)
        worker.held += len(delays)
        self._guess.granted(len(delays))
        return delays

    def _poll_s(self, report: Report, granted: int, now: float) -> float:
        if now < self._blocked_until:
            return min(1.0, max(0.01, self._blocked_until - now))
        if granted == len(report.wants):
            return NEXT_POLL_S  # whoever comes next need not wait
        # the rate binds: come back when half of what was handed out has started
        return min(1.0, max(self._delay_s(report.wants[granted]) - POLL_S, POLL_S))

    def _delay_s(self, cost: float) -> float:
        """Seconds until both meters let a request of so many tokens start."""
        return max(
            self._requests.delay_s(1.0) if self._requests else 0.0,
            self._tokens.delay_s(cost) if self._tokens else 0.0,
        )

    def _fair_share(self) -> int:
        """Concurrency of one worker while several want: what is left over by those that want less is shared."""
        wanting = sum(1 for worker in self.workers.values() if worker.wants)
        if wanting <= 1:
            return self.caps.max_concurrency
        return max(1, -(-self.caps.max_concurrency // wanting))

    def _fair_credit(self) -> int:
        """Permits that one worker may take of the next LOOKAHEAD_S while others want some too."""
        wanting = sum(1 for other in self.workers.values() if other.wants)
        if wanting <= 1 or self._requests is None:
            return self.caps.max_concurrency
        return max(1, -(-int(self._requests.rate_per_s * LOOKAHEAD_S) // wanting))

    def _observe(self, seen: Observation, now: float) -> None:
        self.probed = True
        told = False
        if seen.requests_per_min is not None and seen.requests_per_min != self.told_requests:
            self.told_requests, told = seen.requests_per_min, True
        if seen.tokens_per_min is not None and seen.tokens_per_min != self.told_tokens:
            self.told_tokens, told = seen.tokens_per_min, True
        if told:
            self._trim_requests = self._trim_tokens = 1.0
            self._last_told = now
            self._cuts = 0
        if not seen.rate_limited:
            return
        self._recent.append(True)
        self._last_refusal = now
        self._guess.refused()
        if self._guess.trials_left is None and not self._ran_out(seen):
            # an endpoint near its limit or an overloaded one strews them in: its own request waits, nobody else
            self._guess.refused_by_chance()
            return
        fresh = now >= self._blocked_until and now - self._last_cut > 1.0
        wait_s = self._block(seen, now)
        if fresh and now - self._last_told > GRACE_S:
            self._cut(seen, wait_s, now)

    def _block(self, seen: Observation, now: float) -> float:
        """Nobody sends until the endpoint said, or for as long as a guess takes; seconds."""
        wait_s = seen.retry_after_s
        if wait_s is None:
            if now < self._blocked_until:
                return self._blocked_until - now  # an answer to what was sent before
            wait_s = self._guess.pause_s(self._under_way)
        self._blocked_until = max(self._blocked_until, now + min(wait_s, LONGEST_BLOCK_S))
        self._recent.clear()
        return wait_s

    def _ran_out(self, seen: Observation) -> bool:
        """Whether an answer 429 means that the limit is used up: it says so itself, or it is not alone."""
        if seen.remaining_requests is not None and seen.remaining_requests < 1:
            return True
        if seen.remaining_tokens is not None and seen.remaining_tokens < 0.05 * (seen.tokens_per_min or 0.0):
            return True
        recent = list(self._recent)
        return sum(recent[-8:]) >= 5 or sum(recent) >= max(10, 0.1 * len(recent))

    def _cut(self, seen: Observation, wait_s: float, now: float) -> None:
        """One step down per burst of 429s; steps grow while they keep coming."""
        self._cuts = self._cuts + 1 if now - self._last_cut < 20.0 + wait_s else 1
        self._last_cut = now
        step = max(0.5, 1.0 - 0.015 * 2.0**self._cuts)
        if self.told_requests is None and self.caps.requests_per_min is None and self.told_tokens is None:
            self._guess.ran_out(now + wait_s)
            return
        requests_ran_out = seen.remaining_requests is not None and seen.remaining_requests < 1
        tokens_ran_out = seen.remaining_tokens is not None and not requests_ran_out
        if not tokens_ran_out:
            self._trim_requests = max(0.01, self._trim_requests * step)
        if not requests_ran_out:
            self._trim_tokens = max(0.01, self._trim_tokens * step)

    def _count(self, passed: int, now: float) -> None:
        is_idle = not any(worker.wants or worker.held for worker in self.workers.values())
        self._guess.count(passed, (now - self._last_exchange) * is_idle, is_open=now >= self._blocked_until)
        self._last_exchange = now

    @property
    def _under_way(self) -> int:
        """Permits in anybody's hands."""
        return sum(worker.held for worker in self.workers.values())

    def _grow(self, now: float) -> None:
        """After QUIET_S trimmed rates rise again by 0.5 % a second, and a guess as its file says."""
        seconds = now - self._last_growth
        if seconds < 0.25:
            return
        self._last_growth = now
        quiet = now - max(self._last_refusal, self._blocked_until) >= QUIET_S
        if not quiet:
            return
        factor = 1.005**seconds
        self._trim_requests = min(1.0, self._trim_requests * factor)
        self._trim_tokens = min(1.0, self._trim_tokens * factor)
        self._guess.grow(seconds)

    def _apply_rates(self, now: float) -> None:
        self._requests = _set(self._requests, self.requests_per_min, self._trim_requests, 1.0, now)
        self._tokens = _set(self._tokens, self.tokens_per_min, self._trim_tokens, 1.0, now)

    def _advance(self, now: float) -> None:
        self.now = max(self.now, now)
        for meter in (self._requests, self._tokens):
            if meter is not None:
                meter.advance(now)

    def _learn(self, known: Knowledge, now: float) -> None:
        """Take over what a worker knows and this limiter, begun anew, does not."""
        if self.probed or not known.probed:
            return
        self.probed = True
        self.told_requests, self.told_tokens = known.told_requests, known.told_tokens
        self._guess.learn(known.guessed_requests)
        self._blocked_until = max(self._blocked_until, now + known.blocked_for_s)

    def _knowledge(self, now: float) -> Knowledge:
        blocked_s = max(0.0, self._blocked_until - now)
        return Knowledge(self.probed, self.told_requests, self.told_tokens, self.guessed_requests, blocked_s)

    def _drop_dead(self, now: float) -> None:
        for name in [name for name, worker in self.workers.items() if now - worker.seen_s > WORKER_SILENT_S]:
            del self.workers[name]


def _set(meter: Meter | None, per_min: float | None, trim: float, least_burst: float, now: float) -> Meter | None:
    if per_min is None:
        return None
    rate = per_min * PACE * trim / 60.0
    if rate > 0.5:  # a late poll loses no credit; slower endpoints never see two requests back to back
        least_burst *= 1.5
    if meter is None:  # starts without credit but for the first request: nobody knows what was spent before
        return Meter(rate, max(least_burst, rate * BURST_S), 1.0, now)
    if meter.rate_per_s != rate:
        meter.set_rate(rate, least_burst)
    return meter


def _least(*limits: float | None) -> float | None:
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


__all__ = ["Caps", "Grant", "Knowledge", "Meter", "Observation", "Report", "SharedLimits"]
