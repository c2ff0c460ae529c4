"""A proxy that is known of every mixture: used as far as it tells, left alone where it says nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.metaeval.predict.account import rank_agreement
from assay.metaeval.predict.members import GaussianProcess
from assay.metaeval.predict.proxy import ProxyLine, ProxyTable, with_proxy
from assay.metaeval.predict.stacking import fit_predictor
from assay.metaeval.statistics.correlation import spearman

CHEAP = {"Matern": GaussianProcess("square roots")}


def mixtures(count: int, seed: int, parts: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(parts), count)


def bumpy(shares: np.ndarray) -> np.ndarray:
    """What ten runs of four components cannot tell."""
    return np.sin(9 * shares[:, 0]) + np.cos(7 * shares[:, 1]) + shares[:, 2]


def test_a_mixture_has_the_proxy_of_its_shares_and_one_without_is_refused() -> None:
    table = ProxyTable(np.array([[1.0, 0.0], [0.25, 0.75]]), np.array([3.0, 5.0]))
    np.testing.assert_array_equal(table.beside(np.array([[0.2501, 0.7499], [1.0, 0.0]]))[:, -1], [5.0, 3.0])
    with pytest.raises(ValueError, match="row 1: the mixture has no proxy"):
        table.beside(np.array([[1.0, 0.0], [0.5, 0.5]]))


def test_a_line_worked_by_hand_and_a_constant_proxy_is_the_mean() -> None:
    x = np.column_stack([np.zeros((4, 2)), [0.0, 1.0, 2.0, 3.0]])
    found = ProxyLine().fit(x, np.array([1.0, 3.0, 5.0, 7.0])).predict(np.array([[0.0, 0.0, 10.0]]))
    assert found.mean[0] == pytest.approx(21.0) and 0 < found.sd[0] < 1e-6
    x[:, -1] = 2.0
    flat = ProxyLine().fit(x, np.array([1.0, 3.0, 5.0, 7.0])).predict(x)
    np.testing.assert_allclose(flat.mean, 4.0)
    # four values around their mean, n - 2 = 2 degrees of freedom, and the mean's own error
    np.testing.assert_allclose(flat.sd, math.sqrt(20 / 2) * math.sqrt(1 + 1 / 4))


@pytest.mark.parametrize(("noise", "helps"), [(0.05, True), (1e3, False)])
def test_a_good_proxy_helps_and_one_that_says_nothing_does_little_harm(noise: float, helps: bool) -> None:
    gains = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        train, test = mixtures(12, seed), mixtures(100, 50 + seed)
        both = np.concatenate([train, test])
        table = ProxyTable(both, 2 * bumpy(both) + noise * rng.normal(size=len(both)))
        scores = bumpy(train) + 0.02 * rng.normal(size=len(train))
        alone = fit_predictor(train, scores, members=CHEAP).predict(test).mean
        beside = fit_predictor(train, scores, members=CHEAP, proxies=table).predict(test).mean
        gains.append(spearman(beside, bumpy(test)) - spearman(alone, bumpy(test)))
    assert np.mean(gains) > 0.1 if helps else np.mean(gains) > -0.05


def test_models_of_shares_do_not_look_at_the_proxy() -> None:
    members = with_proxy(CHEAP)
    train, scores = mixtures(10, 1), bumpy(mixtures(10, 1))
    first, second = (np.column_stack([train, values]) for values in (np.zeros(10), np.arange(10.0)))
    told = [members["Matern"].fit(x, scores).predict(x).mean for x in (first, second)]
    np.testing.assert_array_equal(*told)
    assert not np.array_equal(*(members["proxy and Matern"].fit(x, scores).predict(x).mean for x in (first, second)))


def test_rank_agreement_has_an_interval_over_mixtures() -> None:
    x = np.arange(20.0)
    found = rank_agreement(x, x + np.tile([0.0, 3.0], 10))
    assert (
        found.value == pytest.approx(spearman(x, x + np.tile([0.0, 3.0], 10))) and found.low < found.value < found.high
    )
    assert found.n == 20
    assert not rank_agreement(x[:2], x[:2]).is_defined and not rank_agreement(np.zeros(9), x[:9]).is_defined
