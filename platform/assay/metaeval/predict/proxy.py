"""A score that is known of every mixture without training it, as a covariate of the models. Pure.

The trained score is taken to be a line in the proxy, and what is left of it a function of the shares. Whether that
helps is not assumed: these models are weighted with those that see the shares alone, by runs that none of them has
seen. So a proxy that says nothing gets little weight.

Axes: n runs, m mixtures with a proxy, K components.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.metaeval.predict.members import Belief, Fitted, GaussianProcess, Member
from assay.metaeval.statistics.estimate import FloatArray

NEAR = 1e-3
"""Largest difference of any share between two mixtures that are taken for the same."""


@dataclass(frozen=True, slots=True)
class ProxyTable:
    """The proxy's score of each of m mixtures."""

    shares: FloatArray
    """Shape (m, K)."""
    scores: FloatArray
    """Shape (m,)."""

    def beside(self, shares_nK: FloatArray) -> FloatArray:
        """Shares with the proxy's score as a further column, shape (n, K + 1).

        Raises:
            ValueError: a mixture that has none.
        """
        apart = np.abs(shares_nK[:, None, :] - self.shares[None]).max(axis=2)
        nearest = apart.argmin(axis=1)
        far = apart[np.arange(len(shares_nK)), nearest] > NEAR
        if far.any():
            raise ValueError(f"row {int(far.argmax())}: the mixture has no proxy; expected one for each")
        return np.column_stack([shares_nK, self.scores[nearest]])


def with_proxy(members: Mapping[str, Member]) -> dict[str, Member]:
    """The models of shares alone, and those that see the proxy; all take `ProxyTable.beside`'s columns."""
    alone = {name: SharesAlone(member) for name, member in members.items()}
    return {**alone, "proxy": ProxyLine(), "proxy and Matern": ProxyLine(GaussianProcess("square roots"))}


@dataclass(frozen=True, slots=True)
class SharesAlone:
    """A model that does not look at the proxy."""

    member: Member

    def fit(self, x_nK1: FloatArray, scores_n: FloatArray) -> Fitted:
        """Learn from n runs; deterministic."""
        return _WithoutLast(self.member.fit(x_nK1[:, :-1], scores_n))


@dataclass(frozen=True, slots=True)
class ProxyLine:
    """score = c + b proxy, and where there is a member, what it makes of the rest by shares."""

    rest: Member | None = None

    def fit(self, x_nK1: FloatArray, scores_n: FloatArray) -> Fitted:
        """Learn from n runs; deterministic."""
        proxy = x_nK1[:, -1]
        centred = proxy - proxy.mean()
        spread = float(centred @ centred)
        slope = float(centred @ (scores_n - scores_n.mean())) / spread if spread > 0 else 0.0
        centre = float(scores_n.mean()) - slope * float(proxy.mean())
        left = scores_n - centre - slope * proxy
        if self.rest is not None:
            return _FittedLine(centre, slope, 0.0, 0.0, 1.0, self.rest.fit(x_nK1[:, :-1], left))
        sd = math.sqrt(float(left @ left) / max(1, len(left) - 2)) + 1e-9 * (float(np.abs(scores_n).max()) + 1e-9)
        return _FittedLine(centre, slope, sd, float(proxy.mean()), spread or 1.0, None, len(left))


@dataclass(frozen=True, slots=True)
class _WithoutLast:
    fitted: Fitted

    def predict(self, x_mK1: FloatArray) -> Belief:
        return self.fitted.predict(x_mK1[:, :-1])


@dataclass(frozen=True, slots=True)
class _FittedLine:
    centre: float
    slope: float
    sd: float
    middle: float
    spread: float
    rest: Fitted | None
    n: int = 1

    def predict(self, x_mK1: FloatArray) -> Belief:
        proxy = x_mK1[:, -1]
        line = self.centre + self.slope * proxy
        if self.rest is not None:
            belief = self.rest.predict(x_mK1[:, :-1])
            return Belief(line + belief.mean, belief.sd)
        return Belief(line, self.sd * np.sqrt(1 + 1 / self.n + (proxy - self.middle) ** 2 / self.spread))
