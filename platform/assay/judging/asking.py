"""Asking a judge about many instances: protocols on one side, the gateway on the other.

Replies go through the ledger, so that the same command continues where it was stopped and asks nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from assay.cluster.joining import cluster_of_this_job
from assay.errors import ConfigError, EndpointError, StageError, plain_line
from assay.hooks import Progress
from assay.judging.waiting import calls_text, telling_what_waits
from assay.llm.endpoint import EndpointSpec, with_reported_name
from assay.llm.prices import price_of
from assay.llm.requests import Failure
from assay.records import Mode
from assay.scoring.judges.calls import (
    NOTHING,
    JudgeCall,
    JudgeProtocol,
    JudgeReply,
    failure_reason,
    run_protocol,
    to_request,
)
from assay.scoring.judges.judgements import last_reply, missing_reasons, num_parts, thinking_chars
from assay.scoring.judges.protocols.retries import retried
from assay.stoppable import run_stoppable, settled

if TYPE_CHECKING:
    from assay.llm.figures import GatewayStats

STAGE = "judging"


@dataclass(frozen=True)
class JudgeConnection:
    """Which judge is asked, and what its calls are booked under."""

    endpoint: EndpointSpec
    ledger_url: str
    max_usd: float | None = None
    """Stop, to be continued, before all runs under `study` have cost more than this."""
    study: str = "metaeval"
    """Name under which the ledger books the calls."""
    retry_unreadable: int = 0
    """Times that an instance is judged anew where a reply could not be read, was cut or did not come."""

    @property
    def judge(self) -> str:
        """Model name that is sent."""
        return self.endpoint.model


@dataclass(frozen=True)
class Work:
    """One protocol and what it is to judge."""

    protocol: JudgeProtocol[Any, Any]
    instances: Sequence[Any]
    label: str = ""
    """What people call it: subset and strategy, model and baseline."""


@dataclass
class Unanswered:
    """Calls of one `Work` that brought no reply."""

    label: str
    mode: Mode
    asked: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    """Reasons as judgements give them: "refused", "filtered", "error: rejected"."""
    first: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By reason: the first instance that met it, and what the endpoint said there."""
    parts: int = 0
    """Scores and verdicts that were asked for."""
    missing: Counter[str] = field(default_factory=Counter)
    """Of them those that are missing, by reason."""
    examples: dict[str, str] = field(default_factory=dict)
    """By reason, a raw reply."""
    with_thinking: int = 0
    """Replies of which thinking was taken off before they were read."""
    thinking_chars: int = 0
    """Characters of it."""

    def count(self, reply: JudgeReply, index: int) -> None:
        """One more call is over."""
        self.asked += 1
        if isinstance(reply, Failure):
            reason = failure_reason(reply)
            self.by_reason[reason] += 1
            self.first[reason] = min(self.first.get(reason, (index, reply.detail)), (index, reply.detail))

    def judged(self, judgement: object) -> None:
        """One more instance is over."""
        reasons = missing_reasons(judgement)
        chars = thinking_chars(judgement)
        self.with_thinking += len(chars)
        self.thinking_chars += sum(chars)
        self.parts += num_parts(judgement)
        for reason in reasons:
            self.missing[reason] += 1
            self.examples.setdefault(reason, last_reply(judgement))

    @property
    def is_unread(self) -> bool:
        """Whether no reply of all that came could be read."""
        return 0 < self.parts == self.missing.total()

    @property
    def details(self) -> dict[str, str]:
        """By reason, what the endpoint said first."""
        return {reason: detail for reason, (_, detail) in sorted(self.first.items())}

    def told(self) -> dict[str, Any]:
        """What brought no reply, for a report."""
        return {
            "of": self.label,
            "asked": self.asked,
            "by_reason": dict(sorted(self.by_reason.items())),
            "details": self.details,
            "is_unanswered": self.is_unanswered,
            "unread": unread_text(self.missing, self.examples) if self.is_unread else "",
        }

    @property
    def is_unanswered(self) -> bool:
        """Whether no call brought a reply. A refusal is one; an empty text is one to published code alone."""
        missing = sum(
            count
            for reason, count in self.by_reason.items()
            if reason.startswith("error") and not (self.mode == "compat" and reason == NOTHING)
        )
        return 0 < self.asked == missing


@dataclass(frozen=True)
class Asked:
    """What came back."""

    judgements: list[list[Any]]
    """One list per `Work`, in the order of its instances."""
    endpoint: str
    """The endpoint's name in the ledger."""
    stats: GatewayStats
    unanswered: list[Unanswered]
    """One per `Work`."""


def ask_judge(connection: JudgeConnection, works: Sequence[Work], mode: Mode, progress: Progress) -> Asked:
    """All judgements of all protocols; instances of all of them share one pool of calls.

    Raises:
        ConfigError: dollars are capped and the model's price is not known.
        EndpointError: nothing answers, or key or model are refused.
        LimitReached: the dollars are used up; the same command continues.
        StorageError: the ledger cannot be opened.
    """
    with cluster_of_this_job():
        return run_stoppable(_ask_all(connection, works, mode, progress))


