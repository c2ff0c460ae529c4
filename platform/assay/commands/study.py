"""Running a study from a door: the pipeline, then its report and its MLflow runs, then the mark that it is finished.

This is where the parts that studies may not know (reports, the judge server) are handed to them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from assay.cluster.environment import in_ray_job, prepare_ray_environment
from assay.commands.stopping import clean_stop
from assay.commands.tracking import track_or_say
from assay.errors import ConfigError, InputError, fitted, plain_line
from assay.studies.catalog import load_study

if TYPE_CHECKING:
    from assay.llm.local_model import LocalModel
    from assay.reports.page import Report
    from assay.studies.folder import StudyFolder
    from assay.studies.pipeline import Results
    from assay.studies.resources import StudyResources
    from assay.studies.spec import Study
    from assay.studies.writer import EmbeddedJudge


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a study is run; no part of what it is, but for `keep`."""

    max_usd: float | None = None
    until: str | None = None
    retry_failed: bool = False
    keep: tuple[str, ...] = ()
    """Arms on which a study with decide spends although they are out: the same as its field `decide.keep`."""
    log_json: Path | None = None
    preflight: bool | None = None
    """Try each base before its sweep; None: where a base is neither the study's own tiny one nor comes with Assay."""


DEFAULTS = RunOptions()


def run_command(reference: str, overrides: list[str], storage: str, how: RunOptions = DEFAULTS) -> None:
    """Run or continue a study and say where its results are."""
    from assay.studies.pipeline import STAGES

    if how.until is not None and how.until not in STAGES:
        raise ConfigError(f"--until {how.until}: expected one of {', '.join(STAGES)}")
    refuse_temporary_storage(storage)
    study = load_study(reference, overrides)
    if how.keep:
        if study.decide is None:
            raise ConfigError("--keep: saw a study without decide, which drops no arm; expected one; leave it out")
        kept = tuple(dict.fromkeys((*study.decide.keep, *how.keep)))
        study = study.replace(decide=study.decide.replace(keep=kept))
    refuse_unsupported(study.resources, study.local_judge)
    run_study(study, storage, how)


def run_study(study: Study, storage: str, how: RunOptions) -> StudyFolder:
    """Run or continue a study that was checked, and say where its results are."""
    from assay.commands.log_lines import LoggedProgress, study_log
    from assay.commands.progress import console_progress
    from assay.model_folders import SHIPPED
    from assay.store import Store
    from assay.studies.pipeline import Pipeline
    from assay.studies.results.tracked import tracking_uri
    from assay.studies.spec import TINY

    store = Store(storage)
    tracking_uri(study, store)  # refused now, not after hours
    progress = LoggedProgress(console_progress())
    pipeline = Pipeline(study, store, progress, embedded_judge(), how.max_usd)
    pipeline.retry_failed = how.retry_failed
    is_small = {*study.all_models} <= {TINY, *SHIPPED}
    pipeline.preflight = not is_small if how.preflight is None else how.preflight
    folder = pipeline.open()
    done = folder.done()
    if done is not None and not how.retry_failed:
        typer.echo(f"{folder.name}: finished before; nothing to do")
        _say_where(folder, done["mlflow"])
        return folder
    prepare_ray_environment()
    with study_log(folder, how.log_json), clean_stop():
        results = pipeline.run(folder, how.until)
        if results is None:
            typer.echo(
                f"{folder.name}: stopped after {how.until!r}, as asked; the same command without --until continues"
            )
            return folder
        with pipeline.costs.stage("report"):
            report = write_report(results)
        with pipeline.costs.stage("mlflow"):
            uri = track_or_say(results, report)
        names = sorted(results.tables)
        pipeline.save_costs(folder)
        folder.finish(tables=names, mlflow=uri)
    _say_where(folder, uri)
    return folder


def write_report(results: Results) -> Report:
    """Tables, browser rows, figures and report.html of a study, into its folder."""
    from assay.studies.results.report_input import report_content

    folder, store = results.folder, results.folder.store
    folder.write_tables(results.tables)
    content = report_content(results)
    store.write_study_json(folder.name, "side/browser.json", content["browser"])
    content["browser"] = store.read_study_json(folder.name, "side/browser.json")  # as `assay report` finds it
    store.write_study_json(
        folder.name, "side/report.json", {name: content[name] for name in content if name not in ("tables", "browser")}
    )
    return _render(folder, content)


def report_command(name: str, storage: str, audit: Path | None = None) -> None:
    """Render report.html again from what the study stored, with an audit of its judge if one is given."""
    from assay.store import Store
    from assay.studies.folder import find_folder
    from assay.studies.results.stored_audit import keep_audit, read_audit

    folder = find_folder(Store(storage), name)
    tables = folder.read_tables()
    content = folder.store.read_study_json(name, "side/report.json")
    browser = folder.store.read_study_json(name, "side/browser.json")
    resolved = folder.store.read_study_json(name, "study.json")["study"]
    content.pop("design", None)  # in reports stored before, where `paper_places` stands now
    if audit is not None:
        keep_audit(folder, read_audit(audit), resolved)
    _render(folder, {**content, "tables": tables, "browser": browser})
    typer.echo(f"report   {folder.report_path}")


