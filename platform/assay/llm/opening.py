"""What asks an endpoint, opened by how that is reached: a gateway that sends at once, or one that sends files."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Literal, Protocol, Self

from assay.errors import ConfigError
from assay.llm.endpoint import EndpointSpec, with_reported_name
from assay.llm.figures import GatewayStats
from assay.llm.gateway import Gateway
from assay.llm.ledger.client import open_local_ledger
from assay.llm.limits.client import open_local_limiter
from assay.llm.local_model import LocalChat
from assay.llm.prices import Price, age_warning, price_of
from assay.llm.requests import ChatRequest, Reply
from assay.llm.transports.local import open_local_chat
from assay.records import Mode

Sharing = Literal["auto", "process", "ray"]


class Asker(Protocol):
    """What `open_gateway` gives, whatever the transport."""

    async def ask(self, request: ChatRequest) -> Reply:
        """The reply to a request."""
        ...

    def ask_many(
        self, requests: Iterable[ChatRequest], concurrency: int | None = None
    ) -> AsyncIterator[tuple[int, Reply]]:
        """(index, reply) of every request, in the order in which they end."""
        ...

    def stats(self) -> GatewayStats: ...

    async def settle(self) -> None:
        """Before a stop: send nothing more, and wait until what is in flight is stored."""
        ...

    async def close(self) -> None:
        """Commit, and let go of everything."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_gateway(
    endpoint: EndpointSpec,
    *,
    ledger_url: str,
    budget_usd: float | None = None,
    study: str = "",
    judge: str = "",
    mode: Mode = "strict",
    limiter: Sharing = "auto",
    local: LocalChat | None = None,
) -> Asker:
    """A gateway to an endpoint by its transport; the first request opens connections.

    Args:
        endpoint: whom to ask, under which limits.
        ledger_url: `ledger.tables.default_ledger_url(storage)`, `sqlite:///FILE`, `postgresql://...` or `segments:URI`.
        budget_usd: dollars that the study may have spent in all, earlier runs included.
        study: name under which the ledger books the calls.
        judge: likewise.
        mode: `compat` makes the protocol's name part of the key.
        limiter: "ray" shares limits and ledger over the cluster through named actors, "process" keeps both in this
            process; "auto" takes Ray where this process is connected to one.
        local: with `transport="local"`, the model that answers; None loads what the endpoint names.

    Raises:
        StorageError: the ledger cannot be opened.
        ConfigError: a budget without a known price, or a local model beside another transport.
    """
    if local is not None and endpoint.kind.is_remote:
        raise ConfigError(f"judge.transport={endpoint.transport}: saw a local model; expected it with transport=local")
    local = local or open_local_chat(endpoint)
    endpoint = with_reported_name(endpoint)
    tell_price_age(price_of(endpoint))
    if endpoint.kind.travels_in_files:
        from assay.llm.batch.gateway import BatchGateway

        return BatchGateway(endpoint, ledger_url=ledger_url, budget_usd=budget_usd, study=study, judge=judge, mode=mode)
    shared = limiter == "ray" or (limiter == "auto" and _ray_is_connected())
    if shared:
        from assay.llm.ledger.ray_ledger import open_ray_ledger

        ledger = open_ray_ledger(ledger_url)
    else:
        ledger = open_local_ledger(ledger_url)
    if shared and local is None:
        from assay.llm.limits.ray_limits import open_ray_limiter

        limits = open_ray_limiter(endpoint)
    else:
        limits = open_local_limiter(endpoint)
    return Gateway(endpoint, ledger, limits, budget_usd=budget_usd, study=study, judge=judge, mode=mode, local=local)


@cache
def tell_price_age(price: Price | None) -> None:
    """Warn once per process and price where it may have moved."""
    if warning := age_warning(price, datetime.now(UTC).date()):
        logging.getLogger(__name__).warning("%s", warning)


def _ray_is_connected() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())
