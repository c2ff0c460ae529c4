"""`assay proxy`: mixtures scored by adapters of their components, added up instead of trained."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.commands.options import UsdOption, set_option, storage_option
from assay.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from assay.studies.proxies.scored import ScoredMixtures
    from assay.studies.spec import Study

FILES = ("mixtures.csv", "scores.csv", "proxies.csv")
"""Shares of each run, its scores, and shares and scores of each mixture's proxy."""


def proxy_command(study: Study, storage: str, out: Path, further: int, seed: int, max_usd: float | None) -> None:
    """Score the proxies of a finished study's mixtures and of more, write the files, say how well they order.

    Raises:
        ConfigError: the study is not finished, has another design or several bases, or no adapters of components alone.
        StorageError: `out` cannot be written.
    """
    from assay.cluster.environment import prepare_ray_environment
    from assay.commands.deciding.predict import rho_text
    from assay.commands.progress import console_progress
    from assay.commands.stopping import clean_stop
    from assay.commands.study import embedded_judge, refuse_unsupported
    from assay.store import Store
    from assay.studies.pipeline import Pipeline
    from assay.studies.proxies.scored import OBJECTIVE, agreement, column_of, scored_proxies, trained_mixtures
    from assay.studies.proxies.wanted import check_components, further_points

    check_components(study)
    if len(study.base_models) > 1:
        first = study.base_models[0]
        raise ConfigError(f"proxy: saw {len(study.base_models)} base models; expected one: --set base_models=[{first}]")
    refuse_unsupported(study.resources, study.local_judge)
    prepare_ray_environment()
    pipeline = Pipeline(study, Store(storage), console_progress(), embedded_judge(), max_usd)
    results = pipeline.stored(pipeline.open())
    base = results.wanted.trainings[0].base_name
    trained = trained_mixtures(results, base, study.goal_scorer)
    with clean_stop():
        points = [*trained.shares, *further_points(study, further, seed)]
        proxies = scored_proxies(pipeline, results, base, study.goal_scorer, points)
    columns = [*map(column_of, sorted(results.sets)), OBJECTIVE]
    _write(out, trained, proxies)
    typer.echo(
        f"{study.name}: {len(proxies.names)} mixtures scored by {study.goal_scorer} without training, beside "
        f"{len(trained.names)} runs"
    )
    for column in columns:
        rho = rho_text(agreement(trained, proxies, column).as_json())
        typer.echo(f"  {column}: rank correlation with trained mixtures {rho}")
    mixtures, scores, table = (out / name for name in FILES)
    typer.echo(
        f"next: assay predict --mixtures {mixtures} --scores {scores} --proxies {table} --column {OBJECTIVE} --out ..."
    )


def _write(out: Path, trained: ScoredMixtures, proxies: ScoredMixtures) -> None:
    parts = sorted(trained.shares[0])
    rows = trained.rows()
    files = {
        FILES[0]: [{name: row[name] for name in ("key", *parts)} for row in rows],
        FILES[1]: [{name: row[name] for name in row if name not in parts} for row in rows],
        FILES[2]: proxies.rows(),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with (out / name).open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(content[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(content)
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable folder") from error


def register(app: typer.Typer) -> None:
    """Hang `assay proxy` on."""
    app.command("proxy")(proxy)


def proxy(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A finished study whose design is mixture.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets mixtures.csv, scores.csv and proxies.csv.")],
    overrides: Annotated[list[str] | None, set_option("Override a field of the study.")] = None,
    storage: Annotated[str, storage_option("Where the study's results lie.")] = "runs",
    further: Annotated[
        int, typer.Option(metavar="N", min=0, help="More mixtures, spread evenly, beside those trained.")
    ] = 200,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of those.")] = 1,
    max_usd: UsdOption = None,
) -> None:
    """Score mixtures without training them: adapters of single components, added up by shares."""
    from assay.studies.catalog import load_study

    proxy_command(load_study(study, overrides or []), storage, out, further, seed, max_usd)
