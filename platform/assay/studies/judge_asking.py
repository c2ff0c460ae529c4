"""Asking a judge about many instances: protocols on one side, the gateway on the other.

Replies go through the ledger, so that the same command continues where it was stopped and asks nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from assay.config import Config, validate
from assay.hooks import Progress
from assay.llm.endpoint import OPENAI_URL, EndpointSpec, with_told_name
from assay.llm.local_model import LocalModel
from assay.llm.requests import Mode
from assay.scoring.judges.calls import JudgeCall, JudgeProtocol, JudgeReply, run_protocol, to_request

if TYPE_CHECKING:
    from assay.llm.figures import GatewayStats

STAGE = "judging"
REPLAYS = "assay-replay"
"""How the name begins that our server tells when it plays recorded judges."""


class JudgeConnection(Config):
    """Which judge is asked, where, and within which limits."""

    judge: str = Field(min_length=1)
    """Model name that is sent."""
    base_url: str = OPENAI_URL
    transport: Literal["chat", "batch", "local"] = "chat"
    """Chat completions, the provider's batch API, or a model of this machine through vLLM (`judge` is its folder)."""
    local: LocalModel = LocalModel()
    """How that model is loaded."""
    endpoint: str | None = None
    """Names the endpoint in the ledger; default: what our server tells, else host and port."""
    api_key_env: str = "OPENAI_API_KEY"
    requests_per_min: float | None = Field(None, gt=0)
    tokens_per_min: float | None = Field(None, gt=0)
    max_concurrency: int = Field(64, ge=1)
    timeout_s: float = Field(120.0, gt=0)
    max_usd: float | None = Field(None, ge=0)
    """Stop, to be continued, before all runs under `study` have cost more than this."""
    usd_per_million_input: float | None = Field(None, ge=0)
    usd_per_million_output: float | None = Field(None, ge=0)
    ledger_url: str
    study: str = "metaeval"
    """Name under which the ledger books the calls."""

    def to_endpoint(self) -> EndpointSpec:
        """The endpoint, under the name that a server of ours tells.

        Raises:
            ConfigError: the URL is none.
        """
        fields = {
            "base_url": self.base_url,
            "name": self.endpoint,
            "model": self.judge,
            "transport": self.transport,
            "local": self.local,
            "api_key_env": self.api_key_env,
            "requests_per_min": self.requests_per_min,
            "tokens_per_min": self.tokens_per_min,
            "max_concurrency": self.max_concurrency,
            "timeout_s": self.timeout_s,
            "usd_per_million_input": self.usd_per_million_input,
            "usd_per_million_output": self.usd_per_million_output,
        }
        return with_told_name(validate(EndpointSpec, fields, "judge"))


@dataclass(frozen=True)
class Work:
    """One protocol and what it is to judge."""

    protocol: JudgeProtocol[Any, Any]
    instances: Sequence[Any]


@dataclass(frozen=True)
class Asked:
    """What came back."""

    judgements: list[list[Any]]
    """One list per `Work`, in the order of its instances."""
    endpoint: str
    """The endpoint's name in the ledger."""
    stats: GatewayStats


def ask_judge(connection: JudgeConnection, works: Sequence[Work], mode: Mode, progress: Progress) -> Asked:
    """All judgements of all protocols; instances of all of them share one pool of calls.

    Raises:
        EndpointError: nothing answers, or key or model are refused.
        LimitReached: the dollars are used up; the same command continues.
        StorageError: the ledger cannot be opened.
    """
    return asyncio.run(_ask_all(connection, works, mode, progress))


async def _ask_all(connection: JudgeConnection, works: Sequence[Work], mode: Mode, progress: Progress) -> Asked:
    from assay.llm.gateway import open_gateway

    endpoint = connection.to_endpoint()
    # a recorded reply belongs to the protocol that got it, even where another one sends the same text
    key_mode: Mode = "compat" if endpoint.endpoint_name.startswith(REPLAYS) else mode
    judgements: list[list[Any]] = [[None] * len(work.instances) for work in works]
    places = [(number, index) for number, work in enumerate(works) for index in range(len(work.instances))]
    source = iter(places)
    progress.start(STAGE, len(places), unit="instances")
    async with open_gateway(
        endpoint,
        ledger_url=connection.ledger_url,
        budget_usd=connection.max_usd,
        study=connection.study,
        judge=connection.judge,
        mode=key_mode,
        limiter="process",
    ) as gateway:

        async def work_on() -> None:
            for number, index in source:
                protocol, instances = works[number].protocol, works[number].instances

                async def ask(call: JudgeCall, name: str = protocol.name) -> JudgeReply:
                    return await gateway.ask(to_request(call, name))

                judgements[number][index] = await run_protocol(protocol, instances[index], ask)
                stats = gateway.stats()
                progress.advance(
                    STAGE,
                    calls=stats.done,
                    calls_per_min=round(stats.calls_per_min),
                    limit=stats.limit_per_min,
                    tokens=stats.prompt_tokens + stats.completion_tokens,
                    dollars=stats.usd,
                )

        # what travels as files travels together
        width = len(places) if endpoint.transport == "batch" else min(endpoint.max_concurrency, len(places))
        workers = [asyncio.create_task(work_on()) for _ in range(width)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        stats = gateway.stats()
    note = f"{stats.cached:,} of {stats.done:,} replies were in the ledger" if stats.cached else ""
    progress.finish(STAGE, note)
    return Asked(judgements, endpoint.endpoint_name, stats)


def calls_of(asked: Asked) -> dict[str, Any]:
    """What the run cost, for a report; these numbers change from run to run."""
    stats = asked.stats
    return {
        "endpoint": asked.endpoint,
        "calls": stats.done,
        "from_ledger": stats.cached,
        "failed": dict(sorted(stats.failed.items())),
        "prompt_tokens": stats.prompt_tokens,
        "completion_tokens": stats.completion_tokens,
        "usd": stats.usd,
    }
