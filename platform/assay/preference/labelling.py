"""From several answers to one prompt and their scores to a preference: who is chosen, who is rejected. Pure.

A length bias can be planted: the label then prefers longer answers by so much for each word, whatever they are worth.
It is there to see which methods follow it, on data whose truth is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from assay.preference.rows import sides_fault

UNSCORED, TIED, SAME = "no score", "all answers score the same", "equal sides"


def label_score(score: float, answer: str, length_bias: float) -> float:
    """What the labeller thinks of an answer: its score, and `length_bias` for each word of it."""
    return score + length_bias * num_words(answer)


def num_words(text: str) -> int:
    """Words of a text, split at white space."""
    return len(text.split())


def ranked(answers: Sequence[str], scores: Sequence[float]) -> tuple[tuple[str, ...], tuple[float, ...], str]:
    """The answers of a row best first with their scores, or nothing and why there is no row.

    Methods that compare pairs take the first and the last. Equal texts count once; answers without a score (NaN) are
    left out. Of equal scores the first answer is kept, since nothing says which is better.

    Args:
        answers: of one prompt, in the order of sampling.
        scores: of each, higher is better.
    """
    distinct: dict[str, tuple[str, float]] = {}
    for answer, score in zip(answers, scores, strict=True):
        if not sides_fault([answer, "\0"]) and not math.isnan(score):
            distinct.setdefault(answer.strip(), (answer, score))
    if not distinct:
        return (), (), UNSCORED
    if len(distinct) == 1:
        return (), (), SAME
    order = sorted(distinct.values(), key=lambda pair: -pair[1])
    kept: list[tuple[str, float]] = []
    for answer, score in order:
        if not kept or score < kept[-1][1]:
            kept.append((answer, score))
    if len(kept) == 1:
        return (), (), TIED
    return tuple(answer for answer, _ in kept), tuple(score for _, score in kept), ""


def rejection_sampled(scores: Sequence[float], *, beta: float, count: int, rng: np.random.Generator) -> list[int]:
    """Places of `count` answers as if drawn from the optimal policy: the model's density times exp(score / beta).

    An answer is accepted with chance exp((score - best) / beta), where `best` is the largest score of those left; what
    is accepted is taken out, and rounds go on until enough are. A small `beta` takes the best ones, a large one any.

    Args:
        scores: of answers that the model drew, higher is better, none NaN.
        beta: strength of the divergence penalty, in the scores' unit; above 0.
        count: answers wanted; all where there are no more.
        rng: decides.

    Source: statistical rejection sampling, Liu et al. 2023 (arXiv 2309.06657), algorithm 1.
    """
    left = list(range(len(scores)))
    accepted: list[int] = []
    while left and len(accepted) < count:
        best = max(scores[place] for place in left)
        kept = []
        for place in left:
            if len(accepted) < count and rng.random() < math.exp((scores[place] - best) / beta):
                accepted.append(place)
            else:
                kept.append(place)
        left = kept
    return accepted
