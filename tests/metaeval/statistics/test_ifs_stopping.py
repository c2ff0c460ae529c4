"""The stopping rule, on worked examples and on simulated curves whose plateau is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.metaeval.statistics.ifs_stopping import StoppingRule, decide

SENSITIVITY, SPECIFICITY = (970, 1000), (980, 1000)
NUM_PROMPTS = 300


def infused_at(labels, sensitivity, specificity, rule):  # type: ignore[no-untyped-def]
    """Index of the first evaluation at which the rule stops; None where it never does."""
    stops = (decide(labels, sensitivity, specificity, rule, at).is_infused for at in range(len(labels)))
    return next((at for at, is_infused in enumerate(stops) if is_infused), None)


def simulated_curve(rng: np.random.Generator, *, steady: bool = True) -> tuple[np.ndarray, int]:
    """Labels of all evaluations, and the evaluation at which the plateau begins.

    The true IFS rises from .1-.5 along a line, a parabola or an S to a plateau of .975-1 at evaluation 3 to 12. A
    prompt is answered from the point on where the curve passes its own number, so most prompts change once; 2 %
    (or, unsteady, 50 %) of prompts get an unrelated response at every evaluation. The classifier errs by chance, and
    alike while the response stays the same.
    """
    plateau = int(rng.integers(3, 13))
    at = np.minimum(np.arange(plateau + 9) / plateau, 1.0)
    shapes = [at, 1 - (1 - at) ** 2, at**2 * (3 - 2 * at)]
    start, top = rng.uniform(0.1, 0.5), rng.uniform(0.975, 1.0)
    truth = start + (top - start) * shapes[rng.integers(3)]
    passes, luck = rng.random(NUM_PROMPTS), rng.random(NUM_PROMPTS)
    labels = []
    for level in truth:
        anew = rng.random(NUM_PROMPTS) < (0.02 if steady else 0.5)
        passes = np.where(anew, rng.random(NUM_PROMPTS), passes)
        luck = np.where(anew, rng.random(NUM_PROMPTS), luck)
        labels.append(np.where(passes < level, luck < 0.97, luck >= 0.98))
    return np.array(labels), plateau


@pytest.mark.parametrize("window", [2, 3])
def test_stops_within_two_evaluations_of_a_whole_window_on_the_plateau_and_not_before_it(window: int) -> None:
    rng = np.random.default_rng(20230703)
    rule = StoppingRule(window=window)
    in_time = too_soon = 0
    for _ in range(1000):
        labels, plateau = simulated_curve(rng)
        stop = infused_at(labels, SENSITIVITY, SPECIFICITY, rule)
        too_soon += stop is not None and stop < plateau
        in_time += stop is not None and plateau <= stop <= plateau + window + 2
    assert in_time >= 950
    assert too_soon <= 50


def test_answers_that_keep_flipping_are_trained_on_rather_than_stopped_too_soon() -> None:
    rng = np.random.default_rng(0)
    stops = [(infused_at(labels, SENSITIVITY, SPECIFICITY, StoppingRule()), plateau)
             for labels, plateau in (simulated_curve(rng, steady=False) for _ in range(300))]  # fmt: skip
    assert sum(stop is not None and stop < plateau for stop, plateau in stops) <= 15
    assert sum(stop is None or stop > plateau + 5 for stop, plateau in stops) > 60


def test_a_plateau_below_the_threshold_never_stops() -> None:
    labels = np.tile(np.arange(NUM_PROMPTS) < 0.85 * NUM_PROMPTS, (20, 1))
    assert infused_at(labels, SENSITIVITY, SPECIFICITY, StoppingRule()) is None


def test_raw_ifs_of_a_perfect_model_would_not_pass_but_corrected_does() -> None:
    """Sensitivity .925 as published: 277 of 300 read answer-like, by Wilson above .886; corrected it covers 1."""
    labels = np.tile(np.arange(NUM_PROMPTS) < 277, (4, 1))
    decision = decide(labels, (925, 1000), (983, 1000), StoppingRule())
    assert decision.corrected.high == 1.0
    assert decision.corrected.low > 0.9
    assert decision.is_infused


def test_gain_is_paired_and_corrected() -> None:
    """60 prompts more over three evaluations: 60 / 300 / (.97 + .98 - 1) = .2105."""
    labels = np.array([np.arange(NUM_PROMPTS) < count for count in (230, 250, 270, 290)])
    decision = decide(labels, SENSITIVITY, SPECIFICITY, StoppingRule())
    assert decision.gain.value == pytest.approx(60 / 300 / 0.95)
    assert not decision.is_infused
    assert decide(labels, SENSITIVITY, SPECIFICITY, StoppingRule(), at=2).gain.reason.startswith("fewer than 3")


@given(st.integers(0, 2**32 - 1), st.permutations(range(30)))
def test_the_order_of_prompts_does_not_matter(seed: int, order: list[int]) -> None:
    labels = np.random.default_rng(seed).random((5, 30)) < 0.95
    shuffled = labels[:, order]
    rule = StoppingRule(window=1, threshold=0.5, max_gain=0.3)
    assert infused_at(labels, SENSITIVITY, SPECIFICITY, rule) == infused_at(shuffled, SENSITIVITY, SPECIFICITY, rule)
