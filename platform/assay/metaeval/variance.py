"""Where the variance of a score comes from: draw, training seed, item, judge repeat.

Random effects by the method of moments over a table with one axis per factor. Complete tables only: averaging
over what is missing would mix the components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from assay.metaeval.estimate import FloatArray

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


def with_repeats(components: Sequence[Component], scores_JN: FloatArray) -> list[Component]:
    """The components of means over repeats, with the judge's own variance taken out of their residual.

    Repeats are nested: repeat 1 of one answer has nothing in common with repeat 1 of another. So the variance of one
    call is that within the rows, and of a mean over J of them 1/J of it is in the residual.

    Args:
        components: what `variance_components` gives for the means, the residual last.
        scores_JN: repeats x the same rows; NaN where a repeat gave nothing.
    """
    *parts, rest = components
    noise = repeat_noise(scores_JN)
    if np.isnan(noise):
        return [*parts, Component(JUDGE_REPEAT, noise, len(scores_JN), "no row with two repeats"), rest]
    counts_N = np.isfinite(scores_JN).sum(axis=0)
    of_means = noise * float(np.mean(1 / counts_N[counts_N > 0]))
    return [
        *parts,
        Component(JUDGE_REPEAT, noise, len(scores_JN)),
        Component(RESIDUAL, rest.variance - of_means, rest.levels, rest.reason),
    ]


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
