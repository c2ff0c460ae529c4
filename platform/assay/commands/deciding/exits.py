"""`assay exits`: which running trainings cannot win any more by their validation losses; on whole curves, a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.commands.metaeval import read_table, require_columns, write_json
from assay.errors import ConfigError, DataError
from assay.option_groups import with_groups

if TYPE_CHECKING:
    from assay.metaeval.sequential.early_exit import ExitRule


def exits_command(
    curves: Mapping[str, Sequence[float]], total: int | None, rule: ExitRule, standard_error: float | None, out: Path
) -> None:
    """Say who may end now, or what would have been had the rule ruled; write it as JSON.

    Raises:
        ConfigError: fewer evaluations in all than there are already, or fewer than two arms.
    """
    from assay.metaeval.sequential.early_exit import exits, noise_of, replay

    seen = min(map(len, curves.values()))
    num = seen if total is None else total
    if len(curves) < 2 or num < seen or num < 2:
        raise ConfigError(
            f"--evaluations {num}: saw {len(curves)} arms with {seen} evaluations; expected two arms or more, and no "
            "fewer evaluations than that (2 or more)"
        )
    reached = {arm: list(curve[:seen]) for arm, curve in curves.items()}
    noise = noise_of(list(reached.values()))
    report: dict[str, Any] = {"rule": asdict(rule), "evaluations": seen, "of": num, "noise": noise}
    if seen < num:
        found = exits(reached, num, rule, noise)
        report["ended"] = found
        typer.echo(f"after {seen} of {num} evaluations of {len(curves)} arms: {len(found)} cannot win any more")
        for arm, why in found.items():
            typer.echo(f"  {arm}: {why}")
    else:
        error = noise if standard_error is None else standard_error
        result = replay(reached, rule, standard_error=error)
        report |= asdict(result)
        kept = (
            "the winner, or one within a standard error of it, went on"
            if result.is_winner_kept
            else "the winner was lost"
        )
        typer.echo(
            f"replay of {len(curves)} arms over {num} evaluations: {len(result.ended)} ended early, "
            f"{result.steps_saved:.1%} of steps saved; {kept} ({result.winner})"
        )
    write_json(out, report)
    typer.echo(f"all figures: {out}")


def read_curves(table: Path, arm: str, step: str, loss: str) -> dict[str, list[float]]:
    """Losses by arm in the order of steps.

    Raises:
        DataError: no such file, a cell without a number, or a step twice.
        ConfigError: a column that is not there.
    """
    data = read_table(table)
    require_columns(data, (arm, step, loss), table)
    found: dict[str, dict[float, float]] = {}
    for who, at, value in zip(*(data[name].to_pylist() for name in (arm, step, loss)), strict=True):
        if value is None:  # a step without an evaluation
            continue
        if who is None or not isinstance(at, (int, float)) or not isinstance(value, (int, float)) or value != value:
            raise DataError(f"{table}: saw a row with {who!r}, {at!r}, {value!r}; expected an arm and numbers")
        if at in found.setdefault(str(who), {}):
            raise DataError(f"{table}: saw {who!r} twice at {step}={at!r}; expected one row")
        found[str(who)][at] = float(value)
    if not found:
        raise DataError(f"{table}: saw no row with a {loss!r}; expected some")
    return {who: [rows[at] for at in sorted(rows)] for who, rows in sorted(found.items())}


@dataclass(frozen=True)
class CurveOptions:
    """Where the curves are."""

    table: Annotated[Path, typer.Option(help="CSV, JSONL or Parquet: arm, step and loss of each evaluation.")]
    arm: Annotated[str, typer.Option(help="Column of arms.")] = "arm"
    step: Annotated[str, typer.Option(help="Column of optimizer steps.")] = "step"
    loss: Annotated[str, typer.Option(help="Column of losses on rows that all arms share.")] = "validation_loss"


@dataclass(frozen=True)
class ExitOptions:
    """When a training ends."""

    margin: Annotated[float, typer.Option(metavar="NUMBER", min=0, help="Nats within which an arm is as good.")] = 0.0
    first: Annotated[
        float, typer.Option(metavar="NUMBER", min=0, max=1, help="Part of the schedule before nobody ends.")
    ] = 0.4
    credit: Annotated[
        float, typer.Option(metavar="NUMBER", min=0, max=1, help="Part of its bound that the leader gains.")
    ] = 0.5


def register(app: typer.Typer) -> None:
    """Hang `assay exits` on."""
    app.command("exits")(with_groups(exits))


def exits(
    *,
    curves: CurveOptions,
    out: Annotated[Path, typer.Option(metavar="FILE.json")],
    evaluations: Annotated[int | None, typer.Option(help="Of a whole training; default: those there are.")] = None,
    when: ExitOptions,
    standard_error: Annotated[float | None, typer.Option(help="Of a last loss; default: from the curves.")] = None,
) -> None:
    """Which running trainings cannot win any more; where all are done, what ending them would have saved."""
    from assay.metaeval.sequential.early_exit import ExitRule

    rule = ExitRule(margin=when.margin, first=when.first, credit=when.credit)
    found = read_curves(curves.table, curves.arm, curves.step, curves.loss)
    exits_command(found, evaluations, rule, standard_error, out)
