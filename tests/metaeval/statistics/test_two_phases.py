"""A bend is named only beside the best smooth curve, and at the edge of the sizes it is a bound."""

from __future__ import annotations

import math

import numpy as np

from assay.metaeval.statistics.phases import ChangePoint, change_point

SIZES = (0, 8, 32, 128, 512, 1024)


def found(curve: str, draws: int, seed: int, noise: float = 0.05) -> ChangePoint:
    rng = np.random.default_rng(seed)
    counts = np.repeat(SIZES, draws).astype(float)
    x = np.log2(1 + counts)
    truth = {
        "straight": 0.05 * x,
        "saturating": 0.6 * (1 - np.exp(-x / 3)),
        "edge": 0.1 * np.minimum(x, math.log2(9)),
        "bend": 0.1 * np.minimum(x, math.log2(129)),
        "falling": 0.8 - 0.1 * np.minimum(x, math.log2(129)),
    }[curve]
    return change_point(counts, truth + noise * rng.normal(size=x.size), rng, resamples=200)


def test_curves_of_one_phase_are_seldom_called_two() -> None:
    # a straight line with two draws: 11 of 100 before; a saturating curve: 99 of 100
    for curve in ("straight", "saturating"):
        for draws in (2, 3):
            assert sum(found(curve, draws, seed).p < 0.05 for seed in range(100)) <= 11


def test_a_bend_at_the_edge_is_a_bound() -> None:
    point = found("edge", 3, 0, noise=0.01)
    assert math.isnan(point.knot.low) and "at or below" in point.knot.reason


def test_a_bend_inside_has_an_interval_and_its_direction_a_name() -> None:
    point = found("bend", 3, 1, noise=0.01)
    assert point.knot.low <= 128 <= point.knot.high and point.shape == "early gain" and point.p < 0.05
    assert found("falling", 3, 1, noise=0.01).shape == "early loss"
