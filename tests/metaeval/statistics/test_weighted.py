"""Weighted means over sets: one set is the ordinary comparison, and intervals hold what they promise."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from assay.metaeval.statistics.clustered import Block
from assay.metaeval.statistics.comparison import Pair, compare, compare_weighted, mean_estimate, weighted_mean


def block(scores: np.ndarray, runs: list[str], name: str) -> Block:
    return Block(scores, runs, [(name, number) for number in range(scores.shape[1])], draws=runs)


def drawn(rng: np.random.Generator, effects: dict[str, float], items: int, name: str) -> Block:
    difficulty = rng.normal(0, 0.3, items)
    scores = np.array([0.5 + effect + difficulty + rng.normal(0, 0.2, items) for effect in effects.values()])
    return block(scores, list(effects), name)


def test_one_set_is_the_ordinary_comparison() -> None:
    rng = np.random.default_rng(0)
    arm = drawn(rng, {"a1": 0.1, "a2": 0.12, "a3": 0.09}, 30, "set")
    base = drawn(rng, {"b1": 0.0, "b2": 0.02, "b3": -0.01}, 30, "set")
    expected, found = compare(arm, base), compare_weighted([Pair(1.0, arm, base)])
    np.testing.assert_allclose(
        [value for value in astuple(found)[1:8] if not isinstance(value, str)],
        [value for value in astuple(expected)[1:8] if not isinstance(value, str)],
    )
    assert (found.difference.low, found.difference.high) == pytest.approx(
        (expected.difference.low, expected.difference.high)
    )
    assert weighted_mean([(1.0, arm)]).low == pytest.approx(mean_estimate(arm)[0].low)


def test_the_difference_is_the_weighted_mean_of_the_sets_differences() -> None:
    # set x: .75 - .25 = .5 over 2 items; set y: 0 - 1 = -1 over 1; weights 3/4 and 1/4: .375 - .25 = .125
    x = Pair(0.75, block(np.array([[1.0, 0.5]]), ["a"], "x"), block(np.array([[0.5, 0.0]]), ["b"], "x"))
    y = Pair(0.25, block(np.array([[0.0]]), ["a"], "y"), block(np.array([[1.0]]), ["b"], "y"))
    found = compare_weighted([x, y])
    assert found.difference.value == pytest.approx(0.125)
    assert (found.mean, found.baseline_mean, found.num_items) == pytest.approx((0.5625, 0.4375, 3))


def test_items_without_a_score_from_every_run_are_left_out_and_counted() -> None:
    arm = block(np.array([[1.0, np.nan, 1.0]]), ["a"], "x")
    base = block(np.array([[0.0, 0.0, 0.0]]), ["b"], "x")
    found = compare_weighted([Pair(1.0, arm, base)])
    assert (found.num_items, found.num_items_left_out) == (2, 1)
    nothing = compare_weighted([Pair(1.0, block(np.full((1, 3), np.nan), ["a"], "x"), base)])
    assert nothing.num_items == 0
    assert "no item with a score" in nothing.difference.reason


def test_a_run_that_is_good_on_every_set_widens_the_interval_as_a_whole() -> None:
    """Independent sets would make a mean of four look twice as sure as it is where runs are good or bad throughout."""
    rng = np.random.default_rng(1)
    effects = {f"a{n}": effect for n, effect in enumerate(rng.normal(0, 0.1, 6))}
    base = {f"b{n}": effect for n, effect in enumerate(rng.normal(0, 0.1, 6))}
    pairs = [Pair(0.25, drawn(rng, effects, 400, name), drawn(rng, base, 400, name)) for name in "wxyz"]
    one = compare_weighted([Pair(1.0, pairs[0].arm, pairs[0].baseline)])
    assert compare_weighted(pairs).run_error == pytest.approx(one.run_error, rel=0.25)


@pytest.mark.slow
def test_intervals_of_a_weighted_difference_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    trials = 600
    for _ in range(trials):
        arms = {f"a{n}": 0.1 + effect for n, effect in enumerate(rng.normal(0, 0.05, 3))}
        base = {f"b{n}": effect for n, effect in enumerate(rng.normal(0, 0.05, 3))}
        pairs = []
        for weight, name, items in ((0.7, "x", 40), (0.3, "y", 60)):
            hard = rng.normal(0, 0.3, items)
            both = [
                block(
                    np.array([0.5 + effect + hard + rng.normal(0, 0.2, items) for effect in side.values()]),
                    list(side),
                    name,
                )
                for side in (arms, base)
            ]
            pairs.append(Pair(weight, *both))
        found = compare_weighted(pairs).difference
        inside += found.low <= 0.1 <= found.high
    assert 0.925 <= inside / trials <= 0.995


def test_scores_without_spread_have_no_interval() -> None:
    flat = [
        Pair(0.5, block(np.ones((2, 4)), ["a", "b"], name), block(np.zeros((2, 4)), ["c", "d"], name)) for name in "xy"
    ]
    found = compare_weighted(flat)
    assert found.difference.value == 1.0
    assert np.isnan(found.difference.low)
    assert found.p == pytest.approx(2 / 6)
    assert np.isnan(weighted_mean([(1.0, block(np.ones((2, 4)), ["a", "b"], "x"))]).low)
