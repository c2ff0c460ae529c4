"""What the ledger says: summaries by study, judge, day, model or endpoint, and the whole of it as Parquet."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from assay.errors import ConfigError
from assay.llm.ledger.call_rows import CACHED, FINGERPRINT, SERVED_MODEL
from assay.llm.ledger.service import Unseen, unseen_attempts
from assay.llm.ledger.tables import ATTEMPTS, BATCHES, CALLS, open_database

GroupBy = Literal["study", "judge", "day", "model", "endpoint", "protocol", "transport", "status"]
GROUPS: tuple[GroupBy, ...] = ("study", "judge", "day", "model", "endpoint", "protocol", "transport", "status")
ROWS_PER_GROUP = 16_384


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One line of a summary."""

    group: str
    """Values of the grouping columns, joined by " / "."""
    calls: int
    """Distinct requests."""
    answered: int
    refused: int
    filtered: int
    failed: int
    prompt_tokens: int
    """Of the replies that are kept."""
    completion_tokens: int
    usd: float
    """Of the replies that are kept and whose price is known."""
    unpriced: int
    """Calls with a reply whose price is not known."""


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """One version of a model that answered a study."""

    study: str
    judge: str
    model: str
    """As the endpoint called it."""
    fingerprint: str
    """`system_fingerprint`; empty where none was told."""
    calls: int
    first: str
    """UTC day of the first of these replies."""
    last: str


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """All that `assay ledger` shows."""

    rows: list[LedgerRow]
    total: LedgerRow
    attempts: int
    """Requests that left this machine."""
    usd_attempts: float
    """What all attempts with a known usage cost, useless replies included."""
    outcomes: dict[str, int]
    """Attempts by how they ended; "in flight or unseen" has none yet."""
    unseen: Unseen
    """Attempts whose sender died, or which are in flight: what may have been billed beyond the sums."""
    versions: list[ServedVersion]
    """Which versions of each model answered, where more than one did."""
    cached_share: float | None
    """Of the prompt tokens of stored replies, those that the endpoint had cached; None without any."""
    blind: Unseen
    """Attempts that ended without a usage (timeouts, dropped connections, torn bodies): likewise."""


def summarise(
    ledger_url: str, by: tuple[GroupBy, ...] = ("study", "judge"), *, study: str | None = None
) -> LedgerSummary:
    """Sums over the ledger, the groups in sorted order.

    Args:
        ledger_url: as for `open_gateway`.
        by: columns to group by; "day" is the UTC day of the reply.
        study: only this study's calls.

    Raises:
        ConfigError: an unknown column.
        StorageError: the ledger cannot be opened.
    """
    unknown = [name for name in by if name not in GROUPS]
    if unknown:
        raise ConfigError(f"ledger --by {unknown[0]}: expected one of {', '.join(GROUPS)}")
    engine = open_database(ledger_url)
    try:
        with engine.connect() as connection:
            return _summarise(connection, by, study)
    finally:
        engine.dispose()


def changed_versions(ledger_url: str, study: str) -> list[ServedVersion]:
    """The versions that answered a study, where a judge of it was answered by more than one.

    Raises:
        StorageError: the ledger cannot be opened.
    """
    engine = open_database(ledger_url)
    try:
        with engine.connect() as connection:
            return _beside(connection, study)[0]
    finally:
        engine.dispose()


def versions_text(versions: Sequence[ServedVersion]) -> str:
    """One sentence per judge that changed under a study; empty where none did."""
    told = []
    for study, judge in dict.fromkeys((version.study, version.judge) for version in versions):
        parts = [
            f"{version.model} {version.fingerprint}".strip()
            + f" ({version.calls:,} replies, {version.first} to {version.last})"
            for version in versions
            if (version.study, version.judge) == (study, judge)
        ]
        told.append(f"judge {judge or '(none)'} of {study or '(none)'} changed: {', '.join(parts)}")
    return "; ".join(told)


def _beside(connection: sa.Connection, study: str | None) -> tuple[list[ServedVersion], float | None]:
    """Versions of the judges that were answered by more than one, and the share of cached prompt tokens."""
    place = CALLS.c.study, CALLS.c.judge, CALLS.c.model, CALLS.c.extra
    created_at = CALLS.c.created_at
    sums = sa.func.count(), sa.func.min(created_at), sa.func.max(created_at), sa.func.sum(CALLS.c.prompt_tokens)
    # replies with equal notes come as one row: most have few kinds of notes, or none
    query = sa.select(*place, *sums).where(CALLS.c.status == "answered").group_by(*place)
    if study is not None:
        query = query.where(CALLS.c.study == study)
    found: dict[tuple[str, str, str, str], tuple[int, float, float]] = {}
    prompt = cached = 0
    result = connection.execution_options(yield_per=ROWS_PER_GROUP).execute(query)
    for name, judge, model, extra, num, began, ended, tokens in result:
        notes = json.loads(extra) if extra else {}
        prompt, cached = prompt + int(tokens or 0), cached + num * int(notes.get(CACHED, 0))
        key = (name, judge, str(notes.get(SERVED_MODEL, model)), str(notes.get(FINGERPRINT, "")))
        calls, first, last = found.get(key, (0, began, ended))
        found[key] = (calls + num, min(first, began), max(last, ended))
    several = Counter((name, judge) for name, judge, *_ in found)
    versions = [
        ServedVersion(*key, calls, _day_of(first), _day_of(last))
        for key, (calls, first, last) in sorted(found.items(), key=lambda item: (item[0][:2], item[1][1]))
        if several[key[:2]] > 1
    ]
    return versions, cached / prompt if prompt else None


