"""Batches in the ledger: how far each one is, which requests it holds, and how its attempts ended.

A batch is prepared -> uploaded -> created -> ingested, or failed.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from assay.errors import StorageError
from assay.llm.batch.files import RequestFile
from assay.llm.endpoint import EndpointSpec
from assay.llm.ledger.service import LedgerService, Lookup, Store, StoredCall
from assay.llm.ledger.tables import ATTEMPTS, BATCH_ITEMS, BATCHES
from assay.llm.transports.chat import Attempted

CHUNK = 500
"""Calls per transaction."""


class BatchState(NamedTuple):
    """How far a batch is."""

    id: str
    status: str
    input_file_id: str
    """The provider's, from `uploaded` on."""
    provider_id: str
    """The provider's, from `created` on."""
    updated_at: float
    """Seconds since the epoch."""


class Ended(NamedTuple):
    """How one request of a batch ended."""

    exchange: Attempted
    usd: float | None
    """What it cost; None where that is not known."""


_STATE = sa.select(BATCHES.c.id, BATCHES.c.status, BATCHES.c.input_file_id, BATCHES.c.provider_id, BATCHES.c.updated_at)


class BatchLedger:
    """The batches of one study at one endpoint, and the replies that they brought."""

    def __init__(self, ledger_url: str, endpoint: EndpointSpec, *, study: str, judge: str) -> None:
        """Open the database.

        Raises:
            StorageError: it cannot be opened.
        """
        self._service = LedgerService(ledger_url)
        self._session = secrets.token_hex(6)
        self._endpoint, self._study, self._judge = endpoint, study, judge

    def close(self) -> None:
        """Let go of the database."""
        self._service.close()

    # --- calls -------------------------------------------------------------------------------------------

    def stored(self, keys: Sequence[str]) -> dict[str, StoredCall]:
        """The final replies among these."""
        found: dict[str, StoredCall] = {}
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            results = self._service.process(self._session, [Lookup(key) for key in part])
            found |= {k: r for k, r in zip(part, results, strict=True) if isinstance(r, StoredCall)}
        return found

    def store(self, rows: Iterable[dict[str, Any]]) -> None:
        """Rows of `calls`."""
        calls = [Store(row) for row in rows]
        for start in range(0, len(calls), CHUNK):
            self._service.process(self._session, calls[start : start + CHUNK])

    def spent_usd(self) -> float:
        """What the study has spent so far, on whatever transport."""
        query = sa.select(sa.func.coalesce(sa.func.sum(ATTEMPTS.c.usd), 0.0)).where(ATTEMPTS.c.study == self._study)
        with self._service.engine.begin() as connection:
            return float(connection.execute(query).scalar_one())

    # --- batches -----------------------------------------------------------------------------------------

    def open_batches(self) -> list[BatchState]:
        """Those that are neither ingested nor failed."""
        query = _STATE.where(
            BATCHES.c.endpoint == self._endpoint.endpoint_name,
            BATCHES.c.study == self._study,
            BATCHES.c.status.in_(("prepared", "uploaded", "created")),
        )
        with self._service.engine.begin() as connection:
            return [BatchState(*row) for row in connection.execute(query)]

    def batch(self, batch_id: str) -> BatchState:
        """How far it is.

        Raises:
            StorageError: there is no such batch.
        """
        with self._service.engine.begin() as connection:
            row = connection.execute(_STATE.where(BATCHES.c.id == batch_id)).one_or_none()
        if row is None:
            raise StorageError(f"ledger: saw no batch {batch_id}; expected the one just written")
        return BatchState(*row)

    def prepare(self, batch_id: str, file: RequestFile) -> None:
        """Write a batch, its requests and their attempts, before anything is sent."""
        now = time.time()
        with self._service.engine.begin() as connection:
            connection.execute(
                sa.insert(BATCHES),
                {
                    "id": batch_id, "endpoint": self._endpoint.endpoint_name, "model": self._endpoint.model,
                    "study": self._study, "judge": self._judge, "status": "prepared", "input_file_id": "",
                    "provider_id": "", "detail": "", "created_at": now, "updated_at": now,
                },
            )  # fmt: skip
            connection.execute(
                sa.insert(BATCH_ITEMS),
                [{"batch_id": batch_id, "key": key, "call_json": row} for key, row in file.rows.items()],
            )
            connection.execute(
                sa.insert(ATTEMPTS),
                [
                    {
                        "id": _attempt_id(batch_id, key), "key": key, "session": self._session, "study": self._study,
                        "number": file.tries, "transport": "batch", "sent_at": now, "est_tokens": tokens,
                    }
                    for key, tokens in file.tokens.items()
                ],
            )  # fmt: skip

    def note(self, batch_id: str, **changes: str) -> None:
        """Write columns of a batch, and that a process takes care of it now."""
        with self._service.engine.begin() as connection:
            values = {**changes, "updated_at": time.time()}
            connection.execute(sa.update(BATCHES).where(BATCHES.c.id == batch_id).values(**values))

    def take_back(self, batch_id: str, provider_id: str) -> bool:
        """Note that a created batch is to be created again; False where another process has noted it first."""
        statement = (
            sa.update(BATCHES)
            .where(
                BATCHES.c.id == batch_id,
                BATCHES.c.provider_id == provider_id,
                BATCHES.c.status.in_(("created", "uploaded")),
            )
            .values(status="uploaded", provider_id="", updated_at=time.time())
        )
        with self._service.engine.begin() as connection:
            return connection.execute(statement).rowcount == 1

    def rows(self, batch_id: str) -> dict[str, dict[str, Any]]:
        """Key -> what `prepare` kept of each request, see `RequestFile.rows`."""
        query = sa.select(BATCH_ITEMS.c.key, BATCH_ITEMS.c.call_json).where(BATCH_ITEMS.c.batch_id == batch_id)
        with self._service.engine.begin() as connection:
            return {key: json.loads(text) for key, text in connection.execute(query)}

    def end_attempts(self, batch_id: str, ended: Mapping[str, Ended], otherwise: str) -> None:
        """Write how each attempt of a batch ended; `otherwise` is the outcome of those that nothing came back for."""
        statement = (
            sa.update(ATTEMPTS)
            .where(ATTEMPTS.c.id == sa.bindparam("attempt_id"))
            .values(
                outcome=sa.bindparam("new_outcome"),
                http_status=sa.bindparam("new_status"),
                usd=sa.bindparam("new_usd"),
                prompt_tokens=sa.bindparam("new_prompt"),
                completion_tokens=sa.bindparam("new_completion"),
                ended_at=time.time(),
            )
        )
        missing = Ended(Attempted("connection", None, {}), None)
        with self._service.engine.begin() as connection:
            query = sa.select(BATCH_ITEMS.c.key).where(BATCH_ITEMS.c.batch_id == batch_id)
            values = []
            for (key,) in connection.execute(query):
                exchange, usd = ended.get(key, missing)
                values.append(
                    {
                        "attempt_id": _attempt_id(batch_id, key),
                        "new_outcome": exchange.outcome if key in ended else otherwise,
                        "new_status": exchange.http_status, "new_usd": usd,
                        "new_prompt": exchange.prompt_tokens, "new_completion": exchange.completion_tokens,
                    }
                )  # fmt: skip
            if values:
                connection.execute(statement, values)


def _attempt_id(batch_id: str, key: str) -> str:
    return f"{batch_id[:15]}-{key[:16]}"
