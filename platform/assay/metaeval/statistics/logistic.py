"""The logistic fit behind win rates at equal length and at equal style: penalised, with a sandwich covariance. NumPy.

Fractions count as fractional successes. Source: Newton's method; White 1982 for the sandwich.
"""

from __future__ import annotations

import numpy as np

from assay.metaeval.statistics.estimate import FloatArray

_STEPS = 100
_LONGEST = 5.0
"""Longest step of one coefficient, in log odds: where wins are separated, an undamped one overflows."""


def sigmoid(logit: FloatArray) -> FloatArray:
    """Share of log odds, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit)))


def likelihood(logit: FloatArray, wanted: FloatArray) -> float:
    """Log-likelihood of shares in [0, 1]."""
    return float(np.sum(wanted * logit - np.logaddexp(0.0, logit)))


def fit_logistic(
    design: FloatArray, wanted: FloatArray, penalty: FloatArray, offset: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Coefficients and their sandwich covariance.

    Args:
        design: shape (items, coefficients).
        wanted: shares in [0, 1], shape (items,).
        penalty: half of it times the squared coefficient is taken off the log-likelihood; 0 for none.
        offset: log odds added to every item, held fixed.
    """
    ridge = np.diag(penalty)
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        fitted = sigmoid(offset + design @ weights)
        gradient = design.T @ (wanted - fitted) - penalty * weights
        step = np.linalg.pinv(_information(design, fitted) + ridge) @ gradient
        longest = float(np.abs(step).max(initial=0.0))
        weights = weights + step * min(1.0, _LONGEST / (longest + 1e-12))
        if longest < 1e-10:
            break
    fitted = sigmoid(offset + design @ weights)
    bread = np.linalg.pinv(_information(design, fitted) + ridge)
    meat = design.T @ (design * ((wanted - fitted) ** 2)[:, None])
    return weights, np.asarray(bread @ meat @ bread)


def _information(design: FloatArray, fitted: FloatArray) -> FloatArray:
    return np.asarray(design.T @ (design * (fitted * (1 - fitted))[:, None]))
