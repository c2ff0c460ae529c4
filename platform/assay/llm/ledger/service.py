"""The ledger's one writer: answers batches of operations, each batch in one transaction.

It stores a reply before anybody uses it, logs an attempt before it is sent, lends a key to one asker at a time,
and says stop when a study has spent its dollars. Runs in a thread of its own beside a lone gateway
(`ledger.client`), or in the cluster's ledger actor (`ray_ledger`). Owns no clock: batches bring the time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from assay.errors import StorageError
from assay.llm.ledger.segments import PREFIX, Change, SegmentWriter
from assay.llm.ledger.tables import ATTEMPTS, CALLS, FINAL, open_database

CLAIM_S = 20.0
"""A key stays lent to a session that has been silent for less than this."""
BUSY_S = 0.05
"""How soon to ask again for a key that another session is fetching."""
REFRESH_S = 5.0
"""How old the sum of a budgeted study may be where other processes write the same database."""
CHUNK = 500
RETRIES = 5
"""Of a transaction: 0.05, 0.15, 0.45, 1.35 and 4 seconds apart."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Give me the stored reply, or lend me the key. Answered by StoredCall, None (lent) or Wait."""

    key: str


@dataclass(frozen=True, slots=True)
class Begin:
    """I am about to send: log it. Answered by None (go), Wait or Stop."""

    attempt_id: str
    key: str
    number: int
    transport: str
    study: str
    est_tokens: int
    est_usd: float = 0.0
    max_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The attempt ended. With `call`, the request is over as well: the row is stored and the key given back."""

    attempt_id: str
    outcome: str
    http_status: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    usd: float | None
    call: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Store:
    """A call without an attempt of its own: replies of a batch file, or a request given up."""

    call: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Release:
    """I will not fetch this key after all."""

    key: str


Operation = Lookup | Begin | Finish | Store | Release


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A final row of `calls`."""

    status: str
    finish_reason: str
    reply: str
    extra: str
    detail: str
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    num_attempts: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stop:
    """The study has spent its dollars."""

    spent_usd: float


Result = StoredCall | Wait | Stop | None


@dataclass(frozen=True, slots=True)
class Unseen:
    """Attempts whose outcome nobody recorded: what may have been billed beyond the ledger's own sum."""

    attempts: int
    est_tokens: int


@dataclass
class _Purse:
    spent: float
    read_at: float
    reserved: dict[str, float] = field(default_factory=dict)


