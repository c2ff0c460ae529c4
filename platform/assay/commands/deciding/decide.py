"""`assay decide`: what the runs or items of a table decide, round by round; what is dropped and what is open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from assay.commands.metaeval import read_table, require_columns, write_json
from assay.errors import ConfigError, DataError
from assay.option_groups import with_groups

if TYPE_CHECKING:
    from assay.metaeval.sequential.arms import Round, Rule

Unit = Literal["draws", "items"]


@dataclass(frozen=True, slots=True)
class Seen:
    """Scores by arm, in the order that all arms share."""

    scores: Mapping[str, Sequence[float]]
    cheap: Mapping[str, Sequence[float]] | None = None
    """Of a cheap scorer, of all items; None: there is none."""

    @property
    def most(self) -> int:
        """Draws or items of the arm that has most."""
        return max(map(len, self.scores.values()))


def decide_command(seen: Seen, rule: Rule, unit: Unit, num_items: int | None, out: Path) -> None:
    """Decide, write the record and print it.

    Raises:
        ConfigError: no baseline, or fewer than two arms.
        DataError: scores of items outside 0..1, or more than there are items.
    """
    from assay.metaeval.sequential.arms import by_draws, by_items
    from assay.metaeval.sequential.record import rounds_record

    scores = seen.scores
    if len(scores) < 2 or (rule.question == "baseline" and rule.baseline not in scores):
        raise ConfigError(f"arms: saw {', '.join(sorted(scores))}; expected two or more, and --baseline one of them")
    try:
        if unit == "draws":
            rounds = by_draws(scores, rule)
        else:
            if num_items is None:  # the plan is to look at as many, if need be
                num_items = max(seen.most, rule.looks[-1])
            if seen.cheap is not None:
                num_items = max(map(len, seen.cheap.values()))
            rounds = by_items(scores, rule, num_items=num_items, cheap=seen.cheap)
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
    if math.isfinite(last.leader_low):
        typer.echo(
            f"  {last.leader}: {last.leader_mean:.4f} [{last.leader_low:.4f}, {last.leader_high:.4f}], corrected for "
            "having been picked"
        )
    if last.is_answered:
        typer.echo(f"answered after {last.look} {unit}")
    elif last.look == rule.looks[-1]:
        typer.echo("undecided: all planned rounds are done")
    else:
        following = next(look for look in rule.looks if look > last.look)
        typer.echo(f"open: next round at {following} {unit} of the arms that are left")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of the table say what."""

    arm: str
    score: str
    item: str
    """Of draws, or of items."""
    order: str | None = None
    """Place of an item in the order that was planned; None: items are put in an order by the hash of their id."""
    cheap: str | None = None


def read_scores(table: Path, columns: Columns, unit: Unit, seed: int = 0) -> Seen:
    """Scores by arm in the order that all arms share: draws by number or name, items as planned or by hash.

    Raises:
        DataError: no such file, a cell without a number, a repeated row, or arms that do not share their first ones.
        ConfigError: a column that is not there.
    """
    data = read_table(table)
    by = columns.order or columns.item
    wanted = [columns.arm, columns.score, by, *([columns.cheap] if columns.cheap else [])]
    require_columns(data, wanted, table)
    rows = list(zip(*(data[name].to_pylist() for name in wanted), strict=True))
    found = _by_arm(table, rows, by, may_wait=columns.cheap is not None)
    places = sorted({place for cells in found.values() for place in cells}, key=lambda place: (str(type(place)), place))
    if unit == "items":
        places = _planned(table, by, places) if columns.order else _hashed(places, seed)
    cheap = None
    if columns.cheap:
        cheap = _cheap_scores(table, columns.cheap, rows, found, places)
    scores = {}
    for who, cells in found.items():
        known = [place for place in places if cells.get(place) is not None]
        if known != places[: len(known)]:
            raise DataError(f"{table}: saw {who!r} without an early {by}; expected each arm to have the first ones")
        scores[who] = [float(cells[place] or 0.0) for place in known]
    return Seen(scores, cheap)


Cells = dict[str, dict[Any, float | None]]


def _by_arm(table: Path, rows: Sequence[Sequence[Any]], by: str, *, may_wait: bool) -> Cells:
    """Arm -> draw or item -> score; None where it waits for one, which is for items with a cheap score alone."""
    found: Cells = {}
    for who, value, place, *_ in rows:
        if who is None or place is None or not (_is_number(value) or (value is None and may_wait)):
            raise DataError(
                f"{table}: saw a row with {who!r}, {place!r}, {value!r}; expected no empty cell, scores as numbers"
            )
        if place in found.setdefault(str(who), {}):
            raise DataError(f"{table}: saw {who!r} twice at {by}={place!r}; expected one row; average them first")
        found[str(who)][place] = None if value is None else float(value)
    return found


