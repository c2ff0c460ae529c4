"""Which scorer agrees with people: scorers x tasks on public human scores, with intervals, tests and the human ceiling.

CIT and CAT rest on the sets that have references, the same texts for every scorer; sets without are shown beside them.
Texts of one document are one cluster. Comparisons are paired: intervals of differences come from shared resamples
(below 50 documents from the jackknife), p values from PERM-BOTH, adjusted by Holm over all pairs of scorers.
Axes: S scorers, N texts, K resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from assay.human.benchmark_report import (
    BenchmarkReport,
    BenchmarkTask,
    Ceiling,
    JudgeRow,
    ScorerComparison,
    ScorerFigures,
    SummaryLevels,
    TaskDifference,
)
from assay.human.sets import HumanSet
from assay.metaeval.score_table.report import agreement
from assay.metaeval.statistics.bootstrap import (
    Clusters,
    clusters,
    from_resamples,
    jackknife_interval,
    leave_one_out,
    resample,
    seeded,
)
from assay.metaeval.statistics.ceiling import human_ceiling
from assay.metaeval.statistics.comparability import Rows, cat, cit, correlation
from assay.metaeval.statistics.correlation import spearman, spearman_resamples
from assay.metaeval.statistics.estimate import FEW_CLUSTERS, Estimate, FloatArray
from assay.metaeval.statistics.pairwise import perm_both_draws, permutation_p
from assay.metaeval.statistics.rates import holm


@dataclass(frozen=True)
class Scored:
    """A set with every scorer's numbers for it."""

    part: HumanSet
    names: tuple[str, ...]
    values: FloatArray
    """Shape (S, N), NaN where unscored."""
    unscored: Mapping[str, Mapping[str, int]]
    """Scorer -> reason -> texts."""

    @property
    def common(self) -> np.ndarray:
        """Texts that every scorer has a number for, shape (N,)."""
        return np.asarray(np.isfinite(self.values).all(axis=0))


def benchmark_report(sets: Sequence[Scored], seed_key: str, *, resamples: int = 2000) -> BenchmarkReport:
    """All figures of the human benchmark.

    Args:
        sets: with the same scorers each, in the same order.
        seed_key: seeds every resampling, with the names of scorer and statistic.
        resamples: size of bootstrap and permutation.
    """
    names = sets[0].names
    main = [part for part in sets if part.part.has_references] or list(sets)
    scorers = {}
    for number, name in enumerate(names):
        rows = _rows(main, number)
        seed = (seed_key, name)
        summaries = [part for part in sets if part.part.name == "summeval"]
        scorers[name] = ScorerFigures(
            tasks={part.part.name: _task(part, number, seed, resamples) for part in sets},
            attributes={
                f"{part.part.name}.{attribute}": _attribute(part, number, attribute, seed, resamples)
                for part in sets
                if len(part.part.attributes) > 1
                for attribute in part.part.attributes
            },
            cit=cit(rows, seeded(*seed, "cit"), resamples=resamples),
            cat=cat(rows, seeded(*seed, "cat"), resamples=resamples),
            cat_task_centred=cat(rows, seeded(*seed, "centred"), resamples=resamples, task_centred=True),
            unscored={part.part.name: dict(part.unscored[name]) for part in sets if part.unscored[name]},
            summaries=_summary_levels(summaries[0], number, f"{seed_key}\0{name}", resamples) if summaries else None,
        )
    return BenchmarkReport(
        tasks=tuple(_described(part) for part in sets),
        cit_tasks=tuple(part.part.name for part in main),
        scorers=scorers,
        judges=tuple(_judge_rows(sets, seed_key, resamples)),
        ceiling=tuple(_ceilings(sets, seed_key, resamples)),
        comparisons=tuple(_comparisons(main, seed_key, resamples)),
    )


def _described(part: Scored) -> BenchmarkTask:
    return BenchmarkTask(
        name=part.part.name,
        texts=part.part.num_rows,
        documents=len(set(part.part.docs)),
        human=part.part.human_is,
        compared_with=part.part.reference,
        has_references=part.part.has_references,
        scored_by_all=int(part.common.sum()),
    )


