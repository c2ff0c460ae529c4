"""Do intervals cover and do decisions err as often as they say? Every method of docs/statistics.md, simulated.

    python tests/bench/coverage.py [--reps 1000] [--only WORD] [--json FILE]

Scores of studies: 0/1, logit = item N(0, 1.5) + run N(0, s) + item x run N(0, 1), 100 items; with seeds, half of the
run's variance is the draw's. Seeds are fixed: replicate k of a row is drawn by (row, k). "before" is what the same
simulation gave before the rules of docs/statistics.md (commit 9b4b589). One core; the whole table in under 30 minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from assay.metaeval.statistics.bootstrap import clusters, interval, seeded, weighted_mean
from assay.metaeval.statistics.borrowing import pool_spread
from assay.metaeval.statistics.clustered import Block
from assay.metaeval.statistics.comparability import Rows, cat, cit
from assay.metaeval.statistics.comparison import Comparison, compare
from assay.metaeval.statistics.correlation import spearman_resamples
from assay.metaeval.statistics.estimate import Estimate
from assay.metaeval.statistics.pairwise import grouped_difference_p, perm_both
from assay.metaeval.statistics.phases import change_point
from assay.metaeval.statistics.ppi import ppi_mean
from assay.metaeval.statistics.win_rate import length_controlled_win_rate, win_rate
from assay.metaeval.study_tables.frame import Panel, RunRow, ScorerInfo, StudyFrame
from assay.metaeval.study_tables.leaderboard import leaderboard_rows
from assay.reports.wording import headlines

Simulate = Callable[[np.random.Generator], bool | None]
"""One replicate: whether the truth was covered (or nothing was found where there is nothing); None: no interval."""

TRUE_SCORER = ScorerInfo("truth", 1, "higher", 0.0, 1.0, "human")
RHO = 6 / math.pi * math.asin(0.35)
"""Spearman's rho of normals with Pearson's .7."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    method: str
    case: str
    before: str
    simulate: Simulate
    share: float = 1.0
    """Of the replicates that are asked for, where one is dear."""


