"""The models of a study ranked by its judge over the prompts that they share: tables `ranking` and `loss_line`.

Joint: all models' answers to a prompt in one call, additive fit over calls in several orders. Win rate: each model
against the baseline, in both orders. Each evaluation set for itself, and all target sets together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.errors import DataError
from assay.generation.spec import KIND, PREDICTIONS_FILE
from assay.hooks import Progress
from assay.judging.asking import Asked, JudgeConnection, Work, ask_judge, calls_of, check_answered
from assay.judging.coverage import Coverage
from assay.judging.rank import RankItem, joint_report, loss_report
from assay.judging.win_rates import win_row
from assay.metaeval.statistics.estimate import Estimate
from assay.metaeval.study_tables.build import RunRow
from assay.metaeval.study_tables.columns import Column, count, key, make_table, number, text
from assay.records import Example, Mode, Prediction, from_table
from assay.scoring.judges.judgements import JointJudgement, PairVerdict
from assay.scoring.judges.protocols.joint import JointInstance, JointJudge
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.scoring.judges.table import SHIPPED_PROTOCOLS
from assay.store import Store
from assay.studies.given.answers import question_of
from assay.studies.given.model import Ranking

if TYPE_CHECKING:
    import pyarrow as pa

ALL_SETS = "all target sets"
RANKING_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "ranking": (
        key("evaluation_set", f'"{ALL_SETS}": the prompts of all of them together'),
        key("arm", "model"),
        text("protocol", '"joint", or the pairwise strategy'),
        text("baseline", "whom a win rate is over; empty: joint"),
        count("rank", "1 = best; null where the judge scored no answer of it"),
        count("rank_low", "best rank within the 95 % intervals; of a win rate null"),
        count("rank_high", "worst rank within them"),
        number("value", "joint: points of 100 above the mean of all models; else share of prompts won, ties half"),
        number("low", "lower end of the 95 % interval over prompts"),
        number("high", "upper end of the 95 % interval over prompts"),
        number("raw_mean", "joint: mean score, 0 to 100; else win rate at the baseline's length"),
        number("raw_low", "lower end of its 95 % interval"),
        number("raw_high", "upper end of its 95 % interval"),
        count("num_asked", "prompts that the model answered"),
        count("num_scored", "of these, prompts that the judge scored it on"),
        count("num_without_answer", "prompts that the model has no answer to"),
        text("unscored", "JSON object: why the judge gave no score -> how many"),
        text("method", "how the interval was made"),
        text("reason", "why a number is missing or must be read with care"),
    ),
    "loss_line": (
        key("evaluation_set", "see `ranking`"),
        number("spearman", "correlation over models of judged score with test loss; below 0: lower loss, better score"),
        number("low", "lower end of its 95 % interval over models"),
        number("high", "upper end of its 95 % interval over models"),
        number("slope", "points of score per unit of loss, Theil and Sen's median"),
        number("intercept", "score at loss 0"),
        count("num_models", "models with a loss and a score"),
        text("off_the_line", "JSON list: models far from the line, farthest first"),
        text("reason", "why there is no line"),
    ),
    "losses": (
        key("evaluation_set", "see `ranking`"),
        key("arm", "model"),
        number("loss", "its test loss, as the study gives it"),
        number("value", "its value in `ranking`"),
        number("low", "lower end of the value's interval"),
        number("high", "upper end of the value's interval"),
    ),
}


@dataclass(frozen=True)
class SharedPrompts:
    """The prompts of one evaluation set with the answers of all models that have one."""

    name: str
    is_target: bool
    items: tuple[RankItem, ...]
    without: Mapping[str, int]
    """Model -> prompts that it has no answer to."""


@dataclass(frozen=True)
class RankedBy:
    """How models are ranked, and against whom."""

    ranking: Ranking
    baseline: str
    """Model that win rates are over."""
    mode: Mode


@dataclass(frozen=True)
class Ranked:
    """What a judge said of all models."""

    tables: Mapping[str, pa.Table]
    calls: Mapping[str, Any]


def shared_prompts(
    store: Store, runs: Sequence[RunRow], examples: Mapping[str, Sequence[Example]]
) -> list[SharedPrompts]:
    """The stored answers of all runs by evaluation set.

    Args:
        store: holds the predictions.
        runs: of the study.
        examples: rows by the name of the evaluation set.
    """
    found = []
    for name, rows in examples.items():
        mine = [run for run in runs if run.evaluation_set == name]
        answers = {run.arm: _answers(store, run.predictions_key) for run in mine}
        items = []
        for row in rows:
            responses = {model: said[row.example_id] for model, said in answers.items() if row.example_id in said}
            if len(responses) > 1:
                items.append(RankItem(question_of(row), responses, row.reference))
        without = {model: len(rows) - len(said) for model, said in answers.items()}
        found.append(SharedPrompts(name, bool(mine) and not mine[0].is_forgetting, tuple(items), without))
    return found


def rank_models(
    shared: Sequence[SharedPrompts],
    how: RankedBy,
    losses: Mapping[str, float],
    connection: JudgeConnection,
    progress: Progress,
) -> Ranked:
    """Ask the judge and make the tables.

    Args:
        shared: prompts and answers by evaluation set.
        how: protocol, its settings, and the model that win rates are over.
        losses: of the models; empty: no table of them.
        connection: the judge.
        progress: told of prompts.

    Raises:
        DataError: no prompt has two answers, or nothing was scored.
        EndpointError: no reply at all.
        LimitReached: the dollars are used up; the same command continues.
    """
    sets = [part for part in shared if part.items]
    if not sets:
        raise DataError("rank: saw no prompt that two models have answered; expected some; see the generation")
    make = _joint_rows if how.ranking.is_joint else _win_rows
    rows, calls = make(sets, how, connection, progress)
    check_answered(calls)
    tables = {"ranking": make_table("ranking", rows, RANKING_COLUMNS)}
    if losses:
        names = list(dict.fromkeys(row["evaluation_set"] for row in rows))
        tables["loss_line"] = make_table("loss_line", [_line(name, rows, losses) for name in names], RANKING_COLUMNS)
        tables["losses"] = make_table("losses", list(_points(rows, losses)), RANKING_COLUMNS)
    return Ranked(tables, calls)


def _joint_rows(
    sets: Sequence[SharedPrompts],
    how: RankedBy,
    connection: JudgeConnection,
    progress: Progress,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    asks = how.ranking
    judge = JointJudge(mode=how.mode, repeats=asks.repeats, max_models=asks.max_models, structured=asks.structured)
    works = [
        Work(judge, [JointInstance(item.prompt, item.responses, item.reference) for item in part.items], part.name)
        for part in sets
    ]
    asked = ask_judge(connection, works, how.mode, progress)
    rows = []
    for name, parts, judgements in _boards(sets, asked):
        items = [item for part in parts for item in part.items]
        report = joint_report(items, judgements, connection.judge)
        for row in report.models:
            score = row.score
            rows.append(
                {
                    **_place(name, row.model, "joint", "", parts, row.coverage),
                    "rank": score.rank,
                    "rank_low": score.rank_low,
                    "rank_high": score.rank_high,
                    **_interval(score.effect, ("value", "low", "high")),
                    **_interval(row.raw_mean, ("raw_mean", "raw_low", "raw_high")),
                    "method": score.effect.method,
                    "reason": score.effect.reason or report.note,
                }
            )
        nothing = Estimate.undefined("the judge scored no answer of it")
        for model, coverage in report.unranked.items():
            rows.append(
                {
                    **_place(name, model, "joint", "", parts, coverage),
                    **dict.fromkeys(("rank", "rank_low", "rank_high")),
                    **_interval(nothing, ("value", "low", "high")),
                    **_interval(nothing, ("raw_mean", "raw_low", "raw_high")),
                    "method": "",
                    "reason": nothing.reason,
                }
            )
    return rows, calls_of(asked)


def _win_rows(
    sets: Sequence[SharedPrompts],
    how: RankedBy,
    connection: JudgeConnection,
    progress: Progress,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    protocol, baseline = SHIPPED_PROTOCOLS.pairwise(how.ranking.protocol, how.mode), how.baseline
    rivals = sorted({model for part in sets for item in part.items for model in item.responses} - {baseline})
    both = {
        (part.name, rival): [item for item in part.items if {rival, baseline} <= item.responses.keys()]
        for part in sets
        for rival in rivals
    }
    works = [
        Work(
            protocol,
            [PairInstance(item.prompt, item.responses[baseline], item.responses[rival]) for item in items],
            f"{rival} against {baseline} on {name}",
        )
        for (name, rival), items in both.items()
    ]
    asked = ask_judge(connection, works, how.mode, progress)
    verdicts: dict[tuple[str, str], list[PairVerdict]] = dict(zip(both, asked.judgements, strict=True))
    missing = dict(zip(both, asked.unanswered, strict=True))
    rows = []
    for name, parts in _named(sets):
        board = []
        for rival in rivals:
            places = [(part.name, rival) for part in parts]
            won = win_row(
                rival,
                baseline,
                [item for place in places for item in both[place]],
                [verdict for place in places for verdict in verdicts[place]],
            )
            coverage = won.coverage.with_details(missing[places[0]])
            rate, controlled = won.win_rate, won.length_controlled
            board.append(
                {
                    **_place(name, rival, how.ranking.protocol, baseline, parts, coverage),
                    "rank": None,
                    "rank_low": None,
                    "rank_high": None,
                    **_interval(rate, ("value", "low", "high")),
                    **_interval(controlled, ("raw_mean", "raw_low", "raw_high")),
                    "method": rate.method,
                    "reason": rate.reason,
                }
            )
        known = [row["value"] for row in board if row["value"] is not None]
        for row in board:
            if row["value"] is not None:
                row["rank"] = 1 + sum(value > row["value"] for value in known)
        rows += board
    return rows, calls_of(asked)


def _named(sets: Sequence[SharedPrompts]) -> list[tuple[str, list[SharedPrompts]]]:
    """Each set, and all target sets together where there are several."""
    targets = [part for part in sets if part.is_target]
    together = [(ALL_SETS, targets)] if len(targets) > 1 else []
    return [*together, *((part.name, [part]) for part in sets)]


def _boards(
    sets: Sequence[SharedPrompts], asked: Asked
) -> Iterable[tuple[str, list[SharedPrompts], list[JointJudgement]]]:
    by_set = {part.name: judgements for part, judgements in zip(sets, asked.judgements, strict=True)}
    for name, parts in _named(sets):
        yield name, parts, [judgement for part in parts for judgement in by_set[part.name]]


def _place(
    name: str, model: str, protocol: str, baseline: str, parts: Sequence[SharedPrompts], coverage: Coverage
) -> dict[str, Any]:
    return {
        "evaluation_set": name,
        "arm": model,
        "protocol": protocol,
        "baseline": baseline,
        "num_asked": coverage.asked,
        "num_scored": coverage.scored,
        "num_without_answer": sum(part.without.get(model, 0) for part in parts),
        "unscored": json.dumps(dict(coverage.unscored), sort_keys=True),
    }


def _interval(estimate: Estimate, names: tuple[str, str, str]) -> dict[str, float | None]:
    found = estimate.as_json()
    return {name: found[part] for name, part in zip(names, ("value", "low", "high"), strict=True)}


def _line(name: str, rows: Sequence[Mapping[str, Any]], losses: Mapping[str, float]) -> dict[str, Any]:
    scores = {row["arm"]: row["value"] for row in rows if row["evaluation_set"] == name and row["value"] is not None}
    found = loss_report(scores, losses)
    line = found.line
    return {
        "evaluation_set": name,
        **_interval(found.spearman, ("spearman", "low", "high")),
        "slope": None if line is None else line.slope,
        "intercept": None if line is None else line.intercept,
        "num_models": found.num_models,
        "off_the_line": json.dumps([] if line is None else list(line.off_the_line)),
        "reason": found.spearman.reason,
    }


def _points(rows: Sequence[Mapping[str, Any]], losses: Mapping[str, float]) -> Iterable[dict[str, Any]]:
    for row in rows:
        if row["arm"] in losses:
            loss = {"loss": losses[row["arm"]]}
            yield {name: row[name] for name in ("evaluation_set", "arm", "value", "low", "high")} | loss


def _answers(store: Store, predictions: str) -> dict[str, str]:
    """Answers by example of a predictions artifact; rows without one are absent."""
    rows = from_table(store.read_table(KIND, predictions, PREDICTIONS_FILE), Prediction)
    return {row.example_id: row.prediction for row in rows if row.error is None}
