"""Where the variance of a score comes from: draw, training seed, the two together, item, judge repeat.

Random effects by the method of moments over a table with one axis per factor. Complete tables only: averaging
over what is missing would mix the components. Tables of several fixed conditions (the sizes N of a curve) are pooled
square by square, so that what differs between conditions is in no component; draws of one curve are nested, so a
further condition adds no degrees of freedom. Intervals: modified large-sample limits of a difference of mean squares.

Source: Searle, Casella and McCulloch 1992 (mean squares); Ting et al. 1990 and Burdick and Graybill 1992 (limits).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from assay.metaeval.statistics.estimate import FloatArray, IntArray

RESIDUAL = "residual"
JUDGE_REPEAT = "judge_repeat"
MIN_DOF = 5
"""A component whose mean square has fewer degrees of freedom has no interval worth having."""


@dataclass(frozen=True, slots=True)
class Square:
    """A mean square over the cells of one level, or a mean of such, with its degrees of freedom."""

    value: float
    dof: float


@dataclass(frozen=True, slots=True)
class Component:
    """One factor's share of the variance of a single score."""

    factor: str
    variance: float
    """In squared units of the score; may come out below 0 by chance, which is kept and not cut off. NaN: not
    estimable."""
    levels: int
    reason: str = ""
    above: Square | None = None
    """Mean square that the component is in."""
    below: Square | None = None
    """Mean square of its error, taken off the other."""

    @property
    def interval(self) -> tuple[float, float, str]:
        """Both ends at 95 %, not below 0; NaN and the reason where too few levels were seen."""
        none = math.nan
        if math.isnan(self.variance):
            return none, none, self.reason
        if self.above is None or math.isnan(self.above.value):
            return none, none, self.reason or "no interval"
        if self.above.dof < MIN_DOF:
            return none, none, f"no interval: {self.levels} levels cannot tell"
        below = self.below or Square(0.0, math.inf)
        shift = self.variance - (self.above.value - below.value)
        low, high = _limits(self.above, below)
        return max(0.0, low + shift), max(0.0, high + shift), self.reason


def interaction(first: str, second: str) -> str:
    """Name of the term of two factors together."""
    return f"{first} x {second}"


def variance_components(
    scores: FloatArray, factors: Sequence[str], *, crossed: tuple[str, str] | None = None
) -> list[Component]:
    """Variance of each factor's main effect and of the rest, all factors crossed.

    Args:
        scores: complete, one axis per factor.
        factors: name of each axis ("draw", "training_seed", "item").
        crossed: two factors whose interaction is a term of its own (what a draw does under one seed alone); None: it
            is in the residual.

    Returns:
        One component per factor, the interaction after its factors, then the residual (all other interactions and
        noise together). With mean squares MS_f, n_f cells per level and the error's MS_e (the interaction's for its
        factors, else the residual's), a component is (MS_f - MS_e) / n_f.

    Raises:
        ValueError: axes and names differ, or a score is missing.
    """
    if scores.ndim != len(factors):
        raise ValueError(f"{scores.ndim} axes for {len(factors)} factors")
    if not np.isfinite(scores).all():
        raise ValueError("missing scores: choose a policy first, see ScoreTable.complete()")
    terms = _terms(scores.shape, factors, crossed)
    squares, residual_square = _sums_of_squares(scores - scores.mean(), terms)
    residual_dof = scores.size - 1 - sum(term.dof for term in terms)
    residual = residual_square / residual_dof if residual_dof > 0 else math.nan
    known = {term.name: square / term.dof for term, square in zip(terms, squares, strict=True) if term.dof > 0}
    dofs = {term.name: term.dof for term in terms}
    components = []
    for term in terms:
        if term.dof < 1:
            components.append(Component(term.name, math.nan, term.levels, term.reason))
            continue
        error, error_dof = (known[term.error], dofs[term.error]) if term.error in known else (residual, residual_dof)
        above, below = Square(known[term.name] / term.cells, term.dof), Square(error / term.cells, error_dof)
        reason = "" if error_dof > 0 else "no residual degrees of freedom"
        components.append(Component(term.name, above.value - below.value, term.levels, reason, above, below))
    reason = "" if residual_dof > 0 else "no residual degrees of freedom"
    return [*components, Component(RESIDUAL, residual, scores.size, reason, Square(residual, residual_dof))]


