"""Labels: order, ties, a planted length bias, and rejection sampling against its density."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.preference.labelling import SAME, TIED, UNSCORED, label_score, ranked, rejection_sampled
from assay.preference.rows import PreferenceRow, Prompt


def test_a_planted_bias_pays_for_words() -> None:
    assert label_score(0.5, "one two three", 0.1) == pytest.approx(0.8)
    assert label_score(0.5, "one two three", 0.0) == 0.5


def test_answers_stand_best_first_and_once() -> None:
    found = ranked(["b", "a", "c", "b"], [0.5, 1.0, 0.0, 0.5])
    assert found == (("a", "b", "c"), (1.0, 0.5, 0.0), "")
    assert ranked(["b", "a", "c", "d"], [0.5, 1.0, 0.0, 0.5]) == found


@pytest.mark.parametrize(
    ("answers", "scores", "why"),
    [
        (["a", "b"], [1.0, 1.0], TIED),
        (["a", "a "], [1.0, 0.0], SAME),
        (["a", " "], [1.0, 0.0], SAME),
        (["a", "b"], [math.nan, math.nan], UNSCORED),
        (["a", "b"], [1.0, math.nan], SAME),
    ],
)
def test_where_nothing_is_better_there_is_no_row(answers: list[str], scores: list[float], why: str) -> None:
    assert ranked(answers, scores) == ((), (), why)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 1)), min_size=2, max_size=8))
def test_what_is_ranked_is_a_row(pairs: list[tuple[str, float]]) -> None:
    answers, scores, why = ranked([text for text, _ in pairs], [score for _, score in pairs])
    if why:
        assert not answers
    else:
        PreferenceRow("x", Prompt("y"), answers, scores)


def test_rejection_sampling_draws_from_the_tilted_density() -> None:
    scores, beta = [0.0, 1.0, 2.0], 1.0
    rng = np.random.default_rng(3)
    # the first one accepted of an endless row of draws: simulated with 60 draws of each answer, in random order
    counts: Counter[int] = Counter()
    for _ in range(3000):
        drawn = rng.integers(0, 3, size=60)
        (place,) = rejection_sampled([scores[kind] for kind in drawn], beta=beta, count=1, rng=rng)
        counts[int(drawn[place])] += 1
    weights = np.exp(np.array(scores) / beta)
    assert [counts[kind] / 3000 for kind in range(3)] == pytest.approx((weights / weights.sum()).tolist(), abs=0.03)


def test_rejection_sampling_takes_the_best_where_beta_is_small() -> None:
    rng = np.random.default_rng(0)
    assert rejection_sampled([0.1, 0.9, 0.5], beta=1e-3, count=2, rng=rng) == [1, 2]
    assert sorted(rejection_sampled([0.1, 0.9], beta=1e-3, count=5, rng=rng)) == [0, 1]
