"""`assay export`: the model of a study's arm as a folder for PEFT, vLLM and others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.commands.options import storage_option
from assay.errors import ConfigError

StorageOption = Annotated[str, storage_option("Where the study lies.")]


def register(app: typer.Typer) -> None:
    """Add the command to `assay`."""
    app.command("export")(export)


def export(
    study: Annotated[str, typer.Argument(metavar="NAME", help="A study's folder in the storage.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A folder that is new or empty.")],
    arm: Annotated[str | None, typer.Option(help="As the leaderboard calls it.")] = None,
    best: Annotated[str | None, typer.Option(metavar="SCORER", help="The arm with its highest mean instead.")] = None,
    on: Annotated[str | None, typer.Option(metavar="SET", help="--best looks at this evaluation set alone.")] = None,
    base_model: Annotated[str | None, typer.Option(help="Where the study has several.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Whole weights instead of an adapter.")] = False,
    storage: StorageOption = "runs",
) -> None:
    """Write an arm's adapter (first draw, first seed), or whole weights, with tokenizer and model card."""
    from assay.commands.study import embedded_judge
    from assay.store import Store
    from assay.studies.folder import find_folder
    from assay.studies.prepared import prepare_study
    from assay.studies.results.exported import Choice, best_arm, export_model
    from assay.studies.spec import Study

    if (arm is None) == (best is None):
        raise ConfigError("export: expected one of --arm ARM and --best SCORER")
    store = Store(storage)
    folder = find_folder(store, study)
    is_finished = folder.done() is not None
    board = folder.read_tables()["leaderboard"].to_pylist() if is_finished or best is not None else []
    chosen = arm if arm is not None else best_arm(board, str(best), on, base_model)
    wanted = Study.model_validate(store.read_study_json(folder.name, "study.json")["study"])
    prepared = prepare_study(wanted, embedded_judge().name, store)
    made = export_model(prepared, store, Choice(chosen, base_model), out, merge=merge, leaderboard=board)
    run = made.run
    typer.echo(f"{chosen}: {made.kind} of {run.base_model}, draw {run.draw}, seed {run.training_seed}, in {out}")
    typer.echo("licences of base model and data are unknown: the study file states none (see README.md there)")