def with_repeats(
    components: Sequence[Component],
    scores: FloatArray,
    answers: IntArray,
    factors: Sequence[str],
    *,
    crossed: tuple[str, str] | None = None,
) -> list[Component]:
    """The components of means over repeats, with the judge's own variance taken out of each.

    Repeats are nested in answers: repeat 1 of one answer has nothing in common with repeat 1 of another. Runs that gave
    an item the same answer were judged once, so they share that noise, and it shows in the item's mean square and not
    in the residual. Noise of variance v, shared by the cells of a group g and averaged over J repeats, adds
    v / J |P g|^2 to the sum of squares of the effect whose projection is P.

    Args:
        components: what `variance_components` gives for the means over repeats, the residual last.
        scores: repeats x the axes of that table; NaN where a repeat gave nothing.
        answers: the same axes; equal numbers for equal answers to the same item.
        factors: as for `variance_components`.
        crossed: as for `variance_components`.

    Returns:
        The components, `judge_repeat` (of one judgement; a mean of J has 1/J of it) and the residual. Intervals take
        the judge's own variance as known.
    """
    *parts, rest = components
    noise = repeat_noise(scores.reshape(len(scores), -1))
    if np.isnan(noise):
        reason = "no answer with two repeats"
        return [*parts, *(Component(name, noise, len(scores), reason) for name in (JUDGE_REPEAT, RESIDUAL))]
    terms = _terms(answers.shape, factors, crossed)
    squares, rest_square = _shared_squares(answers, 1 / np.isfinite(scores).sum(axis=0), terms)
    rest_dof = answers.size - 1 - sum(term.dof for term in terms)
    of_rest = noise * rest_square / rest_dof if rest_dof > 0 else math.nan
    known = {term.name: noise * square / term.dof for term, square in zip(terms, squares, strict=True) if term.dof > 0}
    found = []
    for part, term in zip(parts, terms, strict=True):
        taken = (known.get(term.name, math.nan) - known.get(term.error, of_rest)) / term.cells
        found.append(replace(part, variance=part.variance - taken))
    return [
        *found,
        Component(JUDGE_REPEAT, noise, len(scores)),
        replace(rest, variance=rest.variance - of_rest),
    ]


def pooled(parts: Sequence[Sequence[Component]]) -> list[Component]:
    """Mean of the same components over tables of fixed conditions (the points of a curve), undefined ones left out."""
    result = []
    for column in zip(*parts, strict=True):
        if len({component.factor for component in column}) != 1:
            raise ValueError("tables with different factors cannot be pooled")
        known = [component for component in column if not np.isnan(component.variance)]
        if not known:
            result.append(column[0])
            continue
        mean = float(np.mean([component.variance for component in known]))
        above, below = (_mean_square([getattr(component, side) for component in known]) for side in ("above", "below"))
        levels = max(component.levels for component in known)
        result.append(Component(column[0].factor, mean, levels, "", above, below))
    return result


@dataclass(frozen=True, slots=True)
class _Term:
    """A main effect, or the interaction of two factors."""

    name: str
    axes: tuple[int, ...]
    levels: int
    dof: int
    cells: float
    """Cells per level."""
    error: str
    """Term whose mean square is this one's error; the residual where it is no term with degrees of freedom."""
    reason: str
    """Why there is no component, where there are no degrees of freedom."""


def _terms(shape: Sequence[int], factors: Sequence[str], crossed: tuple[str, str] | None) -> list[_Term]:
    size = math.prod(shape)
    both = interaction(*crossed) if crossed else ""
    terms = []
    for axis, (name, levels) in enumerate(zip(factors, shape, strict=True)):
        error = both if crossed and name in crossed else RESIDUAL
        terms.append(_Term(name, (axis,), levels, levels - 1, size / levels, error, f"one {name}"))
        if crossed and name == crossed[1]:
            axes = factors.index(crossed[0]), axis
            counts = [shape[place] for place in axes]
            dof = (counts[0] - 1) * (counts[1] - 1)
            lacking = next((factors[place] for place in axes if shape[place] < 2), "")
            terms.append(
                _Term(both, axes, math.prod(counts), dof, size / math.prod(counts), RESIDUAL, f"one {lacking}")
            )
    return terms


