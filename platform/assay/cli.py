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
from assay.commands.options import (
    SCORER_PARAM,
    ColumnOptions,
    JsonOption,
    ReportOption,
    RunFlags,
    ScoreOptions,
    TrackingOption,
    set_option,
    storage_option,
)
from assay.commands.overview import Overview
from assay.errors import AssayError, ConfigError, plain_line
from assay.option_groups import with_groups

app = typer.Typer(
    name="assay",
    cls=Overview,
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
SetOption = Annotated[list[str] | None, set_option("Override a field, e.g. --set grid.draws=5. May be repeated.")]
StorageOption = Annotated[str, storage_option("Where artifacts, results and runs are kept.")]


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
def plan(
    study: StudyArgument,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    device: Annotated[str | None, typer.Option(help="GPU of the throughput table: L4, A10G, A100, H100, H200.")] = None,
    train_tokens_per_s: Annotated[float | None, typer.Option(help="Measured by you, on one GPU.")] = None,
    generate_tokens_per_s: Annotated[float | None, typer.Option(help="Prompt and answer tokens, measured.")] = None,
    storage: Annotated[str, storage_option("Where a run counted the study's rows; only read.")] = "runs",
) -> None:
    """Cells, distinct trainings, tokens, GPU-hours, judge calls and dollars; touches nothing."""
    from assay.commands.kinds.kind import Named
    from assay.commands.kinds.known import kind_of
    from assay.studies.planning.throughput import rates

    speed = rates(device, train_tokens_per_s, generate_tokens_per_s)
    kind_of(study).plan(Named(study, overrides or [], storage), speed, as_json=as_json)


def run(
    *,
    study: StudyArgument,
    overrides: SetOption = None,
    storage: StorageOption = "runs",
    flags: RunFlags,
) -> None:
    """Run a study, or continue it: what the store holds is not done again."""
    from assay.commands.kinds.kind import Named
    from assay.commands.kinds.known import kind_of

    kind_of(study).run(Named(study, overrides or [], storage), flags)


app.command()(with_groups(run))


@app.command()
def status(
    study: StudyArgument, overrides: SetOption = None, storage: StorageOption = "runs", as_json: JsonOption = False
) -> None:
    """How far a study is, from the store alone."""
    from assay.commands.kinds.kind import Named
    from assay.commands.kinds.known import kind_of
    from assay.store import Store

    kind_of(study, Store(storage)).status(Named(study, overrides or [], storage), as_json=as_json)


@app.command()
def report(
    study: StudyArgument,
    storage: StorageOption = "runs",
    audit: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="What audit-judge said of the study's judge; kept with it.")
    ] = None,
) -> None:
    """Write report.html of a finished study again, from its stored tables."""
    from assay.commands.kinds.known import kind_in
    from assay.store import Store

    store = Store(storage)
    kind_in(store, study).report(store, study, audit)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A finished study, or a log (.eval, .json, .jsonl).")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    storage: StorageOption = "runs",
    as_json: JsonOption = False,
    margin: Annotated[float, typer.Option(help="Differences of two logs within it count as equivalent.")] = 0.02,
) -> None:
    """Two finished studies side by side, or two logs of inspect-ai or lm-evaluation-harness paired by item."""
    from assay.foreign_logs.logs import is_foreign_log

    if is_foreign_log(first) and is_foreign_log(second):
        from assay.commands.compare_logs import compare_logs_command

        compare_logs_command(first, second, margin, as_json)
        return
    from assay.commands.compare import compare_command

    compare_command(first, second, storage, as_json)


@app.command()
def mixtures(
    study: StudyArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for one folder per mixture.")],
    overrides: SetOption = None,
    storage: StorageOption = "runs",
    arm: Annotated[str | None, typer.Option(help="Only the mixtures of this arm, one for each draw.")] = None,
) -> None:
    """Write the mixtures of a study as JSONL, with the provenance of every row and as messages for other trainers."""
    from assay.commands.study import mixtures_command

    mixtures_command(study, overrides or [], out, storage, arm)


def score(
    *,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="JSONL, or .gz: prediction, and reference (text, an object, a list of texts) or references; "
            "instruction, input, task and id where there are any."
        ),
    ] = None,
    scorers: Annotated[
        str | None, typer.Option(help="Names, separated by commas; `judge` asks the LLM judge. See --list.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The same rows with a field per scorer; means in FILE.summary.json.")
    ] = None,
    how: ScoreOptions,
    show: Annotated[bool, typer.Option("--list", help="Show the scorers: kind, range, cost, parameters.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --list: as JSON.")] = False,
) -> None:
    """Score a file of predictions, of any size."""
    from assay.commands.score import list_command, score_command
    from assay.commands.stopping import clean_stop

    if show:
        list_command(as_json, how.study)
        return
    if predictions is None or scorers is None or out is None:
        raise ConfigError("score: expected --predictions FILE --scorers NAME[,NAME] --out FILE, or --list")
    with clean_stop():
        score_command(predictions, scorers.split(","), out, how)


