"""The ledger that a cluster shares: one named actor per ledger URL, and the stub that asks it.

One writer means that two workers never pay for the same key, that one purse watches the budget, and that batches of
several workers become one commit. Killed, the actor is made again and the batch sent again: every operation may be
applied twice without harm.
"""

from __future__ import annotations

from collections.abc import Sequence

import ray

from assay.cluster.ray_metrics import count
from assay.cluster.ray_named import ExitWhenIdle, NamedActor
from assay.fingerprint import content_hash
from assay.llm.ledger.client import LedgerClient, linger_of
from assay.llm.ledger.segments import PREFIX
from assay.llm.ledger.service import Begin, Finish, LedgerService, Operation, Result
from assay.llm.ledger.tables import open_database

ATTEMPTS = 8


@ray.remote(num_cpus=0, max_restarts=0, max_concurrency=1)
class LedgerActor(ExitWhenIdle):
    """Holds the one `LedgerService` of a ledger."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._service = LedgerService(url)
        self._studies: dict[str, str] = {}
        """Of attempts in flight."""

    def process(self, session: str, operations: Sequence[Operation]) -> list[Result]:
        self.touch()
        results = self._service.process(session, operations)
        for op in operations:
            if isinstance(op, Begin):
                self._studies[op.attempt_id] = op.study
            elif isinstance(op, Finish):
                study = self._studies.pop(op.attempt_id, "")
                count("assay_judge_tokens", op.prompt_tokens or 0, study=study, kind="prompt")
                count("assay_judge_tokens", op.completion_tokens or 0, study=study, kind="completion")
                count("assay_judge_usd", op.usd or 0.0, study=study)
        return results


def ledger_name(url: str) -> str:
    """Name of the actor of a ledger."""
    return f"assay-ledger-{content_hash(url.encode())[:12]}"


def start_ray_ledger(url: str) -> None:
    """Make the actor before workers do: where its file is this node's, it lives here and holds no worker's node."""
    _actor(url)


def _actor(url: str) -> NamedActor:
    return NamedActor(ledger_name(url), LedgerActor, url, here=url.startswith("sqlite"))


def open_ray_ledger(url: str) -> LedgerClient:
    """A ledger that all workers of this Ray cluster share. Ray must be connected.

    Raises:
        StorageError: the database cannot be opened.
    """
    if not url.startswith(PREFIX):  # replaying segments takes a while, and their writer finds a bad URI as well
        open_database(url).dispose()  # a bad URL should say so here, not as an actor that dies
    actor = _actor(url)

    async def process(session: str, operations: Sequence[Operation]) -> list[Result]:
        results: list[Result] = await actor.call("process", session, operations, attempts=ATTEMPTS)
        return results

    return LedgerClient(process, shared=True, linger_s=linger_of(url, shared=True))
