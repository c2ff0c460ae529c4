"""Position and length effects, by hand and planted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.metaeval.statistics.position import (
    length_effect,
    mean_interval,
    position_effect,
)


def test_agreement_leaves_unread_pairs_out_and_counts_them() -> None:
    original = [1, 1, 2, None, None]
    swapped = [1, 2, 2, None, 1]
    found = position_effect(original, swapped)
    assert found.agreement.value == pytest.approx(2 / 3) and found.agreement.n == 3
    assert found.none_rate.value == pytest.approx(3 / 10)


def test_the_effect_is_the_first_places_lead() -> None:
    # pair 1: first place in both orders (+1); pair 2: output 1 both times (0); pair 3: second place twice (-1);
    # pair 4: output 1, then a tie (+1/2)
    found = position_effect([1, 1, 2, 1], [2, 1, 1, 0])
    assert found.effect.value == pytest.approx((1 + 0 - 1 + 0.5) / 4)
    assert (found.num_always_first, found.num_always_second) == (1, 1)
    assert found.p == 1.0


def test_a_planted_position_bias_is_found_with_its_size() -> None:
    rng = np.random.default_rng(0)
    biased = rng.random(2000) < 0.3
    better = rng.integers(1, 3, 2000)
    original = [1 if b else int(w) for b, w in zip(biased, better, strict=True)]
    swapped = [2 if b else int(w) for b, w in zip(biased, better, strict=True)]
    found = position_effect(original, swapped)
    assert found.effect.low < 0.3 < found.effect.high and found.p < 1e-6
    assert found.agreement.value == pytest.approx(1 - biased.mean())


def test_length_effect_is_seen_inside_items_only() -> None:
    rng = np.random.default_rng(1)
    items = np.repeat(np.arange(200), 4)
    question = rng.normal(6, 1, 200)[items]
    length = np.exp2(question + rng.normal(size=800))
    # long questions have low scores; each doubling of an answer within a question gives .5
    score = -2 * question + 0.5 * np.log2(length) + rng.normal(size=800)
    found = length_effect(score, length, items.tolist())
    assert found.low < 0.5 < found.high and found.high - found.low < 0.3
    assert not length_effect([1.0, 2.0], [5.0, 5.0], ["a", "a"]).is_defined
    few = length_effect([1.0, 2.0, 1.0, 3.0], [5.0, 10.0, 5.0, 10.0], list("aabb"))
    assert few.value == pytest.approx(1.5) and math.isnan(few.low) and "2 items" in few.reason


def test_mean_interval_of_one_value_has_no_width() -> None:
    assert math.isnan(mean_interval([1.0]).low)
    assert mean_interval([1.0] * 9).reason == "no interval: no spread"
    assert "at least 6" in mean_interval([1.0, 2.0, 3.0]).reason
    assert not mean_interval([]).is_defined
