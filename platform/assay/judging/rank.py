"""Models ranked by a judge over shared prompts: all in one call (joint), or each against a baseline (win rate).

Joint: additive item + model + place fit, Bradley-Terry beside it, what each place is worth to each model, what it
cost against rating every answer alone, and how judged score follows loss. Win rate: AlpacaFarm's, and AlpacaEval's
with length held equal.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import ConfigError, DataError
from assay.hooks import Progress
from assay.judging.asking import (
    Asked,
    JudgeConnection,
    Work,
    ask_judge,
    calls_of,
    check_answered,
    with_details,
)
from assay.judging.audit import ModelAnswer
from assay.metaeval.statistics.bootstrap import clusters, interval, seeded, weighted_mean
from assay.metaeval.statistics.estimate import Estimate, FloatArray
from assay.metaeval.statistics.joint_fit import AdditiveFit, ModelScore, additive_fit, bradley_terry
from assay.metaeval.statistics.loss_line import loss_line
from assay.metaeval.statistics.win_rate import WinRate, length_controlled_win_rate, win_rate
from assay.records import Mode
from assay.row_files import finite, read_rows, text_field
from assay.scoring.judges.judgements import JointJudgement, PairVerdict
from assay.scoring.judges.protocols.joint import JointInstance, JointJudge
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.scoring.judges.table import SHIPPED_PROTOCOLS

JOINT = "joint"


@dataclass(frozen=True)
class RankItem:
    """One prompt and what the models answered to it."""

    prompt: str
    responses: Mapping[str, str]
    reference: str = ""


@dataclass(frozen=True)
class _Cell:
    """One score out of one joint call."""

    item: int
    call: tuple[int, int, int]
    """Item, block and repeat."""
    model: str
    place: int
    """From 0."""
    score: float


def group_answers(answers: Sequence[ModelAnswer], limit: int | None = None) -> list[RankItem]:
    """Answers by prompt, in order of first appearance, at most `limit` prompts.

    Raises:
        DataError: one model answers a prompt twice, or fewer than two models answer.
    """
    grouped: dict[str, dict[str, str]] = {}
    references: dict[str, str] = {}
    for answer in answers:
        responses = grouped.setdefault(answer.question, {})
        if answer.model in responses:
            raise DataError(
                f"--answers: saw two answers of {answer.model!r} to {answer.question[:60]!r}; expected one; drop a row"
            )
        responses[answer.model] = answer.response
        references[answer.question] = references.get(answer.question) or answer.reference
    items = [RankItem(prompt, responses, references[prompt]) for prompt, responses in grouped.items()][:limit]
    models = {model for item in items for model in item.responses}
    if len(models) < 2:
        raise DataError(f"--answers: saw the answers of {', '.join(models) or 'no model'}; expected two models or more")
    return items


def read_losses(path: Path) -> dict[str, float]:
    """Rows of `model` and `loss`.

    Raises:
        DataError: a row without them, or a model twice.
    """
    losses: dict[str, float] = {}
    for number, row in enumerate(read_rows(path)):
        where = f"{path}: row {number}"
        model, loss = text_field(row, ("model", "system", "generator"), where), finite(row.get("loss"))
        if math.isnan(loss) or model in losses:
            raise DataError(f"{where}: saw loss {row.get('loss')!r} of {model!r}; expected one number per model")
        losses[model] = loss
    return losses


def rank_jointly(
    items: Sequence[RankItem],
    connection: JudgeConnection,
    judge: JointJudge,
    progress: Progress,
    *,
    losses: Mapping[str, float] | None = None,
    without: str | None = None,
) -> dict[str, Any]:
    """All models of an item in one call (or in blocks that share models).

    Args:
        items: what is judged.
        connection: who judges.
        judge: how.
        progress: told of items.
        losses: of the models; adds how judged score follows loss.
        without: a model; all items are judged once more without it, which tells what its presence does to the others.

    Raises:
        ConfigError: `without` or a loss names no model.
        DataError: no shared item connects the models.
        EndpointError: no reply at all.
    """
    models = sorted({model for item in items for model in item.responses})
    _check_known(models, [without] if without else [], "--without")
    _check_known(models, losses or {}, "--losses")
    instances = [JointInstance(item.prompt, item.responses, item.reference) for item in items]
    works = [Work(judge, instances, "all models")]
    if without:
        fewer = [{m: text for m, text in item.responses.items() if m != without} for item in items]
        rest = [JointInstance(i.prompt, r, i.reference) for i, r in zip(items, fewer, strict=True) if r]
        works.append(Work(judge, rest, f"all models but {without}"))
    asked = ask_judge(connection, works, "strict", progress)
    check_answered(calls_of(asked))
    report = joint_report(items, asked.judgements[0], connection.judge)
    report["protocol"] = judge.identity()
    report["calls"] = calls_of(asked)
    report["tokens"] = _tokens(judge, instances, asked) if without is None else None
    if losses is not None:
        report["loss"] = loss_report({row["model"]: row["effect"]["value"] for row in report["models"]}, losses)
    if without:
        report["without"] = _invariance(report, joint_report(items, asked.judgements[1], connection.judge), without)
    return report


def joint_report(items: Sequence[RankItem], judgements: Sequence[JointJudgement], judge: str) -> dict[str, Any]:
    """What joint judgements say about the models; see the module.

    Raises:
        DataError: nothing was scored, or the models are not connected.
    """
    cells = [cell for number, judgement in enumerate(judgements) for cell in _cells(number, judgement)]
    if not cells:
        raise DataError("rank: saw no readable score in any reply; expected some; look at the replies in the ledger")
    names = [cell.model for cell in cells]
    scores = np.array([cell.score for cell in cells])
    numbers = [cell.item for cell in cells]
    fit, note = _fit(cells, scores, judge)
    duels = _duels(cells)
    strengths = None
    if duels:
        played, first, second, outcome = zip(*duels, strict=True)
        strengths = bradley_terry(played, first, second, outcome, seeded(judge, "bradley-terry"))
    centred = _centred(cells)
    asked = Counter(model for item, _ in zip(items, judgements, strict=False) for model in item.responses)
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for judgement in judgements:
        for model, reason in judgement.unscored.items():
            reasons[model][reason] += 1

    def coverage(model: str, scored: int) -> dict[str, Any]:
        return {"asked": asked[model], "scored": scored, "unscored": dict(sorted(reasons[model].items()))}

    rows = []
    for place in fit.models:
        mine = [number for number, name in enumerate(names) if name == place.model]
        units = clusters(np.array([numbers[number] for number in mine]))
        row = _score_row(place)
        for label, values in (("raw_mean", scores), ("centred", centred)):
            rng = seeded(judge, label, place.model)
            row[label] = interval(weighted_mean(values[mine]), units, rng, n=len(mine)).as_json()
        row["coverage"] = coverage(place.model, len({numbers[number] for number in mine}))
        rows.append(row)
    return {
        "judge": judge,
        "num_items": len(items),
        "models": rows,
        "unranked": [{"model": m, "coverage": coverage(m, 0)} for m in sorted(asked.keys() - set(names))],
        "bradley_terry": None if strengths is None else [_score_row(place) for place in strengths.models],
        "note": note,
        "positions": {str(place + 1): effect.as_json() for place, effect in sorted(fit.positions.items())},
        "model_by_position": _by_place(cells, centred),
        "residual_sd": fit.residual_sd,
    }


def loss_report(scores: Mapping[str, float], losses: Mapping[str, float]) -> dict[str, Any]:
    """How judged score follows loss, over the models that have both, as JSON.

    Args:
        scores: judged score by model; higher is better.
        losses: test loss by model.
    """
    names = [model for model in scores if model in losses]
    if len(names) < 3:
        return Estimate.undefined(f"{len(names)} models have a loss; 3 are needed").as_json()
    line = loss_line(names, [losses[name] for name in names], [scores[name] for name in names], seeded("loss", *names))
    return {
        "spearman": line.spearman.as_json(),
        "slope": line.slope,
        "intercept": line.intercept,
        "off_the_line": list(line.off_the_line),
        "num_models": len(names),
    }


def rank_by_wins(
    items: Sequence[RankItem],
    connection: JudgeConnection,
    strategy: str,
    baseline: str,
    mode: Mode,
    progress: Progress,
) -> dict[str, Any]:
    """Every model against the baseline, in both orders.

    Raises:
        ConfigError: an unknown strategy, or a baseline that no item has an answer of.
    """
    protocol = SHIPPED_PROTOCOLS.pairwise(strategy, mode)
    models = sorted({model for item in items for model in item.responses})
    _check_known(models, [baseline], "--baseline")
    rivals = [model for model in models if model != baseline]
    shared = {m: [i for i in items if m in i.responses and baseline in i.responses] for m in rivals}
    works = [
        Work(
            protocol,
            [PairInstance(i.prompt, i.responses[baseline], i.responses[m]) for i in shared[m]],
            f"{m} against {baseline}",
        )
        for m in rivals
    ]
    asked = ask_judge(connection, works, mode, progress)
    rows = []
    for model, verdicts, missing in zip(rivals, asked.judgements, asked.unanswered, strict=True):
        row = win_row(model, baseline, shared[model], verdicts)
        rows.append({**row, "coverage": with_details(row["coverage"], missing)})
    rows.sort(key=lambda row: (-(row["win_rate"]["value"] or 0.0), row["model"]))
    return {
        "judge": connection.judge,
        "baseline": baseline,
        "strategy": strategy,
        "mode": mode,
        "num_items": len(items),
        "models": rows,
        "protocol": protocol.identity(),
        "calls": calls_of(asked),
    }


def win_row(model: str, baseline: str, items: Sequence[RankItem], verdicts: Sequence[PairVerdict]) -> dict[str, Any]:
    """Win rate of one model, raw and at the baseline's length, in characters."""
    preferences = [verdict.preference for verdict in verdicts]
    lengths = [(len(item.responses[model]), len(item.responses[baseline])) for item in items]
    raw = win_rate(preferences)
    controlled = length_controlled_win_rate(preferences, [a for a, _ in lengths], [b for _, b in lengths])
    reasons = Counter(
        next(choice.status for choice in (verdict.original, verdict.swapped) if choice.winner is None)
        for verdict in verdicts
        if verdict.preference is None
    )
    return {
        "model": model,
        "win_rate": _rate(raw, "Wilson, over items"),
        "length_controlled": _rate(controlled, "profile likelihood, over items"),
        "both_orders_agree": sum(
            v.original.winner is not None and v.original.winner == v.swapped.winner for v in verdicts
        ),
        "mean_length": {"model": _mean([a for a, _ in lengths]), "baseline": _mean([b for _, b in lengths])},
        "coverage": {"asked": len(verdicts), "scored": raw.num_items, "unscored": dict(sorted(reasons.items()))},
    }


