"""Scores of several models on the same items, freed from item difficulty and from the place in the prompt.

`additive_fit`: score = item + model + position + noise, by least squares over whatever (item, model, position) cells
exist, so that overlapping blocks of models, shown in different orders, come onto one scale. `bradley_terry`:
the same from who beat whom. Models are compared only as far as shared items connect them; where they do not, this is
an error, not a guess. Intervals and ranks come from items: from 50 on resampled whole; below, Student's t with the
jackknife, and ranks from the pairs of models that it tells apart (Bonferroni over a model's pairs); below 6 neither.

Axes: I items, M models, P positions, K resamples, G = I items left out, D = M + P coefficients.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.bootstrap import (
    draw_counts,
    from_resamples,
    jackknife_interval,
    jackknife_variance,
    percentile,
    rows_as_clusters,
)
from assay.metaeval.statistics.clustered import student_quantile
from assay.metaeval.statistics.estimate import FEW_CLUSTERS, Estimate, FloatArray, IntArray


@dataclass(frozen=True)
class ModelScore:
    """A model's place among the others."""

    model: str
    effect: Estimate
    """Difference to the mean of all models: in score units (additive fit) or log odds (Bradley-Terry)."""
    rank: int
    """1 = best; ties share the better rank."""
    rank_low: int
    """Best rank within the 95 % interval; below 6 items, or where strengths are not estimable, all ranks are."""
    rank_high: int

    def as_json(self) -> dict[str, Any]:
        """Ranks and effect."""
        plain = {name: getattr(self, name) for name in ("model", "rank", "rank_low", "rank_high")}
        return {**plain, "effect": self.effect.as_json()}


@dataclass(frozen=True)
class AdditiveFit:
    """Models and positions, each as a difference to the mean of its kind."""

    models: tuple[ModelScore, ...]
    """Sorted by rank, then name."""
    positions: dict[int, Estimate]
    mean: float
    """Mean score over all cells."""
    residual_sd: float
    num_items: int


def additive_fit(
    score: ArrayLike,
    item: Sequence[Hashable],
    model: Sequence[str],
    position: Sequence[int] | None,
    rng: np.random.Generator,
    *,
    resamples: int = 2000,
) -> AdditiveFit:
    """Least-squares fit of item, model and position effects, missing cells allowed.

    Args:
        score: one per (item, model, repeat); rows without a score are left out by the caller.
        item: item of each row.
        model: model of each row.
        position: place of the answer in its prompt, from 0; None: no position effect is fitted.
        rng: seeded by the caller.
        resamples: items are drawn this often.

    Raises:
        ValueError: rows of different number, models that no chain of shared items connects, or a model
            that was always shown at the same place.
    """
    score_N = np.asarray(score, dtype=float)
    if not score_N.size == len(item) == len(model) or (position is not None and len(position) != score_N.size):
        raise ValueError("scores, items, models and positions must have one entry per row")
    items, item_N = _codes(item)
    models = sorted(set(model))
    model_N = np.array([models.index(name) for name in model], dtype=np.int64)
    places = sorted(set(position)) if position is not None else []
    _refuse_islands(item_N, model_N, models)
    design_ND = np.zeros((score_N.size, len(models) + len(places)))
    rows = np.arange(score_N.size)
    design_ND[rows, model_N] = 1.0
    if position is not None:
        design_ND[rows, len(models) + np.array([places.index(place) for place in position])] = 1.0
    grams_IDD, moments_ID = _per_item(score_N, design_ND, item_N, len(items))
    constraint_DD = _zero_sums(len(models), len(places))

    coefficients_D = _solve(grams_IDD.sum(axis=0), moments_ID.sum(axis=0), constraint_DD)
    if np.isnan(coefficients_D).any():
        raise ValueError("models and positions are confounded: show each model at several positions")
    if len(items) < FEW_CLUSTERS:
        others_KD = _jackknife(grams_IDD, moments_ID, constraint_DD)
    else:
        counts_IK = draw_counts(len(items), resamples, rng)
        others_KD = np.stack(
            [
                _solve(
                    np.einsum("i,ide->de", counts_I, grams_IDD),
                    np.einsum("i,id->d", counts_I, moments_ID),
                    constraint_DD,
                )
                for counts_I in counts_IK.T
            ]
        )
    fitted = design_ND @ coefficients_D
    residual = score_N - fitted
    residual -= (np.bincount(item_N, residual) / np.bincount(item_N))[item_N]
    free = max(1, score_N.size - len(items) - max(0, len(models) - 1) - max(0, len(places) - 1))
    estimates = _estimates(coefficients_D, others_KD, len(items), score_N.size)
    count = len(models)
    ranked = _ranked(models, coefficients_D[:count], estimates[:count], others_KD[:, :count], len(items))
    effects = dict(zip(places, estimates[len(models) :], strict=True))
    return AdditiveFit(ranked, effects, float(score_N.mean()), float(np.sqrt(np.sum(residual**2) / free)), len(items))


