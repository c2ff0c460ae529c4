"""When is the format infused? The stopping rule on an IFS curve. Pure: no I/O, no randomness.

Every evaluation asks the same prompts, so a gain between two of them is a paired difference: prompts whose label
stayed the same add nothing to its spread, and a few hundred prompts can tell a plateau from a slope of two points.
They can while few labels change: at n = 300 the bound falls below .02 with up to about 8 prompts that changed and
no gain, so a model whose answers keep flipping is trained on.
Axes: E evaluations in order of steps, N prompts.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from assay.config import Config
from assay.metaeval.statistics.estimate import BoolArray, Estimate
from assay.metaeval.statistics.ifs import Counts, corrected_difference, corrected_ifs

BOUND_LEVEL = 0.90
"""The upper end of a two-sided 90 % interval is a one-sided 95 % bound."""


class StoppingRule(Config):
    """Stop at the first evaluation whose IFS is surely high and surely no longer rising. Every field is identity."""

    threshold: float = Field(0.9, gt=0, lt=1)
    """The lower end of the corrected IFS's 95 % interval must be above this."""
    window: int = Field(3, ge=1)
    """Evaluations w over which the gain is taken."""
    max_gain: float = Field(0.02, gt=0, lt=1)
    """The 95 % upper bound of the corrected gain over the window must be below this."""


class Decision(NamedTuple):
    """What the rule says of one evaluation."""

    corrected: Estimate
    """Corrected IFS."""
    gain: Estimate
    """Corrected gain over the last w evaluations, its ends one-sided 95 % bounds; undefined while there are fewer."""
    is_infused: bool
    """IFS is above the threshold and the gain below its limit: training may stop here."""


def decide(
    labels_EN: BoolArray, sensitivity: Counts, specificity: Counts, rule: StoppingRule, at: int | None = None
) -> Decision:
    """The rule at one evaluation.

    Args:
        labels_EN: whether each response was answer-like, shape (E, N).
        sensitivity: of the tone classifier, as counts on held-out dialogues.
        specificity: likewise.
        rule: the rule.
        at: index of the evaluation; None: the last one.

    Source: the rule is ours; the paper gives none.
    """
    at = len(labels_EN) - 1 if at is None else at
    labels_N = labels_EN[at]
    corrected = corrected_ifs((int(labels_N.sum()), labels_N.size), sensitivity, specificity)
    if at < rule.window:
        return Decision(corrected, Estimate.undefined(f"fewer than {rule.window} evaluations before it"), False)
    before_N = labels_EN[at - rule.window]
    gain = corrected_difference(labels_N, before_N, sensitivity, specificity, level=BOUND_LEVEL)
    is_infused = corrected.is_defined and corrected.low > rule.threshold and gain.high < rule.max_gain
    return Decision(corrected, gain, bool(is_infused))
