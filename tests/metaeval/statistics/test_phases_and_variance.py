"""Change points of learning curves, and where variance comes from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.metaeval.statistics.phases import change_point
from assay.metaeval.statistics.variance import (
    JUDGE_REPEAT,
    RESIDUAL,
    interaction,
    pooled,
    repeat_noise,
    variance_components,
    with_repeats,
)

LEVELS = np.array([0, 10, 25, 50, 100, 200, 500, 1000])


def curve(knot: float, before: float, after: float, noise: float, rng: np.random.Generator, draws: int = 4):
    x, at = np.log2(1 + LEVELS), np.log2(1 + knot)
    means = before * np.minimum(x, at) + after * np.clip(x - at, 0, None)
    return np.repeat(LEVELS, draws), np.repeat(means, draws) + noise * rng.normal(size=draws * LEVELS.size)


def test_a_clear_knot_is_found_with_its_slopes() -> None:
    counts, scores = curve(50, 0.10, 0.0, 0.001, np.random.default_rng(0))
    found = change_point(counts, scores, np.random.default_rng(1), resamples=500)
    assert found.knot.value == pytest.approx(50, rel=0.1)
    assert found.slope_before == pytest.approx(0.1, abs=0.005) and found.slope_after == pytest.approx(0, abs=0.005)
    assert found.shape == "early gain" and found.p < 0.01


def test_a_late_gain_is_named_so() -> None:
    counts, scores = curve(100, 0.0, 0.08, 0.002, np.random.default_rng(0))
    found = change_point(counts, scores, np.random.default_rng(1), resamples=300)
    assert found.shape == "late gain" and found.knot.low <= 100 <= found.knot.high


def test_a_straight_line_has_no_evidence_for_a_knot() -> None:
    p_values = []
    for seed in range(40):
        counts, scores = curve(50, 0.05, 0.05, 0.02, np.random.default_rng(seed))
        p_values.append(change_point(counts, scores, np.random.default_rng(seed), resamples=200).p)
    # 40 fair p-values: 5 or more below .05 has a chance of 5 %, 8 or more of .1 %
    assert np.sum(np.array(p_values) < 0.05) < 8


def test_the_knots_interval_covers_it() -> None:
    covered = 0
    for seed in range(60):
        counts, scores = curve(60, 0.08, 0.0, 0.02, np.random.default_rng(seed))
        knot = change_point(counts, scores, np.random.default_rng(seed), resamples=300).knot
        covered += knot.low <= 60 <= knot.high
    assert covered >= 52


def test_too_few_points_or_no_change_are_undefined() -> None:
    rng = np.random.default_rng(0)
    assert "3 values of N" in change_point([0, 8, 64], [0.1, 0.2, 0.3], rng).knot.reason
    assert change_point([0, 8, 64, 128], [0.1] * 4, rng).knot.reason == "constant curve"
    single = change_point([0, 8, 64, 128, 256], [0.1, 0.5, 0.6, 0.6, 0.7], rng)
    assert single.knot.is_defined and math.isnan(single.knot.low) and "no interval" in single.knot.reason


def test_components_of_a_two_way_table_by_hand() -> None:
    # the table of test_clustered: effects +-2 (run) and +-1 (item), residual +-1
    # mean squares: run 2 x 8 / 1... = 16, item 4, residual 4; components (16 - 4) / 2, (4 - 4) / 2
    parts = variance_components(np.array([[0.0, 0.0], [2.0, 6.0]]), ("run", "item"))
    assert [(part.factor, part.variance) for part in parts] == [("run", 6.0), ("item", 0.0), ("residual", 4.0)]


def test_planted_components_come_back() -> None:
    rng = np.random.default_rng(3)
    shape = (40, 30, 50)
    scores = (
        rng.normal(0, 2, (40, 1, 1))
        + rng.normal(0, 1, (1, 30, 1))
        + rng.normal(0, 3, (1, 1, 50))
        + rng.normal(0, 0.5, shape)
    )
    found = {part.factor: part.variance for part in variance_components(scores, ("draw", "training_seed", "item"))}
    assert found["residual"] == pytest.approx(0.25, rel=0.02)
    assert found["draw"] == pytest.approx(4, rel=0.5) and found["item"] == pytest.approx(9, rel=0.5)
    assert found["training_seed"] == pytest.approx(1, rel=0.6)


def test_a_factor_with_one_level_says_so() -> None:
    parts = variance_components(np.random.default_rng(0).normal(size=(3, 1, 8)), ("draw", "training_seed", "item"))
    assert math.isnan(parts[1].variance) and parts[1].reason == "one training_seed"
    mixed = pooled([parts, variance_components(np.ones((3, 2, 8)), ("draw", "training_seed", "item"))])
    assert mixed[1].variance == pytest.approx(0)
    with pytest.raises(ValueError, match="missing scores"):
        variance_components(np.full((2, 2), math.nan), ("a", "b"))


def test_repeat_noise_is_the_variance_between_repeats() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 5, 4000) + rng.normal(0, 2, (3, 4000))
    assert repeat_noise(scores) == pytest.approx(4, rel=0.06)
    scores[0, :2000] = math.nan
    assert repeat_noise(scores) == pytest.approx(4, rel=0.08)
    assert math.isnan(repeat_noise(scores[:1]))


FACTORS = ("draw", "training_seed", "item")


def judged(rng: np.random.Generator, answers: np.ndarray, repeats: int, lost: float) -> np.ndarray:
    """Judgements of variance 2.25 about a table of known components; equal answers to an item are judged once."""
    draws, _, items = answers.shape
    # what an answer is worth may depend on the answer alone
    worth = rng.normal(0, 0.5, (items, int(answers.max()) + 1))
    noise = rng.normal(0, 1.5, (repeats, *worth.shape))
    noise[1:][rng.random(noise[1:].shape) < lost] = math.nan  # something is left of every answer
    item = np.arange(items)
    shared = worth[item, answers] + noise[:, item, answers]
    return rng.normal(0, 2, items) + rng.normal(0, 1, (draws, 1, 1)) + shared


@pytest.mark.parametrize("lost", [0.0, 0.3])
def test_the_judges_own_variance_is_told_from_the_rest(lost: float) -> None:
    rng = np.random.default_rng(4)
    answers = np.broadcast_to(np.arange(120).reshape(12, 10, 1), (12, 10, 60))  # all differ
    table = judged(rng, answers, 3, lost)
    parts = variance_components(np.nanmean(table, axis=0), FACTORS)
    found = {part.factor: part.variance for part in with_repeats(parts, table, answers * 60 + np.arange(60), FACTORS)}
    assert found[JUDGE_REPEAT] == pytest.approx(2.25, rel=0.05)
    assert found[RESIDUAL] == pytest.approx(0.25, abs=0.06)
    assert {part.factor: part.variance for part in parts}[RESIDUAL] > 0.9, "the mean of three still has a third of it"


@pytest.mark.parametrize("distinct", [1, 2, 3])
def test_noise_that_equal_answers_share_is_taken_out_where_it_shows(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    found: dict[str, list[float]] = {}
    for _ in range(60):
        answers = rng.integers(0, distinct, (4, 3, 200))
        table = judged(rng, answers, 3, 0.2)
        parts = variance_components(np.nanmean(table, axis=0), FACTORS)
        for part in with_repeats(parts, table, answers * 200 + np.arange(200), FACTORS):
            found.setdefault(part.factor, []).append(part.variance)
    # of an answer's worth (variance .25), what differs between an item's cells is residual and the rest the item's
    apart = 0.25 * (1 - 1 / distinct)
    expected = {"training_seed": 0.0, "item": 4.25 - apart, JUDGE_REPEAT: 2.25, RESIDUAL: apart}
    for factor, value in expected.items():
        error = float(np.std(found[factor]) / math.sqrt(len(found[factor])))
        assert np.mean(found[factor]) == pytest.approx(value, abs=4 * error + 1e-9), factor


def test_repeats_that_never_met_leave_residual_and_judge_together() -> None:
    parts = variance_components(np.random.default_rng(0).normal(size=(3, 2, 8)), FACTORS)
    table = np.full((2, 3, 2, 8), math.nan)
    table[0] = 0.5
    *others, noise, rest = with_repeats(parts, table, np.arange(48).reshape(3, 2, 8), FACTORS)
    assert [part.factor for part in (noise, rest)] == [JUDGE_REPEAT, RESIDUAL] and others == parts[:-1]
    assert all(math.isnan(part.variance) and part.reason == "no answer with two repeats" for part in (noise, rest))


CROSSED = ("draw", "training_seed")
TOGETHER = interaction(*CROSSED)


def crossed_table(rng: np.random.Generator, draws: int, seeds: int) -> np.ndarray:
    """Draws 1, seeds .5, the two together .3, items 4, noise 1; 60 items."""
    shape = (draws, seeds, 60)
    return np.asarray(
        rng.normal(size=(draws, 1, 1))
        + math.sqrt(0.5) * rng.normal(size=(1, seeds, 1))
        + math.sqrt(0.3) * rng.normal(size=(draws, seeds, 1))
        + 2 * rng.normal(size=60)
        + rng.normal(size=shape)
    )


def test_draw_by_seed_is_a_term_of_its_own() -> None:
    # +1 where draw and seed are alike, else -1, over 3 items: all of it is the two together
    table = np.repeat(np.array([[1.0, -1.0], [-1.0, 1.0]])[:, :, None], 3, axis=2)
    parts = variance_components(table, FACTORS, crossed=CROSSED)
    # mean square of the interaction 12 / 1, 3 cells a level: 4; its factors: (0 - 12) / 6
    assert {part.factor: part.variance for part in parts} == pytest.approx(
        {"draw": -2.0, "training_seed": -2.0, TOGETHER: 4.0, "item": 0.0, RESIDUAL: 0.0}
    )
    rng = np.random.default_rng(0)
    found = [variance_components(crossed_table(rng, 5, 4), FACTORS, crossed=CROSSED) for _ in range(400)]
    for place, truth in enumerate((1.0, 0.5, 0.3, 4.0, 1.0)):
        values = [parts[place].variance for parts in found]
        assert np.mean(values) == pytest.approx(truth, abs=4 * float(np.std(values)) / 20)


def test_intervals_of_components_cover_or_say_that_few_draws_cannot_tell() -> None:
    rng = np.random.default_rng(1)
    hits: dict[str, list[bool]] = {}
    for _ in range(400):
        for part in variance_components(crossed_table(rng, 8, 6), FACTORS, crossed=CROSSED):
            low, high, _ = part.interval
            truth = {"draw": 1.0, "training_seed": 0.5, TOGETHER: 0.3, "item": 4.0, RESIDUAL: 1.0}[part.factor]
            assert 0 <= low < high
            hits.setdefault(part.factor, []).append(low <= truth <= high)
    assert all(0.92 <= np.mean(hit) <= 0.98 for hit in hits.values()), hits
    few = variance_components(crossed_table(rng, 3, 3), FACTORS, crossed=CROSSED)
    assert few[0].interval[2] == "no interval: 3 levels cannot tell" and math.isnan(few[0].interval[0])
    # four sizes with the same three draws are no twelve draws
    assert "cannot tell" in pooled([few] * 4)[0].interval[2]


def test_noise_of_repeats_leaves_draw_by_seed_alone() -> None:
    rng = np.random.default_rng(2)
    answers = np.arange(5 * 4 * 60).reshape(5, 4, 60)
    found: dict[str, list[float]] = {}
    for _ in range(100):
        means = crossed_table(rng, 5, 4)
        table = means + rng.normal(0, 1.5, (3, *means.shape))
        parts = variance_components(table.mean(axis=0), FACTORS, crossed=CROSSED)
        for part in with_repeats(parts, table, answers, FACTORS, crossed=CROSSED):
            found.setdefault(part.factor, []).append(part.variance)
    for factor, truth in ((TOGETHER, 0.3), (RESIDUAL, 1.0), (JUDGE_REPEAT, 2.25), ("item", 4.0)):
        assert np.mean(found[factor]) == pytest.approx(truth, abs=4 * float(np.std(found[factor])) / 10)