@dataclass(frozen=True)
class BradleyTerry:
    """Strengths (log odds, mean 0) and how easily models tie."""

    models: tuple[ModelScore, ...]
    tie_threshold: float
    """Rao and Kupper's theta: 1 means no ties."""


def bradley_terry(
    item: Sequence[Hashable],
    first: Sequence[str],
    second: Sequence[str],
    outcome: Sequence[int],
    rng: np.random.Generator,
    *,
    resamples: int = 2000,
    prior: float = 0.1,
) -> BradleyTerry:
    """Bradley-Terry strengths with ties, by Hunter's MM algorithm.

    Args:
        item: item of each comparison; resampled whole.
        first: first model of each comparison.
        second: second model.
        outcome: 1: first is better; -1: second is better; 0: a tie.
        rng: seeded by the caller.
        resamples: items are drawn this often.
        prior: imaginary wins each way between any two models that met. Keeps a model that never lost finite;
            0 gives the maximum of the likelihood.

    Raises:
        ValueError: outcomes other than -1, 0, 1, or (with prior 0) models without a finite maximum.

    Source: Rao and Kupper 1967 for ties, Hunter 2004 for the algorithm.
    """
    if not set(outcome) <= {-1, 0, 1}:
        raise ValueError(f"outcomes {sorted(set(outcome))}; expected -1, 0 and 1")
    items, item_N = _codes(item)
    models = sorted({*first, *second})
    a_N = np.array([models.index(name) for name in first], dtype=np.int64)
    b_N = np.array([models.index(name) for name in second], dtype=np.int64)
    outcome_N = np.asarray(outcome)
    wins_IMM = np.zeros((len(items), len(models), len(models)))
    ties_IMM = np.zeros_like(wins_IMM)
    np.add.at(wins_IMM, (item_N, a_N, b_N), outcome_N == 1)
    np.add.at(wins_IMM, (item_N, b_N, a_N), outcome_N == -1)
    np.add.at(ties_IMM, (item_N, a_N, b_N), outcome_N == 0)
    ties_IMM += ties_IMM.transpose(0, 2, 1)
    met_MM = (wins_IMM.sum(axis=0) + wins_IMM.sum(axis=0).T + ties_IMM.sum(axis=0)) > 0
    if prior == 0:
        _refuse_unbeaten(wins_IMM.sum(axis=0) + ties_IMM.sum(axis=0), models)
    is_few = len(items) < FEW_CLUSTERS
    others_IK = 1.0 - np.eye(len(items)) if is_few else draw_counts(len(items), resamples, rng)
    counts_IK = np.concatenate([np.ones((len(items), 1)), others_IK], axis=1)
    wins_KMM = np.einsum("ik,imn->kmn", counts_IK, wins_IMM) + prior * met_MM
    ties_KMM = np.einsum("ik,imn->kmn", counts_IK, ties_IMM)
    strengths_KM, theta_K = _mm(wins_KMM, ties_KMM)
    logs_KM = np.log(strengths_KM)
    logs_KM -= logs_KM.mean(axis=1, keepdims=True)
    estimates = _estimates(logs_KM[0], logs_KM[1:], len(items), len(outcome))
    separated = _separated(wins_IMM.sum(axis=0) + ties_IMM.sum(axis=0))
    if separated:
        above, below = (models[place] for place in separated)
        reason = f"not estimable: {below!r} never beats or ties a chain to {above!r}; values rest on the prior"
        nan = float("nan")
        estimates = [replace(found, low=nan, high=nan, method="", reason=reason) for found in estimates]
    return BradleyTerry(_ranked(models, logs_KM[0], estimates, logs_KM[1:], len(items)), float(theta_K[0]))


