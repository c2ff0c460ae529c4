"""Every measure of every arm against the start, decided with the four words and Holm over methods. Pure.

A family is one base model, one source of pairs and one measure: its members are the methods. The start is one given
model, so intervals speak about prompts and trainings from it, not about other starts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.metaeval.preference.answers import (
    ArmAnswers,
    Label,
    Measure,
    block,
    kept_in,
    log_ratio,
    scored_by,
    words,
)
from assay.metaeval.preference.frontier import Frontier
from assay.metaeval.statistics.clustered import Block
from assay.metaeval.statistics.comparison import Comparison, compare, mean_estimate
from assay.metaeval.statistics.style_control import style_control, style_differences
from assay.metaeval.statistics.win_rate import length_controlled_win_rate, win_rate
from assay.metaeval.study_tables.deciding import no_decision, settle
from assay.metaeval.study_tables.frame import ScorerInfo
from assay.preference.labelling import num_words

LABEL, WORDS, KL = "label", "words", "kl"
WIN, WIN_LENGTH, WIN_STYLE = "win_rate", "win_rate_equal_length", "win_rate_equal_style"
JUDGED = "judged_"
"""Begins the names of the same win rates by a referee in both orders."""
AT_EQUAL_KL = "at equal divergence"
Row = dict[str, Any]


@dataclass(frozen=True)
class Reported:
    """The arms of one base model and one source of pairs, and what they are measured by."""

    start: ArmAnswers
    """Several answers to each reported prompt: its runs are samples of one model."""
    start_elsewhere: ArmAnswers
    """Its answers to the sets that show forgetting."""
    arms: Sequence[ArmAnswers]
    label: Label
    scorers: Sequence[ScorerInfo]
    human: str
    """The scorer that the win rate goes by."""
    examples: Sequence[str]
    """Reported prompts."""
    forgetting: Mapping[str, Sequence[str]]
    """Evaluation set -> its examples."""
    frontier: Frontier | None = None
    referee: str = ""
    """Who compared the arms' answers with the start's; empty: nobody."""


def measure_rows(reported: Reported) -> list[Row]:
    """Rows of `preference_measures` of one base model and one source of pairs."""
    rows: list[Row] = []
    for name, measure, info, examples in _measures(reported):
        start = reported.start if examples is reported.examples else reported.start_elsewhere
        family: list[tuple[Row, Comparison, ScorerInfo]] = []
        for arm in reported.arms:
            mine, theirs = block(arm, measure, examples), block(start, measure, examples)
            found = compare(mine, theirs, low=info.low, high=info.high)
            rows.append(_compared(arm, name, mine, found, info))
            family.append((rows[-1], found, info))
        settle(family)
    for arm in reported.arms:
        rows.append(_divergence(arm, reported.examples))
        rows += _win_rates(arm, reported, "", *_by_human(arm, reported))
        if reported.referee:
            rows += _win_rates(arm, reported, JUDGED, *_by_referee(arm, reported))
    return rows + _at_equal_divergence(reported, rows)


def _measures(reported: Reported) -> list[tuple[str, Measure, ScorerInfo, Sequence[str]]]:
    """Name, measure, scale and examples of everything that is compared with the start."""
    infos = {info.name: info for info in reported.scorers}
    own = infos[reported.label.scorer]
    bounded = own if not reported.label.length_bias else _unbounded(own, LABEL)
    found: list[tuple[str, Measure, ScorerInfo, Sequence[str]]] = [
        (LABEL, reported.label.of, bounded, reported.examples),
        (WORDS, words, _unbounded(own, WORDS), reported.examples),
    ]
    found += [(name, scored_by(name), info, reported.examples) for name, info in infos.items()]
    for evaluation_set, examples in reported.forgetting.items():
        found.append(
            (
                f"{evaluation_set}: {reported.human}",
                kept_in(evaluation_set, reported.human),
                infos[reported.human],
                examples,
            )
        )
    return found


def _unbounded(info: ScorerInfo, name: str) -> ScorerInfo:
    return ScorerInfo(name, info.version, "higher", None, None, info.kind)


def _compared(arm: ArmAnswers, name: str, mine: Block, found: Comparison, info: ScorerInfo) -> Row:
    estimate, unit = mean_estimate(mine, low=info.low, high=info.high)
    return {
        **_row(arm, name),
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "start": found.baseline_mean,
        "difference": found.difference.value,
        "difference_low": found.difference.low,
        "difference_high": found.difference.high,
        "p": found.p,
        "num_items": found.num_items,
        "num_missing": found.num_items_left_out,
        "unit": found.unit or unit,
        "reason": found.difference.reason,
    }


def _divergence(arm: ArmAnswers, examples: Sequence[str]) -> Row:
    """Mean log-ratio over the model's own answers: an unbiased estimate of KL(model || start)."""
    mine = block(arm, log_ratio, examples)
    estimate, unit = mean_estimate(mine)
    known = int(np.isfinite(mine.scores).all(axis=0).sum())
    return {
        **_row(arm, KL),
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "start": 0.0,
        "num_items": known,
        "num_missing": len(examples) - known,
        "unit": unit,
        "reason": estimate.reason,
    }