class LedgerService:
    """Answers batches against one database. Not thread-safe: one thread owns it."""

    def __init__(self, url: str, *, engine: sa.Engine | None = None) -> None:
        """Open the database and make its tables.

        Raises:
            StorageError: it cannot be opened.
        """
        self.engine = engine or open_database(url)
        self._segments = SegmentWriter(url.removeprefix(PREFIX)) if url.startswith(PREFIX) else None
        self._claims: dict[str, str] = {}
        self._claimed_by: dict[str, set[str]] = {}
        self._seen: dict[str, float] = {}
        self._purses: dict[str, _Purse] = {}
        insert = postgresql.insert if self.engine.dialect.name == "postgresql" else sqlite.insert
        upsert = insert(CALLS)
        changed = {column.name: upsert.excluded[column.name] for column in CALLS.columns if column.name != "key"}
        # a final reply is never overwritten: it has been used
        self._upsert = upsert.on_conflict_do_update(
            index_elements=[CALLS.c.key], set_=changed, where=CALLS.c.status == sa.literal_column("'failed'")
        )
        self._log = insert(ATTEMPTS).on_conflict_do_nothing()  # a batch may be sent twice
        self._end = (
            sa.update(ATTEMPTS)
            .where(ATTEMPTS.c.id == sa.bindparam("new_id"))
            .values({name: sa.bindparam("new_" + name) for name in _ENDED})
        )
        self._find = sa.select(
            CALLS.c.key, CALLS.c.status, CALLS.c.finish_reason, CALLS.c.reply, CALLS.c.extra, CALLS.c.detail,
            CALLS.c.prompt_tokens, CALLS.c.completion_tokens, CALLS.c.usd, CALLS.c.num_attempts,
        ).where(CALLS.c.key.in_(sa.bindparam("keys", expanding=True)), CALLS.c.status.in_(FINAL))  # fmt: skip

    def close(self) -> None:
        """Let go of the database."""
        if self._segments is not None:
            self._segments.merge()
        self.engine.dispose()

    def process(self, session: str, operations: Sequence[Operation]) -> list[Result]:
        """One result per operation, in order; all of it committed when this returns.

        Raises:
            StorageError: the database fails, also when asked again.
        """
        for retry in range(RETRIES + 1):
            try:
                return self._process(session, operations)
            except sa.exc.OperationalError as error:  # a lock held long, a deadlock, a server that restarts
                if retry == RETRIES:
                    reason = " ".join(str(error.orig).split())
                    raise StorageError(
                        f"ledger: cannot be written ({reason}); free space or check the server"
                    ) from None
                time.sleep(0.05 * 3**retry)
        raise StorageError("ledger: cannot be written")

    def _process(self, session: str, operations: Sequence[Operation]) -> list[Result]:
        now = time.time()
        self._seen[session] = now
        self._drop_dead_sessions(now)
        lookups = [op.key for op in operations if isinstance(op, Lookup)]
        ended = _ended_rows(operations, now)
        found: dict[str, StoredCall] = {}
        with self.engine.begin() as connection:
            if ended:  # before any budget is looked at: a sum read in this batch must hold the batch's own dollars
                connection.execute(self._end, [{"new_" + name: value for name, value in row.items()} for row in ended])
                self._settle(operations)
            if lookups:
                found = self._read(connection, lookups)
            results = [self._answer(connection, session, op, found, now) for op in operations]
            begun = [
                op for op, result in zip(operations, results, strict=True) if isinstance(op, Begin) and result is None
            ]
            self._write(connection, session, operations, begun, ended, now)
        return results

    def unseen(self) -> Unseen:
        """Attempts without an outcome that no living session has in flight."""
        with self.engine.connect() as connection:
            return unseen_attempts(connection, living=self._seen)

    def _read(self, connection: sa.Connection, keys: Sequence[str]) -> dict[str, StoredCall]:
        found = {}
        for start in range(0, len(keys), CHUNK):
            for row in connection.execute(self._find, {"keys": keys[start : start + CHUNK]}):
                key, *values = row
                found[key] = StoredCall(*values)
        return found

    def _answer(
        self, connection: sa.Connection, session: str, op: Operation, found: dict[str, StoredCall], now: float
    ) -> Result:
        if isinstance(op, Lookup):
            stored = found.get(op.key)
            if stored is not None:
                return stored
            holder = self._claims.get(op.key)
            if holder is not None and holder != session:
                return Wait(BUSY_S)
            self._claims[op.key] = session
            self._claimed_by.setdefault(session, set()).add(op.key)
        elif isinstance(op, Begin):
            return self._allow(connection, op, now)
        elif isinstance(op, Finish):
            if op.call is not None:
                self._give_back(op.call["key"])
        elif isinstance(op, Release):
            self._give_back(op.key)
        else:
            self._give_back(op.call["key"])
        return None

    def _allow(self, connection: sa.Connection, op: Begin, now: float) -> Result:
        if op.max_usd is None:
            return None
        purse = self._purses.get(op.study)
        if purse is None or now - purse.read_at > REFRESH_S:
            total = sa.select(sa.func.coalesce(sa.func.sum(ATTEMPTS.c.usd), 0.0)).where(ATTEMPTS.c.study == op.study)
            spent = float(connection.execute(total).scalar_one())
            purse = self._purses[op.study] = _Purse(spent, now, purse.reserved if purse else {})
        if purse.spent >= op.max_usd:
            return Stop(purse.spent)
        if purse.reserved and purse.spent + sum(purse.reserved.values()) >= op.max_usd:
            return Wait(BUSY_S)  # what is in flight may use the budget up: let it settle first
        purse.reserved[op.attempt_id] = op.est_usd
        return None

    def _settle(self, operations: Sequence[Operation]) -> None:
        for op in operations:
            if not isinstance(op, Finish):
                continue
            for purse in self._purses.values():
                if purse.reserved.pop(op.attempt_id, None) is not None:
                    purse.spent += op.usd or 0.0

    def _write(
        self,
        connection: sa.Connection,
        session: str,
        operations: Sequence[Operation],
        begun: list[Begin],
        ended: list[dict[str, Any]],
        now: float,
    ) -> None:
        logged = [
            {
                "id": op.attempt_id, "key": op.key, "session": session, "study": op.study, "number": op.number,
                "transport": op.transport, "sent_at": now, "est_tokens": op.est_tokens,
            }
            for op in begun
        ]  # fmt: skip
        by_key = {
            op.call["key"]: op.call for op in operations if isinstance(op, (Finish, Store)) and op.call is not None
        }
        calls = [by_key[key] for key in sorted(by_key)]  # one order for all writers, or two of them deadlock
        if logged:
            connection.execute(self._log, logged)
        if calls:
            connection.execute(self._upsert, calls)
        if self._segments is not None:  # before the commit: what cannot be kept must not be used
            changes: list[Change] = [("attempt", row) for row in logged]
            changes += [("attempt", row) for row in ended]
            changes += [("call", row) for row in calls]
            self._segments.write(changes)

    def _give_back(self, key: str) -> None:
        holder = self._claims.pop(key, None)
        if holder is not None:
            self._claimed_by[holder].discard(key)

    def _drop_dead_sessions(self, now: float) -> None:
        for session in [name for name, seen in self._seen.items() if now - seen > CLAIM_S]:
            del self._seen[session]
            for key in self._claimed_by.pop(session, ()):
                self._claims.pop(key, None)


def _ended_rows(operations: Sequence[Operation], now: float) -> list[dict[str, Any]]:
    return [
        {
            "id": op.attempt_id, "outcome": op.outcome, "http_status": op.http_status,
            "prompt_tokens": op.prompt_tokens, "completion_tokens": op.completion_tokens, "usd": op.usd,
            "ended_at": now,
        }
        for op in operations if isinstance(op, Finish)
    ]  # fmt: skip


_ENDED = ("outcome", "http_status", "prompt_tokens", "completion_tokens", "usd", "ended_at")


def unseen_attempts(connection: sa.Connection, *, living: Iterable[str] = (), study: str | None = None) -> Unseen:
    """Attempts without an outcome, those of living sessions left out."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(ATTEMPTS.c.est_tokens), 0)).where(
        ATTEMPTS.c.outcome.is_(None), ATTEMPTS.c.session.not_in(list(living))
    )
    if study is not None:
        query = query.where(ATTEMPTS.c.study == study)
    count, tokens = connection.execute(query).one()
    return Unseen(int(count), int(tokens))
