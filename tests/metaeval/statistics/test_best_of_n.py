"""Best of n against every subset counted out, against fresh sampling, and its bound."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.metaeval.statistics.best_of_n import best_of_n, best_of_n_weights, kl_of_best_of_n


def counted_out(scores: list[float], values: list[float], n: int) -> float:
    """Mean over all subsets of n of the mean value of those that score best."""
    found = []
    for subset in itertools.combinations(range(len(scores)), n):
        best = max(scores[place] for place in subset)
        found.append(float(np.mean([values[place] for place in subset if scores[place] == best])))
    return float(np.mean(found))


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=2, max_size=7, unique_by=lambda pair: pair[0]),
    st.data(),
)
def test_the_estimate_is_the_mean_over_all_subsets(pairs: list[tuple[float, float]], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(pairs)))
    scores, values = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = best_of_n(np.array([scores]), np.array([values]), [n])[0, 0]
    assert found == pytest.approx(counted_out(scores, values, n), abs=1e-12)


def test_ties_in_the_scores_are_picked_with_equal_chance() -> None:
    # scores 1, 1, 0 with values 4, 0, 9: of all three the best are the first two, (4 + 0) / 2 = 2; of pairs: 2, 4, 0
    found = best_of_n(np.array([[1.0, 1.0, 0.0]]), np.array([[4.0, 0.0, 9.0]]), [1, 2, 3])
    assert found.tolist() == [[pytest.approx(13 / 3), pytest.approx(2.0), pytest.approx(2.0)]]


def test_one_sampling_is_unbiased_for_fresh_ones() -> None:
    rng = np.random.default_rng(5)
    once = best_of_n(*(lambda x: (x, x))(rng.normal(size=(4000, 16))), [1, 2, 4, 8])
    fresh = [rng.normal(size=(4000, n)).max(axis=1).mean() for n in (1, 2, 4, 8)]
    assert once.mean(axis=0) == pytest.approx(fresh, abs=0.06)


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=9))
def test_more_answers_never_lower_the_score_that_picks(scores: list[float]) -> None:
    row = np.array([scores])
    found = best_of_n(row, row, range(1, len(scores) + 1))[0]
    assert (np.diff(found) >= -1e-9).all()
    assert found[0] == pytest.approx(np.mean(scores), abs=1e-9)
    assert found[-1] == pytest.approx(max(scores))


def test_weights_are_chances() -> None:
    for n in range(1, 7):
        assert best_of_n_weights(6, n).sum() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="expected 1 to 6"):
        best_of_n_weights(6, 7)


def test_an_answer_without_a_score_leaves_its_prompt_out() -> None:
    found = best_of_n(np.array([[1.0, math.nan], [1.0, 2.0]]), np.array([[1.0, 1.0], [1.0, 2.0]]), [2])
    assert math.isnan(found[0, 0])
    assert found[1, 0] == 2.0


def test_the_divergence_is_that_of_a_continuous_score() -> None:
    # best of n of a uniform has density n x^(n-1): its divergence is the integral of log(n x^(n-1)) n x^(n-1)
    x = (np.arange(200_000) + 0.5) / 200_000
    for n in (1, 2, 4, 16):
        density = n * x ** (n - 1)
        assert kl_of_best_of_n(n) == pytest.approx(float(np.mean(density * np.log(density))), abs=1e-4)
