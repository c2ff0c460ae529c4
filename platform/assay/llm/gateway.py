"""The gateway: asks a chat endpoint, through its limits, once per request, and stores before it answers.

One retry layer, here: 429 waits for the endpoint's limiter, 5xx, timeouts, dropped connections and malformed bodies
are tried again with full jitter. A request ends as an `Answer` or as a `Failure`, and both are rows of the ledger.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import time
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Protocol, Self

from assay.errors import AssayError, ConfigError, EndpointError, LimitReached
from assay.llm.breaker import Breaker, Refusals
from assay.llm.endpoint import EndpointSpec
from assay.llm.figures import Figures, GatewayStats
from assay.llm.learned_parameters import LearnedParameters, not_honoured
from assay.llm.ledger.call_rows import (
    completed,
    reply_of,
    reply_row,
    request_row,
    stored_reply,
    told_beside,
    usd_of,
)
from assay.llm.ledger.client import LedgerClient
from assay.llm.ledger.service import Begin, Finish, Lookup, Release, Result, Stop, StoredCall, Wait
from assay.llm.limits.client import Limiter
from assay.llm.limits.headers import Observation, observe
from assay.llm.local_model import LocalChat
from assay.llm.prices import Price, price_of
from assay.llm.requests import ChatRequest, Reply, request_key
from assay.llm.response_format import FormatSupport
from assay.llm.token_estimate import TokenEstimate
from assay.llm.transports.chat import RETRIED, Attempted, ChatTransport
from assay.llm.transports.local import LocalTransport
from assay.records import Mode

BACKOFF_S = 0.5
"""Mean wait before the second attempt is half of this; it doubles with each further one."""
MAX_BACKOFF_S = 30.0
SETTLE_S = 0.05
"""Between two looks at what is still in flight."""


class Transport(Protocol):
    """Carries one request there and back; every way to fail is an `Attempted`."""

    async def send(self, request: ChatRequest, attempt: int) -> Attempted: ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class Gateway:
    """Asks one endpoint for one study. Belongs to one event loop; use as `async with`."""

    def __init__(
        self,
        endpoint: EndpointSpec,
        ledger: LedgerClient,
        limiter: Limiter,
        *,
        budget_usd: float | None = None,
        study: str = "",
        judge: str = "",
        mode: Mode = "strict",
        local: LocalChat | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.ledger = ledger
        self.limiter = limiter
        self.price: Price | None = price_of(endpoint)
        if budget_usd is not None and self.price is None:
            raise ConfigError(
                f"--max-usd {budget_usd:g}: the price of {endpoint.model!r} at {endpoint.endpoint_name} is not known; "
                "set judge.usd_per_million_input and judge.usd_per_million_output, or drop the cap"
            )
        self._budget_usd, self._study, self._judge = budget_usd, study, judge
        self._mode = endpoint.key_mode(mode)
        self._local = local
        self._transport: Transport | None = None
        self._estimate = TokenEstimate()
        self._formats = FormatSupport()
        self._learned = LearnedParameters(may_grow=endpoint.max_reply_tokens is None)
        self._stopped: AssayError | None = None
        self._breaker = Breaker(give_up_s=endpoint.give_up_s)
        self._fetching: dict[str, asyncio.Future[Reply | None]] = {}
        self._figures = Figures()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back permits, commit the ledger, close the connections."""
        if self._transport is not None:
            await self._transport.close()
        await self.limiter.close()
        await self.ledger.close()

    async def ask(self, request: ChatRequest) -> Reply:
        """The reply to a request, from the ledger where it is known.

        Equal requests that are in flight together are sent once.

        Raises:
            EndpointError: nothing listens there, or it refuses the key or the model.
            LimitReached: the budget is spent, or the account's quota is.
        """
        self._figures.asked += 1
        request = self._formats.allowed(completed(request, self.endpoint))
        reply = await self._ask_once(request)
        if self._formats.is_refused(request, reply):
            reply = await self._ask_once(self._formats.allowed(request))
        self._figures.count(reply)
        return reply

    async def _ask_once(self, request: ChatRequest) -> Reply:
        key = request_key(self.endpoint.endpoint_name, request, self._mode)
        while (running := self._fetching.get(key)) is not None:
            shared = await asyncio.shield(running)
            if shared is not None:
                return dataclasses.replace(shared, cached=True)
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._fetching[key] = future
        reply: Reply | None = None
        try:
            reply = await self._fetch(request, key)
            return reply
        finally:
            del self._fetching[key]
            if not future.done():
                future.set_result(reply)  # None: this asker gave up, so one of the others takes over

    async def ask_many(
        self, requests: Iterable[ChatRequest], concurrency: int | None = None
    ) -> AsyncIterator[tuple[int, Reply]]:
        """(index, reply) of every request, in the order in which they end.

        Requests are drawn from the iterable as there is room, so it may be longer than memory.

        Args:
            requests: any iterable, also one that renders its prompts as it goes.
            concurrency: requests under way at once; default the endpoint's `max_concurrency`.
        """
        width = concurrency or self.endpoint.max_concurrency
        source = enumerate(requests)
        done: asyncio.Queue[tuple[int, Reply] | BaseException | None] = asyncio.Queue(maxsize=2 * width)

        async def work() -> None:
            try:
                for index, request in source:
                    await done.put((index, await self.ask(request)))
            except BaseException as error:
                await done.put(error)
                if isinstance(error, asyncio.CancelledError):
                    raise
            else:
                await done.put(None)

        workers = [asyncio.create_task(work()) for _ in range(width)]
        try:
            open_workers = width
            while open_workers:
                item = await done.get()
                if item is None:
                    open_workers -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        except (AssayError, asyncio.CancelledError):
            await self.settle()
            raise
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def stats(self) -> GatewayStats:
        """Live figures, for progress lines."""
        return self._figures.stats(priced=self.price is not None, limit_per_min=self.limiter.requests_per_min)

    async def settle(self) -> None:
        """Send nothing more, and wait for what is in flight until it is stored; bounded by the endpoint's timeout."""
        self._stopped = self._stopped or EndpointError(f"endpoint {self.endpoint.endpoint_name}: stopped")
        ends = time.monotonic() + self.endpoint.timeout_s
        while self._figures.in_flight and time.monotonic() < ends:
            await asyncio.sleep(SETTLE_S)
        await asyncio.sleep(0)  # what has just ended stores its reply

    def _go_on(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    async def _fetch(self, request: ChatRequest, key: str) -> Reply:
        stored = await self._look_up(key)
        if stored is not None:
            return stored_reply(stored, key)
        try:
            return await self._send_until_done(request, key)
        except BaseException as error:
            if isinstance(error, AssayError):
                self._stopped = self._stopped or error
            self.ledger.post(Release(key))
            raise

    def _pause_s(self, exchange: Attempted, key: str, number: int) -> float:
        """Before the next attempt: what the endpoint asks for, and never less than full jitter."""
        asked_s = observe(exchange.http_status, exchange.headers).retry_after_s or 0.0
        if asked_s > self.endpoint.give_up_s:
            raise LimitReached(
                f"endpoint {self.endpoint.endpoint_name}: asks to come back in {asked_s:.0f} s ({exchange.detail}); "
                "all replies so far are stored; run the same command then"
            )
        if exchange.outcome == "rate limited" and asked_s:
            return asked_s
        return max(asked_s, _backoff_s(key, number))

    def _open_transport(self) -> Transport:
        return LocalTransport(self._local) if self._local is not None else ChatTransport(self.endpoint)

    async def _look_up(self, key: str) -> StoredCall | None:
        while isinstance(result := await self.ledger.submit(Lookup(key)), Wait):
            await asyncio.sleep(result.seconds)
        return result if isinstance(result, StoredCall) else None

    async def _send_until_done(self, request: ChatRequest, key: str) -> Reply:
        transport = self._transport = self._transport or self._open_transport()
        tokens = self._estimate.tokens(request)
        row = request_row(request, key, endpoint=self.endpoint, study=self._study, judge=self._judge)
        number = tries = 0
        refusals = Refusals(self.endpoint.give_up_s)
        while True:
            await self._wait_for_endpoint()
            self._go_on()
            await self.limiter.acquire(tokens, front=number > 0)
            number += 1
            sent = self._learned.sent(request)
            exchange, seconds, attempt_id = await self._attempt(transport, sent, key, number, tokens)
            is_learned = self._learns(request, sent, exchange)
            tries += exchange.outcome != "rate limited"
            if exchange.outcome == "answered":
                self._estimate.learn(request, exchange)
            stalls = refusals.stalls(exchange, time.monotonic())
            is_over = stalls or (
                not is_learned
                and exchange.outcome != "rate limited"
                and (exchange.outcome not in RETRIED or tries >= self.endpoint.max_attempts)
            )
            estimate = None if self.price is None else self._estimate.usd(request, self.price)
            usd = usd_of(exchange, self.price, estimate)
            self._figures.pay(usd, exchange.prompt_tokens, exchange.completion_tokens, exchange.cached_tokens)
            if is_over:
                exchange = told_beside(exchange, self.price, not_honoured(request, sent), estimate, request.model)
            call = reply_row(row, exchange, usd=usd, number=number, seconds=seconds) if is_over else None
            finish = Finish(
                attempt_id, exchange.outcome, exchange.http_status, exchange.prompt_tokens, exchange.completion_tokens,
                usd, call if exchange.error is None else None,
            )  # fmt: skip
            if call is None or exchange.error is not None:
                self.ledger.post(finish)
            else:
                await self.ledger.submit(finish)
                return reply_of(exchange, key, usd=usd, number=number)
            if exchange.error is not None:
                raise exchange.error
            if not is_learned:
                await asyncio.sleep(self._pause_s(exchange, key, number))

    async def _attempt(
        self, transport: Transport, request: ChatRequest, key: str, number: int, tokens: int
    ) -> tuple[Attempted, float, str]:
        """Log, send, report to limiter and breaker. The caller holds a permit, which ends here."""
        attempt_id = self.ledger.new_attempt_id()
        seen = Observation()
        used: int | None = 0
        try:
            self._go_on()
            await self._begin(attempt_id, request, key, number, tokens)
            if self._stopped is not None:  # while the ledger wrote: nothing is sent after a stop
                self.ledger.post(Finish(attempt_id, "not sent", None, None, None, None, None))
                raise self._stopped
            self._figures.attempts += 1
            self._figures.in_flight += 1
            started = time.monotonic()
            used = None
            try:
                exchange = await transport.send(request, number)
            except BaseException:
                self.ledger.post(Finish(attempt_id, "cancelled", None, None, None, None, None))
                raise
            finally:
                self._figures.in_flight -= 1
            ended = time.monotonic()
            seen = observe(exchange.http_status, exchange.headers)
            exchange = _above_limit(exchange, tokens, seen.tokens_per_min)
            if exchange.http_status == 429 and exchange.outcome == "rejected":
                # too large for the limit: nothing was charged, and nothing ran out
                used, seen = 0, dataclasses.replace(seen, rate_limited=False)
            if exchange.prompt_tokens is not None and exchange.completion_tokens is not None:
                used = exchange.prompt_tokens + exchange.completion_tokens
        finally:
            self.limiter.finish(tokens, used, seen)
        self._figures.rate_limited += exchange.outcome == "rate limited"
        self._breaker.record(exchange, ended)
        self._give_up_if_down(exchange, ended)
        return exchange, ended - started, attempt_id

    def _learns(self, request: ChatRequest, sent: ChatRequest, exchange: Attempted) -> bool:
        """Whether the endpoint refused a parameter that can be done without, so that the same row is asked again."""
        has_thought = exchange.outcome == "cut" and exchange.reasoning_tokens > 0
        if (exchange.outcome == "rejected" or has_thought) and self._learned.sent(request) != sent:
            return True  # others in flight met the same refusal first
        if has_thought:
            learned = self._learned.grow(request)
        else:
            learned = exchange.outcome == "rejected" and self._learned.learn(
                request, exchange.http_status, exchange.detail
            )
        if learned:
            names = ", ".join(not_honoured(request, self._learned.sent(request))) or "the name of max_tokens"
            logging.getLogger(__name__).warning(
                "endpoint %s, model %s: %s not as asked from now on (%s)",
                self.endpoint.endpoint_name, request.model, names, exchange.detail,
            )  # fmt: skip
        return learned

    async def _begin(self, attempt_id: str, request: ChatRequest, key: str, number: int, tokens: int) -> None:
        dollars = self._estimate.usd(request, self.price) if self.price is not None else 0.0
        operation = Begin(
            attempt_id, key, number, self.endpoint.transport, self._study, tokens, dollars, self._budget_usd
        )
        while isinstance(result := await self._logged(operation), Wait):
            await asyncio.sleep(result.seconds)
            self._go_on()
        if isinstance(result, Stop):
            raise LimitReached(
                f"study {self._study or '(none)'}: spent ${result.spent_usd:.4f} of --max-usd {self._budget_usd:g}; "
                "all replies so far are stored; run the same command with a higher --max-usd to go on"
            )

    async def _logged(self, operation: Begin) -> Result:
        """The ledger's answer; an attempt that was cancelled before it was sent does not stay open there."""
        answer = self.ledger.post(operation)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if await answer is None:
                self.ledger.post(Finish(operation.attempt_id, "not sent", None, None, None, None, None))
            raise

    async def _wait_for_endpoint(self) -> None:
        while (seconds := self._breaker.wait_s(time.monotonic())) > 0:
            await asyncio.sleep(seconds)

    def _give_up_if_down(self, exchange: Attempted, now: float) -> None:
        name, url = self.endpoint.endpoint_name, self.endpoint.base_url
        if exchange.nothing_listens and self._breaker.never_answered:
            raise EndpointError(
                f"endpoint {name}: nothing answers at {url} ({exchange.detail}); expected an OpenAI-compatible server; "
                "start it or check judge.base_url"
            )
        silent_s = self._breaker.silent_s(now)
        if silent_s > self.endpoint.give_up_s:
            problem = (
                f"endpoint {name}: no usable reply for {silent_s:.0f} s, last: {exchange.outcome}, {exchange.detail}"
            )
            if exchange.outcome == "rate limited":
                raise LimitReached(f"{problem}; the account's limit is used up; the same command goes on later")
            raise EndpointError(f"{problem}; all replies so far are stored; run the same command when {url} is back")


def _above_limit(exchange: Attempted, tokens: int, limit: float | None) -> Attempted:
    """A refusal of more tokens than the endpoint allows in a minute is final: it would be refused for ever."""
    if exchange.outcome != "rate limited" or limit is None or tokens <= limit:
        return exchange
    detail = f"{exchange.detail}; about {tokens} tokens, and the endpoint allows {limit:.0f} a minute"
    return dataclasses.replace(exchange, outcome="rejected", detail=detail)


def _backoff_s(key: str, number: int) -> float:
    ceiling = min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** (number - 1))
    return random.Random(f"{key}/{number}").uniform(0.0, ceiling)  # full jitter, the same in every run
