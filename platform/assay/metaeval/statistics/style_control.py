"""Win rate with style held equal: what is left of a preference once length and markdown are taken out. Pure NumPy.

preference ~ sigmoid(strength + sum of effect * style difference), where a feature's difference is
(model - baseline) / (model + baseline), 0 where neither has any. At equal style the win rate is sigmoid(strength).
Source: LMArena's style control (Li, Angelopoulos and Chiang 2024), for one model and its baseline.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.metaeval.statistics.estimate import Estimate, FloatArray
from assay.metaeval.statistics.logistic import fit_logistic
from assay.metaeval.statistics.rates import Z

FEATURES = ("length", "headers", "lists", "bold")
_HEADER = re.compile(r"^#{1,6}\s", re.MULTILINE)
_LIST = re.compile(r"^\s{0,8}(?:[-*+]|\d{1,3}[.)])\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
MIN_ITEMS_PER_EFFECT = 10
"""Fewer verdicts than this per coefficient give no fit."""


def style_of(text: str) -> tuple[int, int, int, int]:
    """`FEATURES` of a text: characters, headers, list items, bold spans."""
    return len(text), len(_HEADER.findall(text)), len(_LIST.findall(text)), len(_BOLD.findall(text))


def style_differences(model: Sequence[str], baseline: Sequence[str]) -> FloatArray:
    """Relative differences in [-1, 1], shape (items, features)."""
    own, other = (np.array([style_of(text) for text in side], dtype=float) for side in (model, baseline))
    total = own + other
    return np.asarray(np.divide(own - other, total, out=np.zeros_like(total), where=total > 0))


@dataclass(frozen=True, slots=True)
class StyleControl:
    """A win rate raw and at equal style, and what each feature of style is worth."""

    raw: float
    controlled: Estimate
    """At equal style; undefined where style does not overlap or there are too few verdicts."""
    effects: dict[str, Estimate]
    """Log odds per unit of relative difference; features that never differ are left out."""
    num_missing: int

    def as_json(self) -> dict[str, Any]:
        return {
            "raw": self.raw,
            "controlled": self.controlled.as_json(),
            "effects": {name: effect.as_json() for name, effect in self.effects.items()},
            "num_missing": self.num_missing,
        }


def style_control(preferences: Sequence[float | None], differences: FloatArray) -> StyleControl:
    """The fit, by maximum likelihood with a sandwich covariance (fractions are fractional successes).

    Args:
        preferences: for the model, in [0, 1]: ties are 1/2; None where there is no verdict.
        differences: as `style_differences` gives them, shape (items, features of `FEATURES`).

    Raises:
        ValueError: shapes differ.
    """
    if len(preferences) != len(differences):
        raise ValueError(
            f"{len(preferences)} preferences and {len(differences)} rows of style; expected the same items"
        )
    kept = np.array([value is not None for value in preferences], dtype=bool)
    y = np.array([value for value in preferences if value is not None], dtype=float)
    x = np.asarray(differences, dtype=float)[kept]
    missing = int((~kept).sum())
    used = [place for place in range(x.shape[1]) if x.size and x[:, place].std() > 0]
    raw = float(y.mean()) if y.size else math.nan
    reason = _unfit(y, x[:, used] if used else np.zeros((y.size, 0)), len(used))
    if reason:
        return StyleControl(raw, Estimate.undefined(reason, y.size), {}, missing)
    design = np.column_stack([np.ones(y.size), x[:, used]])
    weights, covariance = fit_logistic(design, y, np.zeros(design.shape[1]))
    errors = np.sqrt(np.diag(covariance))
    if not np.isfinite(errors).all() or np.abs(weights).max() > 30:
        return StyleControl(raw, Estimate.undefined("style separates wins from losses", y.size), {}, missing)
    low, high = weights - Z * errors, weights + Z * errors
    rate, lowest, highest = (1 / (1 + math.exp(-value)) for value in (weights[0], low[0], high[0]))
    effects = {
        FEATURES[place]: Estimate(float(weights[k]), float(low[k]), float(high[k]), y.size, y.size, "sandwich")
        for k, place in enumerate(used, start=1)
    }
    return StyleControl(
        raw, Estimate(rate, lowest, highest, y.size, y.size, "sandwich, on the log odds"), effects, missing
    )


def _unfit(y: FloatArray, x: FloatArray, num_effects: int) -> str:
    if y.size < MIN_ITEMS_PER_EFFECT * (1 + num_effects):
        return f"{y.size} verdicts for {1 + num_effects} coefficients, {MIN_ITEMS_PER_EFFECT} each are needed"
    if y.min() == y.max():
        return "every verdict is the same"
    for place in range(num_effects):
        if (x[:, place] > 0).all() or (x[:, place] < 0).all():
            return "style does not overlap: one side always has more of a feature"
    return ""
