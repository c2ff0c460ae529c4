"""An LLM that the driver asks by itself, outside of the scoring stage: to write rows, tag them, or read errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.cluster.joining import cluster_of_this_job
from assay.llm.endpoint import EndpointSpec
from assay.llm.opening import open_gateway
from assay.studies.judge_endpoint import endpoint_of

if TYPE_CHECKING:
    from assay.llm.opening import Asker
    from assay.studies.spec import JudgeConfig


@dataclass(frozen=True)
class EmbeddedJudge:
    """The judge server that a study brings along; the composition root does not know what it is."""

    name: str
    """In the ledger: fixed, plus the hash of its rules, so that its port does not matter."""
    start: Callable[[], AbstractContextManager[str]]
    """Runs it and gives its base URL."""


@dataclass(frozen=True)
class Writer:
    """Who writes and tags: opened when something has to be made, and not before."""

    endpoint: EndpointSpec
    """As the ledger and the keys know it."""
    open: Callable[[], Any]
    """A context manager that gives an `Asker`."""


def make_writer(
    config: JudgeConfig, embedded: EmbeddedJudge, *, ledger_url: str, budget_usd: float | None, study: str
) -> Writer:
    """A writer through the gateway and the ledger; an embedded one runs while it is open."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Asker]:
        with ExitStack() as stack:
            stack.enter_context(cluster_of_this_job())
            url = stack.enter_context(embedded.start()) if config.is_embedded else None
            async with open_gateway(
                endpoint_of(config, embedded_url=url, embedded_name=embedded.name),
                ledger_url=ledger_url,
                budget_usd=budget_usd,
                study=study,
                judge=config.model,
            ) as gateway:
                yield gateway

    return Writer(endpoint_of(config, embedded_name=embedded.name), opened)
