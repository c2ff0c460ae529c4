"""The commands around data and mixtures, hung onto the command line: `data check`, `tag`, `synthesize` and `search`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from assay.commands.data_options import AskedModel, SynthesisOptions, TagOptions
from assay.commands.options import CallOptions, JsonOption, UsdOption, set_option, storage_option
from assay.commands.stopping import stoppable
from assay.option_groups import FieldsOf, with_groups
from assay.studies.search.weights import SearchSpec

DataOption = Annotated[Path, typer.Option("--data", metavar="FILE", help="JSONL or JSON, .gz allowed.")]
OutOption = Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="The rows; a summary lies beside it.")]
StorageOption = Annotated[str, storage_option("Where the ledger of replies lies.")]
SetOption = Annotated[list[str] | None, set_option("Override a field of the study.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `assay`."""
    app.command("tag")(with_groups(stoppable(tag)))
    app.command("synthesize")(with_groups(stoppable(synthesize)))
    app.command("search")(with_groups(search))
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
    max_length: Annotated[int, typer.Option(metavar="N", min=16, help="Tokens of a row at most.")] = 512,
    as_json: JsonOption = False,
) -> None:
    """Rows, copies, contradictions, leaks, long rows and special tokens of a file or of a study's datasets."""
    from assay.commands.data_check import check_command

    check_command(reference, overrides or [], loader, tokenizer, max_length, as_json)


def tag(
    *,
    data: DataOption,
    out: OutOption,
    asked: AskedModel,
    how: TagOptions,
    calls: CallOptions,
) -> None:
    """Give every row of an instruction set one of 13 categories, and say how far to believe them."""
    from assay.commands.derive import tag_command

    tag_command(data, out, asked, how, calls)


def synthesize(
    *,
    data: DataOption,
    out: OutOption,
    wanted: SynthesisOptions,
    asked: AskedModel,
    calls: CallOptions,
) -> None:
    """Rows of a task written by an LLM after a few human ones; what repeats or answers wrongly is left out."""
    from assay.commands.derive import synthesize_command

    synthesize_command(data, out, wanted, asked, calls)


def search(
    *,
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A study whose design is mixture or weights.")],
    overrides: SetOption = None,
    storage: StorageOption = "runs",
    how: Annotated[Mapping[str, object], FieldsOf(SearchSpec, tuple(SearchSpec.model_fields))],
    max_usd: UsdOption = None,
) -> None:
    """Search the weights of a mixture: highest score on the target tasks under a limit on forgetting."""
    from assay.commands.search import search_command

    search_command(study, overrides or [], storage, how, max_usd)
