"""What the ledger says: summaries by study, judge, day, model or endpoint, and the whole of it as Parquet."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from assay.errors import ConfigError
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
    return LedgerSummary(
        rows=rows,
        total=_total(rows),
        attempts=sum(row[1] for row in ended),
        usd_attempts=float(sum(row[2] for row in ended)),
        outcomes={row[0] or "in flight or unseen": int(row[1]) for row in ended},
        unseen=unseen_attempts(connection, study=study),
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
