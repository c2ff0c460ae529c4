"""Losing trainings end early: worked by hand, a law that always holds, and replays of planted curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.metaeval.sequential.early_exit import ExitRule, Standing, behind, exits, noise_of, replay, standing

CLEAN = ExitRule(credit=0.0, noise_errors=0.0)


def test_what_may_still_be_gained_worked_by_hand() -> None:
    # after 4 of 10: "slow" fell by .2 from evaluation 2 to 4, so by at most .2 * .6 / .2 = .6 until the end: 1.4
    curves = {"fast": [2.0, 1.5, 1.3, 1.2], "slow": [2.4, 2.2, 2.1, 2.0], "flat": [2.0, 2.0, 2.0, 2.0]}
    assert set(exits(curves, 10, CLEAN, 0.0)) == {"slow", "flat"}
    assert set(exits(curves, 10, ExitRule(margin=0.3, credit=0.0, noise_errors=0.0), 0.0)) == {"flat"}
    assert set(exits(curves, 10, ExitRule(credit=0.0, noise_errors=2.0), 0.1)) == {"flat"}
    assert "may still fall by 0.6000" in exits(curves, 10, CLEAN, 0.0)["slow"]


def test_a_training_that_is_over_may_lead_and_is_not_ended() -> None:
    # "over" stands at .9 and gains nothing; "lost" may fall from 2 by .5; "near" from 1.2 by .4
    standings = {
        "lost": Standing(2.0, 2.0, 0.5, 0.0),
        "near": Standing(1.2, 1.2, 0.4, 0.0),
        "over": Standing(0.9, 0.9, 0.0, 0.0, is_running=False),
        "over too": Standing(3.0, 3.0, 0.0, 0.0, is_running=False),
    }
    found = behind(standings, CLEAN)
    assert set(found) == {"lost"} and found["lost"].leader == "over"
    assert str(found["lost"]) == "loss 2.0000 may still fall by 0.5000; over will be at 0.9000"
    # two standard errors of the difference: 2 * sqrt(.3 ** 2 + .4 ** 2) = 1 is more than 1.5 - .9 = .6
    unsure = {"lost": Standing(2.0, 2.0, 0.5, 0.3), "over": Standing(0.9, 0.9, 0.0, 0.4, is_running=False)}
    assert behind(unsure, ExitRule(credit=0.0)) == {}


def test_evaluations_of_a_schedule_that_ends_between_two() -> None:
    # 14 steps with a validation every 4: 3.5 evaluations, of which .5 are left; the last whole one gained .2
    assert standing([1.5, 1.2, 1.0], 3.5, 0.0) == Standing(1.0, 1.0, pytest.approx(0.1), 0.0)


def test_nobody_is_ended_early_at_the_end_or_before_all_are_there() -> None:
    curves = {"a": [1.0, 1.0], "b": [9.0, 9.0]}
    assert exits(curves, 10, CLEAN, 0.0) == {}
    assert exits(curves, 2, CLEAN, 0.0) == {}
    with pytest.raises(ValueError, match="every arm at the same one"):
        exits({"a": [1.0], "b": [1.0, 2.0]}, 4, CLEAN, 0.0)


@given(st.lists(st.tuples(st.floats(0.1, 2), st.floats(0.01, 2), st.floats(0.2, 2)), min_size=2, max_size=6))
def test_a_loss_that_falls_ever_more_slowly_is_never_ended_if_it_wins(laws: list[tuple[float, float, float]]) -> None:
    steps = np.arange(1, 13)
    curves = {f"arm {i}": (floor + size * steps**-power).tolist() for i, (floor, size, power) in enumerate(laws)}
    found = replay(curves, CLEAN, standard_error=0.0)
    assert found.is_winner_kept


def test_noise_is_what_a_smooth_curve_does_not_have() -> None:
    rng = np.random.default_rng(0)
    smooth = np.linspace(2, 1, 200)
    assert noise_of([smooth.tolist()]) == pytest.approx(0, abs=1e-12)
    noisy = [(smooth + 0.05 * rng.normal(size=200)).tolist() for _ in range(5)]
    assert noise_of(noisy) == pytest.approx(0.05, rel=0.15)
    assert noise_of([[1.0, 2.0]]) == 0


def planted(
    rng: np.random.Generator, arms: int = 12, evaluations: int = 12, noise: float = 0.01
) -> dict[str, list[float]]:
    steps = np.arange(1, evaluations + 1) / evaluations
    found = {}
    for i in range(arms):
        floor, size, power = 1.0 + 0.3 * rng.random(), 0.3 + 0.3 * rng.random(), 0.5 + 0.5 * rng.random()
        found[f"arm {i:02}"] = (floor + size * (steps**-power - 1) / 3 + noise * rng.normal(size=evaluations)).tolist()
    return found


def test_losers_end_and_the_winner_stays() -> None:
    rng = np.random.default_rng(3)
    replays = [replay(planted(rng), ExitRule(), standard_error=0.01) for _ in range(100)]
    kept, saved = np.mean([one.is_winner_kept for one in replays]), np.mean([one.steps_saved for one in replays])
    print(f"planted power laws: winner kept {kept:.2f}, steps saved {saved:.2f}")
    assert kept >= 0.95 and saved >= 0.25