def answers(rng: np.random.Generator, draws: int, seeds: int, s: float, item_I: np.ndarray, gain: float) -> np.ndarray:
    """0/1 scores of draws x seeds runs, shape (runs, items)."""
    own = math.sqrt(0.5) if seeds > 1 else 1.0
    run_R = s * own * rng.normal(size=draws * seeds)
    if seeds > 1:
        run_R = run_R + np.repeat(s * math.sqrt(0.5) * rng.normal(size=draws), seeds)
    logit = gain + item_I + run_R[:, None] + rng.normal(size=(draws * seeds, item_I.size))
    return (rng.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(float)


def block(scores: np.ndarray, name: str, seeds: int) -> Block:
    """Runs of one arm, with their draws and seeds."""
    runs = range(len(scores))
    return Block(
        scores,
        [f"{name}{run}" for run in runs],
        list(range(scores.shape[1])),
        draws=[f"{name}{run // seeds}" for run in runs],
        seeds=[run % seeds if seeds > 1 else run for run in runs],
    )


def comparison(
    rng: np.random.Generator, arm: tuple[int, int], base: int, s: float, gain: float = 0.0, others: int = 3
) -> Comparison:
    """An arm of draws x seeds against `base` runs, in a study with `others` further arms to borrow from."""
    item = 1.5 * rng.normal(size=100)
    mine = block(answers(rng, *arm, s, item, gain), "a", arm[1])
    baseline = block(answers(rng, base, 1, s, item, 0.0), "b", 1)
    further = [block(answers(rng, *arm, s, item, gain), f"o{number}", arm[1]) for number in range(others)]
    pool = pool_spread([mine, *further, baseline], 0.0, 1.0)
    if pool is not None:
        mine, baseline = (
            replace(side, spread=pool.at(side, other)) for side, other in ((mine, baseline), (baseline, mine))
        )
    return compare(mine, baseline, low=0.0, high=1.0)


def null_design(arm: tuple[int, int], base: int, s: float) -> Simulate:
    """Nothing differs: an interval that knows runs covers 0."""

    def simulate(rng: np.random.Generator) -> bool | None:
        found = comparison(rng, arm, base, s)
        return found.difference.low <= 0 <= found.difference.high if found.is_about_runs else None

    return simulate


def power(arm: tuple[int, int], base: int, s: float) -> Simulate:
    """A true difference of about .10 is found."""

    def simulate(rng: np.random.Generator) -> bool:
        found = comparison(rng, arm, base, s, gain=0.62)
        return found.is_about_runs and found.p < 0.05

    return simulate


def null_frame(rng: np.random.Generator, seeds_at_zero: int, seeds: int, s: float) -> StudyFrame:
    """Seven tasks x N = 0 and four sizes x three draws x seeds in which no mixture differs."""
    panels = {}
    for task in "abcdefg":
        item = 1.5 * rng.normal(size=100)
        runs, values = [], []
        for size in (0, 10, 50, 100, 500):
            draws, own = (3, seeds) if size else (seeds_at_zero, 1)
            values.append(answers(rng, draws, own, s, item, 0.0))
            for run in range(draws * own):
                draw, seed = (run // own, run % own if own > 1 else run) if size else (-1, run)
                key = f"{task}{size}.{run}"
                runs.append(
                    RunRow(
                        key, key, f"{task}{size}.{draw}", "base", task if size else "", task, size, draw, seed,
                        f"{task} N={size}" if size else "instructions only",
                    )
                )  # fmt: skip
        names = tuple(f"{task}{place}" for place in range(100))
        panels[task] = Panel(task, tuple(runs), names, np.concatenate(values)[None])
    return StudyFrame((TRUE_SCORER,), panels, {})


def null_headline(seeds_at_zero: int, seeds: int, s: float) -> Simulate:
    """The report's own findings name no mixture as better."""

    def simulate(rng: np.random.Generator) -> bool:
        rows = leaderboard_rows(null_frame(rng, seeds_at_zero, seeds, s), None)
        found = headlines({"leaderboard": rows, "metaeval": []}, "truth")
        return not any("better" in line for line in found)

    return simulate


def win_rates(count: int, truth: float) -> Simulate:
    def simulate(rng: np.random.Generator) -> bool | None:
        found = win_rate((rng.random(count) < truth).astype(float).tolist())
        return found.low <= truth <= found.high

    return simulate


def equal_length(count: int) -> Simulate:
    def simulate(rng: np.random.Generator) -> bool | None:
        longer = rng.normal(100, 200, count)
        logit = 1.5 + np.tanh(longer / 200)
        won = (rng.random(count) < 1 / (1 + np.exp(-logit))).astype(float)
        found = length_controlled_win_rate(won.tolist(), (1000 + longer).tolist(), [1000.0] * count)
        return None if math.isnan(found.low) else found.low <= 1 / (1 + math.exp(-1.5)) <= found.high

    return simulate


def few_labels(count: int, truth: float) -> Simulate:
    """Right-or-wrong labels; the judge says the same of 85 in 100."""

    def simulate(rng: np.random.Generator) -> bool | None:
        human = (rng.random(count + 500) < truth).astype(float)
        judge = np.where(rng.random(human.size) < 0.85, human, 1 - human)
        found = ppi_mean(human[:count], judge[:count], judge[count:]).estimate
        return _covers(found, truth)

    return simulate


def clustered(num_clusters: int, kind: str) -> Simulate:
    def simulate(rng: np.random.Generator) -> bool | None:
        group_N = np.repeat(np.arange(num_clusters), 8)
        units = clusters(group_N)
        if kind == "0/1 mean":
            p_G = 1 / (1 + np.exp(-rng.normal(0, 1, num_clusters)))
            values = (rng.random(group_N.size) < p_G[group_N]).astype(float)
            return _covers(interval(weighted_mean(values), units, rng, resamples=500), 0.5)
        document, own = rng.normal(size=(2, num_clusters, 1))
        x = (document + rng.normal(size=(num_clusters, 8))).ravel()
        y = 0.7 * x + math.sqrt(0.51) * (own + rng.normal(size=(num_clusters, 8))).ravel()
        found = interval(lambda w: spearman_resamples(x, y, w), units, rng, resamples=500, method="bca", scale="fisher")
        return _covers(found, RHO)

    return simulate


def grouped_scorers(test: str) -> Simulate:
    """Two equally good scorers whose errors documents share: no difference is found."""

    def simulate(rng: np.random.Generator) -> bool:
        human, first, second = (rng.normal(size=(20, 1)) + 0.5 * rng.normal(size=(20, 12)) for _ in range(3))
        group = np.repeat(np.arange(20), 12)
        columns = (human + first).ravel(), (human + second).ravel(), human.ravel()
        if test == "PERM-BOTH":
            return perm_both(*columns, rng, resamples=300, groups=group) >= 0.05
        return grouped_difference_p(*columns, group) >= 0.05

    return simulate


def agreement(statistic: str, per_task: int, tasks: int) -> Simulate:
    def simulate(rng: np.random.Generator) -> bool | None:
        task = np.repeat(np.arange(tasks), per_task)
        human = rng.normal(size=task.size)
        scorer = 0.7 * human + math.sqrt(0.51) * rng.normal(size=task.size)
        rows = Rows(scorer, human, task, np.arange(task.size), tuple("abcdefg"[:tasks]), stratum=task)
        return _covers((cit if statistic == "CIT" else cat)(rows, rng, resamples=500), RHO)

    return simulate


def curve(kind: str, draws: int) -> Simulate:
    """A broken line's knot is covered, or a curve without one is not called broken."""

    def simulate(rng: np.random.Generator) -> bool | None:
        counts = np.repeat([0, 8, 32, 128, 512, 1024], draws).astype(float)
        x = np.log2(1 + counts)
        knot = math.log2(129)
        truth = {
            "knot at 128": 0.1 * np.minimum(x, knot),
            "straight": 0.05 * x,
            "saturating": 0.6 * (1 - np.exp(-x / 3)),
        }[kind]
        found = change_point(counts, truth + 0.05 * rng.normal(size=x.size), rng, resamples=300)
        if kind != "knot at 128":
            return not found.p < 0.05
        return None if math.isnan(found.knot.low) else found.knot.low <= 128 <= found.knot.high

    return simulate


def _covers(found: Estimate, truth: float) -> bool | None:
    return None if math.isnan(found.low) else found.low <= truth <= found.high


def table() -> Iterator[Row]:
    """All lines; what stands under `before` was measured with 1,000 replicates (400 where an interval is resampled)."""
    before = json.loads(Path(__file__).with_name("coverage_before.json").read_text(encoding="utf-8"))

    def row(method: str, case: str, simulate: Simulate, share: float = 1.0) -> Row:
        return Row(method, case, before.get(f"{method}: {case}", "–"), simulate, share)

    designs = (((3, 1), 3), ((3, 1), 1), ((5, 1), 1), ((1, 1), 1), ((3, 3), 3), ((3, 5), 3), ((4, 3), 3))
    for s in (0.3, 0.8):
        for arm, base in designs:
            name = f"{arm[0]}:{base}" if arm[1] == 1 else f"{arm[0]} x {arm[1]}:{base}"
            yield row("difference, nothing differs", f"{name}, s = {s}", null_design(arm, base, s))
    yield row("power at .10 (not coverage)", "3:3, s = 0.3", power((3, 1), 3, 0.3))
    yield row("power at .10 (not coverage)", "3 x 3:3, s = 0.3", power((3, 3), 3, 0.3))
    for zero, seeds in ((1, 1), (3, 1), (3, 3)):
        for s in (0.3, 0.8):
            case = f"N = 0 x {zero}, draws 3 x {seeds}, s = {s}"
            yield row("headline of a null study names nothing", case, null_headline(zero, seeds, s), 0.5)
    for count in (2, 5, 10, 25, 100):
        for truth in (0.5, 0.9):
            yield row("win rate", f"{count} items, {truth}", win_rates(count, truth))
    for count in (5, 20, 100):
        yield row("win rate at equal length", f"{count} items", equal_length(count), 0.3)
    for count in (5, 10, 20, 50):
        yield row("PPI++", f"{count} labels, mean 0.9", few_labels(count, 0.9))
        yield row("PPI++", f"{count} labels, mean 0.5", few_labels(count, 0.5))
    for kind in ("0/1 mean", "rho"):
        for number in (3, 5, 8, 12, 20, 30):
            yield row(f"{kind} over clusters", f"{number} clusters", clustered(number, kind), 0.4)
    for test in ("PERM-BOTH", "t over groups"):
        yield row("equal scorers, grouped answers", test, grouped_scorers(test), 0.3)
    for statistic in ("CIT", "CAT"):
        for per_task, tasks in ((4, 2), (8, 3), (16, 7)):
            yield row(statistic, f"{tasks} tasks x {per_task} runs", agreement(statistic, per_task, tasks), 0.3)
    for kind in ("knot at 128", "straight", "saturating"):
        for draws in (2, 3, 4):
            yield row("change point", f"{kind}, {draws} draws", curve(kind, draws), 0.3)


def measure(row: Row, reps: int) -> tuple[float, float, int]:
    """Share covered among those with an interval, share without one, replicates."""
    count = max(20, round(reps * row.share))
    found = [row.simulate(seeded("coverage", row.method, row.case, str(k))) for k in range(count)]
    known = [covered for covered in found if covered is not None]
    return (float(np.mean(known)) if known else math.nan), 1 - len(known) / count, count


def main() -> None:
    """Print the table as Markdown; write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    start, results = time.perf_counter(), []
    print("| method | case | before | now | no interval | replicates |\n|---|---|---|---|---|---|")
    for row in table():
        if arguments.only not in f"{row.method}: {row.case}":
            continue
        covered, none, count = measure(row, arguments.reps)
        shown = "–" if math.isnan(covered) else f"{covered:.3f}"
        print(f"| {row.method} | {row.case} | {row.before} | {shown} | {none:.2f} | {count} |", flush=True)
        results.append({"method": row.method, "case": row.case, "covered": shown, "none": none, "reps": count})
    print(f"\n{time.perf_counter() - start:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
