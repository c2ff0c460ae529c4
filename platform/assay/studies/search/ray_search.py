"""Points to try, asked of Ray Tune's search algorithms round by round: the study's own pipeline runs the trials.

A round is a wave of trainings, generation and scoring like any other, so adapters, answers and scores are artifacts and
a search that was stopped finds them again: the searcher is seeded and told the same results, so it asks for the same.
"""

from __future__ import annotations

import logging

import numpy as np
from ray import tune

from assay.errors import ResourceError
from assay.studies.designs.searched import SearchedSpace
from assay.studies.search.weights import SearchSpec, Trial

METRIC = "goal"


class Suggestions:
    """Weights to try next."""

    def __init__(self, spec: SearchSpec, space: SearchedSpace) -> None:
        """A searcher over the numbers that a design may vary."""
        domain = tune.loguniform if space.is_log else tune.uniform
        self._space = {name: domain(space.low, space.high) for name in space.names}
        self._weights = space.weights
        self._random = np.random.RandomState(spec.seed)
        self._optuna = _optuna_search(spec, self._space) if spec.algorithm == "optuna" else None
        self._asked = 0

    def ask(self, count: int) -> list[tuple[str, dict[str, float]]]:
        """(id, weights) of so many points."""
        found = []
        for _ in range(count):
            name = f"trial-{self._asked:04d}"
            self._asked += 1
            if self._optuna is None:
                point = {key: domain.sample(random_state=self._random) for key, domain in self._space.items()}
            else:
                point = self._optuna.suggest(name)
            found.append((name, self._weights({key: round(float(value), 6) for key, value in point.items()})))
        return found

    def tell(self, name: str, trial: Trial) -> None:
        """How a point did; one without a score counts as failed."""
        if self._optuna is not None:
            result = None if trial.goal is None else {METRIC: trial.goal}
            self._optuna.on_trial_complete(name, result, error=result is None)


def _optuna_search(spec: SearchSpec, space):
    try:
        import optuna
    except ImportError:
        raise ResourceError(
            "search.algorithm: optuna is not installed; install it (pip install 'assay[search]'), or take "
            "--algorithm random"
        ) from None
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("ray.tune.search.optuna").setLevel(logging.ERROR)
    search = OptunaSearch(metric=METRIC, mode="max", seed=spec.seed)
    search.set_search_properties(METRIC, "max", space)
    return search
