"""Answers of arms as the tables of preference studies read them, and one number for each run and prompt. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from assay.metaeval.statistics.clustered import Block
from assay.preference.comparing import OrderedVerdicts
from assay.preference.labelling import label_score, num_words


@dataclass(frozen=True)
class RunAnswers:
    """What one training answered, by example; what failed is absent."""

    seed: int
    texts: Mapping[str, str]
    scores: Mapping[str, Mapping[str, float]]
    """Scorer -> rating by example."""
    log_ratios: Mapping[str, float] = field(default_factory=dict)
    """log p(answer) of the model less that of its start, nats."""
    forgetting: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    """Evaluation set -> scorer -> rating by example."""
    verdicts: Mapping[str, OrderedVerdicts] = field(default_factory=dict)
    """A referee's on the answer (the first) and one of the start's, by example."""


@dataclass(frozen=True)
class ArmAnswers:
    """A method on one source of pairs, or the start."""

    base_model: str
    pairs: str
    """Source of pairs; empty for the start."""
    method: str
    arm: str
    runs: tuple[RunAnswers, ...]
    is_start: bool = False


@dataclass(frozen=True)
class Label:
    """Who labelled a source's pairs."""

    scorer: str
    length_bias: float = 0.0
    """Planted, for each word of an answer."""
    named: str = ""
    """What tables say where no scorer of the study labelled ("given", "pairwise"); the scorer is then the human column
    of the study. Empty: the scorer labelled."""

    def of(self, run: RunAnswers, example: str) -> float:
        """The label's score of an answer, its bias included; NaN where there is none."""
        score = run.scores.get(self.scorer, {}).get(example)
        if score is None or example not in run.texts:
            return math.nan
        return label_score(score, run.texts[example], self.length_bias)


Measure = Callable[[RunAnswers, str], float]
"""A number for a run's answer to an example; NaN where there is none."""


def scored_by(scorer: str) -> Measure:
    """The rating of a scorer."""
    return lambda run, example: run.scores.get(scorer, {}).get(example, math.nan)


def words(run: RunAnswers, example: str) -> float:
    """Length of an answer in words."""
    return float(num_words(run.texts[example])) if example in run.texts else math.nan


def log_ratio(run: RunAnswers, example: str) -> float:
    """Of an answer: log p under the model less that under its start, nats."""
    return run.log_ratios.get(example, math.nan)


def kept_in(evaluation_set: str, scorer: str) -> Measure:
    """The rating of an answer of a set that shows forgetting."""
    return lambda run, example: run.forgetting.get(evaluation_set, {}).get(scorer, {}).get(example, math.nan)


def block(arm: ArmAnswers, measure: Measure, examples: Sequence[str]) -> Block:
    """A measure as a table of runs x examples; the start is one given model."""
    values = np.array([[measure(run, example) for example in examples] for run in arm.runs])
    return Block(
        values.reshape(len(arm.runs), len(examples)),
        [(arm.pairs, arm.method, run.seed) for run in arm.runs],
        list(examples),
        is_fixed=arm.is_start,
    )
