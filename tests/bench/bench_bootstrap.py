"""Paired Spearman bootstrap: 7 scorers x 8 slices x 10,000 resamples of 2,000 rows, with SciPy beside it.

    python tests/bench/bench_bootstrap.py [--threads 2] [--json FILE]

Aims on two idle cores: 10 s for continuous scores, 5 s for integer ones, and at least ten times the speed of
scipy.stats.bootstrap with the same intervals. SciPy runs one scorer of one slice with fewer resamples, as the whole
takes it minutes; its time is scaled up. CPU seconds stand beside wall seconds: on a busy machine only they compare.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from scipy import stats

from assay.metaeval.statistics.bootstrap import percentile

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]
from bench.slices import Slice, spearman_slices  # noqa: E402

NUM_SCORERS, NUM_SLICES, NUM_ROWS, RESAMPLES = 7, 8, 2000, 10_000
SCIPY_RESAMPLES = 1000


def make_slices(kind: str) -> list[Slice]:
    """Scores that correlate with the human ones at .3 to .9; "integer" rounds them to a scale of 1 to 5."""
    rng = np.random.default_rng(20_231_016)
    slices = []
    for number in range(NUM_SLICES):
        human = rng.normal(size=NUM_ROWS)
        noise = np.linspace(0.5, 3, NUM_SCORERS)[:, None]
        scorers = human + noise * rng.normal(size=(NUM_SCORERS, NUM_ROWS))
        if kind == "integer":
            human = np.clip(np.round(human + 3), 1, 5)
            scorers = np.clip(np.round(scorers + 3), 1, 5)
        slices.append(Slice(f"slice{number}", scorers, human))
    return slices


def scipy_interval(scorer: np.ndarray, human: np.ndarray) -> tuple[float, float, float]:
    """Percentile interval by scipy.stats.bootstrap, vectorised, and the seconds that it took."""

    def statistic(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        ranks_x, ranks_y = stats.rankdata(x, axis=axis), stats.rankdata(y, axis=axis)
        ranks_x = ranks_x - ranks_x.mean(axis=axis, keepdims=True)
        ranks_y = ranks_y - ranks_y.mean(axis=axis, keepdims=True)
        cross = (ranks_x * ranks_y).sum(axis=axis)
        return cross / np.sqrt((ranks_x**2).sum(axis=axis) * (ranks_y**2).sum(axis=axis))

    start = time.process_time()
    found = stats.bootstrap(
        (scorer, human),
        statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        batch=100,
        n_resamples=SCIPY_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    seconds = time.process_time() - start
    return float(found.confidence_interval.low), float(found.confidence_interval.high), seconds


def measure(kind: str, threads: int) -> dict[str, float | str]:
    """Seconds of the whole job, SciPy's scaled seconds, and how far the intervals of one scorer lie apart."""
    slices = make_slices(kind)
    wall, cpu = time.perf_counter(), time.process_time()
    values = spearman_slices(slices, "bench", resamples=RESAMPLES, threads=threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    low, high, scipy_cpu = scipy_interval(slices[0].scorers[3], slices[0].human)
    scaled = scipy_cpu * NUM_SCORERS * NUM_SLICES * RESAMPLES / SCIPY_RESAMPLES
    ours = percentile(values[0][3])
    return {
        "kind": kind,
        "threads": threads,
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "scipy_cpu_s_scaled": round(scaled, 1),
        "ratio_to_scipy_cpu": round(scaled / cpu, 1),
        "interval_low": ours[0],
        "interval_high": ours[1],
        "scipy_low": low,
        "scipy_high": high,
    }


def main() -> None:
    """Print one line per kind of score; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = [measure(kind, arguments.threads) for kind in ("continuous", "integer")]
    for result in results:
        print(" ".join(f"{name}={value}" for name, value in result.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
