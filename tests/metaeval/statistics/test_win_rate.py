"""Win rates against a baseline, raw and with length held equal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.metaeval.statistics.win_rate import length_controlled_win_rate, win_rate


def test_ties_count_half_and_missing_verdicts_are_left_out() -> None:
    found = win_rate([1.0, 0.0, 0.5, None])
    assert found.rate == 0.5
    assert (found.num_items, found.num_missing) == (3, 1)
    # sample variance of 1, 0, 1/2 is 1/4; standard error sqrt(1/4 / 3)
    assert found.standard_error == pytest.approx(math.sqrt(0.25 / 3))


def test_no_verdict_has_no_rate_and_impossible_shares_are_refused() -> None:
    assert math.isnan(win_rate([None, None]).rate)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        win_rate([1.5])
    with pytest.raises(ValueError, match="lengths"):
        length_controlled_win_rate([1.0], [1.0, 2.0], [1.0])


def test_equal_lengths_leave_the_win_rate_as_it_is() -> None:
    preferences = [1.0] * 6 + [0.0] * 4
    found = length_controlled_win_rate(preferences, [100.0] * 10, [100.0] * 10)
    assert found.rate == pytest.approx(0.6, abs=1e-3)


def simulated(
    effect_of_length: float, quality: float, seed: int
) -> tuple[list[float | None], list[float], list[float]]:
    """Wins drawn from the model that is fitted, the model's answers being longer on average."""
    rng = np.random.default_rng(seed)
    difference = rng.normal(200, 300, 2000)
    logit = quality + effect_of_length * np.tanh(difference / difference.std())
    wins = (rng.random(2000) < 1 / (1 + np.exp(-logit))).astype(float)
    return [float(win) for win in wins], [float(1000 + d) for d in difference], [1000.0] * 2000


@pytest.mark.parametrize("seed", range(3))
def test_a_taste_for_length_is_taken_out_and_quality_is_left(seed: int) -> None:
    preferences, mine, baseline = simulated(2.0, 0.0, seed)
    assert win_rate(preferences).rate > 0.6
    controlled = length_controlled_win_rate(preferences, mine, baseline)
    assert abs(controlled.rate - 0.5) < 4 * controlled.standard_error
    better, mine, baseline = simulated(2.0, 1.0, seed)
    truth = 1 / (1 + math.exp(-1.0))
    controlled = length_controlled_win_rate(better, mine, baseline)
    assert abs(controlled.rate - truth) < 4 * controlled.standard_error
    assert 0.005 < controlled.standard_error < 0.03


def test_standard_error_covers_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(60):
        found = length_controlled_win_rate(*simulated(1.0, 0.4, seed))
        hits += abs(found.rate - 1 / (1 + math.exp(-0.4))) < 1.96 * found.standard_error
    assert hits >= 51  # 57 expected; 51 or fewer happens about once in 50 tries


def test_separated_wins_stay_finite_and_difficulty_is_a_further_term() -> None:
    found = length_controlled_win_rate([1.0] * 5 + [0.0] * 5, [200.0] * 5 + [50.0] * 5, [100.0] * 10)
    assert 0 < found.rate < 1 and math.isfinite(found.standard_error)
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0, 1, 500)
    wins = [float(w) for w in (rng.random(500) < 1 / (1 + np.exp(2 * difficulty)))]
    plain = length_controlled_win_rate(wins, [1.0] * 500, [1.0] * 500)
    with_difficulty = length_controlled_win_rate(wins, [1.0] * 500, [1.0] * 500, difficulty=list(difficulty))
    assert with_difficulty.rate == pytest.approx(plain.rate, abs=0.02)


def test_five_wins_of_five_are_no_certainty() -> None:
    found = win_rate([1.0] * 5)
    # Wilson: 1 / (1 + 1.96^2 / 5)
    assert found.rate == 1.0 and found.high == 1.0 and found.low == pytest.approx(0.565509, abs=1e-5)
    equal = length_controlled_win_rate([1.0] * 8, [120.0, 90, 100, 130, 80, 110, 95, 105], [100.0] * 8)
    assert 0.3 < equal.low < 0.8 and equal.high == 1.0
    ties = win_rate([0.5] * 5)
    assert 0.1 < ties.low < 0.4 < 0.6 < ties.high < 0.9


def test_lengths_that_do_not_overlap_have_no_rate_at_equal_length() -> None:
    rng = np.random.default_rng(0)
    wins = [float(win) for win in rng.integers(0, 2, 200)]
    longer = [float(100 + extra) for extra in rng.integers(40, 61, 200)]
    found = length_controlled_win_rate(wins, longer, [100.0] * 200)
    assert math.isnan(found.rate)
    assert "do not overlap" in found.reason
