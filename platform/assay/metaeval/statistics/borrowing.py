"""How much one run's mean varies, where an arm has one run: borrowed from the arms of the study that have several.

Arms are taken as drawn from a population of arms (random effects): their variances differ, and by how much goes into
the degrees of freedom. On a scale with two ends, spreads are compared as log odds, since a mean near an end cannot
vary as much as one in the middle; elsewhere in the score's own unit. A single run that happens to lie near an end would
then look steadier than it is, exactly where its difference to others is large; so the spread is taken midway, in log
odds, between both sides of a comparison (3 draws against 1, s = .8: type I .037 instead of .052; 5 against 1 .038
instead of .068).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.metaeval.statistics.clustered import Block, RunSpread
from assay.metaeval.statistics.estimate import FloatArray


@dataclass(frozen=True)
class SpreadPool:
    """Spread of run means over the arms of one study under one scorer."""

    variance: float
    """Of one run's mean, on the pool's scale."""
    dof: float
    arms_dof: float
    """Degrees of freedom of all its arms together, as if their variances were equal."""
    low: float | None
    high: float | None

    def at(self, block: Block, against: Block | None = None) -> RunSpread:
        """What the pool says about one run of this block, in the score's unit.

        Args:
            block: its runs.
            against: the other side of a comparison; None: there is none.
        """
        if self.low is None or self.high is None:
            return RunSpread(self.variance, self.dof, self.arms_dof)
        span = self.high - self.low
        sides = [side for side in (block, against) if side is not None and not math.isnan(side.mean)]
        logits = [_log_odds((side.mean - self.low) / span, side.scores.shape[1]) for side in sides]
        share = 1 / (1 + math.exp(-float(np.mean(logits)))) if logits else 0.5
        return RunSpread(self.variance * (share * (1 - share) * span) ** 2, self.dof, self.arms_dof)


def pool_spread(blocks: Sequence[Block], low: float | None, high: float | None) -> SpreadPool | None:
    """The pool of arms with two clusters or more; None where there is none.

    A cluster of several runs (a draw with its training seeds) counts by its first run, so that the pool speaks about
    one run. Degrees of freedom: 2 v^2 / Var(v of a new arm), the variance between arms by the method of moments.

    Args:
        blocks: one per arm, on the same items; NaN where there is no score.
        low: lower end of the scorer's range, None where it has none.
        high: upper end of the range.
    """
    is_bounded = low is not None and high is not None
    variances, dofs = [], []
    for block in blocks:
        means = _first_run_means(block)
        if means.size < 2:
            continue
        if is_bounded and low is not None and high is not None:
            means = _log_odds((means - low) / (high - low), block.scores.shape[1])
        variances.append(float(means.var(ddof=1)))
        dofs.append(means.size - 1)
    if not variances:
        return None
    v_A, dof_A = np.array(variances), np.array(dofs, dtype=float)
    pooled = float(np.sum(v_A * dof_A) / dof_A.sum())
    if pooled <= 0:
        return None
    own_noise = float(np.mean(2 * pooled**2 / dof_A))
    between = max(0.0, float(np.mean((v_A - pooled) ** 2)) - own_noise) if v_A.size > 1 else 0.0
    known = 2 * pooled**2 / float(dof_A.sum())
    dof = 2 * pooled**2 / (known + between * (1 + 1 / v_A.size))
    return SpreadPool(pooled, max(1.0, dof), float(dof_A.sum()), low, high)


def _first_run_means(block: Block) -> FloatArray:
    seen: set[object] = set()
    means = []
    for cluster, row in zip(block.clusters, block.scores, strict=True):
        if cluster not in seen and np.isfinite(row).any() and not block.is_fixed:
            seen.add(cluster)
            means.append(float(np.nanmean(row)))
    return np.array(means)


def _log_odds(share: FloatArray | float, num_items: int) -> FloatArray:
    """Log odds of shares drawn half an answer away from the ends, where they are infinite."""
    count = max(num_items, 1)
    inside = (np.clip(np.asarray(share, dtype=float), 0.0, 1.0) * count + 0.5) / (count + 1)
    return np.asarray(np.log(inside / (1 - inside)), dtype=float)
