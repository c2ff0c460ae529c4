"""A searcher that models scores as functions of shares, and says when further trials are not worth their price. Pure.

The first trials are a design; then each batch is where a model of score and forgetting sees the most to gain. Between
batches, with all scores of the last one in, it may cancel what is left: nothing that could still be tried has a chance
to be the best. It is seeded and goes by what it is told, so a search that was stopped asks for the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from assay.metaeval.predict.choice import Bounds, candidates
from assay.metaeval.predict.design import Hope, Limit, hope, next_batch
from assay.metaeval.predict.members import MEMBERS
from assay.metaeval.predict.stacking import Predictions, fit_predictor
from assay.metaeval.statistics.estimate import FloatArray
from assay.mixtures.space import SpaceSpec, space_points
from assay.studies.search.weights import SearchSpec, Trial

MIN_TOLD = 6
"""Trials with a score that a model needs."""
QUICK = {name: MEMBERS[name] for name in ("Matern, square roots", "log-linear law")}
"""Models that are fitted between batches: seconds, not a minute."""
DECIMALS = 6


@dataclass
class ModelSuggestions:
    """Weights to try next."""

    spec: SearchSpec
    components: Sequence[str]
    decisions: list[dict[str, Any]] = field(default_factory=list)
    """What each batch after the design was chosen by, and why the last one was not trained."""
    _asked: list[FloatArray] = field(default_factory=list)
    _told: list[Trial] = field(default_factory=list)

    def ask(self, count: int) -> list[tuple[str, dict[str, float]]]:
        """(id, weights) of up to so many points; none where the trials that are left are cancelled."""
        first = min(self.spec.trials, 2 * len(self.components) + 1)
        left = first - len(self._asked)
        scored = [trial for trial in self._told if trial.score is not None and trial.forgetting is not None]
        if left > 0 or len(scored) < MIN_TOLD:
            known = self._design(len(self._asked) + count)
            chosen = known[len(self._asked) :][: max(left, 1) if left > 0 else count]
        else:
            chosen = self._modelled(scored, count)
        named = []
        for shares in chosen:
            name = f"trial-{len(self._asked):04d}"
            self._asked.append(shares)
            named.append(
                (
                    name,
                    {part: round(float(share), DECIMALS) for part, share in zip(self.components, shares, strict=True)},
                )
            )
        return named

    def tell(self, name: str, trial: Trial) -> None:
        """How a point did."""
        self._told.append(trial)

    def _design(self, count: int) -> list[FloatArray]:
        """So many first mixtures: components alone, the centroid, then points that fill the simplex evenly."""
        space = SpaceSpec(num=count, include=("vertices", "centroid"), seed=self.spec.seed)
        points = islice(space_points(space, self.components), count)
        return [np.array([shares[name] for name in self.components]) for _, shares in points]

    def _modelled(self, scored: Sequence[Trial], count: int) -> list[FloatArray]:
        shares = np.array([[trial.weights[part] for part in self.components] for trial in scored])
        shares = shares / shares.sum(axis=1, keepdims=True)
        seed = self.spec.seed
        score = fit_predictor(
            shares, np.array([trial.score for trial in scored], dtype=float), seed=seed, members=QUICK
        )
        lost = fit_predictor(
            shares, np.array([trial.forgetting for trial in scored], dtype=float), seed=seed, members=QUICK
        )
        free = candidates(Bounds(np.zeros(len(self.components)), np.ones(len(self.components))), shares, seed=seed)
        free = free[len(shares) :]
        of_free, limit = score.predict(free), Limit(lost.predict(free), self.spec.max_forgetting)
        best, best_sd = _best(score.predict(shares), Limit(lost.predict(shares), self.spec.max_forgetting))
        outlook = hope(of_free, best, best_sd, noise=float("nan"), limit=limit, seed=seed)
        gain = _chance_of_better(outlook)
        places = next_batch(free, of_free, best, count, limit=limit)
        is_over = bool(outlook.need_not_be_trained.all())
        self.decisions.append(
            {
                "after": len(self._told),
                "best_predicted": best,
                "chance_of_better": gain,
                "cancelled": self.spec.trials - len(self._asked) if is_over else 0,
                "batch": [
                    {
                        "shares": dict(zip(self.components, np.round(free[place], DECIMALS).tolist(), strict=True)),
                        "mean": float(of_free.mean[place]),
                        "low": float(of_free.low[place]),
                        "high": float(of_free.high[place]),
                        "keeps_limit": float(limit.chance[place]),
                    }
                    for place in places
                ],
            }
        )
        return [] if is_over else [free[place] for place in places]


def _best(predictions: Predictions, limit: Limit) -> tuple[float, float]:
    """Predicted score and spread of the best trained mixture that is likely to keep the limit, else of the best."""
    keeps = limit.chance >= 0.5
    means = np.where(keeps, predictions.mean, -np.inf) if keeps.any() else predictions.mean
    place = int(means.argmax())
    return float(predictions.mean[place]), float(predictions.sd[place])


def _chance_of_better(outlook: Hope) -> float:
    """Chance that the best of all candidates is none that was trained."""
    return float(outlook.chance.sum())
