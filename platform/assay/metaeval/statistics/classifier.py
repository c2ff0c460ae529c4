"""How far a binary classifier can be trusted: its rates, its probabilities, and a rival rule on the same items. Pure.

Axes: N items, K resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from assay.metaeval.statistics.bootstrap import interval, rows_as_clusters
from assay.metaeval.statistics.estimate import Estimate, FloatArray
from assay.metaeval.statistics.rates import McNemar, mcnemar_exact, wilson

NUM_BINS = 10
"""Of equal width over [0, 1]."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Items whose probability lies in one tenth of [0, 1]."""

    low: float
    high: float
    """The last bin holds 1 as well."""
    n: int
    mean_probability: float
    """NaN in an empty bin."""
    positive: Estimate
    """Share of them whose label is positive; a calibrated classifier has its mean probability in the interval."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Do probabilities mean what they say?"""

    ece: Estimate
    """Expected calibration error: mean distance of bin share and bin probability, weighed by items. Biased upwards in
    small samples."""
    brier: Estimate
    """Mean squared distance of probability and label."""
    bins: tuple[Bin, ...]


def calibration(probabilities: ArrayLike, labels: ArrayLike, rng: np.random.Generator) -> Calibration:
    """Reliability of probabilities.

    Args:
        probabilities: of the positive label, in [0, 1], one per item.
        labels: whether each item is positive.
        rng: seeded by the caller.

    Raises:
        ValueError: lengths differ, there is no item, or a probability is none.
    """
    probability_N, label_N = np.asarray(probabilities, dtype=float), np.asarray(labels, dtype=float)
    if probability_N.ndim != 1 or probability_N.shape != label_N.shape or probability_N.size == 0:
        raise ValueError(f"{probability_N.shape} probabilities for {label_N.shape} labels; expected as many, 1 or more")
    if not ((probability_N >= 0) & (probability_N <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]")
    bin_N = np.minimum((probability_N * NUM_BINS).astype(int), NUM_BINS - 1)
    gap_N = label_N - probability_N

    def ece(weights_NK: FloatArray) -> FloatArray:
        gaps = [np.abs(gap_N[bin_N == place] @ weights_NK[bin_N == place]) for place in range(NUM_BINS)]
        return _per_item(np.sum(gaps, axis=0), weights_NK)

    def brier(weights_NK: FloatArray) -> FloatArray:
        return _per_item(gap_N**2 @ weights_NK, weights_NK)

    units = rows_as_clusters(probability_N.size)
    bins = []
    for place in range(NUM_BINS):
        inside = bin_N == place
        n = int(inside.sum())
        mean = float(probability_N[inside].mean()) if n else float("nan")
        share = wilson(int(label_N[inside].sum()), n)
        bins.append(Bin(place / NUM_BINS, (place + 1) / NUM_BINS, n, mean, share))
    return Calibration(interval(ece, units, rng), interval(brier, units, rng), tuple(bins))


def classifier_report(
    probabilities: Sequence[float],
    labels: Sequence[bool],
    rule: Sequence[bool],
    rng: np.random.Generator,
    *,
    groups: Sequence[str] = (),
    threshold: float = 0.5,
) -> dict[str, Any]:
    """Rates of a classifier and of a rule on the same items, and the classifier's calibration, as plain JSON.

    Args:
        probabilities: of the positive label, one per item.
        labels: whether each item is positive.
        rule: what the rule says of each item.
        rng: seeded by the caller.
        groups: a name per item, where the share of right labels is wanted by name as well.
        threshold: an item is called positive from this probability on.

    Returns:
        `n`, `classifier` and `rule` (each `sensitivity`, `specificity`, `accuracy`; the first also `by_group`),
        `versus_rule` (McNemar's exact test) and `calibration`. Rates carry Wilson's interval.
    """
    label_N = np.asarray(labels, dtype=bool)
    called_N, ruled_N = np.asarray(probabilities) >= threshold, np.asarray(rule, dtype=bool)
    found = calibration(probabilities, labels, rng)
    versus: McNemar = mcnemar_exact(called_N == label_N, ruled_N == label_N)
    classifier = _rates(called_N, label_N)
    if groups:
        group_N = np.asarray(groups)
        classifier["by_group"] = {
            str(name): _share((called_N == label_N)[group_N == name]).as_json() for name in np.unique(group_N)
        }
    return {
        "n": int(label_N.size),
        "classifier": classifier,
        "rule": _rates(ruled_N, label_N),
        "versus_rule": {
            "only_classifier_right": versus.only_first,
            "only_rule_right": versus.only_second,
            "p": versus.p,
        },
        "calibration": {
            "ece": found.ece.as_json(),
            "brier": found.brier.as_json(),
            "bins": [
                {
                    "low": part.low,
                    "high": part.high,
                    "n": part.n,
                    "mean_probability": part.mean_probability if part.n else None,
                    "positive": part.positive.as_json(),
                }
                for part in found.bins
            ],
        },
    }


def _per_item(sum_K: FloatArray, weights_NK: FloatArray) -> FloatArray:
    """Sums over the number of items drawn; NaN where none was."""
    drawn_K = weights_NK.sum(axis=0)
    return np.asarray(np.divide(sum_K, drawn_K, out=np.full_like(drawn_K, np.nan), where=drawn_K > 0))


def _rates(called_N: Any, label_N: Any) -> dict[str, Any]:
    return {
        "sensitivity": _share(called_N[label_N]).as_json(),
        "specificity": _share(~called_N[~label_N]).as_json(),
        "accuracy": _share(called_N == label_N).as_json(),
    }


def _share(right: Any) -> Estimate:
    return wilson(int(right.sum()), int(right.size))
