"""`assay metaeval human`: every scorer against public human scores, over tasks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from assay.commands.judges.reports import check_writable
from assay.commands.metaeval import estimate_text, write_out, written
from assay.commands.progress import console_progress
from assay.commands.score import scorer_params
from assay.errors import ConfigError
from assay.fingerprint import fingerprint
from assay.store import Store

if TYPE_CHECKING:
    from assay.human.benchmark_report import BenchmarkReport, JudgeRow
    from assay.metaeval.statistics.estimate import Estimate

SCORERS = ("exact_match", "token_f1", "rouge1", "rouge2", "rougeL", "bleu", "sbert", "bertscore")


def human_command(
    data: Path,
    out: Path,
    scorers: Sequence[str],
    encoder: str | None,
    overrides: Sequence[str],
    storage: str,
    tracking: str | None,
    resamples: int,
) -> None:
    """Score the texts, compare with people, print, write JSON and figure, track.

    Raises:
        InputError: data that is not there, an unknown scorer, or a model that cannot be found.
    """
    from assay.human.benchmark import Scored, benchmark_report
    from assay.human.scores import LENGTH, column, human_set_scores
    from assay.human.sets import read_sets
    from assay.reports.human_plot import benchmark_svg
    from assay.scoring.scorers.models import MINILM, MODEL
    from assay.scoring.table import SHIPPED_SCORERS
    from assay.tracking.track_report import tracking_uri

    uri = tracking_uri(tracking, storage)
    names = list(dict.fromkeys(name.strip() for name in scorers if name.strip()))
    if unknown := sorted(set(names) - set(SHIPPED_SCORERS.names)):
        raise ConfigError(f"--scorers: saw {unknown[0]!r}; expected some of {', '.join(SHIPPED_SCORERS.names)}")
    params = scorer_params(overrides, names)
    if "bertscore" in names:  # the published encoder is a download; what it is, the report says
        params["bertscore"] = {MODEL: encoder or MINILM, **params.get("bertscore", {})}
    specs = [LENGTH, *(SHIPPED_SCORERS.spec(name, **params.get(name, {})) for name in names)]
    check_writable(out)
    sets, store, progress = read_sets(data), Store(storage), console_progress()
    progress.start("scores", sum(part.num_rows for part in sets) * len(specs), unit="scores")
    scored = []
    for part in sets:
        rows = {spec.name: human_set_scores(part, spec, store, progress) for spec in specs}
        scored.append(
            Scored(
                part,
                tuple(rows),
                np.stack([column(found) for found in rows.values()]),
                {name: Counter(row.unscored for row in found if row.unscored) for name, found in rows.items()},
            )
        )
    progress.finish("scores")
    seed = fingerprint([[part.name, part.num_rows, list(part.outputs)] for part in sets])
    described = {spec.name: _described(spec.identity()) for spec in specs}
    report = replace(benchmark_report(scored, seed, resamples=resamples), specs=described)
    figure = write_out(out, report, benchmark_svg(report.tasks, report.scorers, "Which scorer agrees with people"))
    print_benchmark(report)
    typer.echo(written(out, figure))
    _track(report, out, figure, uri)


def print_benchmark(report: BenchmarkReport) -> None:
    """Scorers x tasks, then CIT and CAT, recorded judges, the human ceiling, and who is better than whom."""
    typer.echo("Spearman's rho with people, 95 % interval over documents")
    for task in report.tasks:
        typer.echo(
            f"  {task.name:<13} {task.scored_by_all:>6,} of {task.texts:,} texts, {task.documents:,} "
            f"documents; human: {task.human}; compared with: {task.compared_with}"
        )
    tasks = [task.name for task in report.tasks]
    order = sorted(report.scorers, key=lambda name: -(report.scorers[name].cit.as_json()["value"] or -9))
    typer.echo(f"\n{'scorer':<13}" + "".join(f"{name:<14}" for name in tasks))
    for name in order:
        typer.echo(f"{name:<13}" + "".join(f"{_short(report.scorers[name].tasks[task]):<14}" for task in tasks))
    typer.echo(f"\n{'scorer':<13}{'CIT':<24}{'CAT':<24}{'CAT, task-centred':<24}SUM (SummEval)")
    for name in order:
        figures = report.scorers[name]
        cells = [_or_dash(estimate.as_json()) for estimate in figures.shown]
        cells.append("–" if figures.summaries is None else _or_dash(figures.summaries.spearman))
        typer.echo(f"{name:<13}" + "".join(f"{cell:<24}" for cell in cells).rstrip())
    for name in order:
        if not report.scorers[name].cit.is_defined:
            typer.echo(f"{name} has no CIT: {report.scorers[name].cit.reason}")
    if report.judges:
        typer.echo("\nrecorded judges, read by our parser, and the best scorers on the same attribute")
    for row in _judges_and_best(report.judges):
        typer.echo(
            f"  {row.task + '.' + row.attribute:<28}{row.scorer:<38}{estimate_text(row.spearman):<24}"
            f"{row.n:>5,} of {row.asked:,}"
        )
    for people in report.ceiling:
        told = estimate_text(people.with_the_others.as_json())
        typer.echo(f"  human ceiling, {people.task}.{people.attribute}: {told} ({people.annotators} annotators)")
    tested = [row for row in report.comparisons if row.perm_both_holm is not None]
    alike = [row for row in tested if row.perm_both_holm is not None and row.perm_both_holm >= 0.05]
    typer.echo(
        f"\n{len(tested) - len(alike)} of {len(tested)} pairs of scorers differ in CIT (PERM-BOTH, Holm, 5 %)"
        + ("; those that do not:" if alike else "")
    )
    for pair in alike:
        difference = estimate_text(pair.difference.as_json())
        typer.echo(f"  {pair.first} - {pair.second}: {difference}  p {pair.perm_both_holm:.3f}")


def _judges_and_best(rows: Sequence[JudgeRow]) -> list[JudgeRow]:
    shown: list[JudgeRow] = []
    for key in dict.fromkeys((row.task, row.attribute) for row in rows):
        own = [row for row in rows if (row.task, row.attribute) == key and row.spearman["value"] is not None]
        own.sort(key=lambda row: -row.spearman["value"])
        best = [row for row in own if not row.is_judge][:2]
        shown += [row for row in own if row.is_judge or row in best]
    return shown


def _or_dash(estimate: Mapping[str, Any]) -> str:
    return "–" if estimate["value"] is None else estimate_text(estimate)


def _short(estimate: Estimate) -> str:
    if not estimate.is_defined:
        return "–"
    half = (estimate.high - estimate.low) / 2
    return f"{estimate.value:.2f}" + ("" if math.isnan(half) else f" ±{half:.2f}")


def _described(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {name: identity[name] for name in ("kind", "version", "direction", "low", "high", "mode", "params")}


def _track(report: BenchmarkReport, out: Path, figure: Path, uri: str | None) -> None:
    from assay.tracking.track_report import track_report

    if uri is None:
        return
    children = []
    for name, figures in report.scorers.items():
        row = figures.as_json()
        numbers = {
            f"{key}.{end}": row[key][end]
            for key in ("cit", "cat", "cat_task_centred")
            for end in ("value", "low", "high")
        }
        numbers |= {f"task.{task}": cell["value"] for task, cell in row["tasks"].items()}
        children.append((name, {"scorer": name, **report.specs[name]["params"]}, numbers))
    params = {"tasks": ", ".join(task.name for task in report.tasks)}
    files = {out.name: out.read_bytes(), figure.name: figure.read_bytes()}
    track_report(uri, "metaeval-human", "human benchmark", params, children, files)
    typer.echo(f"MLflow: {uri}")
