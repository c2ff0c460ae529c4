"""The limiter that a cluster shares: one named actor per endpoint and account, and the stub that asks it.

The actor holds a `SharedLimits` and its clock, nothing else. Killed, it is made again under its name by the next
worker that asks, and learns the limits from what its workers know.
"""

from __future__ import annotations

import time

import ray

from assay.cluster.ray_metrics import count, show
from assay.cluster.ray_named import ExitWhenIdle, NamedActor
from assay.fingerprint import content_hash
from assay.llm.endpoint import EndpointSpec
from assay.llm.limits.client import LimitClient, caps_of
from assay.llm.limits.shared import Caps, Grant, Report, SharedLimits


@ray.remote(num_cpus=0, max_restarts=0, max_concurrency=1)
class LimiterActor(ExitWhenIdle):
    """One endpoint's limits for the whole cluster."""

    def __init__(self, caps: Caps, endpoint: str) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._limits = SharedLimits(caps, time.monotonic())

    def exchange(self, report: Report, caps: Caps) -> Grant:
        """Book a report and grant what the limits allow. The newest asker's caps hold."""
        self.touch()
        self._limits.caps = caps
        grant = self._limits.exchange(report, time.monotonic())
        count("assay_judge_answers", report.passed, endpoint=self._endpoint)
        count("assay_judge_refusals", sum(seen.rate_limited for seen in report.seen), endpoint=self._endpoint)
        show("assay_judge_in_flight", sum(w.held for w in self._limits.workers.values()), endpoint=self._endpoint)
        if grant.requests_per_min is not None:
            show("assay_judge_limit_per_min", grant.requests_per_min, endpoint=self._endpoint)
        return grant


def limiter_name(endpoint: EndpointSpec) -> str:
    """Name of the actor: limits belong to the account, so all jobs and studies meet the same one."""
    identity = content_hash(f"{endpoint.base_url} {endpoint.account()}".encode())[:12]
    return f"assay-limiter-{endpoint.endpoint_name}-{identity}"


def open_ray_limiter(endpoint: EndpointSpec) -> LimitClient:
    """A limiter that all workers and jobs of this Ray cluster share. Ray must be connected."""
    caps = caps_of(endpoint)
    actor = NamedActor(limiter_name(endpoint), LimiterActor, caps, endpoint.endpoint_name)

    async def exchange(report: Report) -> Grant:
        return await actor.call("exchange", report, caps, attempts=1)  # the client asks again by itself

    return LimitClient(exchange)