def _task(part: Scored, number: int, seed: tuple[str, str], resamples: int) -> Estimate:
    """Spearman's rho of one scorer inside one set, over the texts that all scorers have."""
    rng = seeded(*seed, "task", part.part.name)
    return correlation(_rows([part], number), rng, resamples=resamples)


def _attribute(part: Scored, number: int, attribute: str, seed: tuple[str, str], resamples: int) -> Estimate:
    human_N = part.part.attributes[attribute]
    rows = _rows([part], number)
    rows = Rows(rows.scorer, human_N[part.common], rows.task, rows.run, rows.task_names)
    return correlation(rows, seeded(*seed, "attribute", part.part.name, attribute), resamples=resamples)


def _rows(sets: Sequence[Scored], number: int) -> Rows:
    """Paired scores of one scorer and people over the common texts of all sets; documents are runs and strata sets."""
    scorer, human, task, doc = [], [], [], []
    first = 0
    for place, part in enumerate(sets):
        kept = part.common
        _, of_text = np.unique(np.asarray(part.part.docs)[kept], return_inverse=True)
        scorer.append(part.values[number][kept])
        human.append(part.part.human[kept])
        task.append(np.full(int(kept.sum()), place))
        doc.append(of_text + first)
        first += int(of_text.max()) + 1 if of_text.size else 0
    names = tuple(part.part.name for part in sets)
    task_N = np.concatenate(task)
    return Rows(np.concatenate(scorer), np.concatenate(human), task_N, np.concatenate(doc), names, stratum=task_N)


def _summary_levels(part: Scored, number: int, seed_key: str, resamples: int) -> SummaryLevels:
    """SUM: agreement on SummEval over all summaries, inside documents, and between systems."""
    scorer_N, human_N = part.values[number], part.part.human
    found = agreement(scorer_N, human_N, list(part.part.docs), seed_key=seed_key, resamples=resamples)
    systems = np.asarray(part.part.systems)
    means = [
        (np.nanmean(scorer_N[systems == system]), np.nanmean(human_N[systems == system]))
        for system in np.unique(systems)
    ]
    first, second = (np.asarray(column) for column in zip(*means, strict=True))
    note = f"{first.size} systems: too few for an interval worth having"
    systems_alone = Estimate(spearman(first, second), math.nan, math.nan, int(first.size), int(first.size), "", note)
    return SummaryLevels(found["spearman"], found["spearman_within_group"], systems_alone)


def _judge_rows(sets: Sequence[Scored], seed_key: str, resamples: int) -> list[JudgeRow]:
    """Recorded judges, and every scorer on the same texts and attribute."""
    found = []
    for part in sets:
        for attribute in sorted({attribute for _, attribute in part.part.judges}):
            # the same texts for all: without those that some scorer has no number for
            human_N = np.where(part.common, part.part.attributes[attribute], math.nan)
            columns = {judge: scores for (judge, name), scores in part.part.judges.items() if name == attribute}
            columns |= {name: part.values[number] for number, name in enumerate(part.names)}
            for name, scores_N in columns.items():
                seed = f"{seed_key}\0judge\0{part.part.name}\0{attribute}\0{name}"
                row = agreement(scores_N, human_N, list(part.part.docs), seed_key=seed, resamples=resamples)
                counts = {field: row[field] for field in ("asked", "n", "unscored", "spearman")}
                within = row["spearman_within_group"]
                is_judge = name not in part.names
                found.append(JudgeRow(part.part.name, attribute, name, is_judge, **counts, within_documents=within))
    return found


def _ceilings(sets: Sequence[Scored], seed_key: str, resamples: int) -> list[Ceiling]:
    """How well one annotator agrees with the mean of the others, where a set names annotators."""
    found = []
    for part in sets:
        for attribute, scores_AN in part.part.annotators.items():
            rng = seeded(seed_key, "ceiling", part.part.name, attribute)
            ceiling = human_ceiling(scores_AN, rng, groups=np.asarray(part.part.docs), resamples=resamples)
            people = ceiling.num_annotators, ceiling.with_the_others, ceiling.between_pairs
            found.append(Ceiling(part.part.name, attribute, *people))
    return found


