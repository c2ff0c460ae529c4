"""Means over runs x items, and smooth functions of them, with a variance clustered on both sides.

A training study is small on one side (three or four draws) and large on the other (hundreds of items), and
every run answers the same items. The variance of a mean over such a table has three parts,

    run variance / R  +  item variance / I  +  residual variance / (R I),

which are estimated from the run means, the item means and the doubly centred residuals, and studentised with
Satterthwaite's degrees of freedom, because a percentile bootstrap over three runs covers far too seldom. Runs of one
draw share their training rows, so draws are the clusters; where draws and training seeds are crossed, the seeds' own
part is added. A block with one cluster shows no spread: it is borrowed from the study's other arms (`borrowing.py`),
or the interval speaks about items alone, and says so.

Axes: R runs, I items. Missing cells are NaN and are left out, never filled.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.metaeval.statistics.estimate import Estimate, FloatArray, IntArray

CONFIDENCE = 0.95
POWER = 0.8
"""Chance of being found that the minimum detectable effect stands for."""


@dataclass(frozen=True, slots=True)
class RunSpread:
    """Variance of one run's mean, and how well it is known."""

    variance: float
    dof: float
    arms_dof: float = math.inf
    """Of a borrowed one: degrees of freedom of the arms that it rests on, this comparison's own among them."""


@dataclass(frozen=True)
class Block:
    """One table of scores whose mean enters a statistic with a (linearised) coefficient."""

    scores: FloatArray
    """Shape (runs, items); NaN where there is no score."""
    runs: Sequence[Hashable]
    """Identity of each run; a run that occurs in several blocks is one cluster."""
    items: Sequence[Hashable]
    """Identity of each item; shared items make a difference paired."""
    coefficient: float = 1.0
    """Derivative of the statistic with respect to this block's mean."""
    draws: Sequence[Hashable] | None = None
    """Cluster of each run: runs of one draw share their training rows. None: every run is its own."""
    seeds: Sequence[Hashable] | None = None
    """Training seed of each run, to tell crossed seeds apart; None: not known."""
    is_fixed: bool = False
    """Nothing was trained: the block is one given model, which another study would meet again as it is."""
    is_asked_about: bool = False
    """The statistic is about this model itself: items are all that varies, and no spread of runs is missing."""
    spread: RunSpread | None = None
    """What is known from elsewhere about the variance of one run's mean, where the block itself has one cluster."""

    @property
    def clusters(self) -> Sequence[Hashable]:
        """Cluster of each run."""
        return self.runs if self.draws is None else self.draws

    @property
    def mean(self) -> float:
        """Mean over all cells that have a score; NaN where none has."""
        return float(np.nanmean(self.scores)) if np.isfinite(self.scores).any() else math.nan


GIVEN_MODELS = "items: the models are given"
"""Unit of an interval about given models, of which no other runs are asked about."""
ITEMS_ONLY = "items only: says nothing about retraining"
"""Unit of an interval without any knowledge of how runs differ."""


@dataclass(frozen=True)
class ClusteredVariance:
    """Variance of a statistic and how well it is known."""

    variance: float
    dof: float
    num_runs: int
    """Clusters of runs, over all blocks."""
    num_items: int
    has_run_spread: bool
    """False where some side's runs show no spread and none could be borrowed: the variance is that of items alone."""
    run_variance: float = 0.0
    """The part that more runs would lower."""
    is_borrowed: bool = False
    """Whether a side's spread is that of the study's other arms."""
    is_of_given: bool = False
    """Whether all blocks are of given models that the statistic is about: there is no spread of runs to know."""
    is_one_seed: bool = False
    """Whether some block has several draws and one training seed, whose effect no spread shows."""

    @property
    def standard_error(self) -> float:
        """Square root of the variance."""
        return math.sqrt(self.variance)

    @property
    def unit(self) -> str:
        """What the interval speaks about."""
        if not self.num_runs:
            return "clusters"
        if self.is_of_given:
            return GIVEN_MODELS
        if not self.has_run_spread:
            return ITEMS_ONLY
        notes = ["one training seed"] if self.is_one_seed else []
        notes += [f"spread of one run borrowed from other arms, {self.dof:.0f} df"] if self.is_borrowed else []
        runs = "draws" if self.is_one_seed else "runs"
        return f"items and {runs}" + (f" ({'; '.join(notes)})" if notes else "")


