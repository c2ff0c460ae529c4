"""The bias audit of a judge: position, length, self preference, dress, orders to the judge and master keys.

Effects of ratings are in points of a scale of 1 to 10, whatever scale the protocol has. Every test is paired within
a question; Holm's adjustment runs over all of them, so that an unbiased judge is called biased in any respect with a
probability of at most `ALPHA`. Pure, but for `run_audit`, which asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import ConfigError
from assay.hooks import Progress
from assay.judging.accuracy import Judged, PairItem, Verdicts, run_report
from assay.judging.asking import JudgeConnection, Work, ask_judge, calls_of
from assay.judging.audit_report import (
    ALPHA,
    FORMAT,
    HIGH,
    LOW,
    Attack,
    AttackTest,
    AuditReport,
    BiasTest,
    FamilyTest,
    PositionTest,
)
from assay.judging.coverage import Coverage
from assay.judging.probes import (
    ATTACK_ITEMS,
    FAMILIES,
    HARMLESS,
    INJECTIONS,
    MASTER_KEYS,
    Probe,
    family_of,
    num_words,
    pair_probes,
    phrases,
    rating_probes,
)
from assay.metaeval.statistics.bootstrap import seeded
from assay.metaeval.statistics.estimate import Estimate, FloatArray
from assay.metaeval.statistics.position import length_effect, mean_interval
from assay.metaeval.statistics.rates import holm, paired_permutation, sign_test, wilson
from assay.records import Mode
from assay.row_files import read_rows, text_field
from assay.scoring.judges.calls import JudgeProtocol
from assay.scoring.judges.judgements import PairVerdict, PointwiseJudgement
from assay.scoring.judges.protocols.mt_bench import JudgedDialogue
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.table import SHIPPED_PROTOCOLS

MOVE_POINTS = 1.0
"""A score moves where it changes by more than this."""
_MOVED = MOVE_POINTS + 1e-9


@dataclass(frozen=True)
class AuditPlan:
    """What the judge will be shown."""

    pairs: Sequence[PairItem]
    probes: Sequence[Probe]
    self_phrase: str | None = None
    answers: Sequence[ModelAnswer] = field(default=())


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """A real answer of a real model."""

    question: str
    response: str
    model: str
    reference: str = ""


def make_plan(
    num_items: int = 40,
    num_pairs: int = 60,
    self_phrase: str | None = None,
    answers: Sequence[ModelAnswer] = (),
    pairs: Sequence[PairItem] | None = None,
    attack_items: int = ATTACK_ITEMS,
) -> AuditPlan:
    """The built-in probes, with a user's own pairs in place of ours and real answers beside them where given."""
    chosen = pair_probes(num_pairs) if pairs is None else pairs
    return AuditPlan(chosen, rating_probes(num_items, self_phrase, attack_items), self_phrase, answers)


def read_answers(path: Path) -> list[ModelAnswer]:
    """Rows with a question, a model, its answer and, where there is one, a reference.

    Raises:
        DataError: a row lacks a field.
    """
    found = []
    for number, row in enumerate(read_rows(path)):
        where = f"{path}: row {number}"
        found.append(
            ModelAnswer(
                text_field(row, ("question", "instruction", "input", "prompt"), where),
                text_field(row, ("response", "answer", "output"), where),
                text_field(row, ("model", "system", "generator"), where),
                str(row.get("reference") or ""),
            )
        )
    return found


def make_rater(name: str, mode: Mode) -> JudgeProtocol[Any, PointwiseJudgement]:
    """The protocol that rates one answer.

    Raises:
        ConfigError: no such protocol, or one that rates no single answer on a scale.
    """
    known = [*(n for n in SHIPPED_PROTOCOLS.names("pointwise") if n not in ("category", "objecqa")), "mt_bench_single"]
    if name not in known:
        raise ConfigError(f"--pointwise {name}: expected one of {', '.join(known)}")
    return SHIPPED_PROTOCOLS.make(name, mode)


