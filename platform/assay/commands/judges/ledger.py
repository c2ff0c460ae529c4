"""`assay ledger`: what was asked of LLM endpoints, and what it cost."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from assay.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from assay.llm.ledger.report import GroupBy, LedgerSummary


def ledger_command(
    storage: str, ledger: str | None, by: str, study: str | None, as_json: bool, export: Path | None
) -> None:
    """Print the summary; write the export where one is asked for.

    Raises:
        StorageError: there is no ledger yet, or it cannot be opened.
        ConfigError: an unknown column, or an export that is no Parquet file.
    """
    from assay.llm.ledger.report import GROUPS, summarise
    from assay.llm.ledger.tables import ledger_url

    columns = [name.strip() for name in by.split(",") if name.strip()]
    unknown = [name for name in columns if name not in GROUPS]
    if unknown or not columns:
        raise ConfigError(f"--by {by}: saw {unknown or 'no column'}; expected some of {', '.join(GROUPS)}")
    if export is not None and export.suffix != ".parquet":
        raise ConfigError(f"--export {export}: expected a name that ends in .parquet")
    url = ledger_url(storage, ledger)
    file = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not file.is_file():
        raise StorageError(f"ledger {file}: saw no such file; expected a ledger; check --storage or --ledger")
    summary = summarise(url, cast("tuple[GroupBy, ...]", tuple(columns)), study=study)
    if export is not None:
        written = _export(url, export)
        typer.echo("; ".join(f"{path}: {count:,} rows" for path, count in written.items()), err=as_json)
    if as_json:
        typer.echo(json.dumps(asdict(summary), indent=2))
    else:
        _print(summary, columns)


def _print(summary: LedgerSummary, columns: list[str]) -> None:
    label = " / ".join(columns)
    width = max([len(label), 5, *(len(row.group) for row in summary.rows)])
    typer.echo(
        f"{label:<{width}} {'calls':>9} {'answered':>9} {'refused':>8} {'filtered':>8} {'failed':>7} "
        f"{'tokens in':>13} {'tokens out':>12} {'dollars':>10}"
    )
    for row in [*summary.rows, summary.total]:
        usd = f"{row.usd:,.4f}" + ("+?" if row.unpriced else "")
        typer.echo(
            f"{row.group:<{width}} {row.calls:>9,} {row.answered:>9,} {row.refused:>8,} {row.filtered:>8,} "
            f"{row.failed:>7,} {row.prompt_tokens:>13,} {row.completion_tokens:>12,} {usd:>10}"
        )
    if summary.total.unpriced:
        typer.echo(f"+? the price of {summary.total.unpriced:,} replies is not known")
    if summary.cached_share:
        typer.echo(f"{summary.cached_share:.1%} of the tokens in were cached by the endpoint")
    if summary.versions:
        from assay.llm.ledger.report import versions_text

        typer.echo(versions_text(summary.versions))
    outcomes = ", ".join(f"{count:,} {name}" for name, count in sorted(summary.outcomes.items()))
    typer.echo(f"attempts: {summary.attempts:,} ({outcomes or 'none'}), ${summary.usd_attempts:,.4f} where known")
    typer.echo(
        f"may have been billed unseen: {summary.unseen.attempts:,} without an end (about {summary.unseen.est_tokens:,} "
        f"tokens), {summary.blind.attempts:,} without a usage (about {summary.blind.est_tokens:,} tokens)"
    )


def _export(url: str, export: Path) -> dict[str, int]:
    """Calls under the name that was asked for, the other tables beside it as NAME.attempts.parquet and so on."""
    import tempfile

    from assay.llm.ledger.report import export_parquet

    written = {}
    try:
        export.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=export.parent) as folder:
            for name, count in export_parquet(url, Path(folder)).items():
                table = name.removesuffix(".parquet")
                target = export if table == "calls" else export.with_suffix(f".{table}.parquet")
                (Path(folder) / name).replace(target)
                written[str(target)] = count
    except OSError as error:
        raise StorageError(f"--export {export}: cannot write ({error.strerror}); expected a writable path") from error
    return written