def common_items(first: Block, second: Block) -> tuple[Block, Block]:
    """Both blocks on the items that every run of either has a score for, in the order of the second."""
    places = {item: place for place, item in enumerate(first.items)}
    pairs = [(places[item], place) for place, item in enumerate(second.items) if item in places]
    kept = [
        (here, there)
        for here, there in pairs
        if np.isfinite(first.scores[:, here]).all() and np.isfinite(second.scores[:, there]).all()
    ]
    items = [second.items[there] for _, there in kept]
    return (
        replace(first, scores=first.scores[:, [here for here, _ in kept]], items=items),
        replace(second, scores=second.scores[:, [there for _, there in kept]], items=items),
    )


def clustered_variance(blocks: Sequence[Block]) -> ClusteredVariance:
    """Variance of sum(coefficient x mean) over blocks, clustered by run (or draw) and by item.

    Clusters are compared within strata: those that occur in the same blocks. Balanced and complete blocks give the
    textbook two-way components; with gaps, the ratio estimator's linearisation.

    Source: two-way clustering as in Cameron, Gelbach and Miller 2011, with the intersection taken from residuals
    (their form loses 1/R of the item variance, a third at three runs); degrees of freedom after Satterthwaite 1946.
    """
    runs = _RunSums()
    item_sums: dict[Hashable, float] = {}
    residual = 0.0
    for number, block in enumerate(blocks):
        seen = np.isfinite(block.scores)
        count = int(seen.sum())
        if count == 0:
            continue
        centred = np.where(seen, block.scores - block.mean, 0.0)
        scale = block.coefficient / count
        runs.add(number, block, centred * scale)
        for item, total in zip(block.items, centred.sum(axis=0) * scale, strict=True):
            item_sums[item] = item_sums.get(item, 0.0) + float(total)
        if block.is_fixed:
            continue
        if len(set(block.clusters)) == len(block.runs):
            residual += block.coefficient**2 * _residual_variance(centred, seen) / count
        else:
            residual += _residual_square(_by_cluster(centred * scale, block.clusters))

    parts = runs.parts(blocks)
    num_items = len(item_sums)
    run_variance = sum(part.variance for part in parts)
    item_variance = _sum_variance(np.array(list(item_sums.values()))) if num_items > 1 else 0.0
    # each side's sums already hold the residual once; the floor keeps sampling noise from making it negative
    variance = max(run_variance + item_variance - residual, run_variance, item_variance)
    spread = sum(part.variance**2 / part.dof for part in parts) + runs.shared_spread()
    if num_items > 1:
        spread += item_variance**2 / (num_items - 1)
    dof = variance**2 / spread if spread > 0 else math.inf
    return ClusteredVariance(
        variance,
        dof,
        runs.num_clusters,
        num_items,
        bool(parts) and not runs.is_incomplete,
        run_variance,
        runs.is_borrowed,
        all(block.is_asked_about for block in blocks),
        any(_is_one_seed(block) for block in blocks),
    )


class _RunSums:
    """What each cluster of runs adds to the statistic, and in which blocks it stands."""

    def __init__(self) -> None:
        self.sums: dict[Hashable, float] = {}
        self.shares: dict[Hashable, dict[int, float]] = {}
        """Cluster -> block -> its share of the block's runs."""
        self.seeds: list[RunSpread] = []
        self.fixed: set[Hashable] = set()
        self.own: list[RunSpread] = []
        self.borrowed: list[RunSpread] = []
        self.is_incomplete = False

    @property
    def is_borrowed(self) -> bool:
        return bool(self.borrowed)

    @property
    def num_clusters(self) -> int:
        return len(self.sums) + len(self.fixed)

    def add(self, number: int, block: Block, parts_RI: FloatArray) -> None:
        if block.is_fixed:
            self.fixed |= set(block.clusters)
            return
        for run, total in zip(block.clusters, parts_RI.sum(axis=1), strict=True):
            self.sums[run] = self.sums.get(run, 0.0) + float(total)
            share = self.shares.setdefault(run, {})
            share[number] = share.get(number, 0.0) + 1 / len(block.runs)
        seeds = _seed_part(block, parts_RI.sum(axis=1) * len(block.runs))
        self.seeds += [seeds] if seeds is not None else []

    def parts(self, blocks: Sequence[Block]) -> list[RunSpread]:
        """Independent parts of the run variance, each with its degrees of freedom."""
        strata: dict[tuple[int, ...], list[Hashable]] = {}
        for run, shares in self.shares.items():
            strata.setdefault(tuple(sorted(shares)), []).append(run)
        for numbers, members in strata.items():
            if len(members) > 1:
                sums = np.array([self.sums[run] for run in members])
                self.own.append(RunSpread(_sum_variance(sums), len(members) - 1))
                continue
            spreads = [blocks[number].spread for number in numbers]
            known = [spread for spread in spreads if spread is not None]
            if len(known) < len(spreads):
                self.is_incomplete = True
                continue
            shares = self.shares[members[0]]
            error = sum(
                abs(blocks[number].coefficient) * shares[number] * math.sqrt(spread.variance)
                for number, spread in zip(numbers, known, strict=True)
            )
            worst = min(known, key=lambda spread: spread.dof)
            self.borrowed.append(RunSpread(error**2, worst.dof, worst.arms_dof))
        if self.borrowed:  # one estimate serves them all
            self.borrowed = [replace(self.borrowed[0], variance=sum(part.variance for part in self.borrowed))]
        return [*self.seeds, *self.own, *self.borrowed]

    def shared_spread(self) -> float:
        """Twice the covariance of the own and the borrowed part, as the own arm is among those borrowed from."""
        own = sum(part.variance for part in self.own)
        return sum(2 * own * part.variance / part.arms_dof for part in self.borrowed)


