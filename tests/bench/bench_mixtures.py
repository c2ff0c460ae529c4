"""How well a mixture study is foretold by a fifth of its mixtures, with and without a proxy that cost no training.

    assay proxy STUDY --further 0 --storage DIR --out PROXY
    python tests/bench/bench_mixtures.py PROXY [--share 0.2] [--seeds 20] [--column objective] [--out FILE.json]

PROXY holds `mixtures.csv`, `scores.csv` and `proxies.csv`. Mixtures seen are components alone, the centroid and then,
by seed, others; what is predicted is the mean over the runs of each mixture that was not seen. The ceiling is the rank
correlation that knowing every true mean would reach, from the spread of runs of one mixture; none with one run each.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from assay.commands.deciding.mixture_tables import read_proxies, read_runs
from assay.metaeval.predict.account import noise_sd, pair_accuracy, rank_agreement, rank_ceiling
from assay.metaeval.predict.proxy import ProxyTable
from assay.metaeval.predict.stacking import check_shares, fit_predictor
from assay.metaeval.statistics.correlation import spearman
from assay.metaeval.statistics.estimate import FloatArray


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("proxy", type=Path)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--column", default="objective")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs = read_runs(options.proxy / "mixtures.csv", options.proxy / "scores.csv", "key", [options.column])
    proxies = read_proxies(options.proxy / "proxies.csv", runs.components, options.column)
    shares, scores = check_shares(runs.shares), runs.scores[options.column]
    mixtures, place = np.unique(np.round(shares, 6), axis=0, return_inverse=True)
    counts = np.bincount(place)
    means = np.bincount(place, weights=scores) / counts
    noise = noise_sd(shares, scores)
    seen = round(options.share * len(mixtures))
    figures: dict[str, Any] = {
        "mixtures": len(mixtures), "runs": len(scores), "seen": seen, "noise_sd": noise,
        "spread_of_means": float(means.std()), "best_measured": float(means.max()),
        "proxy": rank_agreement(*_mixed(mixtures, means, proxies)).as_json(),
    }  # fmt: skip
    for name, table in (("shares alone", None), ("shares and proxy", proxies)):
        found = [of_seed(mixtures, means, shares, scores, place, seen, seed, table) for seed in range(options.seeds)]
        figures[name] = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    rest = [figures_of_ceiling(means, noise, counts, seen, mixtures, seed) for seed in range(options.seeds)]
    figures["ceiling"] = float(np.mean(rest))
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out is not None:
        options.out.write_text(text)


def _mixed(mixtures: FloatArray, means: FloatArray, proxies: ProxyTable) -> tuple[FloatArray, FloatArray]:
    """Proxy and mean of mixtures of several components."""
    several = mixtures.max(axis=1) < 1
    return proxies.beside(mixtures[several])[:, -1], means[several]


def seen_of(mixtures: FloatArray, count: int, seed: int) -> FloatArray:
    """Which mixtures are seen: components alone, the one nearest to the centroid, then others by chance."""
    alone = np.flatnonzero(mixtures.max(axis=1) == 1)
    middle = int(np.abs(mixtures - 1 / mixtures.shape[1]).sum(axis=1).argmin())
    first = [*alone.tolist(), middle][:count]
    others = np.random.default_rng(seed).permutation([row for row in range(len(mixtures)) if row not in first])
    return np.isin(np.arange(len(mixtures)), [*first, *others[: count - len(first)]])


def of_seed(
    mixtures: FloatArray, means: FloatArray, shares: FloatArray, scores: FloatArray, place: FloatArray, count: int,
    seed: int, proxies: ProxyTable | None,
) -> dict[str, float]:  # fmt: skip
    """Rank correlation on what was not seen, pairs in order, intervals that hold, and what the proposed one lost."""
    seen = seen_of(mixtures, count, seed)
    model = fit_predictor(shares[seen[place]], scores[seen[place]], seed=seed, proxies=proxies)
    told = model.predict(mixtures)
    proposed = int(told.mean.argmax())
    inside = (told.low <= means) & (means <= told.high)
    return {
        "rank_correlation": spearman(told.mean[~seen], means[~seen]),
        "pairs_in_order": pair_accuracy(told.mean[~seen], means[~seen]),
        "intervals_hold": float(inside[~seen].mean()),
        "regret": float(means.max() - means[proposed]),
    }


def figures_of_ceiling(
    means: FloatArray, noise: float, counts: FloatArray, seen: int, mixtures: FloatArray, seed: int
) -> float:
    """Rank correlation that noise would allow on the mixtures that a seed leaves unseen."""
    unseen = ~seen_of(mixtures, seen, seed)
    return rank_ceiling(means[unseen], noise / math.sqrt(float(counts.mean())), seed=seed)


if __name__ == "__main__":
    main()
