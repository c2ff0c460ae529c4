"""Severity and discrimination of judges that rate the same items on a graded scale. NumPy and SciPy.

Graded response model with thresholds that judges share (Samejima 1969; Muraki's rating scale form): an item of quality
theta, standard normal over items, gets a grade of k or more from judge j with probability
sigmoid(discrimination_j * (theta - severity_j - step_k)); the steps add up to 0. Severity is in standard deviations of
the items' quality: a judge of severity 1 asks for one more for the same grade. Fitted by marginal maximum likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.metaeval.statistics.estimate import Estimate, FloatArray, IntArray
from assay.metaeval.statistics.rates import Z

MIN_ITEMS = 30
MAX_GRADES = 20
"""More distinct grades are no graded scale: each has a threshold of its own."""
_MOST_LOG_DISCRIMINATION, _MOST_SEVERITY = 3.0, 6.0
"""Bounds of the fit; an estimate at one of them is none."""
_NODES = 31


@dataclass(frozen=True, slots=True)
class JudgeTraits:
    """One judge as an instrument."""

    severity: Estimate
    discrimination: Estimate
    """How sharply its grades follow quality; 0 would be noise."""


@dataclass(frozen=True, slots=True)
class GradedFit:
    """All judges on one scale."""

    judges: dict[str, JudgeTraits]
    steps: tuple[float, ...]
    """Threshold of each grade above the lowest, adding up to 0."""
    num_items: int
    reason: str = ""
    """Why there is no fit; empty where there is one."""

    def as_json(self) -> dict[str, Any]:
        return {
            "judges": {
                name: {"severity": traits.severity.as_json(), "discrimination": traits.discrimination.as_json()}
                for name, traits in self.judges.items()
            },
            "steps": list(self.steps),
            "num_items": self.num_items,
            **({"reason": self.reason} if self.reason else {}),
        }


def graded_response(judges: Sequence[str], grades: FloatArray) -> GradedFit:
    """The fit.

    Args:
        judges: names, one per row of `grades`.
        grades: shape (judges, items); NaN where a judge gave none. The distinct values, in order, are the grades.

    Returns:
        Estimates with 95 % intervals from the outer product of the items' gradients; no judge and a reason where there
        are fewer than 2 judges, 2 grades or `MIN_ITEMS` items that two judges rated.
    """
    from scipy.optimize import minimize

    seen = np.isfinite(grades)
    shared = seen.sum(axis=0) >= 2
    levels = np.unique(grades[:, shared][seen[:, shared]])
    num_items, num_judges = int(shared.sum()), len(judges)
    if num_judges < 2 or levels.size < 2 or num_items < MIN_ITEMS:
        reason = f"{num_judges} judges, {levels.size} grades, {num_items} items that two judges rated; "
        return GradedFit({}, (), num_items, f"{reason}at least 2, 2 and {MIN_ITEMS} are needed")
    if levels.size > MAX_GRADES:
        reason = f"{levels.size} distinct grades, at most {MAX_GRADES} make a graded scale: round them"
        return GradedFit({}, (), num_items, reason)
    codes = np.where(seen[:, shared], np.searchsorted(levels, np.nan_to_num(grades[:, shared])), -1)
    start = np.concatenate([np.zeros(2 * num_judges), _first_steps(codes, levels.size)])
    found = minimize(
        lambda packed: -float(_log_likelihoods(packed, codes, num_judges).sum()),
        start,
        method="L-BFGS-B",
        bounds=[(-_MOST_LOG_DISCRIMINATION, _MOST_LOG_DISCRIMINATION)] * num_judges
        + [(-_MOST_SEVERITY, _MOST_SEVERITY)] * num_judges
        + [(-8.0, 8.0)] * (start.size - 2 * num_judges),
    )
    errors = _errors(found.x, codes, num_judges)
    traits = {}
    for place, name in enumerate(judges):
        log_a, severity = found.x[place], found.x[num_judges + place]
        reason = _not_estimable(codes[place], log_a, severity)
        if reason:
            none = Estimate.undefined(reason, int((codes[place] >= 0).sum()), num_items)
            traits[name] = JudgeTraits(none, none)
            continue
        half_a, half_s = Z * errors[place], Z * errors[num_judges + place]
        sharp, least, most = (float(np.exp(value)) for value in (log_a, log_a - half_a, log_a + half_a))
        rated = int((codes[place] >= 0).sum())
        traits[name] = JudgeTraits(
            Estimate(float(severity), float(severity - half_s), float(severity + half_s), rated, num_items, "OPG"),
            Estimate(sharp, least, most, rated, num_items, "OPG, on the logarithm"),
        )
    return GradedFit(traits, tuple(map(float, _steps(found.x[2 * num_judges :]))), num_items)


def _not_estimable(codes_I: IntArray, log_discrimination: float, severity: float) -> str:
    """Why one judge has no traits; empty where it has."""
    if not (codes_I >= 0).any():
        return "rated no item that another judge rated"
    if np.unique(codes_I[codes_I >= 0]).size < 2:
        return "gave one grade to everything"
    if abs(log_discrimination) > 0.999 * _MOST_LOG_DISCRIMINATION or abs(severity) > 0.999 * _MOST_SEVERITY:
        return "its grades fit no finite severity and discrimination"
    return ""


def _steps(packed: FloatArray) -> FloatArray:
    """Rising thresholds that add up to 0, out of a free first gap pattern: logarithms of the gaps."""
    steps = np.concatenate([[0.0], np.cumsum(np.exp(packed))])
    return np.asarray(steps - steps.mean())


def _first_steps(codes: IntArray, num_grades: int) -> FloatArray:
    """Gaps as the pooled grades suggest them."""
    pooled = codes[codes >= 0]
    above = np.clip([(pooled >= grade).mean() for grade in range(1, num_grades)], 0.01, 0.99)
    return np.asarray(np.log(np.clip(np.diff(-np.log(above / (1 - above))), 0.05, 4.0)))


def _log_likelihoods(packed: FloatArray, codes: IntArray, num_judges: int) -> FloatArray:
    """Marginal log-likelihood of each item."""
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(_NODES)
    discrimination, severity = np.exp(packed[:num_judges]), packed[num_judges : 2 * num_judges]
    steps = _steps(packed[2 * num_judges :])
    logits = discrimination[:, None, None] * (nodes[None, :, None] - severity[:, None, None] - steps[None, None, :])
    above = 1 / (1 + np.exp(-np.clip(logits, -35, 35)))  # judges, nodes, steps
    full = np.concatenate([np.ones_like(above[..., :1]), above, np.zeros_like(above[..., :1])], axis=-1)
    log_p = np.log(np.clip(full[..., :-1] - full[..., 1:], 1e-12, None))
    total = np.zeros((codes.shape[1], nodes.size))
    for judge in range(num_judges):
        rated = codes[judge] >= 0
        total[rated] += log_p[judge][:, codes[judge][rated]].T
    peak = total.max(axis=1, keepdims=True)
    mass = (np.exp(total - peak) * (node_weights / node_weights.sum())).sum(axis=1)
    return np.asarray(np.log(mass) + peak[:, 0])


def _errors(packed: FloatArray, codes: IntArray, num_judges: int) -> FloatArray:
    step = 1e-4
    gradients = []
    for place in range(packed.size):
        shift = np.zeros_like(packed)
        shift[place] = step
        upper = _log_likelihoods(packed + shift, codes, num_judges)
        gradients.append((upper - _log_likelihoods(packed - shift, codes, num_judges)) / (2 * step))
    scores = np.stack(gradients)
    return np.asarray(np.sqrt(np.clip(np.diag(np.linalg.pinv(scores @ scores.T)), 0.0, None)))
