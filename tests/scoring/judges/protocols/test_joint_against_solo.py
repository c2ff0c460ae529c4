"""The published failure of rating close models alone, reproduced on a judge whose errors are known; and its cure."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from support.simulated_judges import SimulatedJudge, joint, solo

# two models apart from the rest and seven close ones, as in the published example
QUALITY = {f"m{place}": 0.7 * (3 - place) for place in range(7)} | {"best": 15.0, "worst": -15.0}
CLOSE = slice(0, 7)
SEEDS = range(20)


def correlations(scores: list[list[float]], part: slice) -> np.ndarray:
    truth = list(QUALITY.values())
    return np.array([spearmanr(row[part], truth[part]).statistic for row in scores])


def test_solo_scores_of_close_models_do_not_even_order_them_and_joint_ones_do_for_fewer_tokens() -> None:
    alone, together, spent = [], [], []
    for seed in SEEDS:
        judge, other = SimulatedJudge(QUALITY, seed), SimulatedJudge(QUALITY, seed)
        alone.append(solo(judge, 10))
        together.append(joint(other, 10))
        spent.append((judge.tokens, other.tokens))
    close_alone, close_together = correlations(alone, CLOSE), correlations(together, CLOSE)
    # what misleads: over all nine models the correlation looks fine, since two of them stand apart
    assert correlations(alone, slice(None)).mean() > 0.6
    assert close_alone.mean() < 0.5 and (close_alone < 0.2).sum() >= 4, "the close ones are out of order"
    assert close_together.mean() > close_alone.mean() + 0.15
    assert all(both < each for each, both in spent), "and it costs less, two orders of each prompt included"


def test_balanced_orders_take_out_what_a_place_is_worth() -> None:
    quality = {f"m{place}": 2.0 * place for place in range(6)}
    truth = list(quality.values())
    judge = SimulatedJudge(quality, seed=1, place_points=6.0, mood_sd=0.0, reading_sd=0.5, answer_sd=0.0)
    scores = joint(judge, 30)
    assert spearmanr(scores, truth).statistic == 1.0
    gaps = np.diff(scores)
    assert gaps.min() > 1.0 and gaps.max() < 3.0