def _estimates(values_D: FloatArray, others_KD: FloatArray, num_items: int, n: int) -> list[Estimate]:
    """Values with intervals, from resamples of the items, or from the items left out in turn where they are few."""
    if num_items >= FEW_CLUSTERS:
        return [
            from_resamples(float(value), other_K, num_items, n=n)
            for value, other_K in zip(values_D, others_KD.T, strict=True)
        ]
    units = rows_as_clusters(num_items)
    return [
        jackknife_interval(float(value), other_G, units, n=n)
        for value, other_G in zip(values_D, others_KD.T, strict=True)
    ]


def _mm(wins_KMM: FloatArray, ties_KMM: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Strengths and tie threshold of every resample, updated in turn until nothing moves."""
    num_resamples, num_models, _ = wins_KMM.shape
    strength_KM = np.ones((num_resamples, num_models))
    theta_K = np.full(num_resamples, 1.5)
    scored_KMM = wins_KMM + ties_KMM
    total_KM = scored_KMM.sum(axis=2)
    ties_K = ties_KMM.sum(axis=(1, 2)) / 2
    theta_K[ties_K == 0] = 1.0
    for _ in range(5000):
        p_i, p_j = strength_KM[:, :, None], strength_KM[:, None, :]
        theta = theta_K[:, None, None]
        forward = scored_KMM / (p_i + theta * p_j)
        pull_KM = forward.sum(axis=2) + theta_K[:, None] * forward.sum(axis=1)
        updated = total_KM / np.where(pull_KM > 0, pull_KM, 1.0)
        updated = np.where(total_KM > 0, updated, strength_KM)
        updated /= np.exp(np.log(np.maximum(updated, 1e-300)).mean(axis=1, keepdims=True))
        updated = np.maximum(updated, 1e-12)
        p_i, p_j = updated[:, :, None], updated[:, None, :]
        load_K = np.sum(scored_KMM * p_j / (p_i + theta * p_j), axis=(1, 2))
        safe_K = np.where(load_K > 0, load_K, 1.0)
        new_theta = np.where(ties_K > 0, (ties_K + np.sqrt(ties_K**2 + safe_K**2)) / safe_K, 1.0)
        moved = max(
            float(np.max(np.abs(np.log(updated) - np.log(strength_KM)))), float(np.max(np.abs(new_theta - theta_K)))
        )
        strength_KM, theta_K = updated, new_theta
        if moved < 1e-9:
            break
    return strength_KM, theta_K


def _ranked(
    models: Sequence[str], values_M: FloatArray, estimates: Sequence[Estimate], others_KM: FloatArray, num_items: int
) -> tuple[ModelScore, ...]:
    few = num_items < FEW_CLUSTERS
    bounds = _told_apart(values_M, others_KM, estimates) if few else _resampled_ranks(others_KM, estimates)
    scores = []
    for column, (name, (low, high)) in enumerate(zip(models, bounds, strict=True)):
        rank = 1 + int(np.sum(values_M > values_M[column] + 1e-12))
        scores.append(ModelScore(name, estimates[column], rank, min(rank, low), max(rank, high)))
    return tuple(sorted(scores, key=lambda score: (score.rank, score.model)))


def _resampled_ranks(boot_KM: FloatArray, estimates: Sequence[Estimate]) -> list[tuple[int, int]]:
    """Percentiles of each model's rank over resamples."""
    if any(np.isnan(found.low) for found in estimates):
        return [(1, len(estimates))] * len(estimates)
    rank_KM = 1 + np.sum(boot_KM[:, None, :] > boot_KM[:, :, None] + 1e-12, axis=2)
    ends = [percentile(rank_KM[:, column].astype(float)) for column in range(rank_KM.shape[1])]
    return [(int(np.floor(low)), int(np.ceil(high))) for low, high in ends]


def _told_apart(values_M: FloatArray, left_out_GM: FloatArray, estimates: Sequence[Estimate]) -> list[tuple[int, int]]:
    """Ranks that are left when a model stands below those told to be better and above those told to be worse."""
    count = len(estimates)
    if any(np.isnan(found.low) for found in estimates):
        return [(1, count)] * count
    units = rows_as_clusters(len(left_out_GM))
    quantile = student_quantile(1 - 0.025 / max(1, count - 1), len(left_out_GM) - 1)
    bounds = []
    for own in range(count):
        better = worse = 0
        for other in range(count):
            variance, _ = jackknife_variance(left_out_GM[:, other] - left_out_GM[:, own], units)
            gap = values_M[other] - values_M[own]
            better += bool(gap > quantile * variance**0.5 + 1e-12)
            worse += bool(-gap > quantile * variance**0.5 + 1e-12)
        bounds.append((1 + better, count - worse))
    return bounds


def _per_item(
    score_N: FloatArray, design_ND: FloatArray, item_N: IntArray, num_items: int
) -> tuple[FloatArray, FloatArray]:
    """Normal equations of each item after its own mean was taken out (which fits the item effect)."""
    counts_I = np.bincount(item_N, minlength=num_items)
    sums_ID = np.zeros((num_items, design_ND.shape[1]))
    np.add.at(sums_ID, item_N, design_ND)
    centred_ND = design_ND - (sums_ID / counts_I[:, None])[item_N]
    centred_N = score_N - (np.bincount(item_N, score_N, num_items) / counts_I)[item_N]
    grams_IDD = np.zeros((num_items, design_ND.shape[1], design_ND.shape[1]))
    moments_ID = np.zeros((num_items, design_ND.shape[1]))
    np.add.at(grams_IDD, item_N, centred_ND[:, :, None] * centred_ND[:, None, :])
    np.add.at(moments_ID, item_N, centred_ND * centred_N[:, None])
    return grams_IDD, moments_ID


def _zero_sums(num_models: int, num_positions: int) -> FloatArray:
    """Adds sum(model effects) = 0 and sum(position effects) = 0 to the normal equations."""
    total = num_models + num_positions
    constraint = np.zeros((total, total))
    constraint[:num_models, :num_models] = 1.0
    constraint[num_models:, num_models:] = 1.0
    return constraint


def _solve(gram_DD: FloatArray, moment_D: FloatArray, constraint_DD: FloatArray) -> FloatArray:
    """The coefficients, NaN for a resample that does not connect the models."""
    matrix = gram_DD + constraint_DD * max(1.0, float(np.trace(gram_DD)) / gram_DD.shape[0])
    if np.linalg.cond(matrix) > 1e10:
        return np.full(moment_D.size, np.nan)
    return np.asarray(np.linalg.solve(matrix, moment_D), dtype=float)


def _jackknife(grams_IDD: FloatArray, moments_ID: FloatArray, constraint_DD: FloatArray) -> FloatArray:
    gram, moment = grams_IDD.sum(axis=0), moments_ID.sum(axis=0)
    return np.stack(
        [
            _solve(gram - own, moment - own_moment, constraint_DD)
            for own, own_moment in zip(grams_IDD, moments_ID, strict=True)
        ]
    )


def _codes(labels: Sequence[Hashable]) -> tuple[list[Hashable], IntArray]:
    places: dict[Hashable, int] = {}
    codes = np.array([places.setdefault(label, len(places)) for label in labels], dtype=np.int64)
    return list(places), codes


def _refuse_islands(item_N: IntArray, model_N: IntArray, models: Sequence[str]) -> None:
    """Raise where no chain of shared items leads from one model to every other."""
    shared: dict[int, set[int]] = {}
    for item, model in zip(item_N.tolist(), model_N.tolist(), strict=True):
        shared.setdefault(item, set()).add(model)
    reached, frontier = {0}, {0}
    while frontier:
        frontier = {model for group in shared.values() if group & frontier for model in group} - reached
        reached |= frontier
    if len(reached) < len(models):
        alone = next(name for number, name in enumerate(models) if number not in reached)
        raise ValueError(f"no shared items connect {models[0]!r} with {alone!r}; score them together on some items")


def _refuse_unbeaten(scored_MM: FloatArray, models: Sequence[str]) -> None:
    """Raise where some models never lost nor tied to the others: their strength has no finite maximum."""
    separated = _separated(scored_MM)
    if separated:
        winner, loser = (models[place] for place in separated)
        raise ValueError(f"{loser!r} never beats a chain to {winner!r}; use a prior above 0")


def _separated(scored_MM: FloatArray) -> tuple[int, int] | None:
    """Two models of which the second never scores against a chain that leads to the first; None where none are."""
    reach = scored_MM > 0
    for middle in range(len(reach)):
        reach = reach | (reach[:, middle, None] & reach[None, middle, :])
    np.fill_diagonal(reach, True)
    if reach.all():
        return None
    loser, winner = (int(place) for place in np.argwhere(~reach)[0])
    return winner, loser
