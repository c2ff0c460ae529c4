"""Where the variance of a score comes from: draw, training seed, item, judge repeat.

Random effects by the method of moments over a table with one axis per factor. Complete tables only: averaging
over what is missing would mix the components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from assay.metaeval.statistics.estimate import FloatArray, IntArray

RESIDUAL = "residual"
JUDGE_REPEAT = "judge_repeat"


@dataclass(frozen=True, slots=True)
class Component:
    """One factor's share of the variance of a single score."""

    factor: str
    variance: float
    """In squared units of the score; may come out below 0 by chance, which is kept and not cut off. NaN: not
    estimable."""
    levels: int
    reason: str = ""


def variance_components(scores: FloatArray, factors: Sequence[str]) -> list[Component]:
    """Variance of each factor's main effect and of the rest, all factors crossed.

    Args:
        scores: complete, one axis per factor.
        factors: name of each axis ("draw", "training_seed", "item").

    Returns:
        One component per factor, then the residual (all interactions and noise together). With mean squares MS_f
        and n_f cells per level, the component is (MS_f - MS_residual) / n_f.

    Raises:
        ValueError: axes and names differ, or a score is missing.
    """
    if scores.ndim != len(factors):
        raise ValueError(f"{scores.ndim} axes for {len(factors)} factors")
    if not np.isfinite(scores).all():
        raise ValueError("missing scores: choose a policy first, see ScoreTable.complete()")
    mean = scores.mean()
    rest = scores - mean
    dof = scores.size - 1
    squares: list[tuple[float, int]] = []
    for axis, levels in enumerate(scores.shape):
        others = tuple(number for number in range(scores.ndim) if number != axis)
        effect = scores.mean(axis=others, keepdims=True) - mean
        rest = rest - effect
        dof -= levels - 1
        squares.append((float(np.sum(effect**2)) * scores.size / levels, levels))
    residual = float(np.sum(rest**2)) / dof if dof > 0 else float("nan")
    components = []
    for name, (square, levels) in zip(factors, squares, strict=True):
        if levels < 2:
            components.append(Component(name, float("nan"), levels, f"one {name}"))
        else:
            value = (square / (levels - 1) - residual) * levels / scores.size
            components.append(Component(name, value, levels, "" if dof > 0 else "no residual degrees of freedom"))
    reason = "" if dof > 0 else "no residual degrees of freedom"
    return [*components, Component(RESIDUAL, residual, scores.size, reason)]


def with_repeats(components: Sequence[Component], scores: FloatArray, answers: IntArray) -> list[Component]:
    """The components of means over repeats, with the judge's own variance taken out of each.

    Repeats are nested in answers: repeat 1 of one answer has nothing in common with repeat 1 of another. Runs that gave
    an item the same answer were judged once, so they share that noise, and it shows in the item's mean square and not
    in the residual. Noise of variance v, shared by the cells of a group g and averaged over J repeats, adds
    v / J |P g|^2 to the sum of squares of the effect whose projection is P.

    Args:
        components: what `variance_components` gives for the means over repeats, the residual last.
        scores: repeats x the axes of that table; NaN where a repeat gave nothing.
        answers: the same axes; equal numbers for equal answers to the same item.

    Returns:
        The components, `judge_repeat` (of one judgement; a mean of J has 1/J of it) and the residual.
    """
    *parts, rest = components
    noise = repeat_noise(scores.reshape(len(scores), -1))
    if np.isnan(noise):
        reason = "no answer with two repeats"
        return [*parts, *(Component(name, noise, len(scores), reason) for name in (JUDGE_REPEAT, RESIDUAL))]
    squares, rest_square = _shared_squares(answers, 1 / np.isfinite(scores).sum(axis=0))
    dof = answers.size - 1 - sum(part.levels - 1 for part in parts)
    of_rest = noise * rest_square / dof if dof > 0 else float("nan")
    found = []
    for part, square in zip(parts, squares, strict=True):
        of_part = noise * square / (part.levels - 1) if part.levels > 1 else float("nan")
        value = part.variance - (of_part - of_rest) * part.levels / answers.size
        found.append(Component(part.factor, value, part.levels, part.reason))
    return [
        *found,
        Component(JUDGE_REPEAT, noise, len(scores)),
        Component(RESIDUAL, rest.variance - of_rest, rest.levels, rest.reason),
    ]


def _shared_squares(answers: IntArray, weights: FloatArray) -> tuple[list[float], float]:
    """Sum over groups g of |P g|^2, weighted as a group's first cell: for each axis's effect, and for the rest."""
    _, first, group = np.unique(answers.reshape(-1), return_index=True, return_inverse=True)
    weight_G = weights.reshape(-1)[first]
    size_G = np.bincount(group).astype(float)
    of_mean_G = size_G**2 / answers.size
    rest_G = size_G - of_mean_G
    squares = []
    for axis, levels in enumerate(answers.shape):
        level = np.indices(answers.shape)[axis].reshape(-1)
        counts_GL = np.zeros((size_G.size, levels))
        np.add.at(counts_GL, (group, level), 1)
        of_axis_G = (counts_GL**2).sum(axis=1) * levels / answers.size - of_mean_G
        squares.append(float(weight_G @ of_axis_G))
        rest_G = rest_G - of_axis_G
    return squares, float(weight_G @ rest_G)


def pooled(parts: Sequence[Sequence[Component]]) -> list[Component]:
    """Mean of the same components over several tables (the points of a curve), undefined ones left out."""
    result = []
    for column in zip(*parts, strict=True):
        if len({component.factor for component in column}) != 1:
            raise ValueError("tables with different factors cannot be pooled")
        known = [component for component in column if not np.isnan(component.variance)]
        if not known:
            result.append(column[0])
            continue
        mean = float(np.mean([component.variance for component in known]))
        result.append(Component(column[0].factor, mean, max(component.levels for component in known)))
    return result


def repeat_noise(scores_JI: FloatArray) -> float:
    """Variance of a judge's score between repeats of the same item.

    Half the mean squared difference over all pairs of repeats; NaN-safe: a missing repeat leaves its pairs out.

    Args:
        scores_JI: repeats x items.
    """
    pairs = [(first - second) ** 2 / 2 for first, second in combinations(scores_JI, 2)]
    stacked = np.concatenate(pairs) if pairs else np.zeros(0)
    return float(np.nanmean(stacked)) if np.isfinite(stacked).any() else float("nan")
