"""Do intervals cover and do decisions err as often as they say? Every method of docs/statistics.md, simulated.

    python tests/bench/coverage.py [--reps 1000] [--only WORD] [--json FILE] [--workers 2] [--write]

Scores of studies: 0/1, logit = item N(0, 1.5) + run N(0, s) + item x run N(0, 1), 100 items; with seeds, half of the
run's variance is the draw's. Seeds are fixed: replicate k of a row is drawn by (row, k). "before" is what the same
simulation gave before the rules of docs/statistics.md (commit 9b4b589), and of lines that were added later at commit
70eb666. Rows are shared out to two processes; the whole table is made in under 30 minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from assay.metaeval.statistics.bootstrap import clusters, interval, seeded, weighted_mean
from assay.metaeval.statistics.borrowing import pool_spread
from assay.metaeval.statistics.clustered import Block
from assay.metaeval.statistics.comparability import Rows, cat, cit, tfa
from assay.metaeval.statistics.comparison import Comparison, compare
from assay.metaeval.statistics.correlation import spearman, spearman_resamples
from assay.metaeval.statistics.estimate import Estimate
from assay.metaeval.statistics.joint_fit import additive_fit, bradley_terry
from assay.metaeval.statistics.pairwise import grouped_difference_p, perm_both, tie_calibration
from assay.metaeval.statistics.phases import change_point
from assay.metaeval.statistics.ppi import ppi_mean
from assay.metaeval.statistics.ppi_strata import stratified_ppi_mean
from assay.metaeval.statistics.variance import interaction, variance_components
from assay.metaeval.statistics.win_rate import length_controlled_win_rate, win_rate
from assay.metaeval.study_tables.agreement import metaeval_rows
from assay.metaeval.study_tables.frame import Panel, RunRow, ScorerInfo, StudyFrame
from assay.metaeval.study_tables.leaderboard import leaderboard_rows
from assay.metaeval.study_tables.options import TableOptions
from assay.reports.wording import headlines

Simulate = Callable[[np.random.Generator], bool | None]
"""One replicate: whether the truth was covered (or nothing was found where there is nothing); None: no interval."""

TRUE_SCORER = ScorerInfo("truth", 1, "higher", 0.0, 1.0, "human")
PAGE = Path(__file__).parents[2] / "platform" / "docs" / "statistics.md"
HEAD = "| method | case | before | now | no interval | replicates |"
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


def bare_decision(arm: tuple[int, int], base: int, s: float) -> Simulate:
    """Nothing differs: the p of one comparison, by itself, is not below .05."""

    def simulate(rng: np.random.Generator) -> bool:
        found = comparison(rng, arm, base, s)
        return not (found.is_about_runs and found.p < 0.05)

    return simulate


def null_gain(seeds_at_zero: int, s: float) -> Simulate:
    """Absolute TFA of a study in which nothing is gained covers 0."""

    def simulate(rng: np.random.Generator) -> bool | None:
        options = TableOptions("truth", None, "coverage", resamples=10)
        rows = metaeval_rows(null_frame(rng, seeds_at_zero, 1, s), options)
        (row,) = (row for row in rows if row["statistic"] == "TFA_absolute")
        return None if math.isnan(row["low"]) else row["low"] <= 0 <= row["high"]

    return simulate


def relative_gain(start: float) -> Simulate:
    """Relative gain of one task from three runs to three others, whose log odds are 1 higher."""

    def simulate(rng: np.random.Generator) -> bool | None:
        item = 1.5 * rng.normal(size=100)
        first = block(answers(rng, 3, 1, 0.3, item, start), "a", 1)
        last = block(answers(rng, 3, 1, 0.3, item, start + 1), "b", 1)
        found = tfa({"a": first}, {"a": last}, relative=True)
        return _covers(found, _mean_answer(start + 1, 0.3) / _mean_answer(start, 0.3) - 1)

    return simulate


@lru_cache
def _mean_answer(gain: float, s: float) -> float:
    """Expected score of a run: items N(0, 1.5), runs N(0, s) and both together N(0, 1) are one normal."""
    z = np.linspace(-8, 8, 4001)
    weight = np.exp(-(z**2) / 2)
    return float(np.sum(weight / (1 + np.exp(-gain - math.sqrt(2.25 + s * s + 1) * z))) / weight.sum())


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


def strata_of_labels(labels: int) -> Simulate:
    """Two strata of right-or-wrong answers, rates .95 and .90, each with so many labels; the judge as above."""

    def simulate(rng: np.random.Generator) -> bool | None:
        truth = np.concatenate([(rng.random(500) < rate).astype(float) for rate in (0.95, 0.90)])
        judge = np.where(rng.random(truth.size) < 0.85, truth, 1 - truth)
        human = np.full(truth.size, math.nan)
        for first in (0, 500):
            seen = first + rng.permutation(500)[:labels]
            human[seen] = truth[seen]
        return _covers(stratified_ppi_mean(human, judge, ["a"] * 500 + ["b"] * 500), 0.925)

    return simulate


def component(factor: str, draws: int, seeds: int) -> Simulate:
    """A component of draws 1, seeds .5, both together .3, items 4 and noise 1; 60 items."""
    crossed = "draw", "training_seed"
    truth = {"draw": 1.0, "training_seed": 0.5, interaction(*crossed): 0.3, "item": 4.0}

    def simulate(rng: np.random.Generator) -> bool | None:
        run = rng.normal(size=(draws, 1, 1)) + math.sqrt(0.5) * rng.normal(size=(1, seeds, 1))
        run = run + math.sqrt(0.3) * rng.normal(size=(draws, seeds, 1))
        scores = run + 2 * rng.normal(size=60) + rng.normal(size=(draws, seeds, 60))
        parts = variance_components(scores, (*crossed, "item"), crossed=crossed)
        low, high, _ = next(part for part in parts if part.factor == factor).interval
        return None if math.isnan(low) else low <= truth[factor] <= high

    return simulate


def duels(rng: np.random.Generator, num_items: int) -> tuple[list[int], list[str], list[str], list[int]]:
    """Three models meet on every item; how well an item suits a model moves both its duels."""
    strength_IM = np.array([0.5, 0.0, -0.5]) + 0.7 * rng.normal(size=(num_items, 3))
    rows = []
    for item, strength in enumerate(strength_IM):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            wins = rng.random() < 1 / (1 + math.exp(strength[b] - strength[a]))
            rows.append((item, "xyz"[a], "xyz"[b], 1 if wins else -1))
    items, first, second, outcome = zip(*rows, strict=True)
    return list(items), list(first), list(second), list(outcome)


@lru_cache
def _true_strength() -> float:
    """Of model x, in the mean over models and as the fit defines it: from 20,000 items."""
    fit = bradley_terry(*duels(seeded("coverage", "duels"), 20_000), seeded("coverage"), resamples=2)
    return next(score.effect.value for score in fit.models if score.model == "x")


def strengths(num_items: int) -> Simulate:
    def simulate(rng: np.random.Generator) -> bool | None:
        fit = bradley_terry(*duels(rng, num_items), rng, resamples=400)
        return _covers(next(score.effect for score in fit.models if score.model == "x"), _true_strength())

    return simulate


def joint_scores(num_items: int) -> Simulate:
    def simulate(rng: np.random.Generator) -> bool | None:
        scores = rng.normal(size=(num_items, 1)) + np.array([0.5, 0.0, -0.5]) + rng.normal(size=(num_items, 3))
        items = np.repeat(range(num_items), 3).tolist()
        fit = additive_fit(scores.ravel(), items, ["x", "y", "z"] * num_items, None, rng, resamples=400)
        return _covers(next(score.effect for score in fit.models if score.model == "x"), 0.5)

    return simulate


def calibrated_ties(num_groups: int) -> Simulate:
    """Accuracy on fresh pairs at the threshold that was chosen."""

    def simulate(rng: np.random.Generator) -> bool | None:
        gold, fresh = (rng.integers(0, 3, (count, 4)).astype(float) for count in (num_groups, 500))
        found = tie_calibration(gold + rng.normal(size=gold.shape), gold)
        scores = fresh + rng.normal(size=fresh.shape)
        first, second = np.triu_indices(4, 1)
        gap = scores[:, first] - scores[:, second]
        order = np.where(np.abs(gap) <= found.epsilon, 0, np.sign(gap))
        return _covers(found.cross_fitted, float(np.mean(order == np.sign(fresh[:, first] - fresh[:, second]))))

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


def curve_runs(rng: np.random.Generator, tasks: int) -> Rows:
    """Runs of a study at run level: N = 0, 10 and 50 with three draws each; scores rise with N."""
    size = np.tile(np.repeat([0.0, 0.5, 1.0], 3), tasks)
    human = size + 0.5 * rng.normal(size=size.size)
    scorer = human + 0.5 * rng.normal(size=size.size)
    task = np.repeat(np.arange(tasks), 9)
    mixture = task * 3 + (2 * size).astype(int)
    return Rows(scorer, human, task, np.arange(task.size), tuple("abcdefg"[:tasks]), stratum=mixture)


@lru_cache
def expected_cit() -> float:
    """Mean of the statistic itself over 20,000 tasks of nine runs."""
    rng = seeded("coverage", "curve runs")
    rows = (curve_runs(rng, 1) for _ in range(20_000))
    return float(np.mean([spearman(row.scorer, row.human) for row in rows]))


def agreement_of_curves(tasks: int) -> Simulate:
    def simulate(rng: np.random.Generator) -> bool | None:
        return _covers(cit(curve_runs(rng, tasks), rng, resamples=500), expected_cit())

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
    """All lines; what stands under `before` was measured with 180 to 1,000 replicates."""
    before = json.loads(Path(__file__).with_name("coverage_before.json").read_text(encoding="utf-8"))

    def row(method: str, case: str, simulate: Simulate, share: float = 1.0) -> Row:
        return Row(method, case, before.get(f"{method}: {case}", "–"), simulate, share)

    designs = (((3, 1), 3), ((3, 1), 1), ((5, 1), 1), ((1, 1), 1), ((3, 3), 3), ((3, 5), 3), ((4, 3), 3))
    for s in (0.3, 0.8):
        for arm, base in designs:
            name = f"{arm[0]}:{base}" if arm[1] == 1 else f"{arm[0]} x {arm[1]}:{base}"
            yield row("difference, nothing differs", f"{name}, s = {s}", null_design(arm, base, s))
    for s in (0.3, 0.8):
        for arm, base in (((3, 1), 3), ((3, 1), 1), ((5, 1), 1), ((3, 3), 3)):
            name = f"{arm[0]}:{base}" if arm[1] == 1 else f"{arm[0]} x {arm[1]}:{base}"
            yield row("one comparison names nothing", f"{name}, s = {s}", bare_decision(arm, base, s), 2.0)
    for zero in (1, 3):
        yield row("TFA, nothing gained", f"N = 0 x {zero}, s = 0.8", null_gain(zero, 0.8))
    for start in (0.0, -2.0, -4.0):
        yield row("TFA relative", f"mean at N = 0 of {_mean_answer(start, 0.3):.2f}", relative_gain(start))
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
        yield row("win rate at equal length", f"{count} items", equal_length(count))
    for count in (5, 10, 20, 50):
        yield row("PPI++", f"{count} labels, mean 0.9", few_labels(count, 0.9))
        yield row("PPI++", f"{count} labels, mean 0.5", few_labels(count, 0.5))
    for count in (5, 10, 20, 40):
        yield row("PPI++ by two strata, .95 and .90", f"{count} labels each", strata_of_labels(count))
    for factor in ("draw", "training_seed", "draw x training_seed", "item"):
        yield row("component of variance", f"{factor}, 8 x 6 x 60", component(factor, 8, 6))
    yield row("component of variance", "draw, 3 x 3 x 60", component("draw", 3, 3))
    for number in (4, 12, 30):
        yield row("Bradley-Terry strength", f"{number} items", strengths(number))
        yield row("additive fit", f"{number} items", joint_scores(number))
    for number in (8, 20):
        yield row("tie calibration, cross-fitted", f"{number} groups of 4", calibrated_ties(number))
    for kind in ("0/1 mean", "rho"):
        for number in (3, 5, 8, 12, 20, 30):
            yield row(f"{kind} over clusters", f"{number} clusters", clustered(number, kind))
    for test in ("PERM-BOTH", "t over groups"):
        yield row("equal scorers, grouped answers", test, grouped_scorers(test))
    for statistic in ("CIT", "CAT"):
        for per_task, tasks in ((2, 2), (3, 2), (4, 2), (8, 3), (16, 7)):
            yield row(statistic, f"{tasks} tasks x {per_task} runs", agreement(statistic, per_task, tasks))
    for tasks in (2, 4, 7):
        yield row("CIT over curves", f"{tasks} tasks x N of 0, 10, 50 x 3 draws", agreement_of_curves(tasks))
    for kind in ("knot at 128", "straight", "saturating"):
        for draws in (2, 3, 4):
            yield row("change point", f"{kind}, {draws} draws", curve(kind, draws))


def measure(row: Row, reps: int) -> tuple[float, float, int]:
    """Share covered among those with an interval, share without one, replicates."""
    count = max(20, round(reps * row.share))
    found = [row.simulate(seeded("coverage", row.method, row.case, str(k))) for k in range(count)]
    known = [covered for covered in found if covered is not None]
    return (float(np.mean(known)) if known else math.nan), 1 - len(known) / count, count


def _measured(place: int, reps: int) -> tuple[float, float, int]:
    """A line by its place: rows hold functions, which do not travel between processes."""
    return measure(list(table())[place], reps)


def main() -> None:
    """Print the table as Markdown; write it into the page where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help="put table and time into docs/statistics.md")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    start, results = time.perf_counter(), []
    rows = [(place, row) for place, row in enumerate(table()) if arguments.only in f"{row.method}: {row.case}"]
    lines = [HEAD, "|---|---|---|---|---|---|"]
    print("\n".join(lines))
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        found = pool.map(_measured, [place for place, _ in rows], [arguments.reps] * len(rows))
        for (_, row), (covered, none, count) in zip(rows, found, strict=True):
            shown = "–" if math.isnan(covered) else f"{covered:.3f}"
            lines.append(f"| {row.method} | {row.case} | {row.before} | {shown} | {none:.2f} | {count} |")
            print(lines[-1], flush=True)
            results.append({"method": row.method, "case": row.case, "covered": shown, "none": none, "reps": count})
    took = f"Made in {time.perf_counter() - start:.0f} s by {arguments.workers} processes."
    print(f"\n{took}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if arguments.write:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), [*lines, "", took]), encoding="utf-8")


def with_table(page: str, lines: list[str]) -> str:
    """The page with these lines in the place of its table and of the line on the time that it took."""
    start = page.index(HEAD)
    return page[:start] + "\n".join(lines) + "\n" + page[page.index("\n\n## ", start) :]


if __name__ == "__main__":
    main()
