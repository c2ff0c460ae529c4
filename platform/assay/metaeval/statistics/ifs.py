"""The Instruction Following Score and its correction for the classifier's errors. Pure.

    ifs(labels)                                                    raw: answer-like responses / all responses
    corrected_ifs((k, n), sensitivity, specificity)                what a perfect classifier would have measured
    paired_difference(later, earlier)                              raw IFS later - earlier on the same prompts
    corrected_difference(later, earlier, sensitivity, specificity) the same, corrected
    ifs_report(labels, is_partial, sensitivity, specificity)       overall, fragments (partial), whole prompts (full)

Counts are pairs (how many, of how many). Even a perfect model measures about IFS = sensitivity, which is why a
threshold belongs on the corrected score. The correction assumes that the classifier errs on a model's responses as
often as on the held-out dialogues that its counts come from.

Sources: AlShikh et al. 2023 (arXiv 2307.03692); Rogan and Gladen 1978; interval: Lang and Reiczigel 2014; paired
differences: Agresti and Min 2005.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.estimate import Estimate
from assay.metaeval.statistics.rates import wilson

Counts = tuple[int, int]
"""(how many, of how many)."""
LEVEL = 0.95
MISFIT = (
    "no true score explains this rate: the classifier errs otherwise on these responses than on its held-out dialogues"
)
NO_BETTER = "the classifier is no better than chance: sensitivity + specificity is not above 1"


def ifs(labels: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Share of answer-like responses with Wilson's interval.

    Args:
        labels: one boolean per response.
        level: two-sided confidence.
    """
    answer_like = np.asarray(labels, dtype=bool)
    return wilson(int(answer_like.sum()), int(answer_like.size), _z(level))


def corrected_ifs(
    ifs_counts: Counts, sensitivity_counts: Counts, specificity_counts: Counts, *, level: float = LEVEL
) -> Estimate:
    """IFS corrected for the classifier's errors: (IFS + specificity - 1) / (sensitivity + specificity - 1), in [0, 1].

    The interval carries the sampling error of all three proportions.

    Args:
        ifs_counts: answer-like responses, all responses.
        sensitivity_counts: answers of held-out dialogues called answer-like, all of them.
        specificity_counts: continuations called continuation-like, all of them.
        level: two-sided confidence.

    Raises:
        ValueError: counts that are no proportion.
    """
    for count in (ifs_counts, sensitivity_counts, specificity_counts):
        _check(count)
    n = ifs_counts[1]
    if n == 0:
        return Estimate.undefined("no responses")
    if 0 in (sensitivity_counts[1], specificity_counts[1]):
        return Estimate.undefined("the classifier was never tested", n)
    rate, sensitivity, specificity = (_rate(c) for c in (ifs_counts, sensitivity_counts, specificity_counts))
    if sensitivity + specificity <= 1:
        return Estimate.undefined(NO_BETTER, n)
    value = _clip((rate + specificity - 1) / (sensitivity + specificity - 1))
    z = _z(level)
    # each proportion drawn towards 1/2, so that one at its edge still has a variance
    rate = (ifs_counts[0] + z * z / 2) / (n + z * z)
    sensitivity, specificity = _plus_one(sensitivity_counts), _plus_one(specificity_counts)
    youden = sensitivity + specificity - 1
    if youden <= 0:
        return Estimate.undefined(NO_BETTER, n)
    centre = (rate + specificity - 1) / youden
    sensitivity_variance = sensitivity * (1 - sensitivity) / (sensitivity_counts[1] + 2)
    specificity_variance = specificity * (1 - specificity) / (specificity_counts[1] + 2)
    shift = 2 * z * z * (centre * sensitivity_variance - (1 - centre) * specificity_variance)
    variance = rate * (1 - rate) / (n + z * z)
    variance += centre**2 * sensitivity_variance + (1 - centre) ** 2 * specificity_variance
    half = z / youden * math.sqrt(variance)
    low, high = centre + shift - half, centre + shift + half
    reason = MISFIT if low > 1 or high < 0 else ""
    low, high = min(_clip(low), value), max(_clip(high), value)
    return Estimate(value, low, high, n, n, "Rogan-Gladen, Lang-Reiczigel", reason)


