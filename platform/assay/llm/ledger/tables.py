"""Tables of the ledger, and how its database is opened. SQLAlchemy Core: SQLite (WAL) or PostgreSQL.

`calls` holds one row per request key: the reply, its tokens and dollars, the messages that were sent. `attempts`
holds one row per request that left this machine, written before it left: a row without an outcome is one whose
sender died, and which may have been billed unseen.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from assay.errors import StorageError
from assay.llm.ledger.segments import PREFIX, replay_into_temporary
from assay.storage_uri import join_uri, secret_parameters

LEDGER_ENV = "ASSAY_LEDGER_URL"
METADATA = sa.MetaData()

CALLS = sa.Table(
    "calls",
    METADATA,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("protocol", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("replicate", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # answered, refused, filtered: final; failed: asked again
    sa.Column("finish_reason", sa.Text, nullable=False),  # of a failed call: the Failure's reason
    sa.Column("reply", sa.Text, nullable=False),
    sa.Column("extra", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("usd", sa.Float),
    sa.Column("transport", sa.Text, nullable=False),
    sa.Column("study", sa.Text, nullable=False, index=True),
    sa.Column("judge", sa.Text, nullable=False),
    sa.Column("request_json", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),  # seconds since 1970, UTC
    sa.Column("latency_s", sa.Float, nullable=False),
    sa.Column("num_attempts", sa.Integer, nullable=False),
)

ATTEMPTS = sa.Table(
    "attempts",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(32), nullable=False),
    sa.Column("session", sa.String(16), nullable=False),  # the gateway that sent it
    sa.Column("study", sa.Text, nullable=False, index=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("transport", sa.Text, nullable=False),
    sa.Column("sent_at", sa.Float, nullable=False),
    sa.Column("est_tokens", sa.Integer, nullable=False),
    sa.Column("outcome", sa.Text),  # NULL while in flight
    sa.Column("http_status", sa.Integer),
    sa.Column("prompt_tokens", sa.Integer),
    sa.Column("completion_tokens", sa.Integer),
    sa.Column("usd", sa.Float),  # NULL where usage or price is not known; paid for also where the reply was useless
    sa.Column("ended_at", sa.Float),
    # few rows are ever without an outcome, and only they are searched for
    sa.Index(
        "attempts_open", "sent_at", sqlite_where=sa.text("outcome IS NULL"), postgresql_where=sa.text("outcome IS NULL")
    ),
)

BATCHES = sa.Table(
    "batches",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("study", sa.Text, nullable=False),
    sa.Column("judge", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # prepared, uploaded, created, ingested, failed
    sa.Column("input_file_id", sa.Text, nullable=False),
    sa.Column("provider_id", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
)

BATCH_ITEMS = sa.Table(
    "batch_items",
    METADATA,
    sa.Column("batch_id", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("call_json", sa.Text, nullable=False),  # what the calls row needs when the reply comes
)

FINAL = ("answered", "refused", "filtered", "cut")
"""Statuses of calls that are never asked again."""


def default_ledger_url(storage: str) -> str:
    """Where the ledger lies for a storage location: a SQLite file in it, or segments in an object store."""
    if storage.startswith("file://"):
        storage = storage.removeprefix("file://")
    if "://" in storage:
        return PREFIX + join_uri(storage, "ledger")
    return f"sqlite:///{Path(storage).expanduser().resolve()}/ledger.db"


def ledger_url(storage: str, told: str | None = None) -> str:
    """The ledger of a storage location: the one that was told, else ASSAY_LEDGER_URL, else the one that lies there.

    The only reader of that variable, so that calls and caps of all commands count in one ledger.
    """
    return told or os.environ.get(LEDGER_ENV) or default_ledger_url(storage)


def open_database(url: str) -> sa.Engine:
    """An engine with the tables made.

    Raises:
        StorageError: the URL or the database cannot be used; the password is masked.
    """
    if url.startswith(PREFIX):
        return replay_into_temporary(url.removeprefix(PREFIX), {"call": CALLS, "attempt": ATTEMPTS}, _open_sqlite)
    parsed = _parsed(url)
    shown = parsed.render_as_string(hide_password=True)
    try:
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            engine = _open_sqlite(parsed)
        elif parsed.get_backend_name() == "postgresql":
            engine = sa.create_engine(parsed, pool_size=2, pool_pre_ping=True, hide_parameters=True)
        else:
            raise StorageError(f"ledger {shown}: expected sqlite:///FILE or postgresql://HOST/NAME")
        METADATA.create_all(engine)
    except (sa.exc.SQLAlchemyError, ImportError, OSError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise StorageError(
            f"ledger {_masked(shown)}: cannot be opened ({reason}); check --ledger or ASSAY_LEDGER_URL"
        ) from None
    return engine


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        scheme, separator, _ = url.partition("://")  # what follows may hold a password, and no parser says where
        shown = f"{scheme}://..." if separator else "URL"
        raise StorageError(
            f"ledger {shown}: cannot be opened (it is no URL, or its port no number); expected sqlite:///FILE or "
            "postgresql://USER@HOST:PORT/NAME; check --ledger or ASSAY_LEDGER_URL"
        ) from None


def _open_sqlite(url: sa.URL) -> sa.Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(url, connect_args={"timeout": 60, "check_same_thread": False}, hide_parameters=True)
    else:
        engine = sa.create_engine(
            url, connect_args={"check_same_thread": False}, poolclass=sa.StaticPool, hide_parameters=True
        )

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late for IMMEDIATE
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # a killed process loses nothing; after a power cut the last commits may be gone, and are paid again
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _masked(url: str) -> str:
    """The URL without its query where that holds a password."""
    try:
        return url.partition("?")[0] if secret_parameters(url) else url
    except ValueError:
        return url