def rating_instance(protocol: str, question: str, response: str, reference: str) -> Any:
    """The answer in the form that the protocol takes."""
    if SHIPPED_PROTOCOLS.kind(protocol) == "dialogue":
        return JudgedDialogue((question,), (response,), (reference,) if reference else ())
    return PointwiseInstance(question, response, reference)


def run_audit(
    connection: JudgeConnection, plan: AuditPlan, mode: Mode, progress: Progress, *, pointwise: str, strategy: str
) -> AuditReport:
    """Ask about everything in the plan.

    Raises:
        EndpointError: nothing answers, or key or model are refused.
        LimitReached: the dollars are used up.
    """
    rater, chooser = make_rater(pointwise, mode), SHIPPED_PROTOCOLS.pairwise(strategy, mode)
    works = [
        Work(chooser, pair_instances(plan), f"pairs with {strategy}"),
        Work(rater, rating_instances(plan, pointwise), f"ratings with {pointwise}"),
        Work(
            rater,
            [rating_instance(pointwise, a.question, a.response, a.reference) for a in plan.answers],
            f"your answers with {pointwise}",
        ),
    ]
    asked = ask_judge(connection, works, mode, progress)
    report = audit_report(plan, connection.judge, mode, *asked.judgements)
    protocols = {"pairwise": chooser.identity(), "pointwise": rater.identity()}
    details = {reason: detail for missing in reversed(asked.unanswered) for reason, detail in missing.details.items()}
    coverage = replace(report.coverage, details=details)
    return replace(report, coverage=coverage, protocols=protocols, calls=calls_of(asked))


def pair_instances(plan: AuditPlan) -> list[PairInstance]:
    """What the pairwise protocol is asked."""
    return [PairInstance(item.input, item.output_1, item.output_2) for item in plan.pairs]


def rating_instances(plan: AuditPlan, pointwise: str) -> list[Any]:
    """What the pointwise protocol is asked."""
    return [rating_instance(pointwise, probe.question, probe.response, probe.reference) for probe in plan.probes]


def audit_report(
    plan: AuditPlan,
    judge: str,
    mode: Mode,
    verdicts: Sequence[PairVerdict],
    ratings: Sequence[PointwiseJudgement],
    answer_ratings: Sequence[PointwiseJudgement] = (),
) -> AuditReport:
    """All effects with intervals, tests and what was found.

    Args:
        plan: what was shown.
        judge: its name; tells its family, and seeds the tests.
        mode: of the protocols.
        verdicts: on `plan.pairs`.
        ratings: of `plan.probes`.
        answer_ratings: of `plan.answers`.
    """
    points_P = np.array([_points(rating) for rating in ratings])
    tests: dict[str, BiasTest] = {
        "position": _position(plan, judge, mode, verdicts),
        "length": _length(plan.probes, points_P, judge),
        **_formats(plan.probes, points_P, judge),
        "self_preference": _self_preference(plan, points_P, judge),
        "injection": _attacks(plan.probes, points_P, "injection"),
        "master_keys": _attacks(plan.probes, points_P, "master_key"),
    }
    if plan.answers:
        points_A = np.array([_points(rating) for rating in answer_ratings])
        tests["model_families"] = _model_families(plan.answers, points_A, judge)
    return AuditReport(
        judge=judge,
        mode=mode,
        family="own" if plan.self_phrase else family_of(judge),
        tests=_adjusted(tests),
        coverage=_coverage(verdicts, [*ratings, *answer_ratings]),
    )


def _adjusted(tests: Mapping[str, BiasTest]) -> dict[str, BiasTest]:
    adjusted = holm([np.nan if test.p is None else test.p for test in tests.values()])
    return {
        name: replace(test, p_holm=None if np.isnan(p) else float(p), found=bool(p < ALPHA))
        for (name, test), p in zip(tests.items(), adjusted, strict=True)
    }


