"""A side with one run: its spread comes from the other arms, or the interval is over items only."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from assay.metaeval.statistics.borrowing import pool_spread
from assay.metaeval.statistics.clustered import ITEMS_ONLY, Block, RunSpread, clustered_variance
from assay.metaeval.statistics.comparison import compare
from assay.metaeval.statistics.verdict import decide_family


def block(means: list[float], name: str, **fields: object) -> Block:
    scores = np.repeat(np.array(means)[:, None], 4, axis=1)
    return Block(scores, [f"{name}{run}" for run in range(len(means))], list(range(4)), **fields)  # type: ignore[arg-type]


def test_without_ends_the_pool_is_the_pooled_variance() -> None:
    # variances of (0, 2): 2 with 1 df, of (0, 1, 2): 1 with 2 df; pooled (2 + 2) / 3 with 3 df
    pool = pool_spread([block([0.0, 2.0], "a"), block([0.0, 1.0, 2.0], "b"), block([5.0], "c")], None, None)
    assert pool is not None and pool.variance == pytest.approx(4 / 3) and pool.arms_dof == 3
    assert pool.at(block([7.0], "d")).variance == pytest.approx(4 / 3)
    assert pool_spread([block([5.0], "c")], None, None) is None


def test_near_an_end_of_the_scale_a_run_cannot_vary_as_much() -> None:
    pool = pool_spread([block([0.4, 0.6], "a")], 0.0, 1.0)
    assert pool is not None
    assert pool.at(block([0.95], "d")).variance < 0.3 * pool.at(block([0.5], "d")).variance


def test_a_comparison_takes_the_spread_midway_between_its_sides() -> None:
    # log odds of .8 and .2 are 1.386 and -1.386: midway lies .5, whichever side borrows
    pool = pool_spread([block([0.4, 0.6], "a")], 0.0, 1.0)
    assert pool is not None
    high, low = block([0.8], "h"), block([0.2], "l")
    assert pool.at(high, low).variance == pytest.approx(pool.variance / 16)
    assert pool.at(low, high).variance == pool.at(high, low).variance > pool.at(low).variance


def test_arms_that_differ_in_spread_cost_degrees_of_freedom() -> None:
    rng = np.random.default_rng(0)
    alike = [block(list(rng.normal(0, 1, 10)), str(arm)) for arm in range(20)]
    apart = [block(list(rng.normal(0, 0.1 + arm / 4, 10)), str(arm)) for arm in range(20)]
    pools = [pool_spread(blocks, None, None) for blocks in (alike, apart)]
    assert pools[0] is not None and pools[1] is not None and pools[1].dof < 10 < pools[0].dof <= 180


def test_a_draw_with_several_seeds_counts_by_one_run() -> None:
    seeds = block([0.0, 9.0, 2.0, 7.0], "a", draws=["x", "x", "y", "y"])
    pool = pool_spread([seeds], None, None)
    assert pool is not None and pool.variance == pytest.approx(2.0) and pool.dof == 1


def test_one_run_without_a_pool_is_items_only_and_in_no_family() -> None:
    rng = np.random.default_rng(1)
    many = Block(rng.normal(size=(3, 50)) + 5, ["a", "b", "c"], list(range(50)))
    one = Block(rng.normal(size=(1, 50)), ["z"], list(range(50)))
    found = compare(many, one)
    assert found.unit == ITEMS_ONLY and found.p < 1e-6 and not found.is_about_runs
    (decision,) = decide_family([found.evidence])
    assert math.isnan(decision.p_holm) and decision.family_size == 0
    known = compare(many, replace(one, spread=RunSpread(0.01, 8.0)))
    assert known.is_about_runs and "borrowed" in known.unit and known.difference.high > found.difference.high


def test_a_given_model_varies_in_nothing() -> None:
    rng = np.random.default_rng(2)
    many = Block(rng.normal(size=(3, 50)), ["a", "b", "c"], list(range(50)))
    start = Block(rng.normal(size=(1, 50)), ["z"], list(range(50)), is_fixed=True)
    assert compare(many, start).unit == "items and runs"
    assert clustered_variance([start]).unit == ITEMS_ONLY


def test_seeds_of_one_draw_are_one_cluster() -> None:
    # draw effects -1 and 1, three seeds each: the variance of the mean is that of two draws, 1, not of six runs, .2
    scores = np.repeat(np.array([-1.0] * 3 + [1.0] * 3)[:, None], 5, axis=1)
    runs = [str(run) for run in range(6)]
    as_runs = clustered_variance([Block(scores, runs, list(range(5)))])
    as_draws = clustered_variance([Block(scores, runs, list(range(5)), draws=list("xxxyyy"), seeds=[0, 1, 2] * 2)])
    assert as_runs.variance == pytest.approx(0.2) and as_runs.dof == pytest.approx(5)
    assert as_draws.variance == pytest.approx(1.0) and as_draws.dof == pytest.approx(1)


def test_crossed_seeds_add_their_own_part() -> None:
    # seed effects -1 and 1 in both of two draws: MS of seeds 4, of draws x seeds 0; (4 - 0) / 4 runs
    scores = np.repeat(np.array([-1.0, 1.0, -1.0, 1.0])[:, None], 5, axis=1)
    found = clustered_variance(
        [Block(scores, list("abcd"), list(range(5)), draws=["x", "x", "y", "y"], seeds=[0, 1, 0, 1])]
    )
    assert found.run_variance == pytest.approx(1.0)


def test_intervals_at_holms_step_say_what_holm_says() -> None:
    rng = np.random.default_rng(3)
    base = Block(rng.normal(size=(3, 40)), ["x", "y", "z"], list(range(40)))
    family = [
        compare(Block(rng.normal(size=(4, 40)) + gain, [f"{gain}{run}" for run in range(4)], list(range(40))), base)
        for gain in (0.0, 0.1, 0.4, 0.8, 2.0)
    ]
    for decision in decide_family([found.evidence for found in family]):
        assert (decision.p_holm < 0.05) == (decision.low > 0 or decision.high < 0)