def paired_difference(later: ArrayLike, earlier: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Raw IFS of `later` minus that of `earlier`, over the same prompts in the same order.

    Args:
        later: one boolean per prompt.
        earlier: the same prompts at another step, or by another model.
        level: two-sided confidence.

    Raises:
        ValueError: the numbers of prompts differ.
    """
    first, second = np.asarray(later, dtype=bool), np.asarray(earlier, dtype=bool)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} labels; a paired difference needs the same prompts")
    n = int(first.size)
    if n == 0:
        return Estimate.undefined("no responses")
    gained, lost = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    centre, variance = _agresti_min(gained, lost, n)
    half = _z(level) * math.sqrt(variance)
    value = (gained - lost) / n
    low, high = max(-1.0, min(centre - half, value)), min(1.0, max(centre + half, value))
    return Estimate(value, low, high, n, n, "paired, Agresti-Min")


def corrected_difference(
    later: ArrayLike,
    earlier: ArrayLike,
    sensitivity_counts: Counts,
    specificity_counts: Counts,
    *,
    level: float = LEVEL,
) -> Estimate:
    """Corrected IFS of `later` minus that of `earlier`, over the same prompts, in [-1, 1].

    The raw difference divided by sensitivity + specificity - 1: what the classifier gets wrong alike on both sides
    cancels, so only the scale is uncertain.

    Raises:
        ValueError: see `paired_difference` and `corrected_ifs`.
    """
    raw = paired_difference(later, earlier, level=level)
    _check(sensitivity_counts)
    _check(specificity_counts)
    if not raw.is_defined:
        return raw
    if 0 in (sensitivity_counts[1], specificity_counts[1]):
        return Estimate.undefined("the classifier was never tested", raw.n)
    youden = _rate(sensitivity_counts) + _rate(specificity_counts) - 1
    if youden <= 0:
        return Estimate.undefined(NO_BETTER, raw.n)
    scale_variance = sum(
        _plus_one(count) * (1 - _plus_one(count)) / (count[1] + 2) for count in (sensitivity_counts, specificity_counts)
    )
    low_half = math.hypot(raw.value - raw.low, _z(level) * raw.value * math.sqrt(scale_variance) / youden) / youden
    high_half = math.hypot(raw.high - raw.value, _z(level) * raw.value * math.sqrt(scale_variance) / youden) / youden
    value = raw.value / youden
    low, high = max(-1.0, value - low_half), min(1.0, value + high_half)
    value = max(-1.0, min(1.0, value))
    return Estimate(value, min(low, value), max(high, value), raw.n, raw.n, "paired, Agresti-Min, Rogan-Gladen")


@dataclass(frozen=True)
class Split:
    """One score, as measured and corrected."""

    raw: Estimate
    corrected: Estimate
    num_answer_like: int

    def as_json(self) -> dict[str, Any]:
        """Both estimates and the count behind them."""
        return {
            "raw": self.raw.as_json(),
            "corrected": self.corrected.as_json(),
            "num_answer_like": self.num_answer_like,
        }


@dataclass(frozen=True)
class IfsReport:
    """IFS of one model over one prompt set."""

    overall: Split
    partial: Split
    """Over the fragments."""
    full: Split
    """Over the whole instructions."""
    num_prompts: int
    missing: Mapping[str, int] = field(default_factory=dict)
    """Reason -> prompts without a response; they are in no rate."""

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        parts = {name: getattr(self, name).as_json() for name in ("overall", "partial", "full")}
        return {**parts, "num_prompts": self.num_prompts, "missing": dict(sorted(self.missing.items()))}


def ifs_report(
    labels: Sequence[bool],
    is_partial: Sequence[bool],
    sensitivity_counts: Counts,
    specificity_counts: Counts,
    missing: Mapping[str, int] | None = None,
) -> IfsReport:
    """IFS over all responses, over the fragments and over the whole instructions.

    Args:
        labels: whether each response is answer-like.
        is_partial: whether its prompt is a fragment.
        sensitivity_counts: see `corrected_ifs`.
        specificity_counts: see `corrected_ifs`.
        missing: reason -> prompts that have no response, beside those given.

    Raises:
        ValueError: labels and prompts differ in number.
    """
    answer_like_N, partial_N = np.asarray(labels, dtype=bool), np.asarray(is_partial, dtype=bool)
    if answer_like_N.shape != partial_N.shape:
        raise ValueError(f"{answer_like_N.shape} labels for {partial_N.shape} prompts")

    def split(kept_N: Any) -> Split:
        kept = answer_like_N[kept_N]
        counts = (int(kept.sum()), int(kept.size))
        return Split(ifs(kept), corrected_ifs(counts, sensitivity_counts, specificity_counts), counts[0])

    absent = dict(missing or {})
    return IfsReport(
        overall=split(np.ones(answer_like_N.size, dtype=bool)),
        partial=split(partial_N),
        full=split(~partial_N),
        num_prompts=int(answer_like_N.size) + sum(absent.values()),
        missing=absent,
    )


def _agresti_min(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Difference and its variance with half a prompt added to each cell of the 2 x 2 table."""
    centre = (gained - lost) / (n + 2)
    variance = ((gained + lost + 1) / (n + 2) - centre**2) / (n + 2)
    return centre, max(0.0, variance)


def _z(level: float) -> float:
    from scipy.special import ndtri

    if not 0 < level < 1:
        raise ValueError(f"a level of {level} is no confidence")
    return float(ndtri((1 + level) / 2))


def _check(counts: Counts) -> None:
    if not 0 <= counts[0] <= counts[1]:
        raise ValueError(f"{counts[0]} of {counts[1]} is no proportion")


def _rate(counts: Counts) -> float:
    return counts[0] / counts[1]


def _plus_one(counts: Counts) -> float:
    return (counts[0] + 1) / (counts[1] + 2)


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
