"""The betting sequence against a second one in fractions, over all orders of few items, and on simulated studies."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.metaeval.sequential.betting import fortunes, interval_sequence
from support.slow_betting import slow_fortunes

ALPHA = 0.05


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fortunes_equal_those_in_fractions(data: st.DataObject) -> None:
    quarters = st.integers(0, 4).map(lambda k: Fraction(k, 4))
    scores = data.draw(st.lists(quarters, min_size=1, max_size=12))
    num_items = len(scores) + data.draw(st.integers(0, 3))
    mean = Fraction(data.draw(st.integers(0, 4 * num_items)), 4 * num_items)
    found = fortunes([[float(x) for x in scores]], [float(mean)], num_items=num_items, alpha=ALPHA)
    for t, sides in enumerate(slow_fortunes(scores, mean, num_items, ALPHA)):
        if None in sides:
            assert found.log_e[0, 0, t] == math.inf
        else:
            logs = found.above[0, 0, t], found.below[0, 0, t]
            assert [math.exp(log) for log in logs] == pytest.approx([float(side) for side in sides if side], rel=1e-9)


POPULATIONS = [
    (0, 0, 0, 0, 0, 0, 0, 1),
    (0, 1, 1, 1, 1, 1, 1, 1),
    (0, 0, 0, 0.5, 1, 1, 1, 1),
    (0, 0.25, 0.5, 0.5, 0.75, 1),
    (0, 0, 0, 0, 0),
    (1, 1, 1, 1, 1),
    (0.5, 1),
    (0,),
]


@pytest.mark.parametrize("population", POPULATIONS)
def test_over_all_orders_a_bet_against_the_truth_wins_nothing_and_rarely_grows_large(
    population: tuple[float, ...],
) -> None:
    orders = np.array(list(permutations(population)), dtype=float)
    found = fortunes(orders, [np.mean(population)], num_items=len(population), alpha=ALPHA)
    log_e = found.log_e[:, 0]
    np.testing.assert_allclose(np.exp(log_e).mean(axis=0), 1.0, rtol=1e-9)  # a fair game, at every item
    for alpha in (0.5, 0.2, ALPHA):
        assert (log_e >= math.log(1 / alpha) + 1e-12).any(axis=1).mean() <= alpha


def test_over_all_orders_a_cheap_score_keeps_the_game_fair() -> None:
    population, cheap = np.array([0, 0.5, 1, 1, 0, 0.25, 1]), np.array([0.1, 3.0, 5.0, 2.0, -1.0, 0.0, 4.0])
    orders = np.array(list(permutations(range(7))))
    found = fortunes(population[orders], [population.mean()], num_items=7, alpha=ALPHA, cheap_SN=cheap[orders])
    np.testing.assert_allclose(np.exp(found.log_e[:, 0]).mean(axis=0), 1.0, rtol=1e-9)


def test_after_the_last_item_every_other_mean_is_ruled_out() -> None:
    x = np.array([0, 0, 1, 1, 1, 0.5])  # mean 7/12
    found = fortunes([x], [6.9 / 12, 7 / 12, 7.1 / 12], num_items=6, alpha=ALPHA).log_e[0, :, -1]
    assert found[0] == math.inf and found[1] < math.log(20) and found[2] == math.inf


def test_a_mean_that_items_rule_out_is_ruled_out_at_once() -> None:
    # 4 items, the first two 1: the mean is 1/2 at least, whatever follows
    found = fortunes([[1.0, 1.0]], [0.49, 0.5], num_items=4, alpha=ALPHA).log_e[0, :, 1]
    assert found[0] == math.inf and found[1] < math.inf


def test_interval_holds_at_every_look_in_95_percent_of_studies_and_ends_on_the_truth() -> None:
    rng = np.random.default_rng(11)
    left_out = 0
    for _ in range(60):
        d = rng.choice([-1.0, 0.0, 1.0], size=100, p=[0.15, 0.6, 0.25])
        found = interval_sequence(d, num_items=100, alpha=ALPHA)
        left_out += bool(((found.low > d.mean() + 1e-9) | (found.high < d.mean() - 1e-9)).any())
        assert found.high[-1] - found.low[-1] < 0.005
    assert left_out <= 8  # P(Binomial(60, .05) > 8) < .01


def test_interval_is_no_narrower_than_the_means_kept() -> None:
    d = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], size=40)
    found = interval_sequence(d, num_items=100, alpha=ALPHA)
    for t in (5, 20, 39):
        means = np.linspace(0, 1, 333)
        log_e = fortunes([(d + 1) / 2], means, num_items=100, alpha=ALPHA).log_e[0, :, : t + 1]
        kept = 2 * means[(log_e < math.log(1 / ALPHA)).all(axis=1)] - 1
        assert found.low[t] <= kept.min() and kept.max() <= found.high[t]


def test_a_cheap_scorer_that_agrees_saves_items_and_a_useless_one_costs_few() -> None:
    rng = np.random.default_rng(5)
    num_items, studies = 600, 60
    d = np.array([rng.permutation(np.repeat([1.0, 0.0, -1.0], [130, 400, 70])) for _ in range(studies)])
    x = (d + 1) / 2
    needed = []
    for cheap in (None, d + rng.normal(0, 0.3, d.shape), rng.normal(0, 1, d.shape)):
        log_e = fortunes(x, [0.5], num_items=num_items, alpha=ALPHA, cheap_SN=cheap).log_e[:, 0]
        hit = log_e >= math.log(1 / ALPHA)
        needed.append(np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, num_items).mean())
    alone, helped, misled = needed
    assert helped < 0.8 * alone
    assert misled < 1.15 * alone


def test_scores_outside_the_range_are_refused() -> None:
    with pytest.raises(ValueError, match="scores and means in"):
        fortunes([[1.2]], [0.5], num_items=3, alpha=ALPHA)
    with pytest.raises(ValueError, match="cheap scores"):
        fortunes([[1.0]], [0.5], num_items=3, alpha=ALPHA, cheap_SN=[[1.0]])
