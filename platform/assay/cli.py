"""`assay`: the command line. Parses, calls one function of `commands`, and turns errors into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 bad input, 3 stopped by a limit (the same command continues).
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from assay import __version__
from assay.errors import AssayError, ConfigError

app = typer.Typer(
    name="assay",
    help="Which data mixture makes the better instruction-tuned model, and which scorer deserves belief.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
metaeval_app = typer.Typer(
    help="Meta-evaluation: which scorer to believe.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(metaeval_app, name="metaeval")

StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A builtin study, or a YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a field, e.g. --set grid.draws=5. May be repeated."),
]
StorageOption = Annotated[
    str,
    typer.Option(
        "--storage", envvar="ASSAY_STORAGE", metavar="URI", help="Where artifacts, results and runs are kept."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"assay {__version__}")
        raise typer.Exit


@app.command()
def demo(storage: StorageOption = "runs") -> None:
    """Run the quickstart study on this machine: no GPU, key, account or network."""
    from assay.commands.study import run_command

    run_command("quickstart", [], storage)


@app.command()
def plan(study: StudyArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Cells, distinct trainings, tokens, GPU-hours, judge calls and dollars; touches nothing."""
    from assay.commands.plan import plan_command

    plan_command(study, overrides or [], as_json)


@app.command()
def run(
    study: StudyArgument,
    overrides: SetOption = None,
    storage: StorageOption = "runs",
    max_usd: Annotated[float | None, typer.Option(help="Stop before judges cost more than this.")] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="Stop after this stage: data, base, train, generate, score."),
    ] = None,
) -> None:
    """Run a study, or continue it: what the store holds is not done again."""
    from assay.commands.ifs import is_ifs_study, run_ifs_study
    from assay.commands.study import run_command

    if is_ifs_study(study):
        if max_usd is not None or until is not None:
            raise ConfigError(f"{study}: an IFS study knows neither --max-usd nor --until; leave them out")
        run_ifs_study(study, overrides or [], storage)
        return
    run_command(study, overrides or [], storage, max_usd=max_usd, until=until)


@app.command()
def status(
    study: StudyArgument, overrides: SetOption = None, storage: StorageOption = "runs", as_json: JsonOption = False
) -> None:
    """How far a study is, from the store alone."""
    from assay.commands.study import status_command

    status_command(study, overrides or [], storage, as_json)


@app.command()
def report(study: StudyArgument, storage: StorageOption = "runs") -> None:
    """Write report.html of a finished study again, from its stored tables."""
    from assay.commands.study import report_command

    report_command(study, storage)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A finished study.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    storage: StorageOption = "runs",
    as_json: JsonOption = False,
) -> None:
    """Two finished studies side by side: equal arms, with the difference and its interval."""
    from assay.commands.compare import compare_command

    compare_command(first, second, storage, as_json)


@app.command()
def mixtures(
    study: StudyArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for one JSONL file per mixture.")],
    overrides: SetOption = None,
) -> None:
    """Write the mixtures of a study as JSONL, with the provenance of every row."""
    from assay.commands.study import mixtures_command

    mixtures_command(study, overrides or [], out)


@app.command()
def score(
    predictions: Annotated[
        Path,
        typer.Option(help="JSONL: prediction and reference; instruction, input, task and id where there are any."),
    ],
    scorers: Annotated[str, typer.Option(help="Names, separated by commas; `judge` asks the LLM judge.")],
    out: Annotated[Path, typer.Option(help="The same rows with a field per scorer; means in FILE.summary.json.")],
    task: Annotated[str, typer.Option(help="Task of rows that name none.")] = "instructions",
    mode: Annotated[str, typer.Option(help="strict or compat.")] = "strict",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="judge.FIELD=VALUE", help="Which judge, as in a study.")
    ] = None,
    storage: StorageOption = "runs",
) -> None:
    """Score a file of predictions."""
    from assay.commands.score import score_command

    score_command(predictions, scorers.split(","), out, task, mode, overrides or [], storage)


@app.command()
def doctor(
    warm_up: Annotated[bool, typer.Option("--warm-up", help="Also build what is compiled at first use.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What works here: Python, GPU, engines, Ray, storage, keys; and how to mend the rest."""
    from assay.commands.doctor import doctor_command

    doctor_command(warm_up, as_json)


@metaeval_app.command("scores")
def metaeval_scores(
    table: Annotated[Path, typer.Option(help="CSV, JSONL or Parquet: one row per scored text or model.")],
    human: Annotated[str, typer.Option(help="Column that the scorers are compared with.")],
    out: Annotated[Path, typer.Option(metavar="FILE.json")],
    scorer: Annotated[
        list[str] | None, typer.Option(help="Scorer column; default: every other numeric column.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Column that names the task, for CIT and CAT.")] = None,
    group: Annotated[str | None, typer.Option(help="Column of the unit that is resampled and grouped by.")] = None,
) -> None:
    """Correlations, pairwise accuracy, CIT and CAT of scorer columns against a human column, with intervals."""
    from assay.commands.metaeval import scores_command

    scores_command(table, human, out, scorer or [], task, group)


def main() -> None:
    """Entry point of `assay`."""
    raise SystemExit(run_app(sys.argv[1:]))


def door(command: str) -> None:
    """Entry point of the scripts in jobs/: one command, its arguments from the script's own command line."""
    raise SystemExit(run_app([command, *sys.argv[1:]]))


def run_app(arguments: list[str]) -> int:
    """The exit code of a command line; an AssayError becomes one line on standard error."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _register_judging()
    try:
        app(arguments, prog_name="assay")
    except AssayError as error:
        typer.echo(f"assay: {error}", err=True)
        return error.exit_code
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except KeyboardInterrupt:
        typer.echo("assay: stopped; the same command continues from here", err=True)
        return 3
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return 0


@cache
def _register_judging() -> None:
    """Hang the judging commands on, once."""
    from assay.commands.judging import register

    register(app, metaeval_app)