async def _ask_all(connection: JudgeConnection, works: Sequence[Work], mode: Mode, progress: Progress) -> Asked:
    from assay.llm.opening import open_gateway

    endpoint = with_reported_name(connection.endpoint)
    check_price(endpoint, connection.max_usd)
    judgements: list[list[Any]] = [[None] * len(work.instances) for work in works]
    places = [(number, index) for number, work in enumerate(works) for index in range(len(work.instances))]
    unanswered = [Unanswered(work.label, mode) for work in works]
    source = iter(places)
    protocols = [retried(work.protocol, connection.retry_unreadable) for work in works]
    one_leads = endpoint.kind.one_leads
    progress.start(STAGE, len(places), unit="instances")
    async with open_gateway(
        endpoint,
        ledger_url=connection.ledger_url,
        budget_usd=connection.max_usd,
        study=connection.study,
        judge=connection.judge,
        mode=mode,
    ) as gateway:

        async def work_on() -> None:
            for number, index in source:
                protocol, instances = protocols[number], works[number].instances

                async def ask(
                    call: JudgeCall, name: str = protocol.name, number: int = number, index: int = index
                ) -> JudgeReply:
                    reply = await gateway.ask(to_request(call, name))
                    unanswered[number].count(reply, index)
                    return reply

                judgement = await run_protocol(protocol, instances[index], ask, one_leads=one_leads)
                judgements[number][index] = judgement
                unanswered[number].judged(judgement)
                stats = gateway.stats()
                progress.advance(
                    STAGE,
                    calls=calls_text(stats),
                    waiting_for=None,
                    calls_per_min=round(stats.calls_per_min),
                    limit=stats.limit_per_min,
                    tokens=stats.prompt_tokens + stats.completion_tokens,
                    dollars=stats.usd,
                )

        width = endpoint.kind.width(len(places), endpoint.max_concurrency)
        async with telling_what_waits(progress, STAGE, gateway.stats):
            await settled((work_on() for _ in range(width)), gateway.settle)
        stats = gateway.stats()
    note = f"{stats.cached:,} of {stats.done:,} replies were in the ledger" if stats.cached else ""
    progress.finish(STAGE, note)
    return Asked(judgements, endpoint.endpoint_name, stats, unanswered)


def check_price(endpoint: EndpointSpec, max_usd: float | None) -> None:
    """Refuse a cap that nothing can be held against, in the words of the flags.

    Raises:
        ConfigError: one of two prices, or dollars are capped and the model's price is not known.
    """
    if (endpoint.usd_per_million_input is None) != (endpoint.usd_per_million_output is None):
        raise ConfigError("--usd-per-million-input, --usd-per-million-output: saw one of them; expected both or none")
    if max_usd is not None and price_of(endpoint) is None:
        raise ConfigError(
            f"--max-usd {max_usd:g}: the price of {endpoint.model!r} at {endpoint.endpoint_name} is not known; give "
            "--usd-per-million-input and --usd-per-million-output, or drop the cap"
        )


def calls_of(asked: Asked) -> dict[str, Any]:
    """What the run cost and what brought no reply, for a report; these numbers change from run to run."""
    stats = asked.stats
    return {
        "endpoint": asked.endpoint,
        "calls": stats.done,
        "from_ledger": stats.cached,
        "failed": dict(sorted(stats.failed.items())),
        "unanswered": [found.told() for found in asked.unanswered if found.by_reason or found.is_unread],
        "thinking": {
            "replies": sum(found.with_thinking for found in asked.unanswered),
            "chars": sum(found.thinking_chars for found in asked.unanswered),
        },
        "prompt_tokens": stats.prompt_tokens,
        "cached_prompt_tokens": stats.cached_tokens,
        "completion_tokens": stats.completion_tokens,
        "usd": stats.usd,
    }


def check_answered(calls: Mapping[str, Any]) -> None:
    """Refuse a report of which a run got no reply at all, in the endpoint's own words.

    Args:
        calls: what `calls_of` gives; of it the endpoint and what brought no reply.

    Raises:
        EndpointError: some `Work` got no reply.
        StageError: of some `Work` no reply could be read.
    """
    silent = [
        f"{row['of']} ({row['asked']:,} calls; "
        + "; ".join(f"{reason.removeprefix('error: ')}: {detail}" for reason, detail in row["details"].items())
        + ")"
        for row in calls["unanswered"]
        if row["is_unanswered"]
    ]
    if silent:
        more = f" and {len(silent) - 3} more" if len(silent) > 3 else ""
        raise EndpointError(
            f"endpoint {calls['endpoint']}: no reply at all for {', '.join(silent[:3])}{more}; expected some; correct "
            "the judge, the strategy or the endpoint, and run the same command again"
        )
    for row in calls["unanswered"]:
        if row["unread"]:
            raise StageError(f"{row['of'] or 'judge'}: no reply of the judge could be read; {row['unread']}")


MAX_EXAMPLE = 160
"""Characters of a raw reply in an error message."""


def unread_text(reasons: Mapping[str, int], examples: Mapping[str, str]) -> str:
    """The commonest reason and a raw example of it, in one line, and what to do."""
    reason, count = max(reasons.items(), key=lambda item: (item[1], item[0]))
    example = plain_line(examples.get(reason, ""))[:MAX_EXAMPLE]
    said = f", as in {example!r}" if example else ""
    return (
        f"{count:,} of {sum(reasons.values()):,} {reason}{said}; look at the replies, correct the judge or its "
        "prompts, or draw again with retry_unreadable"
    )