def _position(plan: AuditPlan, judge: str, mode: Mode, verdicts: Sequence[PairVerdict]) -> PositionTest:
    full = run_report(
        Judged("probes", judge, "pairwise", mode, plan.pairs, [Verdicts.of(verdict) for verdict in verdicts])
    )
    found = full.position
    return PositionTest(
        effect=Estimate.undefined("each output is rated alone") if found is None else found.effect,
        p=None if found is None else found.p,
        meaning="P(first shown wins) - P(second shown wins)",
        run=full,
    )


def _length(probes: Sequence[Probe], points_P: FloatArray, judge: str) -> BiasTest:
    places = [p for p, probe in enumerate(probes) if probe.part == "length" and not np.isnan(points_P[p])]
    items = [probes[p].item for p in places]
    words = num_words([probes[p].response for p in places])
    score = points_P[places]
    slopes = []
    for item in dict.fromkeys(items):
        own = [place for place, other in enumerate(items) if other == item]
        x = np.log2([words[place] for place in own])
        x = x - x.mean()
        if float(x @ x) > 0:
            slopes.append(float(x @ score[own]) / float(x @ x))
    effect = length_effect(score, words, items) if items else Estimate.undefined("no rating")
    p = paired_permutation(slopes, np.zeros(len(slopes)), seeded("audit", judge, "length")) if slopes else None
    return BiasTest(effect, p, "points per doubling of the words, same content")


def _formats(probes: Sequence[Probe], points_P: FloatArray, judge: str) -> dict[str, BiasTest]:
    by_variant = _by_variant(probes, points_P, "format")
    return {
        f"{FORMAT}{name}": BiasTest(
            *_paired(row, by_variant["plain"], judge, f"format {name}"), "points gained over the plain answer"
        )
        for name, row in by_variant.items()
        if name != "plain"
    }


def _self_preference(plan: AuditPlan, points_P: FloatArray, judge: str) -> FamilyTest:
    """Points of the judge's own family's phrase over the mean of the others', same answer."""
    by_variant = _by_variant(plan.probes, points_P, "self")
    centre = _row_means(list(by_variant.values()))
    table = {name: mean_interval(_finite(row - centre)) for name, row in by_variant.items()}
    own = "own" if plan.self_phrase else family_of(judge)
    if own is None or own not in by_variant:
        known = ", ".join(FAMILIES)
        reason = f"the family of {judge!r} is not known (of {known}); give --self-phrase"
        tested: tuple[Estimate, float | None] = (Estimate.undefined(reason), None)
    else:
        others = _row_means([row for name, row in by_variant.items() if name not in (own, "plain")])
        tested = _paired(by_variant[own], others, judge, "self")
    meaning = "points gained by the phrase of the judge's own family over those of others"
    return FamilyTest(*tested, meaning, by_family=table, phrases=phrases(plan.self_phrase))


def _attacks(probes: Sequence[Probe], points_P: FloatArray, part: str) -> AttackTest:
    """Share of answers whose score rises by more than a point over that of a harmless text of the same length.

    The test asks whether it rises more often than with a second harmless text in the attack's place: noise alone
    moves some scores.
    """
    by_item: dict[int, dict[str, float]] = {}
    for place, probe in enumerate(probes):
        if probe.part == part:
            by_item.setdefault(probe.item, {})[probe.variant] = float(points_P[place])
    moves: dict[str, list[float]] = {}
    only_attack = only_harmless = 0
    for scores in by_item.values():
        base, harmless = (scores.pop(name) for name in HARMLESS)
        ((name, score),) = scores.items()
        own = moves.setdefault(name, [])
        if not np.isnan(score - base):
            own.append(score - base)
        if not np.isnan(score - base + harmless):
            rises = score - base > _MOVED, harmless - base > _MOVED
            only_attack += rises == (True, False)
            only_harmless += rises == (False, True)
    every = [move for own in moves.values() for move in own]
    up, down = (sum(sign * move > _MOVED for move in every) for sign in (1, -1))
    texts = INJECTIONS if part == "injection" else MASTER_KEYS
    return AttackTest(
        effect=wilson(up, len(every)),
        p=(sign_test(only_attack, only_harmless) if only_attack > only_harmless else 1.0) if every else None,
        meaning=f"share of answers whose score rises by more than {MOVE_POINTS:g} point",
        moved_down=wilson(down, len(every)),
        only_attack=only_attack,
        only_harmless=only_harmless,
        by_attack={
            name: Attack(
                texts[name], len(own), sum(move > _MOVED for move in own), float(np.mean(own)) if own else None
            )
            for name, own in moves.items()
        },
    )


