"""Models of a score as a function of a mixture's shares; several of them are weighted in `stacking`. Pure.

A Gaussian process with one length scale per component says how fast the score changes along each; it sees roots of
shares, because a component's first rows change more than its last ones. The log-linear law is the form that losses
follow. Length scales have a prior, so that 12 runs of 17 components do not fit their own noise.

Axes: n runs, K components. Source: Ye et al. 2024, "Data mixing laws" (log-linear); Rasmussen and Williams 2006.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from assay.metaeval.statistics.estimate import FloatArray


class Belief(NamedTuple):
    """What a model expects of one further run of each mixture, the noise of a run included."""

    mean: FloatArray
    sd: FloatArray


class Fitted(Protocol):
    """A model that has seen its runs."""

    def predict(self, shares_mK: FloatArray) -> Belief:
        """Of m mixtures."""


class Member(Protocol):
    """A model that can be fitted."""

    def fit(self, shares_nK: FloatArray, scores_n: FloatArray) -> Fitted:
        """Learn from n runs; deterministic."""


_FEATURES: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "square roots": np.sqrt,
    "fourth roots": lambda shares: np.sqrt(np.sqrt(shares)),
}
_SPREAD_OF_LOGS = 1.0
"""Standard deviation of the priors: a length scale, amplitude or noise is known up to a factor of about e."""
_NOISE = 0.1
"""Prior centre of a run's noise, as a share of the scores' spread."""
_PULL = 0.05


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """Gaussian process on roots of shares, by scikit-learn, hyperparameters at their posterior mode."""

    features: str
    """A key of `_FEATURES`."""
    smooth: bool = False
    """True: squared exponential; False: Matern 5/2, which bends more."""

    def fit(self, shares_nK: FloatArray, scores_n: FloatArray) -> Fitted:
        """Learn from n runs; deterministic."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

        x = _FEATURES[self.features](shares_nK)
        centre, scale = x.mean(axis=0), x.std(axis=0)
        scale[scale < 1e-9] = 1.0
        components = x.shape[1]
        bounds = (1e-3, 1e5)
        lengths = np.full(components, math.e * math.sqrt(components))
        shape = RBF(lengths, bounds) if self.smooth else Matern(lengths, bounds, nu=2.5)
        kernel = ConstantKernel(1.0, bounds) * shape + WhiteKernel(_NOISE**2, (1e-7, 1e2))
        mean, spread = float(scores_n.mean()), float(scores_n.std()) or 1.0
        process = GaussianProcessRegressor(kernel, alpha=1e-9, optimizer=_to_posterior_mode(kernel.theta))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a component that does not matter has its length scale at the bound
            process.fit((x - centre) / scale, (scores_n - mean) / spread)
        return _FittedProcess(process, self.features, centre, scale, mean, spread)


@dataclass(frozen=True, slots=True)
class LogLinear:
    """y = c + s exp(k + t.r): a floor or a ceiling c that scores approach exponentially; s is +1 or -1."""

    def fit(self, shares_nK: FloatArray, scores_n: FloatArray) -> Fitted:
        """Learn from n runs; deterministic."""
        from scipy.optimize import least_squares

        mean, spread = float(scores_n.mean()), float(scores_n.std()) or 1.0
        y = (scores_n - mean) / spread
        n, components = shares_nK.shape
        # components' rates are pulled towards each other, or a component seen once would have any rate
        pull = math.sqrt(_PULL) * (np.eye(components) - 1 / components)
        best: Any = None
        for sign in (1.0, -1.0):

            def errors(p: FloatArray, sign: float = sign) -> FloatArray:
                return np.concatenate([p[0] + sign * _exp(shares_nK @ p[1:]) - y, pull @ p[1:]])

            def slopes(p: FloatArray, sign: float = sign) -> FloatArray:
                of_runs = np.column_stack([np.ones(n), sign * _exp(shares_nK @ p[1:])[:, None] * shares_nK])
                return np.vstack([of_runs, np.column_stack([np.zeros(components), pull])])

            start = np.concatenate([[float(y.min() if sign > 0 else y.max()) - sign * 0.5], np.zeros(components)])
            found = least_squares(errors, start, jac=slopes, max_nfev=200)
            if best is None or found.cost < best[0].cost:
                best = found, sign
        result, sign = best
        rest = result.fun[:n]
        sd = math.sqrt(float((rest**2).sum()) / max(n - components / 2 - 1, n / 4)) + 1e-6
        return _FittedLaw(result.x, sign, sd, mean, spread)


MEMBERS: Mapping[str, Member] = {
    "Matern, square roots": GaussianProcess("square roots"),
    "Matern, fourth roots": GaussianProcess("fourth roots"),
    "smooth, fourth roots": GaussianProcess("fourth roots", smooth=True),
    "log-linear law": LogLinear(),
}


def _exp(values: FloatArray) -> FloatArray:
    return np.exp(np.clip(values, -30, 30))


def _to_posterior_mode(centre: FloatArray) -> Callable[..., tuple[FloatArray, float]]:
    """An optimizer for scikit-learn that adds a normal prior on the logarithms of the hyperparameters."""

    def optimize(objective: Any, start: FloatArray, bounds: FloatArray) -> tuple[FloatArray, float]:
        from scipy.optimize import minimize

        # scikit-learn keeps squared amplitudes and noises: their logarithms vary twice as much
        sd = np.full(centre.size, _SPREAD_OF_LOGS)
        sd[[0, -1]] *= 2

        def with_prior(theta: FloatArray) -> tuple[float, FloatArray]:
            value, slope = objective(theta, eval_gradient=True)
            away = (theta - centre) / sd
            return value + 0.5 * float(away @ away), slope + away / sd

        found = minimize(with_prior, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 100})
        return found.x, float(found.fun)

    return optimize


@dataclass(frozen=True, slots=True)
class _FittedProcess:
    process: Any
    features: str
    centre: FloatArray
    scale: FloatArray
    mean: float
    spread: float

    def predict(self, shares_mK: FloatArray) -> Belief:
        x = (_FEATURES[self.features](shares_mK) - self.centre) / self.scale
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mean, sd = self.process.predict(x, return_std=True)
        return Belief(mean * self.spread + self.mean, np.maximum(sd, 1e-6) * self.spread)


@dataclass(frozen=True, slots=True)
class _FittedLaw:
    parameters: FloatArray
    sign: float
    sd: float
    mean: float
    spread: float

    def predict(self, shares_mK: FloatArray) -> Belief:
        raw = self.parameters[0] + self.sign * _exp(shares_mK @ self.parameters[1:])
        return Belief(raw * self.spread + self.mean, np.full(len(shares_mK), self.sd * self.spread))
