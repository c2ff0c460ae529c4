"""`assay track`: a finished study's runs to MLflow, again or for the first time, to any server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from assay.commands.options import storage_option
from assay.errors import AssayError, InputError, plain_line

if TYPE_CHECKING:
    from assay.reports.page import Report
    from assay.studies.folder import StudyFolder
    from assay.studies.pipeline import Results

StorageOption = Annotated[str, storage_option("Where the study lies.")]


def register(app: typer.Typer) -> None:
    """Add the command to `assay`."""
    app.command("track")(track)


def track(
    study: Annotated[str, typer.Argument(metavar="NAME", help="A finished study's folder.")],
    storage: StorageOption = "runs",
    uri: Annotated[
        str | None, typer.Option(metavar="URI", help="MLflow store or server. Default: the study's own.")
    ] = None,
) -> None:
    """Send the runs of a finished study to MLflow; those that are there are left as they are."""
    from assay.commands.kinds.known import kind_in
    from assay.store import Store

    store = Store(storage)
    kind_in(store, study).track(store, study, uri)


def track_command(name: str, storage: str, uri: str | None) -> None:
    """Track a finished study and say where.

    Raises:
        InputError: the study is not finished, or its server cannot be used.
    """
    from assay.commands.progress import console_progress
    from assay.commands.study import embedded_judge
    from assay.store import Store
    from assay.studies.folder import find_folder
    from assay.studies.pipeline import Pipeline
    from assay.studies.results.tracked import track_study
    from assay.studies.spec import Study
    from assay.tracking.uri import check_tracking_uri

    store = Store(storage)
    folder = find_folder(store, name)
    done = folder.done_or_fail()
    study = Study.model_validate(store.read_study_json(folder.name, "study.json")["study"])
    if uri is not None:
        study = study.replace(tracking=study.tracking.replace(uri=check_tracking_uri(uri, "--uri")))
    results = Pipeline(study, store, console_progress(), embedded_judge()).stored(folder)
    files = {name: store.read_study_bytes(folder.name, name) for name in ("report.html", *_figures(folder))}
    try:
        where = track_study(results, files)
    except AssayError:
        raise
    except Exception as error:  # MLflow and its drivers raise dozens of types
        raise InputError(
            f"tracking {study.tracking.uri or 'store'}: {_reason(error)}; expected a server that answers; "
            "try again, or name another with --uri"
        ) from None
    folder.finish(**{**done, "mlflow": where})
    typer.echo(f"mlflow   {where}")


def track_or_say(results: Results, report: Report) -> str:
    """Write the MLflow runs; returns the tracking URI, or "" where they cannot be written: no study waits for them."""
    from assay.studies.results.tracked import track_study

    figures = {f"figures/{plot.name}.png": plot.png for plot in report.plots}
    figures |= {f"figures/{plot.name}.svg": plot.svg.encode() for plot in report.plots}
    try:
        return track_study(results, {"report.html": report.html, **figures})
    except Exception as error:  # whatever a server or its driver raises, the tables are there
        typer.echo(
            f"mlflow   not tracked ({_reason(error)}); the study is finished; send its runs later with "
            f"`assay track {results.folder.name} --storage {results.folder.store.uri}`"
        )
        return ""


def _figures(folder: StudyFolder) -> list[str]:
    return folder.store.study_files(folder.name, "figures")


def _reason(error: Exception) -> str:
    return plain_line(" ".join(str(error).split())[:200]) or type(error).__name__
