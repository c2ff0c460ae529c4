"""Rates and tests on labels, by hand and against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.metaeval.statistics.rates import (
    bounded_mean,
    holm,
    holm_steps,
    kappa,
    mcnemar_exact,
    paired_permutation,
    rate_mde,
    wilson,
)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    right, n = counts
    ours = wilson(right, n)
    theirs = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=1e-9), pytest.approx(theirs.high, abs=1e-9))
    assert ours.low <= ours.value <= ours.high


def test_wilson_takes_half_credits_and_refuses_more_than_all() -> None:
    assert wilson(2.5, 5).value == 0.5
    assert not wilson(0, 0).is_defined
    with pytest.raises(ValueError, match="no rate"):
        wilson(6, 5)


def test_mcnemar_looks_at_discordant_items_only() -> None:
    first = [True] * 8 + [False] * 2 + [True] * 50
    second = [False] * 8 + [True] * 2 + [True] * 50
    result = mcnemar_exact(first, second)
    # 2 of 10 under a fair coin: 2 (1 + 10 + 45) / 1024
    assert (result.only_first, result.only_second) == (8, 2)
    assert result.p == pytest.approx(112 / 1024)
    assert mcnemar_exact([True, False], [True, False]).p == 1.0


def test_paired_permutation_is_exact_for_few_pairs() -> None:
    # differences 1, 2, 3: all-plus and all-minus alone reach a sum of 6, out of 8 sign patterns
    assert paired_permutation([2, 4, 6], [1, 2, 3], np.random.default_rng(0)) == pytest.approx(2 / 8)
    assert paired_permutation([1, 2], [1, 2], np.random.default_rng(0)) == 1.0


def test_paired_permutation_agrees_with_scipy_for_many_pairs() -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(0.25, 1, 60)
    second = rng.normal(0, 1, 60)
    ours = paired_permutation(first, second, np.random.default_rng(2), resamples=20_000)
    theirs = stats.permutation_test(
        (first, second),
        lambda a, b: np.mean(a) - np.mean(b),
        permutation_type="samples",
        rng=3,
        n_resamples=20_000,
        vectorized=False,
    )
    assert ours == pytest.approx(theirs.pvalue, abs=0.02)


def test_holm_by_hand() -> None:
    # sorted .01 x 3, .02 x 2, .04 x 1, then made monotone; NaN is no member
    assert holm([0.04, 0.01, math.nan, 0.02])[[0, 1, 3]] == pytest.approx([0.04, 0.03, 0.04])
    assert math.isnan(holm([0.04, math.nan])[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_a_p_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert np.all(adjusted >= np.array(p_values) - 1e-15) and np.all(adjusted <= 1)
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(adjusted[order]) >= -1e-15)
    assert np.all(adjusted <= np.minimum(1, np.array(p_values) * len(p_values)) + 1e-15)


def test_kappa_by_hand() -> None:
    # agreement 3/4; chance: a .5 x .75 + b .5 x .25 = .5; (.75 - .5) / .5
    assert kappa(["a", "a", "b", "b"], ["a", "a", "a", "b"]) == pytest.approx(0.5)
    assert kappa([1, 2, 0], [1, 2, 0]) == 1.0
    assert math.isnan(kappa(["a", "a"], ["a", "a"]))


def test_minimum_detectable_effect_of_a_rate() -> None:
    # (1.95996 + .84162) sqrt(2 x .25 / 100)
    assert rate_mde(100, 0.5) == pytest.approx(2.80158 * math.sqrt(0.005), rel=1e-4)
    # paired models that differ on 20 % of the items
    assert rate_mde(100, 0.5, discordant=0.2) == pytest.approx(2.80158 * math.sqrt(0.002), rel=1e-4)
    assert math.isnan(rate_mde(0, 0.5))


def test_bounded_means_keep_a_width_and_the_scale() -> None:
    flat = bounded_mean([1.0] * 4)
    assert (flat.low, flat.high) == (pytest.approx(wilson(4, 4).low), 1.0)
    turned = bounded_mean([-1.0, -1.0, -1.0, 0.0], -1.0, 1.0)
    assert -1 <= turned.low < turned.value == -0.75 < turned.high < 1
    rng = np.random.default_rng(0)
    shares = rng.beta(2, 2, 200)
    theirs = shares.mean() + np.array([-1, 1]) * 1.972 * shares.std(ddof=1) / 200**0.5
    assert [bounded_mean(shares).low, bounded_mean(shares).high] == pytest.approx(theirs, abs=0.002)
    assert "at least 6" in bounded_mean([0.2, 0.3, 0.7]).reason
    with pytest.raises(ValueError, match="lie in"):
        bounded_mean([1.2])


def test_holms_steps_are_the_procedure() -> None:
    # .01 <= .05 / 3 is rejected, .03 > .05 / 2 is not, nor anything after it
    assert holm_steps([0.03, 0.01, 0.04]).tolist() == pytest.approx([0.025, 0.05 / 3, 0.025])
    assert holm_steps([0.01, float("nan")])[0] == 0.05
