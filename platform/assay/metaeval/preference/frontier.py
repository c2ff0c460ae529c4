"""Best of n of the start as a frontier: score against the divergence that it costs at most, from one sampling. Pure.

Axes: P prompts, N answers to each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.metaeval.statistics.best_of_n import best_of_n, kl_of_best_of_n
from assay.metaeval.statistics.clustered import Block
from assay.metaeval.statistics.comparison import mean_estimate
from assay.metaeval.statistics.estimate import FloatArray


@dataclass(frozen=True)
class Frontier:
    """The start's answers to the reported prompts, ranked by one label."""

    examples: Sequence[str]
    labels: FloatArray
    """By which the best is picked, shape (P, N); NaN where an answer has no score."""
    values: Mapping[str, FloatArray]
    """Measure -> value of each answer, shape (P, N)."""

    @property
    def counts(self) -> list[int]:
        """Powers of two up to N, and N."""
        most = self.labels.shape[1]
        return sorted({*(2**power for power in range(most.bit_length()) if 2**power <= most), most})

    def per_prompt(self, measure: str, n: int) -> FloatArray:
        """Expected value of the best of n for each prompt, shape (P,)."""
        return best_of_n(self.labels, self.values[measure], [n])[:, 0]

    def at(self, measure: str, divergence: float) -> tuple[Block | None, str]:
        """The best of n at this divergence, between two n by its share of theirs, or None and why there is none."""
        ends = [kl_of_best_of_n(n) for n in self.counts]
        if math.isnan(divergence):
            return None, "no divergence"
        if divergence > ends[-1]:
            return None, f"divergence {divergence:.2f} is beyond best of {self.counts[-1]} ({ends[-1]:.2f} nats)"
        above = next(place for place, end in enumerate(ends) if divergence <= end)
        values = self.per_prompt(measure, self.counts[above])
        if above and divergence > 0:
            share = (divergence - ends[above - 1]) / (ends[above] - ends[above - 1])
            values = share * values + (1 - share) * self.per_prompt(measure, self.counts[above - 1])
        return self.block(values), ""

    def block(self, values: FloatArray) -> Block:
        """Values of the prompts, shape (P,), as those of one given model."""
        return Block(values[None, :], ["best of n"], list(self.examples), is_fixed=True)


def frontier_rows(base_model: str, pairs: str, frontier: Frontier) -> list[dict[str, Any]]:
    """Rows of `preference_frontier`; intervals are over prompts."""
    rows = []
    for n in frontier.counts:
        for measure in frontier.values:
            values = frontier.per_prompt(measure, n)
            estimate, _ = mean_estimate(frontier.block(values))
            rows.append(
                {
                    "base_model": base_model,
                    "pairs": pairs,
                    "n": n,
                    "measure": measure,
                    "kl": kl_of_best_of_n(n),
                    "value": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "num_items": int(np.isfinite(values).sum()),
                }
            )
    return rows
