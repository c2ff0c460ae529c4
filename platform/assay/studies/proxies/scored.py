"""Proxies made, asked and scored by the study's own pipeline, beside what the mixtures themselves scored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.adapter_files import CONFIG, WEIGHTS
from assay.metaeval.predict.account import rank_agreement
from assay.metaeval.statistics.estimate import Estimate
from assay.studies.deciding.evidence import mean_of, ratings_by_predictions
from assay.studies.pipeline import Pipeline, Results
from assay.studies.proxies.wanted import Shares, SummedAdapter, WantedProxies, wanted_proxies
from assay.studies.scores import stored_scores
from assay.studies.starts import read_adapter, stacked
from assay.training.spec import ADAPTER_KIND

OBJECTIVE = "objective"
"""Column of the weighted mean over the target sets."""


def column_of(evaluation_set: str) -> str:
    """Column of an evaluation set's scores: sets are often called as components are, and shares lie beside them."""
    return f"on {evaluation_set}"


@dataclass(frozen=True)
class ScoredMixtures:
    """Shares and scores of mixtures, one entry each in the same order."""

    names: Sequence[str]
    shares: Sequence[Shares]
    scores: Mapping[str, Sequence[float]]
    """By `column_of` each evaluation set, and `OBJECTIVE`; nan where nothing was scored."""

    def rows(self) -> list[dict[str, object]]:
        """As rows of a file: a key, a column for each component, and one for each score."""
        return [
            {"key": name, **shares, **{column: values[place] for column, values in self.scores.items()}}
            for place, (name, shares) in enumerate(zip(self.names, self.shares, strict=True))
        ]


def trained_mixtures(results: Results, base_model: str, scorer: str) -> ScoredMixtures:
    """The runs of a finished mixture study: one entry for each draw and seed."""
    shares: dict[tuple[str, int], dict[str, float]] = {}
    for row in results.tables["shares"].to_pylist():
        if row["base_model"] == base_model:
            shares.setdefault((row["arm"], row["draw"]), {})[row["component"]] = row["share"]
    scores: dict[str, dict[str, float]] = {}
    runs: dict[str, tuple[str, tuple[str, int]]] = {}
    for row in results.tables["run_scores"].to_pylist():
        if row["base_model"] == base_model and row["scorer"] == scorer and (row["arm"], row["draw"]) in shares:
            name = f"{row['arm']}, draw {row['draw']}, seed {row['training_seed']}"
            runs[row["adapter_key"]] = name, (row["arm"], row["draw"])
            scores.setdefault(row["adapter_key"], {})[row["evaluation_set"]] = _number(row["mean"])
    keys = sorted(runs, key=lambda key: runs[key])
    return ScoredMixtures(
        [runs[key][0] for key in keys],
        [shares[runs[key][1]] for key in keys],
        _columns([scores[key] for key in keys], results),
    )


def scored_proxies(
    pipeline: Pipeline, results: Results, base_model: str, scorer: str, points: Sequence[Shares]
) -> ScoredMixtures:
    """Make the proxies of these mixtures, have them answer the study's evaluation sets, and score that.

    What the store holds is not made again. Starts Ray where answers are missing.

    Raises:
        ConfigError: see `wanted_proxies`.
        StageError: something failed after its retries.
    """
    wanted = wanted_proxies(pipeline.study, results.wanted, results.sets, base_model, points)
    make_sums(pipeline, wanted)
    scoring = pipeline.answered(wanted.plan, results.sets, results.datasets)
    ratings = ratings_by_predictions(stored_scores(pipeline.store, scoring), scorer)
    scores: dict[str, dict[str, float]] = {arm: {} for arm in wanted.shares}
    for run in wanted.plan.runs:
        scores[run.arm][run.evaluation_set] = mean_of([ratings.get(run.predictions_key, {})])
    arms = list(wanted.shares)
    return ScoredMixtures(arms, [wanted.shares[arm] for arm in arms], _columns([scores[arm] for arm in arms], results))


def make_sums(pipeline: Pipeline, wanted: WantedProxies) -> None:
    """Write the summed adapters that the store lacks; each part is read once."""
    store = pipeline.store
    adapters = {adapter.key: adapter for adapter in wanted.adapters.values()}
    missing = sorted(set(adapters) - store.present(ADAPTER_KIND, adapters))
    read: dict[str, tuple[bytes, dict[str, Any]]] = {}
    for key in missing:
        adapter: SummedAdapter = adapters[key]
        for part in adapter.parts:
            if part not in read:
                read[part] = read_adapter(store, part)
        weights, config = stacked([read[part] for part in adapter.parts], adapter.weights)
        spec = {"adapters": list(adapter.parts), "weights": list(adapter.weights)}
        with store.writing(ADAPTER_KIND, key, spec) as artifact:
            artifact.file(WEIGHTS, weights)
            artifact.json(CONFIG, config)


def agreement(trained: ScoredMixtures, proxies: ScoredMixtures, column: str) -> Estimate:
    """Rank correlation of proxies with trained mixtures, each mixture once with the mean of its runs.

    Mixtures of one component alone are left out: their proxy is the trained adapter itself.
    """
    of_mixture: dict[tuple[float, ...], list[float]] = {}
    for shares, score in zip(trained.shares, trained.scores[column], strict=True):
        of_mixture.setdefault(_place(shares), []).append(score)
    known = {_place(shares): score for shares, score in zip(proxies.shares, proxies.scores[column], strict=True)}
    both = [place for place in sorted(of_mixture) if place in known and max(place) < 1]
    means = [math.fsum(of_mixture[place]) / len(of_mixture[place]) for place in both]
    return rank_agreement(np.array([known[place] for place in both]), np.array(means))


def _place(shares: Shares) -> tuple[float, ...]:
    return tuple(round(shares[name], 6) for name in sorted(shares))


def _columns(scores: Sequence[Mapping[str, float]], results: Results) -> dict[str, list[float]]:
    objective = results.study.objective
    assert objective is not None, "a mixture study has one"
    whole = math.fsum(objective.weights.values())
    columns = {column_of(name): [part.get(name, math.nan) for part in scores] for name in sorted(results.sets)}
    columns[OBJECTIVE] = [
        math.fsum(weight * part.get(name, math.nan) for name, weight in sorted(objective.weights.items())) / whole
        for part in scores
    ]
    return columns


def _number(value: float | None) -> float:
    return math.nan if value is None else value