def one_way_variance(influence_N: FloatArray, cluster_N: IntArray) -> ClusteredVariance:
    """Variance of a statistic whose error is the mean of these influence values, independent between clusters."""
    _, places = np.unique(cluster_N, return_inverse=True)
    sums_G = np.bincount(places, influence_N) / influence_N.size
    if sums_G.size < 2:
        return ClusteredVariance(0.0, math.inf, 0, int(sums_G.size), False)
    return ClusteredVariance(_sum_variance(sums_G), sums_G.size - 1, 0, int(sums_G.size), False)


def student_interval(
    value: float,
    variance: ClusteredVariance,
    *,
    n: int = 0,
    low: float = -math.inf,
    high: float = math.inf,
    level: float = CONFIDENCE,
) -> Estimate:
    """Interval (95 % unless told) from Student's t with the variance's degrees of freedom, clipped to [low, high]."""
    half = student_quantile(0.5 + level / 2, variance.dof) * variance.standard_error
    return Estimate(
        value,
        max(low, value - half),
        min(high, value + half),
        n,
        min(variance.num_items, variance.num_runs) if variance.has_run_spread else variance.num_items,
        f"studentised, {variance.unit}",
    )


def score_interval(
    blocks: Sequence[Block], variance: ClusteredVariance, *, low: float, high: float, level: float = CONFIDENCE
) -> Estimate:
    """Interval of a mean on a scale with two ends: Wilson's, with as many items as the clustered variance is worth.

    The mean is over all cells of the blocks. Neither of width 0 nor beyond the scale, at its ends too: where no score
    differs from an end, the items alone count. Source: Wilson 1927 with the effective sample size of Korn and Graubard
    1998 and Student's quantile.
    """
    seen = np.concatenate([block.scores[np.isfinite(block.scores)] for block in blocks])
    mean = float(seen.mean())
    value = (mean - low) / (high - low)
    spread = value * (1 - value)
    count = variance.num_items
    worth = float(count)
    if variance.variance > 0 and spread > 0:
        worth = spread * (high - low) ** 2 / variance.variance
        if np.isin(seen, (low, high)).all():
            worth = min(worth, float(seen.size))  # right-or-wrong answers are never worth more than there are
    ends = wilson_ends(value, worth, student_quantile(0.5 + level / 2, variance.dof if spread > 0 else math.inf))
    return Estimate(
        mean,
        low + ends[0] * (high - low),
        low + ends[1] * (high - low),
        int(seen.size),
        min(variance.num_items, variance.num_runs) if variance.has_run_spread else variance.num_items,
        f"score interval, {variance.unit}",
    )


def ratio_interval(ratio: float, variance: ClusteredVariance, *, n: int = 0) -> Estimate:
    """Interval of a relative change `ratio - 1` on the logarithm's scale: never below -100 %.

    Args:
        ratio: of two means above 0, or a mean of such ratios.
        variance: of `ratio`.
        n: rows.
    """
    if ratio <= 0:
        return Estimate(ratio - 1, math.nan, math.nan, n, 0, "", "no interval: the later mean is not above 0")
    half = student_quantile(0.5 + CONFIDENCE / 2, variance.dof) * variance.standard_error / ratio
    return Estimate(
        ratio - 1,
        math.exp(math.log(ratio) - half) - 1,
        math.exp(min(math.log(ratio) + half, 700.0)) - 1,
        n,
        min(variance.num_items, variance.num_runs) if variance.has_run_spread else variance.num_items,
        f"studentised log ratio, {variance.unit}",
    )


def wilson_ends(share: float, worth: float, z: float) -> tuple[float, float]:
    """Wilson's interval of a share that is known as well as from `worth` independent right-or-wrong answers."""
    centre = (share + z * z / (2 * worth)) / (1 + z * z / worth)
    half = z / (1 + z * z / worth) * math.sqrt(share * (1 - share) / worth + z * z / (4 * worth * worth))
    return 0.0 if share <= 0 else max(0.0, centre - half), 1.0 if share >= 1 else min(1.0, centre + half)