def _cells(number: int, judgement: JointJudgement) -> list[_Cell]:
    """Scores with their places; models with an identical response get its score."""
    twins: defaultdict[str, list[str]] = defaultdict(list)
    for model, other in judgement.same_as.items():
        twins[other].append(model)
    cells = []
    for reading in judgement.readings:
        call = (number, reading.block, reading.repeat)
        for place, (model, score) in enumerate(zip(reading.models, reading.scores, strict=True)):
            if score is not None:
                cells += [_Cell(number, call, name, place, score) for name in (model, *twins[model])]
    return cells


def _fit(cells: Sequence[_Cell], scores_N: FloatArray, judge: str) -> tuple[AdditiveFit, str]:
    """The additive fit, and what is to be said about it: with few calls places cannot be told from models."""
    items, names = [cell.item for cell in cells], [cell.model for cell in cells]
    try:
        return additive_fit(scores_N, items, names, [cell.place for cell in cells], seeded(judge, "additive")), ""
    except ValueError as error:
        reason = str(error)
    try:
        return additive_fit(scores_N, items, names, None, seeded(judge, "additive")), f"places are not fitted: {reason}"
    except ValueError as error:
        raise DataError(f"rank: {error}") from None


def _centred(cells: Sequence[_Cell]) -> FloatArray:
    """Scores less the mean of their call: what the judge's mood in that call was is gone."""
    sums: defaultdict[tuple[int, int, int], list[float]] = defaultdict(list)
    for cell in cells:
        sums[cell.call].append(cell.score)
    means = {call: sum(values) / len(values) for call, values in sums.items()}
    return np.array([cell.score - means[cell.call] for cell in cells])


