"""Models ranked by a judge that sees all their answers to a prompt in one call.

Additive item + model + place fit, Bradley-Terry beside it, what each place is worth to each model, what it cost
against rating every answer alone, and how judged score follows loss.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

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
)
from assay.judging.audit import ModelAnswer
from assay.judging.coverage import Coverage
from assay.judging.joint_report import JointReport, LossReport, PlaceMean, RankedModel, Tokens, Without
from assay.metaeval.statistics.bootstrap import clusters, interval, seeded, weighted_mean
from assay.metaeval.statistics.estimate import Estimate, FloatArray
from assay.metaeval.statistics.joint_fit import AdditiveFit, additive_fit, bradley_terry
from assay.metaeval.statistics.loss_line import loss_line
from assay.row_files import finite, read_rows, text_field
from assay.scoring.judges.judgements import JointJudgement
from assay.scoring.judges.protocols.joint import JointInstance, JointJudge

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
) -> JointReport:
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
    check_known(models, [without] if without else [], "--without")
    check_known(models, losses or {}, "--losses")
    instances = [JointInstance(item.prompt, item.responses, item.reference) for item in items]
    works = [Work(judge, instances, "all models")]
    if without:
        fewer = [{m: text for m, text in item.responses.items() if m != without} for item in items]
        rest = [JointInstance(i.prompt, r, i.reference) for i, r in zip(items, fewer, strict=True) if r]
        works.append(Work(judge, rest, f"all models but {without}"))
    asked = ask_judge(connection, works, "strict", progress)
    check_answered(calls_of(asked))
    report = joint_report(items, asked.judgements[0], connection.judge)
    other = joint_report(items, asked.judgements[1], connection.judge) if without else None
    return replace(
        report,
        protocol=judge.identity(),
        calls=calls_of(asked),
        tokens=_tokens(judge, instances, asked) if without is None else None,
        loss=None
        if losses is None
        else loss_report({row.model: row.score.effect.value for row in report.models}, losses),
        without=_invariance(report, other, without) if other is not None and without else None,
    )


def joint_report(items: Sequence[RankItem], judgements: Sequence[JointJudgement], judge: str) -> JointReport:
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
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for judgement in judgements:
        for model, reason in judgement.unscored.items():
            reasons[model].append(reason)

    rows = []
    for place in fit.models:
        mine = [number for number, name in enumerate(names) if name == place.model]
        units = clusters(np.array([numbers[number] for number in mine]))
        raw_mean, centred_mean = (
            interval(weighted_mean(values[mine]), units, seeded(judge, label, place.model), n=len(mine))
            for label, values in (("raw_mean", scores), ("centred", centred))
        )
        rows.append(RankedModel(place, raw_mean, centred_mean, Coverage.of(asked[place.model], reasons[place.model])))
    return JointReport(
        judge=judge,
        num_items=len(items),
        models=tuple(rows),
        unranked={model: Coverage.of(asked[model], reasons[model]) for model in sorted(asked.keys() - set(names))},
        bradley_terry=None if strengths is None else tuple(strengths.models),
        note=note,
        positions={place + 1: effect for place, effect in sorted(fit.positions.items())},
        model_by_position=_by_place(cells, centred),
        residual_sd=fit.residual_sd,
    )


def loss_report(scores: Mapping[str, float], losses: Mapping[str, float]) -> LossReport:
    """How judged score follows loss, over the models that have both.

    Args:
        scores: judged score by model; higher is better.
        losses: test loss by model.
    """
    names = [model for model in scores if model in losses]
    if len(names) < 3:
        return LossReport(Estimate.undefined(f"{len(names)} models have a loss; 3 are needed"), None, len(names))
    line = loss_line(names, [losses[name] for name in names], [scores[name] for name in names], seeded("loss", *names))
    return LossReport(line.spearman, line, len(names))


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


def _by_place(cells: Sequence[_Cell], centred_N: FloatArray) -> dict[str, dict[str, PlaceMean]]:
    """Model to place (from 1) to its mean centred score there."""
    found: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell, value in sorted(zip(cells, centred_N.tolist(), strict=True), key=lambda pair: pair[0].place):
        found[cell.model][str(cell.place + 1)].append(value)
    return {
        model: {place: PlaceMean(sum(values) / len(values), len(values)) for place, values in places.items()}
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


def _tokens(judge: JointJudge, instances: Sequence[JointInstance], asked: Asked) -> Tokens:
    joint = alone = 0
    for instance in instances:
        plan, same_as = judge.layout(instance)
        joint += sum(_chars(judge, instance, models) for _, _, models in plan)
        for model in instance.responses.keys() - same_as.keys():
            alone += judge.repeats * _chars(judge, instance, (model,))
    return Tokens(asked.stats.prompt_tokens, asked.stats.completion_tokens, joint, alone)


def _chars(judge: JointJudge, instance: JointInstance, models: Sequence[str]) -> int:
    return sum(len(message.content) for message in judge.messages(instance, models))


def _invariance(report: JointReport, other: JointReport, without: str) -> Without:
    before = {row.model: row.score.effect.value for row in report.models if row.model != without}
    after = {row.model: row.score.effect.value for row in other.models if row.model in before}
    shared = sorted(after)
    middle = sum(before[m] for m in shared) / len(shared)
    shifts = {m: after[m] - (before[m] - middle) for m in shared}
    first, second = (sorted(shared, key=lambda m: (-scores[m], m)) for scores in (before, after))
    largest = max(map(abs, shifts.values()))
    return Without(without, shifts, largest, first == second)


def check_known(models: Sequence[str], named: Iterable[str], flag: str) -> None:
    """Refuse names that are no models.

    Raises:
        ConfigError: names the flag, the names and the models.
    """
    unknown = [name for name in named if name not in models]
    if unknown:
        raise ConfigError(f"{flag}: saw {', '.join(unknown)}; expected some of the models {', '.join(models)}")