def _comparisons(sets: Sequence[Scored], seed_key: str, resamples: int) -> list[ScorerComparison]:
    """Every two scorers: difference of CIT and of each task's rho, with PERM-BOTH."""
    names = sets[0].names
    num_clusters = min(len(set(np.asarray(part.part.docs)[part.common])) for part in sets)
    size = sum(int(part.common.sum()) for part in sets)
    intervals = (_Resampled if num_clusters >= FEW_CLUSTERS else _LeftOut)(sets, seed_key, resamples)

    def compare(pair: tuple[int, int]) -> ScorerComparison:
        first, second = pair
        draws = [
            perm_both_draws(
                part.values[first][part.common],
                part.values[second][part.common],
                part.part.human[part.common],
                seeded(seed_key, "perm_both", part.part.name, names[first], names[second]),
                resamples=resamples,
                groups=np.asarray(part.part.docs)[part.common],
            )
            if _vary(part, first, second)
            else (math.nan, np.full(resamples, math.nan))
            for part in sets
        ]
        observed = [value for value, _ in draws]
        mean = float(np.mean(observed))
        difference = (
            intervals.difference(mean, first, second, size)
            if math.isfinite(mean)
            else Estimate.undefined("a scorer is constant in one of the tasks", size)
        )
        p = permutation_p(mean, np.mean([swapped for _, swapped in draws], axis=0))
        tasks = {
            part.part.name: TaskDifference(_number(value), _number(permutation_p(value, swapped)))
            for part, (value, swapped) in zip(sets, draws, strict=True)
        }
        return ScorerComparison(names[first], names[second], difference, _number(p), tasks)

    with ThreadPoolExecutor(max_workers=2) as pool:  # NumPy works outside the interpreter's lock; order stays
        found = list(pool.map(compare, combinations(range(len(names)), 2)))
    adjusted = _holm([row.perm_both for row in found])
    by_task = {part.part.name: _holm([row.tasks[part.part.name].perm_both for row in found]) for part in sets}
    return [
        replace(
            row,
            perm_both_holm=p,
            tasks={name: replace(task, perm_both_holm=by_task[name][place]) for name, task in row.tasks.items()},
        )
        for place, (row, p) in enumerate(zip(found, adjusted, strict=True))
    ]


class _Resampled:
    """Differences of mean rho under resampled documents, the same resamples for all scorers."""

    def __init__(self, sets: Sequence[Scored], seed_key: str, resamples: int) -> None:
        self._num_clusters = min(_documents(part).num_clusters for part in sets)
        self._boots = [
            _rho(part, resample(_documents(part), resamples, seeded(seed_key, "difference", part.part.name)))
            for part in sets
        ]

    def difference(self, mean: float, first: int, second: int, size: int) -> Estimate:
        boot_K = np.mean([boot[first] - boot[second] for boot in self._boots], axis=0)
        return from_resamples(mean, boot_K, self._num_clusters, n=size)


class _LeftOut:
    """The same without each document in turn, sets as strata: for sets of few documents."""

    def __init__(self, sets: Sequence[Scored], seed_key: str, resamples: int) -> None:
        self._without = [_rho(part, leave_one_out(_documents(part))) for part in sets]
        self._rho = [_rho(part, np.ones((int(part.common.sum()), 1))) for part in sets]
        stratum_G = np.repeat(np.arange(len(sets)), [without.shape[1] for without in self._without])
        self._units = Clusters(np.arange(stratum_G.size), stratum_G)

    def difference(self, mean: float, first: int, second: int, size: int) -> Estimate:
        moved = [
            (without[first] - without[second]) - (rho[first] - rho[second])
            for without, rho in zip(self._without, self._rho, strict=True)
        ]
        left_out_G = mean + np.concatenate(moved) / len(moved)
        return jackknife_interval(mean, left_out_G, self._units, n=size)


def _documents(part: Scored) -> Clusters:
    return clusters(np.asarray(part.part.docs)[part.common])


def _rho(part: Scored, weights_NK: FloatArray) -> FloatArray:
    """Rho of every scorer in every column of weights, shape (S, K)."""
    return np.atleast_2d(spearman_resamples(part.values[:, part.common], part.part.human[part.common], weights_NK))


def _vary(part: Scored, first: int, second: int) -> bool:
    columns = part.values[first][part.common], part.values[second][part.common]
    return all(column.size > 2 and np.ptp(column) > 0 for column in columns)


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    return [_number(float(p)) for p in holm([math.nan if p is None else p for p in p_values])]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