def _sums_of_squares(centred: FloatArray, terms: Sequence[_Term]) -> tuple[list[float], float]:
    """Sum of squares of each term, and of the rest, of a table without its mean."""
    rest, squares = centred, []
    for term in terms:
        others = tuple(axis for axis in range(centred.ndim) if axis not in term.axes)
        # the rest has lost the main effects already, so a mean over the other axes is the term's own effect
        effect = rest.mean(axis=others, keepdims=True)
        squares.append(float(np.sum(effect**2)) * term.cells)
        rest = rest - effect
    return squares, float(np.sum(rest**2))


def _shared_squares(answers: IntArray, weights: FloatArray, terms: Sequence[_Term]) -> tuple[list[float], float]:
    """Sum over groups g of |P g|^2, weighted as a group's first cell: for each term's effect, and for the rest."""
    _, first, group = np.unique(answers.reshape(-1), return_index=True, return_inverse=True)
    weight_G = weights.reshape(-1)[first]
    size_G = np.bincount(group).astype(float)
    of_mean_G = size_G**2 / answers.size
    rest_G = size_G - of_mean_G
    found: dict[tuple[int, ...], FloatArray] = {}
    for term in terms:
        level = np.ravel_multi_index(
            tuple(np.indices(answers.shape)[axis].reshape(-1) for axis in term.axes),
            tuple(answers.shape[axis] for axis in term.axes),
        )
        counts_GL = np.zeros((size_G.size, term.levels))
        np.add.at(counts_GL, (group, level), 1)
        of_term_G = (counts_GL**2).sum(axis=1) / term.cells - of_mean_G
        if len(term.axes) > 1:
            of_term_G = of_term_G - sum(found[(axis,)] for axis in term.axes)
        found[term.axes] = of_term_G
        rest_G = rest_G - of_term_G
    return [float(weight_G @ found[term.axes]) for term in terms], float(weight_G @ rest_G)


def _mean_square(squares: Sequence[Square | None]) -> Square | None:
    """Mean of mean squares of conditions that share draws, seeds and items: degrees of freedom do not add up."""
    known = [square for square in squares if square is not None]
    if not known or len(known) < len(squares):
        return None
    return Square(float(np.mean([square.value for square in known])), float(min(square.dof for square in known)))


def _limits(above: Square, below: Square) -> tuple[float, float]:
    """95 % limits of E(above) - E(below)."""
    from scipy.special import chdtri, fdtri

    def ratio(square: Square, upper_tail: float) -> float:
        """Quantile of chi-squared over its degrees of freedom."""
        return float(chdtri(square.dof, upper_tail)) / square.dof if math.isfinite(square.dof) else 1.0

    tail = 0.025
    g1, h1 = 1 - 1 / ratio(above, tail), 1 / ratio(above, 1 - tail) - 1
    a, b = above.value, below.value
    if b == 0 or not math.isfinite(below.dof):
        return a - g1 * a - b, a + h1 * a - b
    g2, h2 = 1 - 1 / ratio(below, tail), 1 / ratio(below, 1 - tail) - 1
    f_high = float(fdtri(above.dof, below.dof, 1 - tail))
    f_low = float(fdtri(above.dof, below.dof, tail))
    g12 = ((f_high - 1) ** 2 - (g1 * f_high) ** 2 - h2**2) / f_high
    h12 = ((1 - f_low) ** 2 - (h1 * f_low) ** 2 - g2**2) / f_low
    down = (g1 * a) ** 2 + (h2 * b) ** 2 + g12 * a * b
    up = (h1 * a) ** 2 + (g2 * b) ** 2 + h12 * a * b
    return a - b - math.sqrt(max(0.0, down)), a - b + math.sqrt(max(0.0, up))


def repeat_noise(scores_JI: FloatArray) -> float:
    """Variance of a judge's score between repeats of the same item.

    Half the mean squared difference over all pairs of repeats; NaN-safe: a missing repeat leaves its pairs out.

    Args:
        scores_JI: repeats x items.
    """
    pairs = [(first - second) ** 2 / 2 for first, second in combinations(scores_JI, 2)]
    stacked = np.concatenate(pairs) if pairs else np.zeros(0)
    return float(np.nanmean(stacked)) if np.isfinite(stacked).any() else float("nan")