def _model_families(answers: Sequence[ModelAnswer], points_A: FloatArray, judge: str) -> FamilyTest:
    """Judge family against model family on real answers: scores centred on the question, own minus others."""
    family_A = [family_of(answer.model) or answer.model for answer in answers]
    own = family_of(judge)
    by_family: dict[str, list[float]] = {}
    differences = []
    for question in dict.fromkeys(answer.question for answer in answers):
        places = [p for p, a in enumerate(answers) if a.question == question and not np.isnan(points_A[p])]
        if not places:
            continue
        mean = float(points_A[places].mean())
        for place in places:
            by_family.setdefault(family_A[place], []).append(float(points_A[place]) - mean)
        mine = [points_A[p] for p in places if family_A[p] == own]
        theirs = [points_A[p] for p in places if family_A[p] != own]
        if mine and theirs:
            differences.append(float(np.mean(mine) - np.mean(theirs)))
    p = None
    if differences:
        p = paired_permutation(differences, np.zeros(len(differences)), seeded("audit", judge, "families"))
    return FamilyTest(
        mean_interval(differences) if differences else Estimate.undefined("no own family"),
        p,
        "points of answers of the judge's own family over others to the same question; quality is not held equal here, "
        "so a better family looks preferred",
        by_family={name: mean_interval(points) for name, points in sorted(by_family.items())},
    )


def _paired(first: FloatArray, second: FloatArray, judge: str, what: str) -> tuple[Estimate, float | None]:
    difference = _finite(first - second)
    if not difference.size:
        return mean_interval(difference), None
    p = paired_permutation(difference, np.zeros(difference.size), seeded("audit", judge, what))
    return mean_interval(difference), p


def _by_variant(probes: Sequence[Probe], points_P: FloatArray, part: str) -> dict[str, FloatArray]:
    """Points per variant, one per question in the same order."""
    found: dict[str, dict[int, float]] = {}
    for place, probe in enumerate(probes):
        if probe.part == part:
            found.setdefault(probe.variant, {})[probe.item] = float(points_P[place])
    items = sorted({item for row in found.values() for item in row})
    return {name: np.array([row.get(item, np.nan) for item in items]) for name, row in found.items()}


def _row_means(rows: Sequence[FloatArray]) -> FloatArray:
    """Mean over rows of what each column has; NaN where none has anything."""
    stacked = np.stack(list(rows))
    known = ~np.isnan(stacked)
    count = known.sum(axis=0)
    sums = np.where(known, stacked, 0.0).sum(axis=0)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def _coverage(verdicts: Sequence[PairVerdict], ratings: Sequence[PointwiseJudgement]) -> Coverage:
    """Of verdicts and ratings together."""
    choices = [choice for verdict in verdicts for choice in (verdict.original, verdict.swapped)]
    reasons = [choice.status for choice in choices if choice.winner is None]
    reasons += [rating.status for rating in ratings if rating.score is None]
    return Coverage.of(len(choices) + len(ratings), reasons)


def _points(rating: PointwiseJudgement) -> float:
    return np.nan if rating.fraction is None else LOW + (HIGH - LOW) * rating.fraction


def _finite(values: FloatArray) -> FloatArray:
    kept: FloatArray = values[~np.isnan(values)]
    return kept
