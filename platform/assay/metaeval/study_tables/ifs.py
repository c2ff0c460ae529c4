"""Tables of trials that were evaluated while they trained: curves, what stopping saved and lost, the instruments.

Pure. Axes: E evaluations, N prompts, Q preference questions. Examples seen are optimizer steps times rows per step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from assay.metaeval.statistics.estimate import BoolArray, Estimate, FloatArray
from assay.metaeval.statistics.ifs import Counts, corrected_difference, ifs_report, paired_difference
from assay.metaeval.statistics.ifs_stopping import StoppingRule, decide
from assay.metaeval.statistics.rates import wilson
from assay.metaeval.study_tables.columns import Column


@dataclass(frozen=True)
class TrialCurve:
    """What one training left of its evaluations."""

    adapter_key: str
    base_model: str
    arm: str
    draw: int
    """-1 where nothing is drawn."""
    training_seed: int
    stops: bool
    """Whether the rule could end it."""
    batch_size: int
    """Rows per optimizer step."""
    steps: tuple[int, ...]
    """Of each evaluation; the first is 0, before training."""
    labels: BoolArray
    """Whether each response was answer-like, shape (E, N)."""
    is_partial: BoolArray
    """Whether each prompt is a fragment, shape (N,)."""
    objective: FloatArray
    """1 where the judge called an answer objective, 0 where subjective, NaN without a label; shape (E, Q)."""
    unscored: tuple[Mapping[str, int], ...]
    """Reason -> answers without a label, at each evaluation."""
    validation_loss: Mapping[int, float] = field(default_factory=dict)
    """Step -> nats."""
    target_scores: Mapping[str, float | None] = field(default_factory=dict)
    """Test row of the target task -> exact match of the finished model; None where it has none."""


@dataclass(frozen=True)
class JudgeTest:
    """A judge on answers whose labels are known."""

    right: Counts
    """Labelled right, of those that it labelled."""
    unscored: Mapping[str, int] = field(default_factory=dict)
    """Reason -> answers without a label."""


@dataclass(frozen=True)
class Instruments:
    """How good the two measuring instruments are, on texts whose labels are known."""

    sensitivity: Counts
    """Of the tone classifier, on held-out dialogues."""
    specificity: Counts
    case_rule: Counts | None = None
    """Held-out texts that the rule "does not begin with a lower-case letter" labels right."""
    judge: Mapping[str, JudgeTest] = field(default_factory=dict)
    """Part of ObjecQA's labelled sample -> how the judge did on it."""


def _three(name: str, meaning: str) -> tuple[Column, ...]:
    return (
        Column(name, "float64", meaning),
        Column(f"{name}_low", "float64", "lower end of its 95 % interval"),
        Column(f"{name}_high", "float64", "upper end of its 95 % interval"),
    )