def _by_place(cells: Sequence[_Cell], centred_N: FloatArray) -> dict[str, dict[str, Any]]:
    """Model to place (from 1) to its mean centred score there, and over how many calls."""
    found: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell, value in sorted(zip(cells, centred_N.tolist(), strict=True), key=lambda pair: pair[0].place):
        found[cell.model][str(cell.place + 1)].append(value)
    return {
        model: {place: {"centred": sum(values) / len(values), "n": len(values)} for place, values in places.items()}
        for model, places in sorted(found.items())
    }


def _duels(cells: Sequence[_Cell]) -> list[tuple[int, str, str, int]]:
    """(item, first, second, outcome) of every two models in a call."""
    by_call: defaultdict[tuple[int, int, int], list[_Cell]] = defaultdict(list)
    for cell in cells:
        by_call[cell.call].append(cell)
    return [
        (one.item, one.model, other.model, (one.score > other.score) - (one.score < other.score))
        for members in by_call.values()
        for one, other in combinations(members, 2)
    ]


def _score_row(place: ModelScore) -> dict[str, Any]:
    return {
        "model": place.model,
        "rank": place.rank,
        "rank_low": place.rank_low,
        "rank_high": place.rank_high,
        "effect": place.effect.as_json(),
    }


def _tokens(judge: JointJudge, instances: Sequence[JointInstance], asked: Asked) -> dict[str, Any]:
    """What it cost, and about what rating each answer alone, as often, would have: from the prompts' characters."""
    joint = alone = 0
    for instance in instances:
        plan, same_as = judge.layout(instance)
        joint += sum(_chars(judge, instance, models) for _, _, models in plan)
        for model in instance.responses.keys() - same_as.keys():
            alone += judge.repeats * _chars(judge, instance, (model,))
    return {
        "prompt_tokens": asked.stats.prompt_tokens,
        "completion_tokens": asked.stats.completion_tokens,
        "prompt_chars": joint,
        "prompt_chars_if_rated_alone": alone,
    }