def status_command(reference: str, overrides: list[str], storage: str, as_json: bool) -> None:
    """Count what the store holds of a study's artifacts; nothing is started."""
    from assay.store import Store
    from assay.studies.status import stored_status, study_status

    store = Store(storage)
    status = None if overrides else stored_status(store, reference)
    if status is None:
        status = study_status(load_study(reference, overrides), store, embedded_judge().name)
    print_status(status, as_json=as_json)


def print_status(status: Mapping[str, Any], *, as_json: bool) -> None:
    """Print how far a study is.

    Args:
        status: study, key, storage, finished, stages, report, last and decisions, see `studies.status`.
        as_json: as it is, for other programs.
    """
    if as_json:
        typer.echo(json.dumps(status, indent=2))
        return
    state = "finished" if status["finished"] else "not finished"
    typer.echo(fitted(f"{status['study']}: {state}, in {status['storage']}", 2))
    for row in status["stages"]:
        share = f"{100 * row['done'] / row['wanted']:5.1f} %" if row["wanted"] else "      –"
        typer.echo(f"  {row['stage']:<12} {row['done']:>8,} of {row['wanted']:>8,}  {share}")
    for line in status["decisions"]:
        typer.echo(fitted(f"  decided      {line}", 15))
    if (last := status["last"]) is not None:
        said = " ".join(str(last.get(part, "")) for part in ("stage", "event", "cell", "error") if last.get(part))
        typer.echo(fitted(f"  last event   {plain_line(said)} at {last.get('time', '?')}", 15))
    if status["report"]:
        typer.echo(f"  report       {status['report']}")


def mixtures_command(reference: str, overrides: list[str], out: Path, storage: str, arm: str | None = None) -> None:
    """Write each distinct mixture of a study as a folder of JSONL files; derived datasets are read from `storage`."""
    from assay.store import Store
    from assay.studies.results.mixture_files import write_mixtures

    study = load_study(reference, overrides)
    written = write_mixtures(study, out, Store(storage), embedded_judge().name, arm)
    typer.echo(f"{len(written)} mixtures in {out}, listed in {out / 'mixtures.json'}")


def embedded_judge() -> EmbeddedJudge:
    """The rubric judge server, as studies know it."""
    from assay.judge_server.config import JudgeServerConfig
    from assay.studies.writer import EmbeddedJudge

    config = JudgeServerConfig()

    @contextmanager
    def start() -> Iterator[str]:
        from assay.judge_server.launch import start_judge_server

        server: AbstractContextManager[Any] = start_judge_server(config)
        with server as running:
            yield running.base_url

    return EmbeddedJudge(config.endpoint_name(), start)


def refuse_temporary_storage(storage: str) -> None:
    """Inside `ray job submit` the working directory is a copy that is thrown away: relative storage would be lost.

    Raises:
        InputError: relative storage inside a job.
    """
    if in_ray_job() and "://" not in storage and not Path(storage).is_absolute():
        raise InputError(
            f"--storage {storage}: saw a relative path inside a Ray job, whose working directory is thrown away; "
            'expected an absolute path or a URI; pass --storage "$PWD/runs" or s3://...'
        )


def refuse_unsupported(resources: StudyResources, judge: LocalModel | None = None) -> None:
    """Refuse a GPU on a machine without one before anything is started; a cluster is asked later, by Ray itself.

    Args:
        resources: a study's.
        judge: how its judge is loaded, where that is a model of these machines.
    """
    from assay.commands.doctor import has_gpu
    from assay.errors import ResourceError

    wanted = max(
        resources.training.gpus_per_worker,
        resources.generation.gpus_per_engine,
        resources.scoring.gpus_per_model_worker,
        judge.gpus if judge else 0,
    )
    elsewhere = in_ray_job() or resources.ray_address or "RAY_ADDRESS" in os.environ
    if wanted and not elsewhere and not has_gpu():
        raise ResourceError(
            f"resources: asks for {wanted:g} GPU; saw none on this machine (nvidia-smi lists none); set "
            "resources.training.gpus_per_worker=0, resources.generation.gpus_per_engine=0 and judge.local.gpus=0, or "
            "submit to a cluster"
        )


def _render(folder: StudyFolder, content: dict[str, Any]) -> Report:
    from assay.reports.page import ReportInput, render_report
    from assay.studies.results.stored_audit import stored_audit

    report = render_report(ReportInput(**content, audit=stored_audit(folder)))
    store = folder.store
    store.write_study_bytes(folder.name, "report.html", report.html)
    for plot in report.plots:
        store.write_study_bytes(folder.name, f"figures/{plot.name}.svg", plot.svg.encode())
        store.write_study_bytes(folder.name, f"figures/{plot.name}.png", plot.png)
    return report


def _say_where(folder: StudyFolder, uri: str) -> None:
    from assay.studies.results.tracked import ui_command

    typer.echo(f"report   {folder.report_path}")
    typer.echo(f"tables   {folder.store.study_path(folder.name, 'tables')}")
    if not uri:
        return
    typer.echo(f"mlflow   {uri}")
    typer.echo(f"compare runs in a browser:  {ui_command(uri)}")
    typer.echo("                            there: Model training (top left), then the study's name")