def _day_of(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def export_parquet(ledger_url: str, folder: Path) -> dict[str, int]:
    """Write calls.parquet, attempts.parquet and batches.parquet; rows in key order, read in blocks.

    Returns:
        Rows written per file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    engine = open_database(ledger_url)
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    try:
        with engine.connect() as connection:
            for table in (CALLS, ATTEMPTS, BATCHES):
                name = f"{table.name}.parquet"
                schema = pa.schema([pa.field(column.name, _arrow_type(column, pa)) for column in table.columns])
                query = sa.select(table).order_by(*table.primary_key.columns)
                counts[name] = 0
                with pq.ParquetWriter(folder / name, schema, compression="zstd") as writer:
                    result = connection.execution_options(yield_per=ROWS_PER_GROUP).execute(query)
                    for block in result.mappings().partitions():
                        writer.write_table(pa.Table.from_pylist([dict(row) for row in block], schema=schema))
                        counts[name] += len(block)
    finally:
        engine.dispose()
    return counts


def _summarise(connection: sa.Connection, by: tuple[GroupBy, ...], study: str | None) -> LedgerSummary:
    day = sa.cast(sa.func.floor(CALLS.c.created_at / 86400), sa.Integer)
    columns = [day if name == "day" else CALLS.c[name] for name in by]
    priced = sa.and_(CALLS.c.usd.is_(None), CALLS.c.status == "answered")
    sums = [
        sa.func.count(),
        *(
            sa.func.sum(sa.case((CALLS.c.status == s, 1), else_=0))
            for s in ("answered", "refused", "filtered", "failed")
        ),
        sa.func.sum(CALLS.c.prompt_tokens),
        sa.func.sum(CALLS.c.completion_tokens),
        sa.func.coalesce(sa.func.sum(CALLS.c.usd), 0.0),
        sa.func.sum(sa.case((priced, 1), else_=0)),
    ]
    query = sa.select(*columns, *sums)
    attempts = sa.select(ATTEMPTS.c.outcome, sa.func.count(), sa.func.coalesce(sa.func.sum(ATTEMPTS.c.usd), 0.0))
    blind = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(ATTEMPTS.c.est_tokens), 0)).where(
        ATTEMPTS.c.outcome.in_(("timeout", "connection", "malformed", "cancelled"))
    )
    if study is not None:
        query = query.where(CALLS.c.study == study)
        attempts, blind = attempts.where(ATTEMPTS.c.study == study), blind.where(ATTEMPTS.c.study == study)
    rows = [
        _row(by, row[: len(by)], row[len(by) :])
        for row in connection.execute(query.group_by(*columns) if columns else query)
        if row[len(by)]
    ]
    rows.sort(key=lambda row: row.group)
    ended = connection.execute(attempts.group_by(ATTEMPTS.c.outcome)).all()
    counted, tokens = connection.execute(blind).one()
    versions, cached_share = _beside(connection, study)
    return LedgerSummary(
        rows=rows,
        total=_total(rows),
        attempts=sum(row[1] for row in ended),
        usd_attempts=float(sum(row[2] for row in ended)),
        outcomes={row[0] or "in flight or unseen": int(row[1]) for row in ended},
        unseen=unseen_attempts(connection, study=study),
        versions=versions,
        cached_share=cached_share,
        blind=Unseen(int(counted), int(tokens)),
    )


def _row(by: tuple[GroupBy, ...], group: Any, sums: Any) -> LedgerRow:
    shown = []
    for name, value in zip(by, group, strict=True):
        if name == "day":
            value = datetime.fromtimestamp(int(value) * 86400, UTC).date().isoformat()
        shown.append(str(value) or "(none)")
    calls, answered, refused, filtered, failed, prompt, completion = (int(value or 0) for value in sums[:7])
    usd, unpriced = float(sums[7]), int(sums[8] or 0)
    return LedgerRow(" / ".join(shown), calls, answered, refused, filtered, failed, prompt, completion, usd, unpriced)


def _total(rows: list[LedgerRow]) -> LedgerRow:
    names = [field.name for field in dataclasses.fields(LedgerRow) if field.name != "group"]
    sums: dict[str, Any] = {name: sum(getattr(row, name) for row in rows) for name in names}
    return LedgerRow(group="total", **sums)


def _arrow_type(column: sa.Column[Any], pa: Any) -> Any:
    if isinstance(column.type, sa.Integer):
        return pa.int64()
    return pa.float64() if isinstance(column.type, sa.Float) else pa.string()
