"""`assay instrument ...`: judges as instruments: their taste for style, severity, place among people, help with a mean.

Each reads one table (JSON, JSON lines, CSV or Parquet, a row per rating or verdict) and prints JSON, which `--out`
writes too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.commands.metaeval import read_table, write_json
from assay.errors import ConfigError, DataError
from assay.row_files import read_rows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

app = typer.Typer(no_args_is_help=True, help="Judges as instruments: style, severity, agreement, ppi.")

TableOption = Annotated[Path, typer.Option(help="Rows as JSON, JSON lines, CSV or Parquet.")]
OutOption = Annotated[Path | None, typer.Option(help="File that the JSON is written to as well.")]


@app.command()
def style(
    table: TableOption,
    preference: Annotated[str, typer.Option(help="Field: share in [0, 1] for the model, null without a verdict.")],
    model: Annotated[str, typer.Option(help="Field: the model's answer.")],
    baseline: Annotated[str, typer.Option(help="Field: the baseline's answer.")],
    out: OutOption = None,
) -> None:
    """Win rate with length, headers, lists and bold held equal, and what each is worth to the judge."""
    from assay.metaeval.statistics.style_control import style_control, style_differences

    rows = _rows(table)
    texts = [_texts(rows, name, table) for name in (model, baseline)]
    known = [None if math.isnan(share) else share for share in _numbers(rows, preference, table)]
    for place, share in enumerate(known, 1):
        if share is not None and not 0 <= share <= 1:
            seen = f"{preference} = {share:g}"
            raise DataError(f"{table}, row {place}: saw {seen}; expected a share in [0, 1] for the model; fix the row")
    _tell(style_control(known, style_differences(*texts)).as_json(), out)


@app.command()
def severity(
    table: TableOption,
    item: Annotated[str, typer.Option(help="Field: what was rated.")] = "item",
    judge: Annotated[str, typer.Option(help="Field: who rated it.")] = "judge",
    score: Annotated[str, typer.Option(help="Field: the grade.")] = "score",
    out: OutOption = None,
) -> None:
    """Severity and discrimination of judges that rated the same items (graded response model)."""
    from assay.metaeval.statistics.graded_response import graded_response

    names, grades = _by_rater(table, item, judge, score)
    _tell(graded_response(names, grades).as_json(), out)


@app.command()
def agreement(
    table: TableOption,
    name: Annotated[str, typer.Option(help="The judge among the raters; all others are people.")],
    item: Annotated[str, typer.Option(help="Field: what was rated.")] = "item",
    rater: Annotated[str, typer.Option(help="Field: who rated it.")] = "rater",
    score: Annotated[str, typer.Option(help="Field: the score.")] = "score",
    out: OutOption = None,
) -> None:
    """A judge's agreement with people as a z-score inside the agreement that people have."""
    import numpy as np

    from assay.metaeval.statistics.human_agreement import human_agreement

    names, scores = _by_rater(table, item, rater, score)
    if name not in names:
        raise ConfigError(f"{table}: saw raters {names[:10]}; expected {name!r} among them; check --name")
    place = names.index(name)
    _tell(human_agreement(list(scores[place]), np.delete(scores, place, axis=0)).as_json(), out)


@app.command()
def ppi(
    table: TableOption,
    human: Annotated[str, typer.Option(help="Field: people's score, null where there is none.")],
    judge: Annotated[str, typer.Option(help="Field: the judge's score.")],
    strata: Annotated[str, typer.Option(help="Field: stratum of the row.")],
    out: OutOption = None,
) -> None:
    """Human mean from few labels and many judge scores, corrected stratum by stratum."""
    from assay.metaeval.statistics.ppi_strata import stratified_ppi_mean

    rows = _rows(table)
    by_people, by_judge = _numbers(rows, human, table), _numbers(rows, judge, table)
    names = _labels(rows, strata, table)
    scored = [place for place, value in enumerate(by_judge) if not math.isnan(value)]
    estimate = stratified_ppi_mean(
        [by_people[place] for place in scored],
        [by_judge[place] for place in scored],
        [names[place] for place in scored],
    )
    _tell({"mean": estimate.as_json(), "num_unscored": len(rows) - len(scored)}, out)


def _rows(table: Path) -> list[dict[str, Any]]:
    """Rows of JSON, JSON lines (plain or packed), CSV or Parquet."""
    if table.suffix in (".csv", ".parquet"):
        return list(read_table(table).to_pylist())
    return read_rows(table)


def _field(row: dict[str, Any], name: str, where: str) -> Any:
    if name not in row:
        raise ConfigError(
            f"{where}: saw a row with {sorted(row)[:8]}; expected a field {name!r} in each; check the flags"
        )
    return row[name]


def _numbers(rows: Sequence[dict[str, Any]], name: str, table: Path) -> list[float]:
    """The field of every row, NaN where it is null."""
    found = []
    for place, row in enumerate(rows, 1):
        value = _field(row, name, f"{table}, row {place}")
        value = math.nan if value is None else value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isinf(value):
            seen = f"{name} = {str(value)[:40]!r}"
            raise DataError(f"{table}, row {place}: saw {seen}; expected a finite number or null; fix the row")
        found.append(float(value))
    return found


def _labels(rows: Sequence[dict[str, Any]], name: str, table: Path) -> list[str]:
    """The field of every row as text: rows without a label have nothing in common."""
    found = []
    for place, row in enumerate(rows, 1):
        value = _field(row, name, f"{table}, row {place}")
        if value is None or (isinstance(value, str) and not value.strip()):
            raise DataError(f"{table}, row {place}: saw an empty {name}; expected a label in each row; fix the row")
        found.append(str(value))
    return found


def _texts(rows: Sequence[dict[str, Any]], name: str, table: Path) -> list[str]:
    """The field of every row; an answer may be empty."""
    found = []
    for place, row in enumerate(rows, 1):
        value = _field(row, name, f"{table}, row {place}")
        if not isinstance(value, str):
            raise DataError(f"{table}, row {place}: saw {name} = {str(value)[:40]!r}; expected a text; fix the row")
        found.append(value)
    return found


def _by_rater(table: Path, item: str, rater: str, score: str) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Raters and their scores, shape (raters, items); a rating that is there twice is averaged over what is known."""
    import numpy as np

    rows = _rows(table)
    seen: dict[tuple[str, str], list[float]] = {}
    columns = _labels(rows, rater, table), _labels(rows, item, table), _numbers(rows, score, table)
    for who, what, value in zip(*columns, strict=True):
        seen.setdefault((who, what), []).append(value)
    names, items = sorted({key[0] for key in seen}), sorted({key[1] for key in seen})
    scores = np.full((len(names), len(items)), np.nan)
    rows_of, columns_of = ({key: place for place, key in enumerate(keys)} for keys in (names, items))
    for (name, what), values in seen.items():
        known = [value for value in values if not math.isnan(value)]
        scores[rows_of[name], columns_of[what]] = float(np.mean(known)) if known else math.nan
    return names, scores


def _tell(report: dict[str, Any], out: Path | None) -> None:
    if out is not None:
        write_json(out, report)
    typer.echo(json.dumps(report, indent=2))