def preferences(arm: ArmAnswers, other: ArmAnswers, by: Measure, examples: Sequence[str]) -> list[float | None]:
    """Share of the arm's seeds (against each of the other's) whose answer is better, ties half; None where unscored."""
    first, second = block(arm, by, examples).scores, block(other, by, examples).scores
    found: list[float | None] = []
    for place in range(len(examples)):
        mine, theirs = first[:, place], second[:, place]
        if not (np.isfinite(mine).all() and np.isfinite(theirs).all()) or not mine.size or not theirs.size:
            found.append(None)
            continue
        wins = np.sign(mine[:, None] - theirs[None, :])
        found.append(float((wins.mean() + 1) / 2))
    return found


def _by_human(arm: ArmAnswers, reported: Reported) -> tuple[list[float | None], str]:
    """Share of the arm's seeds that win at each prompt by the human column, and what that is."""
    shares = preferences(arm, reported.start, scored_by(reported.human), reported.examples)
    return shares, f"prompts, by {reported.human}"


def _by_referee(arm: ArmAnswers, reported: Reported) -> tuple[list[float | None], str]:
    """The same by the referee: mean over the seeds whose answer has a verdict in both orders."""
    shares: list[float | None] = []
    same: list[bool] = []
    for example in reported.examples:
        verdicts = [run.verdicts[example] for run in arm.runs if example in run.verdicts]
        known = [verdict for verdict in verdicts if not math.isnan(verdict.first_share)]
        same += [verdict.original == verdict.swapped for verdict in known]
        shares.append(float(np.mean([verdict.first_share for verdict in known])) if known else None)
    agreed = f", the same verdict in both orders in {np.mean(same):.0%} of {len(same):,} pairs" if same else ""
    return shares, f"prompts, by {reported.referee} in both orders{agreed}"


def _win_rates(arm: ArmAnswers, reported: Reported, begin: str, shares: Sequence[float | None], unit: str) -> list[Row]:
    """Win rate raw, at equal length and at equal style; names of the measures start with `begin`."""
    raw = win_rate(shares)
    lengths = [[_mean_words(side, example) for example in reported.examples] for side in (arm, reported.start)]
    equal = length_controlled_win_rate(shares, lengths[0], lengths[1])
    texts = [[_first_text(side, example) for example in reported.examples] for side in (arm, reported.start)]
    style = style_control(shares, style_differences(texts[0], texts[1]))
    rows = [
        _rate(arm, begin + WIN, raw.rate, raw.low, raw.high, raw.reason),
        _rate(arm, begin + WIN_LENGTH, equal.rate, equal.low, equal.high, equal.reason),
        _rate(
            arm,
            begin + WIN_STYLE,
            style.controlled.value,
            style.controlled.low,
            style.controlled.high,
            style.controlled.reason,
        ),
    ]
    return [
        {**row, "start": 0.5, "num_items": raw.num_items, "num_missing": raw.num_missing, "unit": unit} for row in rows
    ]


def _rate(arm: ArmAnswers, name: str, value: float, low: float, high: float, reason: str) -> Row:
    ends = {"value": value, "low": low, "high": high, "difference": value - 0.5}
    return {**_row(arm, name), **ends, "difference_low": low - 0.5, "difference_high": high - 0.5, "reason": reason}


def _at_equal_divergence(reported: Reported, rows: Sequence[Row]) -> list[Row]:
    """The human column and the label's score against best of n at the arm's own divergence."""
    if reported.frontier is None:
        return []
    divergence = {row["method"]: row["value"] for row in rows if row["measure"] == KL}
    infos = {info.name: info for info in reported.scorers}
    found: list[Row] = []
    for name, measure in ((reported.human, scored_by(reported.human)), (LABEL, reported.label.of)):
        info = infos[reported.human] if name == reported.human else _unbounded(infos[reported.label.scorer], LABEL)
        family: list[tuple[Row, Comparison, ScorerInfo]] = []
        for arm in reported.arms:
            mine = block(arm, measure, reported.examples)
            theirs, reason = reported.frontier.at(name, divergence[arm.method])
            named = f"{name} {AT_EQUAL_KL}"
            if theirs is None:
                found.append({**_row(arm, named), "reason": reason})
                continue
            compared = compare(mine, theirs, low=info.low, high=info.high)
            found.append(_compared(arm, named, mine, compared, info))
            family.append((found[-1], compared, info))
        settle(family)
    return found


def _mean_words(arm: ArmAnswers, example: str) -> float:
    lengths = [num_words(run.texts[example]) for run in arm.runs if example in run.texts]
    return float(np.mean(lengths)) if lengths else 0.0


def _first_text(arm: ArmAnswers, example: str) -> str:
    return next((run.texts[example] for run in arm.runs if example in run.texts), "")


def _row(arm: ArmAnswers, measure: str) -> Row:
    names = ("value", "low", "high", "start", "difference", "difference_low", "difference_high", "p", "p_holm")
    return {
        "base_model": arm.base_model,
        "pairs": arm.pairs,
        "method": arm.method,
        "measure": measure,
        **dict.fromkeys(names, math.nan),
        "family_size": 0,
        **no_decision(),
        "num_runs": len(arm.runs),
        "num_items": 0,
        "num_missing": 0,
        "unit": "",
        "reason": "",
    }