_TRAINING = (
    Column("base_model", "string", "base model", True),
    Column("arm", "string", "mixture", True),
    Column("draw", "int64", "sample of the target rows; -1 where nothing is drawn", True),
    Column("training_seed", "int64", "seed of initialisation and row order", True),
)
IFS_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "ifs_curves": (
        *_TRAINING,
        Column("run", "string", "full: to the end of its schedule; stopped: ended by the rule", True),
        Column("step", "int64", "optimizer steps done", True),
        Column("adapter_key", "string", "adapter whose training was evaluated"),
        Column("examples", "int64", "training rows seen, repeats included"),
        *_three("ifs", "answer-like responses of all responses, as the classifier counts them"),
        *_three("ifs_partial", "the same over fragments"),
        *_three("ifs_full", "the same over whole instructions"),
        *_three("corrected", "IFS corrected for the classifier's errors"),
        Column("num_prompts", "int64", "prompts"),
        Column("num_changed", "int64", "prompts whose label differs from the evaluation before; null at the first"),
        Column("gain", "float64", "corrected gain over the rule's window, same prompts"),
        Column("gain_upper", "float64", "its one-sided 95 % upper bound"),
        Column("infused", "bool", "whether the rule holds"),
        *_three("objecqa", "share of preference questions answered objectively, by the judge"),
        Column("objecqa_n", "int64", "answers that the judge labelled"),
        Column("objecqa_unscored", "string", "JSON: reason -> answers without a label"),
        Column("validation_loss", "float64", "mean over the validation rows' trained tokens, nats"),
    ),
    "early_stopping": (
        *_TRAINING,
        Column("full_adapter", "string", "adapter of the full run"),
        Column("stopped_adapter", "string", "adapter of the stopped run"),
        Column("full_steps", "int64", "optimizer steps of the full run"),
        Column("stopped_steps", "int64", "optimizer steps of the stopped run"),
        Column("infused_step", "int64", "format infused at this step; null where the rule never held"),
        Column("infused_examples", "int64", "training rows seen by then"),
        Column("steps_saved", "int64", "full_steps - stopped_steps"),
        Column("share_saved", "float64", "of the full run's steps"),
        Column("same_prefix", "bool", "whether both runs have equal labels at every evaluation that both had"),
        Column("corrected_full", "float64", "corrected IFS at the end of the full run"),
        Column("corrected_stopped", "float64", "corrected IFS at the end of the stopped run"),
        *_three("ifs_lost", "corrected IFS of the full run minus that of the stopped run, same prompts"),
        Column("num_prompts", "int64", "prompts"),
        Column("objecqa_full", "float64", "share objective at the end of the full run, over questions that both have"),
        Column("objecqa_stopped", "float64", "share objective at the end of the stopped run, same questions"),
        *_three("objecqa_drift", "objecqa_full - objecqa_stopped: what moved after the plateau"),
        Column("objecqa_n", "int64", "questions labelled in both"),
        Column("objecqa_missing", "int64", "questions without a label in one or both"),
        Column("validation_loss_full", "float64", "last validation loss of the full run, nats"),
        Column("validation_loss_stopped", "float64", "last validation loss of the stopped run, nats"),
        Column("exact_match_full", "float64", "exact match on the target task's test rows after the full run"),
        Column("exact_match_stopped", "float64", "the same after the stopped run"),
        *_three("exact_match_lost", "exact_match_full - exact_match_stopped, same rows"),
        Column("exact_match_n", "int64", "test rows scored in both"),
        Column("exact_match_missing", "int64", "test rows without a score in one or both"),
        Column("reason", "string", "what must be known to read the row; empty where nothing is to be said"),
    ),
    "ifs_instruments": (
        Column("instrument", "string", "what was tested", True),
        Column("measure", "string", "which rate", True),
        *_three("rate", "share that was right"),
        Column("n", "int64", "labelled texts"),
        Column("unscored", "string", "JSON: reason -> texts without a label"),
    ),
}
"""Columns by table; key columns come first."""


def curve_rows(curves: Iterable[TrialCurve], instruments: Instruments, rule: StoppingRule) -> list[dict[str, Any]]:
    """`ifs_curves`: a row per training and evaluation."""
    rows = []
    for curve in curves:
        for at, step in enumerate(curve.steps):
            labels_N = curve.labels[at]
            report = ifs_report(
                labels_N.tolist(), curve.is_partial.tolist(), instruments.sensitivity, instruments.specificity
            )
            decision = decide(curve.labels, instruments.sensitivity, instruments.specificity, rule, at)
            objecqa = _share(curve.objective[at])
            rows.append(
                {
                    **_training(curve),
                    "run": "stopped" if curve.stops else "full",
                    "step": step,
                    "adapter_key": curve.adapter_key,
                    "examples": step * curve.batch_size,
                    **_ends("ifs", report.overall.raw),
                    **_ends("ifs_partial", report.partial.raw),
                    **_ends("ifs_full", report.full.raw),
                    **_ends("corrected", report.overall.corrected),
                    "num_prompts": report.num_prompts,
                    "num_changed": int(np.sum(labels_N != curve.labels[at - 1])) if at else None,
                    "gain": decision.gain.value,
                    "gain_upper": decision.gain.high,
                    "infused": decision.is_infused,
                    **_ends("objecqa", objecqa),
                    "objecqa_n": objecqa.n,
                    "objecqa_unscored": json.dumps(dict(sorted(curve.unscored[at].items()))),
                    "validation_loss": curve.validation_loss.get(step, math.nan),
                }
            )
    return rows


def stopping_rows(curves: Sequence[TrialCurve], instruments: Instruments, rule: StoppingRule) -> list[dict[str, Any]]:
    """`early_stopping`: a row per pair of a full and a stopped run by the same seed."""
    full = {_identity(curve): curve for curve in curves if not curve.stops}
    stopped = {_identity(curve): curve for curve in curves if curve.stops}
    return [_pair(full[name], stopped[name], instruments, rule) for name in full if name in stopped]


