"""`assay export`: the model of a study's arm as a folder for PEFT, vLLM and others, and onto a hub where asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from assay.commands.options import storage_option
from assay.errors import ConfigError
from assay.option_groups import with_groups

StorageOption = Annotated[str, storage_option("Where the study lies.")]


@dataclass(frozen=True)
class WantedModel:
    """Which arm's model, and in which form."""

    arm: Annotated[str | None, typer.Option(help="As the leaderboard calls it.")] = None
    best: Annotated[
        str | None,
        typer.Option(
            metavar="SCORER", help="The arm with its highest mean instead; of a mixture study by its goal's weights."
        ),
    ] = None
    on: Annotated[str | None, typer.Option(metavar="SET", help="--best looks at this evaluation set alone.")] = None
    base_model: Annotated[str | None, typer.Option(help="Where the study has several.")] = None
    merge: Annotated[bool, typer.Option("--merge", help="Whole weights instead of an adapter.")] = False
    push: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Then upload the folder there; a new one is private.")
    ] = None


def register(app: typer.Typer) -> None:
    """Add the command to `assay`."""
    app.command("export")(with_groups(export))


def export(
    *,
    study: Annotated[str, typer.Argument(metavar="NAME", help="A study's folder in the storage.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A folder that is new or empty.")],
    how: WantedModel,
    storage: StorageOption = "runs",
) -> None:
    """Write an arm's adapter (first draw, first seed), or whole weights, with tokenizer and model card."""
    from assay.commands.study import embedded_judge
    from assay.store import Store
    from assay.studies.exits.stored import without_ended
    from assay.studies.folder import find_folder
    from assay.studies.prepared import prepare_study
    from assay.studies.results.exported import Choice, best_arm, best_by_objective, export_model
    from assay.studies.results.model_card import unknown_licences
    from assay.studies.results.pushed import check_push, push_folder
    from assay.studies.spec import Study

    if (how.arm is None) == (how.best is None):
        raise ConfigError("export: expected one of --arm ARM and --best SCORER")
    if how.push is not None:
        check_push(how.push)
    store = Store(storage)
    folder = find_folder(store, study)
    tables = folder.read_tables() if folder.done() is not None or how.best is not None else {}
    board = tables["leaderboard"].to_pylist() if tables else []
    if how.arm is not None:
        chosen = how.arm
    elif how.on is None and "objective" in tables:
        chosen = best_by_objective(tables["objective"].to_pylist(), str(how.best), how.base_model)
    else:
        chosen = best_arm(board, str(how.best), how.on, how.base_model)
    wanted = Study.model_validate(store.read_study_json(folder.name, "study.json")["study"])
    prepared = without_ended(prepare_study(wanted, embedded_judge().name, store), store)
    made = export_model(prepared, store, Choice(chosen, how.base_model), out, merge=how.merge, leaderboard=board)
    run = made.run
    typer.echo(f"{chosen}: {made.kind} of {run.base_model}, draw {run.draw}, seed {run.training_seed}, in {out}")
    if unknown := unknown_licences(made):
        typer.echo(
            f"licences unknown: {', '.join(unknown)}; say data.sources.NAME.licence, and look at the base model's own"
        )
    if how.push is not None:
        typer.echo(f"uploaded: {push_folder(out, how.push)}")
