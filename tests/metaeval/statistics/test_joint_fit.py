"""Joint fits: planted effects come back, gaps and blocks are bridged, and what cannot be compared is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.metaeval.statistics.joint_fit import additive_fit, bradley_terry


def test_additive_fit_is_exact_without_noise_in_overlapping_blocks() -> None:
    skill = {"a": 3.0, "b": 1.0, "c": -1.0, "d": -3.0}
    pull = {0: 0.5, 1: -0.5}
    blocks = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("c", "d"), ("d", "c")]
    rows = [
        (item, model, place, 10 * item + skill[model] + pull[place])
        for item, block in enumerate(blocks)
        for place, model in enumerate(block)
    ]
    items, models, places, scores = zip(*rows, strict=True)
    fit = additive_fit(scores, items, models, places, np.random.default_rng(0), resamples=50)
    assert {score.model: round(score.effect.value, 9) for score in fit.models} == skill
    assert {place: round(effect.value, 9) for place, effect in fit.positions.items()} == pull
    assert [(score.model, score.rank) for score in fit.models] == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    assert fit.residual_sd == pytest.approx(0, abs=1e-9)


def test_models_without_shared_items_are_refused() -> None:
    with pytest.raises(ValueError, match="no shared items connect 'a' with 'c'"):
        additive_fit([1, 2, 3, 4], [0, 0, 1, 1], ["a", "b", "c", "d"], None, np.random.default_rng(0))


def test_a_model_always_shown_at_one_place_is_refused() -> None:
    with pytest.raises(ValueError, match="confounded"):
        additive_fit([1, 2, 3, 4], [0, 0, 1, 1], ["a", "b", "a", "b"], [0, 1, 0, 1], np.random.default_rng(0))


def test_planted_models_and_positions_lie_in_their_intervals() -> None:
    rng = np.random.default_rng(4)
    skill, pull = np.array([0.6, 0.2, -0.2, -0.6]), np.array([0.3, 0.1, -0.1, -0.3])
    rows = []
    for item in range(150):
        level = rng.normal(0, 2)
        for place, model in enumerate(rng.permutation(4)):
            if rng.random() > 0.1:
                rows.append((item, "abcd"[model], place, level + skill[model] + pull[place] + rng.normal(0, 0.8)))
    items, models, places, scores = zip(*rows, strict=True)
    fit = additive_fit(scores, items, models, places, rng, resamples=400)
    inside = [
        score.effect.low - 0.05 <= skill["abcd".index(score.model)] <= score.effect.high + 0.05 for score in fit.models
    ]
    assert all(inside)
    assert all(fit.positions[place].low - 0.05 <= pull[place] <= fit.positions[place].high + 0.05 for place in range(4))
    assert fit.residual_sd == pytest.approx(0.8, rel=0.1)
    assert [score.rank for score in fit.models] == [1, 2, 3, 4]
    assert all(score.rank_low <= score.rank <= score.rank_high for score in fit.models)


def test_bradley_terry_of_two_models_is_their_log_odds() -> None:
    # 30 wins to 10: strengths differ by log 3
    outcome = [1] * 30 + [-1] * 10
    fit = bradley_terry(range(40), ["a"] * 40, ["b"] * 40, outcome, np.random.default_rng(0), resamples=200, prior=0)
    best, worst = fit.models
    assert best.model == "a" and fit.tie_threshold == 1.0
    assert best.effect.value - worst.effect.value == pytest.approx(math.log(3), abs=1e-6)


def test_rao_kupper_recovers_strengths_and_ties() -> None:
    rng = np.random.default_rng(1)
    strength, theta = np.exp([0.8, 0.0, -0.8]), 1.6
    rows = []
    for item in range(6000):
        a, b = rng.permutation(3)[:2]
        win = strength[a] / (strength[a] + theta * strength[b])
        lose = strength[b] / (strength[b] + theta * strength[a])
        draw = rng.random()
        rows.append((item, "xyz"[a], "xyz"[b], 1 if draw < win else -1 if draw < win + lose else 0))
    items, first, second, outcome = zip(*rows, strict=True)
    fit = bradley_terry(items, first, second, outcome, rng, resamples=30)
    assert [score.model for score in fit.models] == ["x", "y", "z"]
    assert [score.effect.value for score in fit.models] == pytest.approx([0.8, 0.0, -0.8], abs=0.08)
    assert fit.tie_threshold == pytest.approx(1.6, abs=0.05)


def test_an_unbeaten_model_needs_a_prior() -> None:
    rows = {"item": range(6), "first": ["a"] * 6, "second": ["b"] * 6, "outcome": [1] * 6}
    with pytest.raises(ValueError, match=r"'b' never beats a chain to 'a'"):
        bradley_terry(**rows, rng=np.random.default_rng(0), prior=0)
    fit = bradley_terry(**rows, rng=np.random.default_rng(0), resamples=50)
    assert fit.models[0].model == "a" and math.isfinite(fit.models[0].effect.value)
    assert math.isnan(fit.models[0].effect.low) and "not estimable: 'b'" in fit.models[0].effect.reason
    assert (fit.models[0].rank_low, fit.models[0].rank_high) == (1, 2)
    with pytest.raises(ValueError, match="outcomes"):
        bradley_terry([0], ["a"], ["b"], [2], np.random.default_rng(0))


def duels(rng: np.random.Generator, num_items: int) -> tuple[list[int], list[str], list[str], list[int]]:
    """Three models of log odds .5, 0 and -.5 meet on every item; how hard an item is for one moves its two duels."""
    rows = []
    for item in range(num_items):
        strength = np.array([0.5, 0.0, -0.5]) + 0.7 * rng.normal(size=3)
        for a, b in ((0, 1), (0, 2), (1, 2)):
            wins = rng.random() < 1 / (1 + math.exp(strength[b] - strength[a]))
            rows.append((item, "xyz"[a], "xyz"[b], 1 if wins else -1))
    items, first, second, outcome = zip(*rows, strict=True)
    return list(items), list(first), list(second), list(outcome)


def test_few_items_have_a_jackknife_interval_that_covers() -> None:
    # 12 items: .85 of percentile intervals covered
    big = bradley_terry(*duels(np.random.default_rng(0), 20_000), np.random.default_rng(0), resamples=2)
    truth = {score.model: score.effect.value for score in big.models}
    hits, ranks, known = 0, 0, 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        fit = bradley_terry(*duels(rng, 12), rng)
        for score in fit.models:
            if math.isnan(score.effect.low):
                assert "not estimable" in score.effect.reason
                continue
            assert score.effect.method == "jackknife t, 12 clusters"
            known += 1
            hits += score.effect.low <= truth[score.model] <= score.effect.high
            ranks += score.rank_low <= 1 + "xyz".index(score.model) <= score.rank_high
    assert known > 500 and hits / known >= 0.92 and ranks / known >= 0.95
    few = bradley_terry(*duels(np.random.default_rng(1), 4), np.random.default_rng(1))
    assert all(math.isnan(score.effect.low) and score.rank_high == 3 for score in few.models)


def test_few_items_of_an_additive_fit_cover() -> None:
    # 8 items, 3 models: .87 of BCa intervals covered
    hits = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        skill = np.array([0.5, 0.0, -0.5])
        scores = (rng.normal(size=(8, 1)) + skill + rng.normal(size=(8, 3))).ravel()
        fit = additive_fit(scores, np.repeat(range(8), 3).tolist(), ["x", "y", "z"] * 8, None, rng)
        hits += [score.effect.low <= skill["xyz".index(score.model)] <= score.effect.high for score in fit.models]
    assert 0.92 <= np.mean(hits) <= 0.98