def student_p(value: float, variance: ClusteredVariance) -> float:
    """Two-sided p of a zero effect."""
    return t_test(value, variance.standard_error, variance.dof)


def t_test(value: float, standard_error: float, dof: float) -> float:
    """Two-sided p of a zero effect; NaN where the standard error is not known."""
    from scipy.special import stdtr

    if standard_error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stdtr(min(dof, 1e9), -abs(value) / standard_error))


def minimum_detectable_effect(standard_error: float, dof: float = math.inf, alpha: float = 1 - CONFIDENCE) -> float:
    """Smallest true difference that a two-sided test at `alpha` finds with a chance of 80 %."""
    return (student_quantile(1 - alpha / 2, dof) + student_quantile(POWER, dof)) * standard_error


def student_quantile(probability: float, dof: float) -> float:
    """Quantile of Student's t; the normal one for infinite degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(min(dof, 1e9), probability))


def _sum_variance(sums_G: FloatArray) -> float:
    """Variance of the total of G independent sums."""
    count = sums_G.size
    return float(count / (count - 1) * np.sum((sums_G - sums_G.mean()) ** 2))


def _by_cluster(values_RI: FloatArray, labels: Sequence[Hashable]) -> FloatArray:
    """Rows of one cluster added up."""
    places: dict[Hashable, int] = {}
    codes = np.array([places.setdefault(label, len(places)) for label in labels], dtype=np.int64)
    sums_CI = np.zeros((len(places), values_RI.shape[1]))
    np.add.at(sums_CI, codes, values_RI)
    return sums_CI


def _residual_square(parts_CI: FloatArray) -> float:
    """What the doubly centred cells of complete cluster sums add to the variance of their total."""
    rows, columns = parts_CI.shape
    if rows < 2 or columns < 2:
        return 0.0
    rest = parts_CI - parts_CI.mean(axis=0) - parts_CI.mean(axis=1, keepdims=True) + parts_CI.mean()
    return float(np.sum(rest**2) * rows * columns / ((rows - 1) * (columns - 1)))


def _seed_part(block: Block, effect_R: FloatArray) -> RunSpread | None:
    """What training seeds add that are crossed with draws: (MS of seeds - MS of draws x seeds) / runs, if above 0."""
    if block.seeds is None or block.draws is None:
        return None
    draws, seeds = list(dict.fromkeys(block.draws)), list(dict.fromkeys(block.seeds))
    cells = {(draw, seed): place for place, (draw, seed) in enumerate(zip(block.draws, block.seeds, strict=True))}
    num_draws, num_seeds = len(draws), len(seeds)
    if min(num_draws, num_seeds) < 2 or len(cells) != num_draws * num_seeds or len(cells) != len(block.runs):
        return None
    table_DS = np.array([[effect_R[cells[draw, seed]] for seed in seeds] for draw in draws])
    of_seeds = table_DS.mean(axis=0) - table_DS.mean()
    rest = table_DS - table_DS.mean(axis=1, keepdims=True) - of_seeds
    seed_square = float(np.sum(of_seeds**2)) * num_draws / (num_seeds - 1)
    rest_square = float(np.sum(rest**2)) / ((num_draws - 1) * (num_seeds - 1))
    extra = (seed_square - rest_square) / table_DS.size
    return RunSpread(extra, num_seeds - 1) if extra > 0 else None


def _is_one_seed(block: Block) -> bool:
    """Whether several draws were trained with the same single seed."""
    return (
        block.seeds is not None and block.draws is not None and len(set(block.draws)) > 1 and len(set(block.seeds)) == 1
    )


def _residual_variance(centred_RI: FloatArray, seen_RI: np.ndarray) -> float:
    """Mean square of what neither the run nor the item explains; 0 where there is one run or one item."""
    num_runs = int(seen_RI.any(axis=1).sum())
    num_items = int(seen_RI.any(axis=0).sum())
    dof = int(seen_RI.sum()) - num_runs - num_items + 1
    if num_runs < 2 or num_items < 2 or dof < 1:
        return 0.0
    run_means = centred_RI.sum(axis=1) / np.maximum(seen_RI.sum(axis=1), 1)
    item_means = centred_RI.sum(axis=0) / np.maximum(seen_RI.sum(axis=0), 1)
    residual = np.where(seen_RI, centred_RI - run_means[:, None] - item_means[None, :], 0.0)
    return float(np.sum(residual**2) / dof)
