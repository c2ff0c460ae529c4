"""The weighted models: what they find again, what their intervals hold, and that nothing unseen leaks into them."""

from __future__ import annotations

import numpy as np
import pytest

from assay.metaeval.predict.members import MEMBERS, Belief, GaussianProcess, LogLinear
from assay.metaeval.predict.stacking import check_shares, fit_predictor, folds, stacking_weights

RNG = np.random.default_rng


def law(shares: np.ndarray) -> np.ndarray:
    return 2 + np.exp(1.0 - 1.5 * shares[:, 0] - 0.4 * shares[:, 1])


def mixtures(count: int, seed: int, components: int = 3) -> np.ndarray:
    return RNG(seed).dirichlet(np.ones(components), count)


def test_the_law_finds_its_own_curve_again() -> None:
    train, test = mixtures(40, 0), mixtures(50, 1)
    found = LogLinear().fit(train, law(train)).predict(test)
    assert np.abs(found.mean - law(test)).max() < 0.02


@pytest.mark.parametrize("name", [name for name in MEMBERS if name != "log-linear law"])
def test_a_process_finds_a_bent_curve_that_the_law_cannot(name: str) -> None:
    def bent(shares: np.ndarray) -> np.ndarray:
        return np.sin(4 * np.sqrt(shares[:, 0])) + shares[:, 1]

    train, test = mixtures(60, 2), mixtures(60, 3)
    process = MEMBERS[name].fit(train, bent(train)).predict(test)
    assert np.abs(process.mean - bent(test)).mean() < 0.03
    assert np.abs(LogLinear().fit(train, bent(train)).predict(test).mean - bent(test)).mean() > 0.1


def test_a_process_knows_that_it_knows_less_far_away() -> None:
    near = np.column_stack([np.linspace(0.0, 0.3, 20), 1 - np.linspace(0.0, 0.3, 20)])
    fitted = GaussianProcess("square roots").fit(near, near[:, 0] + 0.01 * RNG(0).normal(size=20))
    inside, outside = fitted.predict(np.array([[0.15, 0.85], [0.95, 0.05]])).sd
    assert outside > 3 * inside


def test_weights_go_to_the_model_under_which_unseen_runs_are_likely() -> None:
    scores = RNG(0).normal(size=200)
    mean = np.stack([scores + 0.1 * RNG(1).normal(size=200), np.zeros(200)])
    weights = stacking_weights(mean, np.array([np.full(200, 0.1), np.ones(200)]), scores)
    assert weights.sum() == pytest.approx(1) and weights[0] > 0.9


def test_intervals_hold_for_new_noisy_runs() -> None:
    inside = total = 0
    for seed in range(4):
        train, test = mixtures(30, seed), mixtures(100, 100 + seed)
        rng = RNG(seed)
        model = fit_predictor(train, law(train) + 0.1 * rng.normal(size=30), members=CHEAP)
        found = model.predict(test)
        measured = law(test) + 0.1 * rng.normal(size=100)
        inside += int(((found.low <= measured) & (measured <= found.high)).sum())
        total += 100
    assert 0.90 <= inside / total <= 0.995


@pytest.mark.parametrize("runs", [6, 8, 12])
def test_intervals_hold_for_few_runs(runs: int) -> None:
    inside = []
    for seed in range(12):
        train, test = mixtures(runs, seed), mixtures(50, 100 + seed)
        rng = RNG(seed)
        model = fit_predictor(train, law(train) + 0.1 * rng.normal(size=runs), members=CHEAP)
        found = model.predict(test)
        measured = law(test) + 0.1 * rng.normal(size=50)
        inside.append(((found.low <= measured) & (measured <= found.high)).mean())
    assert np.mean(inside) >= 0.92


CHEAP = {"log-linear law": LogLinear()}


def test_seeds_of_one_mixture_share_a_fold() -> None:
    shares = np.repeat(mixtures(15, 4), 2, axis=0)
    found = folds(shares, 0).reshape(15, 2)
    assert (found[:, 0] == found[:, 1]).all() and len(set(found[:, 0])) == 15


def test_a_run_is_never_predicted_by_a_model_that_saw_it() -> None:
    class Remembers:
        """Knows each score it was shown, and says 99 of others."""

        def fit(self, shares_nK: np.ndarray, scores_n: np.ndarray) -> _Memory:
            return _Memory({row.tobytes() for row in shares_nK})

    model = fit_predictor(mixtures(30, 5), np.zeros(30), members={"memory": Remembers()})
    assert (model.fold_mean == 99).all()


class _Memory:
    def __init__(self, seen: set[bytes]) -> None:
        self.seen = seen

    def predict(self, shares_mK: np.ndarray) -> Belief:
        known = np.array([row.tobytes() in self.seen for row in shares_mK])
        return Belief(np.where(known, 0.0, 99.0), np.ones(len(known)))


def test_equal_input_gives_equal_output() -> None:
    train = mixtures(7, 6)
    first, again = (fit_predictor(train, law(train)).predict(mixtures(5, 7)) for _ in range(2))
    np.testing.assert_array_equal(first.mean, again.mean)
    np.testing.assert_array_equal(first.low, again.low)


def test_what_is_no_table_of_shares_is_refused() -> None:
    assert check_shares(np.array([[0.5, 0.501]])).sum() == pytest.approx(1)
    with pytest.raises(ValueError, match=r"row 1: shares add up to 1\.500"):
        check_shares(np.array([[0.5, 0.5], [0.5, 1.0]]))
    with pytest.raises(ValueError, match="6 or more"):
        fit_predictor(mixtures(5, 0), np.zeros(5))
