"""`assay decide`: what the runs or items of a table decide, round by round; what is dropped and what is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from assay.commands.metaeval import read_table, write_json
from assay.errors import ConfigError, DataError

if TYPE_CHECKING:
    from assay.metaeval.sequential.arms import Round, Rule

Unit = Literal["draws", "items"]


def decide_command(
    scores: Mapping[str, Sequence[float]], rule: Rule, unit: Unit, num_items: int | None, out: Path
) -> None:
    """Decide, write the record and print it.

    Raises:
        ConfigError: no baseline, or fewer than two arms.
        DataError: scores of items outside 0..1, or more than there are items.
    """
    from assay.metaeval.sequential.arms import by_draws, by_items
    from assay.metaeval.sequential.record import rounds_record

    if len(scores) < 2 or (rule.question == "baseline" and rule.baseline not in scores):
        raise ConfigError(f"arms: saw {', '.join(sorted(scores))}; expected two or more, and --baseline one of them")
    try:
        if unit == "draws":
            rounds = by_draws(scores, rule)
        else:
            most = max(map(len, scores.values()))
            rounds = by_items(scores, rule, num_items=most if num_items is None else num_items)
    except ValueError as error:
        raise DataError(f"--table: saw {error}") from error
    write_json(out, rounds_record(rounds, rule, unit))
    show(rounds, rule, unit)
    typer.echo(f"the record: {out}")


def show(rounds: Sequence[Round], rule: Rule, unit: Unit) -> None:
    """A line per round, and the last round's findings."""
    from assay.metaeval.sequential.arms import more_needed

    if not rounds:
        typer.echo(f"no round yet: the first is at {rule.looks[0]} {unit} of every arm")
        return
    for one in rounds:
        gone = "; ".join(f"{arm} is out ({why})" for arm, why in sorted(one.dropped.items())) or "nothing is dropped"
        typer.echo(f"after {one.look} {unit}: best so far {one.leader}; {gone}")
    last = rounds[-1]
    for finding in last.findings:
        more = more_needed(finding, last.look)
        taken = f", would take about {more:,} more {unit}" if more is not None else ""
        typer.echo(
            f"  {finding.first} is {finding.word}{taken}: {finding.difference:+.4f} "
            f"[{finding.low:+.4f}, {finding.high:+.4f}] against {finding.second}"
        )
    if last.is_answered:
        typer.echo(f"answered after {last.look} {unit}")
    elif last.look == rule.looks[-1]:
        typer.echo("undecided: all planned rounds are done")
    else:
        following = next(look for look in rule.looks if look > last.look)
        typer.echo(f"open: next round at {following} {unit} of the arms that are left")


def read_scores(table: Path, arm: str, score: str, order: str) -> dict[str, list[float]]:
    """Scores by arm in the order that all arms share.

    Raises:
        DataError: no such file, a cell without a number, a repeated row, or arms that do not share their first ones.
        ConfigError: a column that is not there.
    """
    data = read_table(table)
    for name in (arm, score, order):
        if name not in data.column_names:
            raise ConfigError(f"{table}: saw no column {name!r}; expected one of {', '.join(data.column_names)}")
    found: dict[str, dict[Any, float]] = {}
    for who, value, place in zip(*(data[name].to_pylist() for name in (arm, score, order)), strict=True):
        if who is None or place is None or not isinstance(value, (int, float)):
            raise DataError(
                f"{table}: saw a row with {who!r}, {place!r}, {value!r}; expected no empty cell, scores as numbers"
            )
        if place in found.setdefault(str(who), {}):
            raise DataError(f"{table}: saw {who!r} twice at {order}={place!r}; expected one row; average them first")
        found[str(who)][place] = float(value)
    places = sorted({place for rows in found.values() for place in rows}, key=lambda place: (str(type(place)), place))
    for who, rows in found.items():
        if any(place not in rows for place in places[: len(rows)]):
            raise DataError(f"{table}: saw {who!r} without an early {order}; expected each arm to have the first ones")
    return {who: [rows[place] for place in places[: len(rows)]] for who, rows in found.items()}


def _looks(text: str) -> tuple[int, ...]:
    try:
        looks = tuple(int(part) for part in text.split(","))
    except ValueError:
        looks = ()
    if not looks or list(looks) != sorted(set(looks)) or looks[0] < 1:
        raise ConfigError(f"--looks {text}: expected increasing whole numbers, e.g. --looks 2,3,5")
    return looks


def register(app: typer.Typer) -> None:
    """Hang `assay decide` on."""

    @app.command("decide")
    def decide(
        table: Annotated[Path, typer.Option(help="CSV, JSONL or Parquet: one row per arm and draw (or item).")],
        looks: Annotated[str, typer.Option(metavar="N,N,...", help="Draws (or items) after each planned round.")],
        out: Annotated[Path, typer.Option(metavar="FILE.json")],
        unit: Annotated[Unit, typer.Option(help="draws: which mixture; items: which of these adapters.")] = "draws",
        question: Annotated[Literal["best", "baseline", "order"], typer.Option(help="What is asked.")] = "best",
        arm: Annotated[str, typer.Option(help="Column of arms.")] = "arm",
        score: Annotated[str, typer.Option(help="Column of scores; of items within 0..1.")] = "score",
        order: Annotated[
            str | None, typer.Option(help="Column of draws or items, planned order; default: draw, or item.")
        ] = None,
        baseline: Annotated[str, typer.Option(help="Arm that --question baseline compares with.")] = "",
        alpha: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Chance of any false finding.")] = 0.05,
        margin: Annotated[float, typer.Option(min=0, help="Differences within it are of no interest.")] = 0.0,
        num_items: Annotated[int | None, typer.Option(min=1, help="All items there are; default: those seen.")] = None,
    ) -> None:
        """Which arms are decided, which are out and what is open; may be asked after every planned round."""
        from assay.metaeval.sequential.arms import Rule

        rule = Rule(question, _looks(looks), alpha, margin, baseline)
        scores = read_scores(table, arm, score, order or ("draw" if unit == "draws" else "item"))
        decide_command(scores, rule, unit, num_items, out)