app.command()(with_groups(score))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of files of rows.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.yaml", help="Default: study.yaml in DIR.")] = None,
) -> None:
    """A commented study file for a folder of data: formats, columns, labels and lengths are guessed, and said so."""
    from assay.commands.init import init_command

    init_command(folder, out)


@app.command()
def doctor(
    warm_up: Annotated[bool, typer.Option("--warm-up", help="Also build what is compiled at first use.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What works here: Python, GPU, engines, Ray, storage, keys; and how to fix the rest."""
    from assay.commands.doctor import doctor_command

    doctor_command(warm_up, as_json)


@app.command()
def gc(
    storage: StorageOption = "runs",
    older_than: Annotated[float, typer.Option(metavar="DAYS", min=0, help="Keep what was written lately.")] = 7.0,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it; without this, only say what would go.")] = False,
    forget: Annotated[
        list[str] | None, typer.Option(metavar="STUDY", help="Take this study as one that wants nothing.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Artifacts that no study in the storage wants: says which, and deletes them when asked to."""
    from assay.commands.garbage import gc_command

    gc_command(storage, older_than, delete, forget or [], as_json)


def metaeval_scores(
    *,
    table: Annotated[Path, typer.Option(help="CSV, JSONL or Parquet: one row per scored text or model.")],
    human: Annotated[str, typer.Option(help="Column that the scorers are compared with.")],
    out: Annotated[Path, typer.Option(metavar="FILE.json")],
    scorer: Annotated[
        list[str] | None,
        typer.Option(help="Scorer column; default: every other one of numbers but id, *_id, seed, draw and n."),
    ] = None,
    parts: ColumnOptions,
) -> None:
    """Correlations, pairwise accuracy, CIT, CAT and TFA of scorer columns against a human column, with intervals.

    TFA is the gain from N = 0 to the largest N, mean over tasks, of each column and of the human one. Where people
    scored only some rows, also what they would have given all of them (prediction-powered inference).
    """
    from assay.commands.metaeval import scores_command

    scores_command(table, human, out, scorer or [], parts)


metaeval_app.command("scores")(with_groups(metaeval_scores))


@metaeval_app.command("human")
def metaeval_human(
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with summeval/, topical_chat/, human_scores/, or some of them.")
    ],
    out: ReportOption = Path("human.json"),
    scorers: Annotated[
        str | None, typer.Option(help="Names, separated by commas; default: all that need no LLM.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Of BERTScore: a folder or hub id; default all-MiniLM-L6-v2.")
    ] = None,
    overrides: Annotated[list[str] | None, set_option("E.g. reward.model=FOLDER.", SCORER_PARAM)] = None,
    storage: StorageOption = "runs",
    tracking: TrackingOption = None,
    resamples: Annotated[int, typer.Option(metavar="N", min=200, help="Of bootstrap and permutation.")] = 2000,
) -> None:
    """Scorers x tasks on public human scores: CIT, CAT, the human ceiling, and which scorer is better than which."""
    from assay.commands.human import SCORERS, human_command
    from assay.commands.stopping import clean_stop

    names = SCORERS if scorers is None else scorers.split(",")
    with clean_stop():
        human_command(data, out, names, encoder, overrides or [], storage, tracking, resamples)


def main() -> None:
    """Entry point of `assay`."""
    raise SystemExit(run_app(sys.argv[1:]))


def door(command: str) -> None:
    """Entry point of the scripts in jobs/: one command, its arguments from the script's own command line."""
    raise SystemExit(run_app([command, *sys.argv[1:]]))


def run_app(arguments: list[str]) -> int:
    """The exit code of a command line; an AssayError becomes one line on standard error."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        whole_app()(arguments, prog_name="assay")
    except AssayError as error:
        typer.echo(f"assay: {plain_line(str(error))}", err=True)
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
def whole_app() -> typer.Typer:
    """The command line with the commands around judges, labels and data, which hang themselves on."""
    from assay.commands import data, export, generate, tracking
    from assay.commands.deciding import decide, exits, predict, proxy
    from assay.commands.instruments import app as instrument_app
    from assay.commands.judges.register import register
    from assay.commands.label import label_app

    register(app, metaeval_app)
    data.register(app)
    decide.register(app)
    exits.register(app)
    tracking.register(app)
    predict.register(app)
    proxy.register(app)
    export.register(app)
    generate.register(app)
    app.add_typer(label_app, name="label")
    app.add_typer(instrument_app, name="instrument")
    return app
