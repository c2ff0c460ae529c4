"""The commands around data and mixtures, hung onto the command line: `data check`, `tag`, `synthesize` and `search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.commands.option_groups import with_groups
from assay.commands.options import CallOptions, JsonOption, UsdOption, set_option, storage_option
from assay.commands.stopping import stoppable

DataOption = Annotated[Path, typer.Option("--data", metavar="FILE", help="JSONL or JSON, .gz allowed.")]
OutOption = Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="The rows; a summary lies beside it.")]
JudgeOption = Annotated[str, typer.Option(help='Model that is asked; "rubric" is the embedded judge: rules, no LLM.')]
UrlOption = Annotated[str | None, typer.Option(help="Of any OpenAI-compatible endpoint, up to and with /v1.")]
StorageOption = Annotated[str, storage_option("Where the ledger of replies lies.")]
SeedOption = Annotated[int, typer.Option(help="Which rows are taken, or shown.")]
SetOption = Annotated[list[str] | None, set_option("Override a field of the study.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `assay`."""
    app.command("tag")(with_groups(stoppable(tag)))
    app.command("synthesize")(with_groups(stoppable(synthesize)))
    app.command("search")(search)
    data_app = typer.Typer(help="Data, looked at before anything is trained.", no_args_is_help=True)
    data_app.callback()(_group)
    data_app.command("check")(check)
    app.add_typer(data_app, name="data")


def _group() -> None:
    """Data, looked at before anything is trained."""


def check(
    reference: Annotated[str, typer.Argument(metavar="FILE|STUDY", help="A data file, or a study's name or file.")],
    overrides: SetOption = None,
    loader: Annotated[str, typer.Option(help="How a file is read: jsonl, alpaca, sharegpt, messages.")] = "jsonl",
    tokenizer: Annotated[str, typer.Option(metavar="FOLDER", help="Counts tokens; no weights are loaded.")] = "",
    max_length: Annotated[int, typer.Option(min=16, help="Tokens of a row at most.")] = 512,
    as_json: JsonOption = False,
) -> None:
    """Rows, copies, contradictions, leaks, long rows and special tokens of a file or of a study's datasets."""
    from assay.commands.data_check import check_command

    check_command(reference, overrides or [], loader, tokenizer, max_length, as_json)


def tag(
    *,
    data: DataOption,
    out: OutOption,
    judge: JudgeOption = "rubric",
    base_url: UrlOption = None,
    judge_rows: Annotated[
        int | None, typer.Option(min=50, help="Rows that the judge tags; a classifier tags the rest. Default: all.")
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|ID",
            help="Sentence encoder whose vectors the classifier reads. Default: word and letter n-grams.",
            show_default=False,
        ),
    ] = "",
    gold: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSONL with id and category, to state the agreement with.")
    ] = None,
    storage: StorageOption = "runs",
    seed: SeedOption = 0,
    calls: CallOptions,
) -> None:
    """Give every row of an instruction set one of 13 categories, and say how far to believe them."""
    from assay.commands.derive import tag_command

    tag_command(data, out, judge, base_url, judge_rows, encoder, gold, storage, seed, calls)


def synthesize(
    *,
    data: DataOption,
    out: OutOption,
    task: Annotated[str, typer.Option(help="Target task of the rows.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows wanted.")],
    judge: JudgeOption = "rubric",
    base_url: UrlOption = None,
    shown: Annotated[int, typer.Option(min=1, max=20, help="Human rows that one call shows.")] = 4,
    pool: Annotated[int, typer.Option(min=1, help="Human rows that may be shown at all.")] = 64,
    random_labels: Annotated[bool, typer.Option(help="Answers at random, to learn the format alone.")] = False,
    storage: StorageOption = "runs",
    seed: SeedOption = 0,
    calls: CallOptions,
) -> None:
    """Rows of a task written by an LLM after a few human ones; what repeats or answers wrongly is left out."""
    from assay.commands.derive import synthesize_command

    fields = {"rows": rows, "shown": shown, "pool": pool, "seed": seed}
    synthesize_command(data, out, task, fields, random_labels, judge, base_url, storage, calls)


def search(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A study whose design is weights.")],
    overrides: SetOption = None,
    storage: StorageOption = "runs",
    algorithm: Annotated[str, typer.Option(help="optuna or random, both through Ray Tune.")] = "optuna",
    trials: Annotated[int, typer.Option(min=1, help="Mixtures to try.")] = 12,
    batch: Annotated[int, typer.Option(min=1, help="Mixtures of a round.")] = 4,
    scorer: Annotated[str | None, typer.Option(help="Scorer to maximise; default: the judge.")] = None,
    max_forgetting: Annotated[float, typer.Option(min=0, help="Relative loss on the instruction set, at most.")] = 0.01,
    seed: SeedOption = 0,
    max_usd: UsdOption = None,
) -> None:
    """Search the weights of a mixture: highest score on the target tasks under a limit on forgetting."""
    from assay.commands.search import search_command

    fields = {
        "algorithm": algorithm,
        "trials": trials,
        "batch": batch,
        "scorer": scorer,
        "max_forgetting": max_forgetting,
        "seed": seed,
    }
    search_command(study, overrides or [], storage, fields, max_usd)
