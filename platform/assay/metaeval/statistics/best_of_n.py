"""Best of n: what picking the best of n answers gives, for every n, from one sampling of N. Pure NumPy.

Axes: P prompts, N answers to each, M values of n. Without training anything it is the frontier that a trained method
is held against: the most score that a divergence of log n - (n-1)/n from the sampled model buys.
Sources: the estimator of Nakano et al. 2021 (WebGPT, arXiv 2112.09332, appendix I); the bound of Beirami et al. 2024
(arXiv 2401.01879), who show that the published formula is an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from assay.metaeval.statistics.estimate import FloatArray


def best_of_n_weights(num_answers: int, n: int) -> FloatArray:
    """Chance that the i-th smallest of N answers is the best of n drawn without replacement, shape (N,), sums to 1.

    C(i-1, n-1) / C(N, n) for i = 1..N.

    Raises:
        ValueError: n is not in 1..N.
    """
    if not 1 <= n <= num_answers:
        raise ValueError(f"n={n}: expected 1 to {num_answers}, the answers sampled")
    whole = math.comb(num_answers, n)
    return np.array([math.comb(i - 1, n - 1) / whole for i in range(1, num_answers + 1)])


def best_of_n(scores_PN: FloatArray, values_PN: FloatArray, counts: Sequence[int]) -> FloatArray:
    """Expected value of the answer that the scores would pick among n, for each prompt and n, shape (P, M).

    Unbiased for n answers sampled anew. Ties in the scores are picked with equal chance.

    Args:
        scores_PN: by which the best is picked, higher is better; a prompt with a NaN gives NaN.
        values_PN: what is averaged, of the same answers: the scores themselves, the truth, a length.
        counts: values of n.

    Raises:
        ValueError: shapes differ, or an n outside of 1..N.
    """
    if scores_PN.shape != values_PN.shape or scores_PN.ndim != 2:
        raise ValueError(f"scores {scores_PN.shape} and values {values_PN.shape} must both be (P, N)")
    weights_NM = np.stack([best_of_n_weights(scores_PN.shape[1], n) for n in counts], axis=1)
    ranked_PN = np.array([_ranked(scores, values) for scores, values in zip(scores_PN, values_PN, strict=True)])
    return np.asarray(ranked_PN.reshape(scores_PN.shape) @ weights_NM)


def kl_of_best_of_n(n: int) -> float:
    """Upper bound of the divergence of best-of-n from the sampled model, nats: log n - (n-1)/n."""
    return math.log(n) - (n - 1) / n


def _ranked(scores_N: FloatArray, values_N: FloatArray) -> FloatArray:
    """Values in rising order of their scores; those of equal scores are their mean."""
    if np.isnan(scores_N).any() or np.isnan(values_N).any():
        return np.full(scores_N.size, math.nan)
    _, group_N = np.unique(scores_N, return_inverse=True)
    means = np.bincount(group_N, values_N) / np.bincount(group_N)
    return np.asarray(means[np.sort(group_N)])
