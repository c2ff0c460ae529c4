"""`assay instrument ...`: judges as instruments: their taste for style, severity, place among people, help with a mean.

Each reads one table (JSON or JSON lines, a row per rating or verdict) and prints JSON, which `--out` writes too.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

app = typer.Typer(no_args_is_help=True, help="Judges as instruments: style, severity, agreement, ppi.")

TableOption = Annotated[Path, typer.Option(help="Rows as JSON or JSON lines.")]
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
    shares = [_number(row, preference, table) for row in rows]
    texts = [[str(_field(row, name, table)) for row in rows] for name in (model, baseline)]
    known = [None if math.isnan(share) else share for share in shares]
    if any(share is not None and not 0 <= share <= 1 for share in known):
        raise ConfigError(
            f"{table}: saw a {preference} outside of [0, 1]; expected a share for the model; fix the rows"
        )
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
    scored = [row for row in rows if not math.isnan(_number(row, judge, table))]
    estimate = stratified_ppi_mean(
        [_number(row, human, table) for row in scored],
        [_number(row, judge, table) for row in scored],
        [str(_field(row, strata, table)) for row in scored],
    )
    _tell({"mean": estimate.as_json(), "num_unscored": len(rows) - len(scored)}, out)


def _rows(table: Path) -> list[dict[str, Any]]:
    from assay.row_files import read_rows

    return list(read_rows(table))


def _field(row: dict[str, Any], name: str, table: Path) -> Any:
    if name not in row:
        raise ConfigError(
            f"{table}: saw a row with {sorted(row)[:8]}; expected a field {name!r} in each; check the flags"
        )
    return row[name]


def _number(row: dict[str, Any], name: str, table: Path) -> float:
    value = _field(row, name, table)
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{table}: saw {name} = {str(value)[:40]!r}; expected a number or null; fix the row")
    return float(value)


def _by_rater(table: Path, item: str, rater: str, score: str) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Raters and their scores, shape (raters, items); a rating that is there twice is averaged."""
    import numpy as np

    seen: dict[tuple[str, str], list[float]] = {}
    for row in _rows(table):
        seen.setdefault((str(_field(row, rater, table)), str(_field(row, item, table))), []).append(
            _number(row, score, table)
        )
    names, items = sorted({key[0] for key in seen}), sorted({key[1] for key in seen})
    scores = np.full((len(names), len(items)), np.nan)
    rows_of, columns_of = ({key: place for place, key in enumerate(keys)} for keys in (names, items))
    for (name, what), values in seen.items():
        scores[rows_of[name], columns_of[what]] = float(np.mean(values))
    return names, scores


def _tell(report: dict[str, Any], out: Path | None) -> None:
    text = json.dumps(report, indent=2)
    typer.echo(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