def _cheap_scores(
    table: Path, column: str, rows: Sequence[Sequence[Any]], found: Cells, places: Sequence[Any]
) -> dict[str, list[float]]:
    cheap: dict[str, dict[Any, float]] = {who: {} for who in found}
    for who, _, place, value in rows:
        if not _is_number(value):
            raise DataError(
                f"{table}: saw {value!r} for {who!r}, {place!r} in {column!r}; expected a number in each row"
            )
        cheap[str(who)][place] = float(value)
    for who, cells in cheap.items():
        if len(cells) < len(places):
            raise DataError(
                f"{table}: saw {len(cells)} of {len(places)} items of {who!r}; expected a row with its {column!r} for "
                f"each, the score left empty where there is none yet"
            )
    return {who: [cells[place] for place in places] for who, cells in cheap.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _planned(table: Path, by: str, places: Sequence[Any]) -> list[Any]:
    """The places, if they can be those of a planned order: ids of rows as they came are in no random order."""
    if list(places) not in (list(range(len(places))), list(range(1, len(places) + 1))):
        raise DataError(
            f"{table}, column {by!r}: saw {places[0]!r} to {places[-1]!r}; expected places in an order drawn at random "
            "before anything was scored: 0, 1, 2, ...; leave out --order to have items ordered by the hash of their id"
        )
    return list(places)


def _hashed(places: Sequence[Any], seed: int) -> list[Any]:
    from assay.metaeval.sequential.order import hashed_order

    by_name = {str(place): place for place in places}
    return [by_name[name] for name in hashed_order(by_name, "", seed)]


ANY = "any"


def _looks(text: str, most: int) -> tuple[int, ...]:
    if text == ANY:
        return tuple(range(1, most + 1))
    try:
        looks = tuple(int(part) for part in text.split(","))
    except ValueError:
        looks = ()
    if not looks or list(looks) != sorted(set(looks)) or looks[0] < 1:
        raise ConfigError(f"--looks {text}: expected increasing whole numbers, e.g. --looks 2,3,5, or {ANY}")
    return looks


@dataclass(frozen=True)
class TableOptions:
    """Which columns of the table say what, and in which order items are looked at."""

    unit: Annotated[Unit, typer.Option(help="draws: which mixture; items: which of these adapters.")] = "draws"
    arm: Annotated[str, typer.Option(help="Column of arms.")] = "arm"
    score: Annotated[str, typer.Option(help="Column of scores; of items within 0..1.")] = "score"
    item: Annotated[str | None, typer.Option(help="Column of draws or items; default: draw, or item.")] = None
    order: Annotated[
        str | None,
        typer.Option(help="Of items: column of places in an order drawn at random; default: by hash of the item."),
    ] = None
    cheap: Annotated[
        str | None, typer.Option(help="Of items: column of a cheap scorer, known of all; score may be empty.")
    ] = None
    num_items: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="All items there are; default: up to the last look, or those seen."),
    ] = None
    seed: Annotated[int, typer.Option(help="Of the order by hash.")] = 0

    def columns(self) -> Columns:
        """The columns.

        Raises:
            ConfigError: an option that this unit does not have.
        """
        of_items = self.order is not None or self.cheap is not None or self.num_items is not None
        if self.unit == "draws" and of_items:
            raise ConfigError("--order, --cheap, --num-items: saw one with --unit draws; expected them for items alone")
        if self.cheap is not None and self.num_items is not None:
            raise ConfigError("--num-items: saw it beside --cheap, whose rows are all items there are; leave it out")
        return Columns(self.arm, self.score, self.item or self.unit.removesuffix("s"), self.order, self.cheap)


@dataclass(frozen=True)
class RuleOptions:
    """What is asked, and with how much certainty."""

    looks: Annotated[
        str,
        typer.Option(metavar="N,N,...", help=f"Draws (or items) after each planned round; {ANY}: after each, no plan."),
    ]
    question: Annotated[Literal["best", "baseline", "order"], typer.Option(help="What is asked.")] = "best"
    baseline: Annotated[str, typer.Option(help="Arm that --question baseline compares with.")] = ""
    alpha: Annotated[
        float, typer.Option(metavar="NUMBER", min=0.0001, max=0.5, help="Chance of any false finding.")
    ] = 0.05
    margin: Annotated[
        float, typer.Option(metavar="NUMBER", min=0, help="Differences within it are of no interest.")
    ] = 0.0


def register(app: typer.Typer) -> None:
    """Hang `assay decide` on."""
    app.command("decide")(with_groups(decide))


def decide(
    *,
    table: Annotated[Path, typer.Option(help="CSV, JSONL or Parquet: one row per arm and draw (or item).")],
    out: Annotated[Path, typer.Option(metavar="FILE.json")],
    asked: RuleOptions,
    read: TableOptions,
) -> None:
    """Which arms are decided, which are out and what is open; may be asked after every planned round."""
    from assay.metaeval.sequential.arms import Rule

    columns = read.columns()
    if asked.looks != ANY:
        _looks(asked.looks, 0)
    seen = read_scores(table, columns, read.unit, read.seed)
    looks = _looks(asked.looks, seen.most)
    rule = Rule(asked.question, looks, asked.alpha, asked.margin, asked.baseline, is_planned=asked.looks != ANY)
    decide_command(seen, rule, read.unit, read.num_items, out)
