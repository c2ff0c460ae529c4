"""`assay metaeval scores`: what a table of scores says about its scorers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from assay.errors import ConfigError, DataError, StorageError
from assay.fingerprint import file_hash
from assay.store import read_parquet_bytes

if TYPE_CHECKING:
    import pyarrow as pa


def scores_command(
    table: Path,
    human: str,
    out: Path,
    scorers: Sequence[str],
    task: str | None,
    group: str | None,
    arm: str | None = None,
) -> None:
    """Write the report as JSON and print its correlations.

    Raises:
        DataError: the table cannot be read, or a column is missing or holds no numbers.
    """
    from assay.metaeval.tables import scorer_report

    data = read_table(table)
    known = ", ".join(data.column_names)
    for name in [human, *scorers, *([task] if task else []), *([group] if group else []), *([arm] if arm else [])]:
        if name not in data.column_names:
            raise ConfigError(f"{table}: saw no column {name!r}; expected one of {known}")
    report = scorer_report(
        data, human, task=task, group=group, arm=arm, scorers=list(scorers) or None, seed_key=file_hash(table)
    )
    write_json(out, report)
    print_report(report)
    print_human_means(report)
    typer.echo(f"all figures: {out}")


def read_table(path: Path) -> pa.Table:
    """A CSV, JSONL or Parquet table.

    Raises:
        DataError: no such file, another kind of file, or one that does not parse.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json

    readers = {  # by this thread alone, see read_parquet_bytes
        ".csv": lambda: pyarrow.csv.read_csv(path, pyarrow.csv.ReadOptions(use_threads=False)),
        ".jsonl": lambda: pyarrow.json.read_json(path, pyarrow.json.ReadOptions(use_threads=False)),
        ".parquet": lambda: read_parquet_bytes(path.read_bytes()),
    }
    if not path.is_file():
        raise DataError(f"--table {path}: saw no such file; expected {', '.join(readers)}; check the path")
    if path.suffix not in readers:
        raise DataError(f"--table {path}: saw {path.suffix or 'no suffix'}; expected one of {', '.join(readers)}")
    try:
        return readers[path.suffix]()
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"--table {path}: {reason}; expected a {path.suffix} table; mend the file") from None


def write_json(out: Path, value: Mapping[str, Any]) -> None:
    """A report as a JSON file.

    Raises:
        StorageError: the place cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable path") from error


def print_report(report: Mapping[str, Any]) -> None:
    """What each scorer shares with the human column, with intervals and counts; then every two of them compared."""
    columns = {"spearman": "Spearman", "pearson": "Pearson", "kendall": "Kendall", "pairwise": "pairs ordered alike"}
    if report["task_column"] is not None:
        columns |= {"cit": "CIT", "cat": "CAT"}
    rows = [["scorer", *columns.values(), "rows", "unscored"]]
    for name, row in report["scorers"].items():
        cells = [estimate_text(row[measure]) for measure in columns]
        rows.append([name, *cells, f"{row['n']:,}", f"{row['unscored']:,}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    if report["without_human"]:
        typer.echo(f"{report['without_human']:,} of {report['num_rows']:,} rows have no human score and are left out")
    if report["comparisons"]:
        typer.echo("differences in Spearman, with p adjusted by Holm over all rows (PERM-BOTH; Williams)")
    for row in report["comparisons"]:
        p_values = [row[f"{test}_holm"] for test in ("perm_both", "williams")]
        tests = ", ".join("–" if p is None else f"{p:.3g}" for p in p_values)
        typer.echo(
            f"{row['first']} - {row['second']}: {estimate_text(row['difference'])}  p {tests}  ({row['n']:,} rows)"
        )


def print_human_means(report: Mapping[str, Any]) -> None:
    """What people would have given all rows, from those that they scored and each scorer's numbers for all."""
    rows = [(name, row) for name, part in report["scorers"].items() for row in part.get("human_mean", [])]
    if not rows:
        return
    typer.echo(
        f"\nmean of {report['human']} over all {report['num_rows']:,} rows, of which people scored "
        f"{report['num_rows'] - report['without_human']:,} (prediction-powered; they must be a random sample)"
    )
    typer.echo(
        f"{'scorer':<18}{'arm':<16}{'with the scorer':<26}{'human scores alone':<26}{'width':>6}  {'labelled':>8}"
    )
    for name, row in rows:
        ratio = row.get("width_ratio")
        typer.echo(
            f"{name:<18}{row['arm'] or 'all':<16}{estimate_text(row['estimate']):<26}"
            + (f"{estimate_text(row['human_only']):<26}" if "human_only" in row else "")
            + ("" if ratio is None else f"{ratio:>6.2f}{row['labelled']:>10,}")
        )


def estimate_text(estimate: Mapping[str, Any]) -> str:
    """A value with its interval, or why there is none."""
    if estimate["value"] is None:
        return f"– ({estimate.get('reason') or 'undefined'})"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.3f} [no interval]"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
