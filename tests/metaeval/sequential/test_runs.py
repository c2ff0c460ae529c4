"""Runs instead of items: the sequential t test, planned looks, many comparisons, the interval of a picked winner."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.stats import nct, studentized_range
from scipy.stats import t as student

from assay.metaeval.sequential.many import holm_on_e
from assay.metaeval.sequential.normal_mean import PRIOR_RUNS, t_interval
from assay.metaeval.sequential.spending import pair_intervals, range_quantile, spent_shares
from assay.metaeval.sequential.winner import winner_interval

values = st.lists(st.floats(-50, 50).map(lambda v: round(v, 2)), min_size=3, max_size=10)


def t_e_values(values_R: ArrayLike, *, null: float = 0.0, prior_runs: float = PRIOR_RUNS) -> np.ndarray:
    """The e-value against mean = `null` after each run, of which `t_interval` is the inverse."""
    x = np.asarray(values_R, dtype=float) - null
    n = np.arange(1, x.size + 1)
    squares, sums = np.cumsum(x**2), np.cumsum(x)
    rest = squares - sums**2 / (n + prior_runs)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_e = 0.5 * np.log(prior_runs / (n + prior_runs)) + n / 2 * (np.log(squares) - np.log(rest))
    return np.where(squares > 0, np.exp(np.minimum(log_e, 700.0)), 1.0)


@pytest.mark.parametrize("runs", [[0.4, 1.1, 0.2], [1.0, -2.0, 0.5, 3.0], [2.0, 2.1, 1.9, 2.2, 2.05]])
def test_e_value_is_the_ratio_of_the_t_statistics_densities(runs: list[float]) -> None:
    """Of the t statistic with an effect drawn from N(0, 1 / prior_runs), over that without one; both by quadrature."""
    n, prior = len(runs), 0.25
    t = math.sqrt(n) * np.mean(runs) / np.std(runs, ddof=1)
    prior_sd = 1 / math.sqrt(prior)

    def weighted(effect: float) -> float:
        return float(nct.pdf(t, n - 1, effect * math.sqrt(n)) * math.exp(-((effect / prior_sd) ** 2) / 2))

    mixed = quad(weighted, -12, 12, limit=400, points=[0.0, t / math.sqrt(n)])[0] / (prior_sd * math.sqrt(2 * math.pi))
    assert t_e_values(runs, prior_runs=prior)[-1] == pytest.approx(mixed / student.pdf(t, n - 1), rel=1e-4)


@given(values, st.floats(0.1, 100))
def test_e_value_starts_at_one_and_knows_no_unit(runs: list[float], unit: float) -> None:
    first = t_e_values(runs)
    assert first[0] == pytest.approx(1.0)
    np.testing.assert_allclose(t_e_values(np.array(runs) * unit), first, rtol=1e-6)


@given(values)
def test_interval_ends_where_the_e_value_reaches_its_bound(runs: list[float]) -> None:
    interval = t_interval(runs, alpha=0.3)
    if np.std(runs) > 0.1 and math.isfinite(interval.low):
        for end in (interval.low, interval.high):
            assert t_e_values(runs, null=end)[-1] == pytest.approx(1 / 0.3, rel=1e-6)


def test_sequential_t_is_wrong_in_5_percent_at_most_looked_at_after_each_of_ten_runs() -> None:
    rng = np.random.default_rng(2)
    wrong = sum(bool((t_e_values(runs) >= 20).any()) for runs in rng.normal(0, 3, (2000, 10)))
    assert wrong <= 124  # .05 and 2.5 standard errors of 2,000


def test_a_clear_difference_is_found_in_a_few_runs() -> None:
    assert t_interval([0.31, 0.28, 0.33, 0.30, 0.29, 0.32]).low > 0
    assert t_interval([0.31, 0.28]).low == -math.inf  # two runs can show nothing this way


def test_parts_of_alpha_add_up() -> None:
    assert spent_shares(4) == (0.25, 0.25, 0.25, 0.25)
    assert sum(spent_shares(5, power=3)) == pytest.approx(1)
    assert list(spent_shares(5, power=3)) == sorted(spent_shares(5, power=3))


def test_two_arms_are_compared_by_the_paired_t_test() -> None:
    scores = np.array([[0.5, 0.7, 0.65], [0.3, 0.6, 0.40]])
    difference = scores[0] - scores[1]
    found = pair_intervals(scores, alpha=0.05)
    assert found.half == pytest.approx(student.ppf(0.975, 2) * difference.std(ddof=1) / math.sqrt(3))
    assert found.dof == 2 and found.run_sd == pytest.approx(difference.std(ddof=1) / math.sqrt(2))


def test_luck_that_a_draw_gives_to_all_arms_is_no_spread() -> None:
    own = np.array([[0.1, -0.1], [0.0, 0.2], [0.3, 0.1]])
    assert pair_intervals(own, alpha=0.05).run_sd == pytest.approx(
        pair_intervals(own + np.array([5, -9]), alpha=0.05).run_sd
    )


def test_one_draw_decides_nothing() -> None:
    assert pair_intervals([[0.1], [0.9]], alpha=0.05).half == math.inf


def test_runs_without_any_spread_decide_nothing() -> None:
    assert pair_intervals([[0.1, 0.1, 0.1], [0.9, 0.9, 0.9]], alpha=0.05).half == math.inf
    assert pair_intervals([[0.0, 0.0], [0.0, 0.0]], alpha=0.05).half == math.inf


def test_range_quantile_of_two_is_that_of_t() -> None:
    assert range_quantile(0.05, 2, 8) == pytest.approx(studentized_range.ppf(0.95, 2, 8), rel=1e-4)


@pytest.mark.parametrize("law", ["normal", "skewed", "heavy"])
def test_all_pairs_at_all_looks_are_covered(law: str) -> None:
    """12 arms, looks at 2, 4 and 6 draws, 400 studies: a single pair left out at a single look is a miss."""
    rng = np.random.default_rng(8)
    misses = 0
    for _ in range(400):
        size = (12, 6)
        noise = {"normal": rng.normal, "skewed": rng.exponential, "heavy": partial(rng.standard_t, 4)}[law](size=size)
        scores = noise + 3 * rng.normal(size=(1, 6))
        looks = [pair_intervals(scores[:, :r], alpha=0.05 / 3) for r in (2, 4, 6)]
        misses += any(np.ptp(look.means) > look.half for look in looks)
    # skewed and heavy-tailed runs break the assumption; what that costs is stated in docs/deciding.md
    assert misses / 400 <= {"normal": 0.07, "skewed": 0.14, "heavy": 0.11}[law]


def test_holm_worked_by_hand() -> None:
    # p = 1/200, 1/30, 1/41, 1: .005 <= .05/4; .0244 > .05/3, so the rest falls
    assert holm_on_e([200, 30, 41, 0.5]).tolist() == [True, False, False, False]
    assert holm_on_e([200, 61, 41, 20]).tolist() == [True, True, True, True]
    assert holm_on_e([0.0]).tolist() == [False]


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=12), st.integers(0, 11))
def test_more_evidence_never_takes_a_finding_back(e: list[float], at: int) -> None:
    more = [value * (3 if i == at % len(e) else 1) for i, value in enumerate(e)]
    assert (holm_on_e(more) | ~holm_on_e(e)).all()


def test_e_values_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        holm_on_e([-1.0])


def test_the_best_of_50_arms_is_covered_where_its_own_interval_is_not() -> None:
    rng = np.random.default_rng(4)
    covered = naive = 0
    for _ in range(1000):
        truth = rng.normal(0, 0.3, 50)
        scores = truth[:, None] + rng.normal(size=(50, 3))
        picked = truth[scores.mean(axis=1).argmax()]
        found = winner_interval(scores)
        covered += found.low <= picked <= found.high
        half = student.ppf(0.975, 100) * scores.std(axis=1, ddof=1).mean() / math.sqrt(3)
        naive += abs(found.value - picked) <= half
    assert covered >= 936  # .95 less two standard errors
    assert naive <= 700


@pytest.mark.parametrize("draw_luck", [0.0, 3.0])
def test_the_winner_is_covered_where_draws_have_luck_of_their_own(draw_luck: float) -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(1000):
        truth = rng.normal(0, 0.3, 12)
        scores = truth[:, None] + draw_luck * rng.normal(size=(1, 4)) + rng.normal(size=(12, 4))
        found = winner_interval(scores)
        covered += found.low <= truth[scores.mean(axis=1).argmax()] <= found.high
    assert covered >= 936  # .95 less two standard errors


def test_one_arm_or_one_draw_has_no_interval() -> None:
    assert winner_interval([[0.4, 0.6]]).low == -math.inf
    assert winner_interval([[0.4], [0.6]]).high == math.inf