def _chars(judge: JointJudge, instance: JointInstance, models: Sequence[str]) -> int:
    return sum(len(message.content) for message in judge.messages(instance, models))


def _invariance(report: Mapping[str, Any], other: Mapping[str, Any], without: str) -> dict[str, Any]:
    """How far the others move, relative to each other, when one model is taken away."""
    before = {row["model"]: row["effect"]["value"] for row in report["models"] if row["model"] != without}
    after = {row["model"]: row["effect"]["value"] for row in other["models"] if row["model"] in before}
    shared = sorted(after)
    middle = sum(before[m] for m in shared) / len(shared)
    shifts = {m: after[m] - (before[m] - middle) for m in shared}
    first, second = (sorted(shared, key=lambda m: (-scores[m], m)) for scores in (before, after))
    largest = max(map(abs, shifts.values()))
    return {"model": without, "shifts": shifts, "largest": largest, "same_order": first == second}


def _rate(rate: WinRate, method: str) -> dict[str, Any]:
    if math.isnan(rate.rate):
        return Estimate.undefined(rate.reason or "too few verdicts", rate.num_items).as_json()
    return Estimate(rate.rate, rate.low, rate.high, rate.num_items, rate.num_items, method).as_json()


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _check_known(models: Sequence[str], named: Sequence[str] | Mapping[str, float], flag: str) -> None:
    unknown = [name for name in named if name not in models]
    if unknown:
        raise ConfigError(f"{flag}: saw {', '.join(unknown)}; expected some of the models {', '.join(models)}")