def instrument_rows(instruments: Instruments) -> list[dict[str, Any]]:
    """`ifs_instruments`."""
    found: list[tuple[str, str, Counts | None, Mapping[str, int]]] = [
        ("tone classifier", "sensitivity", instruments.sensitivity, {}),
        ("tone classifier", "specificity", instruments.specificity, {}),
        ("case rule", "accuracy", instruments.case_rule, {}),
        *(
            ("ObjecQA judge", f"accuracy ({part} part of the sample)", test.right, test.unscored)
            for part, test in instruments.judge.items()
        ),
    ]
    return [
        {
            "instrument": name,
            "measure": measure,
            **_ends("rate", wilson(*counts)),
            "n": counts[1],
            "unscored": json.dumps(dict(sorted(unscored.items()))),
        }
        for name, measure, counts, unscored in found
        if counts is not None
    ]


def _pair(full: TrialCurve, stopped: TrialCurve, instruments: Instruments, rule: StoppingRule) -> dict[str, Any]:
    sensitivity, specificity = instruments.sensitivity, instruments.specificity
    shared = min(len(full.steps), len(stopped.steps))
    last = decide(stopped.labels, sensitivity, specificity, rule)
    final = decide(full.labels, sensitivity, specificity, rule)
    lost = corrected_difference(full.labels[-1], stopped.labels[-1], sensitivity, specificity)
    objecqa = _paired(full.objective[-1], stopped.objective[-1])
    items = sorted(full.target_scores.keys() | stopped.target_scores.keys())
    exact = _paired(_scores(full, items), _scores(stopped, items))
    return {
        **_training(full),
        "full_adapter": full.adapter_key,
        "stopped_adapter": stopped.adapter_key,
        "full_steps": full.steps[-1],
        "stopped_steps": stopped.steps[-1],
        "infused_step": stopped.steps[-1] if last.is_infused else None,
        "infused_examples": stopped.steps[-1] * stopped.batch_size if last.is_infused else None,
        "steps_saved": full.steps[-1] - stopped.steps[-1],
        "share_saved": 1 - stopped.steps[-1] / full.steps[-1],
        "same_prefix": bool(np.array_equal(full.labels[:shared], stopped.labels[:shared])),
        "corrected_full": final.corrected.value,
        "corrected_stopped": last.corrected.value,
        **_ends("ifs_lost", lost),
        "num_prompts": int(full.is_partial.size),
        "objecqa_full": objecqa.first,
        "objecqa_stopped": objecqa.second,
        **_ends("objecqa_drift", objecqa.difference),
        "objecqa_n": objecqa.difference.n,
        "objecqa_missing": objecqa.missing,
        "validation_loss_full": _last(full.validation_loss),
        "validation_loss_stopped": _last(stopped.validation_loss),
        "exact_match_full": exact.first,
        "exact_match_stopped": exact.second,
        **_ends("exact_match_lost", exact.difference),
        "exact_match_n": exact.difference.n,
        "exact_match_missing": exact.missing,
        "reason": "" if last.is_infused else "the rule never held: nothing was stopped",
    }


@dataclass(frozen=True)
class _Paired:
    """Two models on the units that both have a value for."""

    first: float
    second: float
    difference: Estimate
    missing: int


def _paired(first: FloatArray, second: FloatArray) -> _Paired:
    both = ~np.isnan(first) & ~np.isnan(second)
    if not both.any():
        return _Paired(math.nan, math.nan, Estimate.undefined("nothing scored in both"), int(both.size))
    one, other = first[both], second[both]
    difference = paired_difference(one > 0.5, other > 0.5)
    return _Paired(float(one.mean()), float(other.mean()), difference, int(both.size - both.sum()))


def _scores(curve: TrialCurve, items: Sequence[str]) -> FloatArray:
    found = (curve.target_scores.get(item) for item in items)
    return np.array([math.nan if value is None else value for value in found], dtype=float)


def _share(objective_Q: FloatArray) -> Estimate:
    known = objective_Q[~np.isnan(objective_Q)]
    return wilson(int(known.sum()), int(known.size))


def _identity(curve: TrialCurve) -> tuple[str, str, int, int]:
    return curve.base_model, curve.arm, curve.draw, curve.training_seed


def _training(curve: TrialCurve) -> dict[str, Any]:
    return dict(zip(("base_model", "arm", "draw", "training_seed"), _identity(curve), strict=True))


def _ends(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _last(losses: Mapping[int, float]) -> float:
    return losses[max(losses)] if losses else math.nan
