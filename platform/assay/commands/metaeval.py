"""`assay metaeval scores`: what a table of scores says about its scorers."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from assay.commands.options import ColumnOptions
from assay.errors import ConfigError, DataError, StorageError
from assay.fingerprint import file_hash
from assay.store import read_parquet_bytes

if TYPE_CHECKING:
    import pyarrow as pa


def scores_command(table: Path, human: str, out: Path, scorers: Sequence[str], parts: ColumnOptions) -> None:
    """Write the report as JSON and print its correlations.

    Raises:
        ConfigError: a column is missing, or is given two parts.
        DataError: the table cannot be read, or a column holds no numbers.
    """
    from assay.metaeval.score_table.columns import Columns
    from assay.metaeval.score_table.report import scorer_report

    columns = asdict(parts)
    if parts.target_rows is not None and parts.task is None:
        raise ConfigError("--target-rows: saw no --task; expected one, since TFA is a mean over tasks; add --task COL")
    if parts.run is not None and parts.target_rows is None:
        raise ConfigError("--run: saw no --target-rows; expected one, since runs are the clusters of TFA; add it")
    flags = {f"--{name.replace('_', '-')}": column for name, column in columns.items()}
    _check_scorers(scorers, {"--human": human, **flags})
    data = read_table(table)
    require_columns(data, [human, *scorers, *(name for name in columns.values() if name is not None)], table)
    report = scorer_report(data, human, Columns(**columns), scorers=list(scorers) or None, seed_key=file_hash(table))
    write_json(out, report)
    print_report(report)
    print_tfa(report)
    print_human_means(report)
    if not scorers:
        others = f"; no scores by their names: {', '.join(report['left_out'])}" if report["left_out"] else ""
        typer.echo(f"scorer columns taken: {', '.join(report['scorers'])}{others} (--scorer COL takes others)")
    typer.echo(f"all figures: {out}")


def _check_scorers(scorers: Sequence[str], parts: Mapping[str, str | None]) -> None:
    """Refuse a column that is named twice: compared with itself it would agree perfectly."""
    for place, name in enumerate(scorers):
        if name in scorers[:place]:
            raise ConfigError(f"--scorer {name}: saw it a second time; expected each column once; leave one out")
        for option, column in parts.items():
            if name == column:
                raise ConfigError(f"--scorer {name}: saw the column of {option}; expected another; leave it out")


def require_columns(data: pa.Table, names: Iterable[str], path: Path) -> None:
    """Refuse a table without one of these columns.

    Raises:
        ConfigError: names the column and those there are.
    """
    for name in names:
        if name not in data.column_names:
            raise ConfigError(f"{path}: saw no column {name!r}; expected one of {', '.join(data.column_names)}")


def read_table(path: Path, option: str = "--table") -> pa.Table:
    """A CSV, JSONL or Parquet table that `option` names.

    Raises:
        DataError: no such file, another kind of file, or one that does not parse.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json

    # an empty cell is no label: it would make a group of its own of rows that share nothing
    convert = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    readers = {  # by this thread alone, see read_parquet_bytes
        ".csv": lambda: pyarrow.csv.read_csv(path, pyarrow.csv.ReadOptions(use_threads=False), convert_options=convert),
        ".jsonl": lambda: pyarrow.json.read_json(path, pyarrow.json.ReadOptions(use_threads=False)),
        ".parquet": lambda: read_parquet_bytes(path.read_bytes()),
    }
    if not path.is_file():
        raise DataError(f"{option} {path}: saw no such file; expected {', '.join(readers)}; check the path")
    if path.suffix not in readers:
        raise DataError(f"{option} {path}: saw {path.suffix or 'no suffix'}; expected one of {', '.join(readers)}")
    try:
        if path.suffix != ".parquet":
            _check_utf8(path, option)
        found = readers[path.suffix]()
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{option} {path}: {reason}; expected a {path.suffix} table; fix the file") from None
    if twice := [name for name, count in Counter(found.column_names).items() if count > 1]:
        raise DataError(f"{option} {path}: saw two columns named {twice[0]!r}; expected one of each name; rename one")
    return found


def _check_utf8(path: Path, option: str) -> None:
    """Arrow takes a column with a bad byte for one of bytes, and the message is then about its type."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                seen = f"the byte {line[error.start]:#04x} at place {error.start + 1}"
                raise DataError(f"{option} {path}:{number}: saw {seen}; expected UTF-8; convert the file") from None


def write_json(out: Path, value: Mapping[str, Any]) -> None:
    """A report as a JSON file; its folder is made where it is missing.

    Raises:
        StorageError: the place cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_without_nan(value), indent=2, ensure_ascii=False, allow_nan=False)
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable path") from error


class Reported(Protocol):
    """A report that knows its JSON."""

    def as_json(self) -> dict[str, Any]:
        """As it is written."""
        ...


def write_out(out: Path, report: Reported, figure: str) -> Path:
    """A report as a JSON file, and its figure beside it as SVG; the figure's path.

    Raises:
        StorageError: the place cannot be written.
    """
    write_json(out, report.as_json())
    drawn = out.with_suffix(".svg")
    drawn.write_text(figure, encoding="utf-8")
    return drawn


def written(out: Path, figure: Path) -> str:
    """The line that says where a report and its figure are."""
    return f"all figures: {out}; drawn: {figure}"


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN and no infinity: what is undefined is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _without_nan(part) for name, part in value.items()}
    return [_without_nan(part) for part in value] if isinstance(value, (list, tuple)) else value


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


def print_tfa(report: Mapping[str, Any]) -> None:
    """What each column gains from no target rows to the most."""
    if report["target_rows_column"] is None:
        return
    rows = {f"{report['human']} (human)": report["human_tfa"], **report["scorers"]}
    typer.echo("\nTFA: gain from N = 0 to the largest N, mean over tasks")
    typer.echo(f"{'column':<22}{'relative':<30}absolute")
    for name, row in rows.items():
        typer.echo(f"{name:<22}{estimate_text(row['tfa_relative']):<30}{estimate_text(row['tfa_absolute'])}")
    if note := report["human_tfa"]["tfa_absolute"].get("reason"):
        typer.echo(f"note: {note}")


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
