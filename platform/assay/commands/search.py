"""`assay search`: weights of a mixture towards a goal, round by round, then the study of all points that were tried."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from assay.config import validate
from assay.studies.catalog import load_study
from assay.studies.search.objective import (
    claimed_by_objective,
    judged_by_objective,
    limit_in_words,
    modelled_by,
)
from assay.studies.search.weights import (
    SearchSpec,
    Trial,
    best,
    claimed,
    goal_scorer,
    judged,
    searched,
    with_points,
)

if TYPE_CHECKING:
    from assay.studies.spec import Study


def search_command(
    reference: str, overrides: list[str], storage: str, fields: Mapping[str, object], max_usd: float | None = None
) -> None:
    """Search, report the trials, and leave a finished study of them all."""
    from assay.cluster.environment import prepare_ray_environment
    from assay.commands.stopping import clean_stop
    from assay.commands.study import RunOptions, refuse_temporary_storage, refuse_unsupported, run_study
    from assay.store import Store

    refuse_temporary_storage(storage)
    study = load_study(reference, overrides)
    spec = validate(SearchSpec, fields, "search")
    space = searched(study)
    scorer = goal_scorer(study, spec)
    modelled = modelled_by(study, spec)  # refuses before anything is trained
    refuse_unsupported(study.resources, study.local_judge)
    prepare_ray_environment()
    from assay.cluster.ray_cluster import ray_cluster
    from assay.studies.search.model import ModelSuggestions
    from assay.studies.search.ray_search import Suggestions

    suggestions: Suggestions | ModelSuggestions = Suggestions(spec, space)
    if spec.algorithm == "model":
        suggestions = ModelSuggestions(modelled, space.components)
    judge, claim, table = judged, claimed, "leaderboard"
    if study.objective is not None:
        judge, claim, table = judged_by_objective, claimed_by_objective, "objective"
    trials: list[Trial] = []
    points: list[dict[str, float]] = []
    with clean_stop(), ray_cluster(study.resources):  # one Ray for all rounds
        while len(points) < spec.trials:
            asked = suggestions.ask(min(spec.batch, spec.trials - len(points)))
            if not asked:
                left = spec.trials - len(points)
                typer.echo(f"{left} trials cancelled: nothing left to try is likely to be the best")
                break
            points += [point for _, point in asked]
            board = _rows(table, with_points(study, points, f"{study.name}-rounds"), storage, max_usd)
            for name, point in asked:
                trial = judge(study, spec, board, len(trials), point)
                suggestions.tell(name, trial)
                trials.append(trial)
                typer.echo(_line(trial, study.objective is None))
        folder = run_study(with_points(study, points, study.name), storage, RunOptions(max_usd=max_usd))
    board = Store(storage).read_study_table(folder.name, f"tables/{table}.parquet").to_pylist()
    trials = claim(study, spec, board, trials)
    winner = best(trials)
    found = {
        "search": spec.model_dump(mode="json"),
        "scorer": scorer,
        "trials": [trial.as_dict() for trial in trials],
        "best": None if winner is None else winner.as_dict(),
        "decisions": suggestions.decisions if isinstance(suggestions, ModelSuggestions) else [],
    }
    Store(storage).write_study_json(folder.name, "side/search.json", found)
    if winner is None:
        typer.echo(f"no mixture of {len(trials)} {limit_in_words(study, spec)}; see the Pareto front")
        return
    typer.echo(f"best of {len(trials)} by {scorer}, {limit_in_words(study, spec)}: {winner.arm}")
    for line in claim_lines(winner):
        typer.echo(line)


def claim_lines(winner: Trial) -> list[str]:
    """What may be said of the best point, with intervals that hold for all points that were tried."""
    claim = winner.claim
    if claim is None:
        return []
    words = {"yes": "keeps the limit", "open": "is not told from the limit", "no": "breaks the limit"}
    gain = _with_ends(claim.gain, claim.gain_low, claim.gain_high, 1.0, 3)
    scale, digits, unit = (100.0, 1, " %") if claim.is_relative else (1.0, 3, " points")
    loss = _with_ends(claim.loss, claim.loss_low, claim.loss_high, scale, digits)
    corrected = f"95 % for all {claim.num_points} points at once"
    return [
        f"  gain over the baseline {gain} ({corrected}; over {claim.over or 'nothing'})",
        f"  forgetting {loss}{unit}: {words[claim.feasible]}",
        "whether it is told apart from the others says the report's leaderboard",
    ]


def _with_ends(value: float | None, low: float | None, high: float | None, scale: float, digits: int) -> str:
    if value is None:
        return "unknown"
    shown = f"{scale * value:+.{digits}f}"
    return (
        f"{shown} [no interval]"
        if low is None or high is None
        else (f"{shown} [{scale * low:+.{digits}f}, {scale * high:+.{digits}f}]")
    )


def _rows(table: str, study: Study, storage: str, max_usd: float | None) -> list[dict[str, Any]]:
    """Rows of a table of all points so far; what the store holds is not made again."""
    from assay.commands.progress import console_progress
    from assay.commands.study import embedded_judge
    from assay.store import Store
    from assay.studies.pipeline import Pipeline

    quick = study.replace(statistics=study.statistics.replace(resamples=200), error_rows=0)
    pipeline = Pipeline(quick, Store(storage), console_progress(), embedded_judge(), max_usd)
    results = pipeline.run(pipeline.open())
    assert results is not None
    rows: list[dict[str, Any]] = results.tables[table].to_pylist()
    return rows


def _line(trial: Trial, is_relative: bool) -> str:
    weights = json.dumps({name: round(value, 3) for name, value in trial.weights.items()})
    score = "no score" if trial.score is None else f"score {trial.score:.3f}"
    lost = "unknown" if trial.forgetting is None else f"{trial.forgetting:+.3f} points"
    if is_relative and trial.forgetting is not None:
        lost = f"{100 * trial.forgetting:+.1f} %"
    return f"trial {trial.number}: {score}, forgetting {lost}{'' if trial.is_feasible else ' (too much)'}, {weights}"
