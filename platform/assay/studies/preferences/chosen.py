"""Which tuning point of each method is reported: the one whose answers to the tuning prompts its label likes best.

A point's score is the mean over its seeds and the tuning prompts, by the scorer that labelled the pairs with the bias
that was planted there: nobody who tunes knows the truth. Given pairs, and answers compared two by two, have no scorer
that rates one answer, so there the study's human column is taken. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from assay.metaeval.study_tables.build import RunRow
from assay.preference.labelling import label_score
from assay.preference.sources import LabelledAnswers, PairsSpec
from assay.studies.designs.preference import PreferenceGrid, arm_name


@dataclass(frozen=True)
class Answers:
    """What a model answered, as far as it was answered and scored, by example."""

    texts: Mapping[str, str]
    scores: Mapping[str, Mapping[str, float]]
    """Scorer -> rating by example."""

    def labels(self, label: str, length_bias: float) -> dict[str, float]:
        """The label's score by example, with the bias that was planted."""
        known = self.scores.get(label, {})
        return {
            name: label_score(score, self.texts[name], length_bias)
            for name, score in known.items()
            if name in self.texts
        }


@dataclass(frozen=True)
class Chosen:
    """A method on one source of pairs, at its best tuning point."""

    base_model: str
    source: str
    method: str
    arm: str
    point: str
    tuning_score: float
    tuning_scores: tuple[float, ...]
    """Of every point, in the order of the study."""


def label_of(spec: PairsSpec, human: str) -> tuple[str, float]:
    """The scorer that stands for a source's labels, and the bias that was planted."""
    return (spec.label, spec.length_bias) if has_scorer(spec) else (human, 0.0)


def has_scorer(spec: PairsSpec) -> TypeGuard[LabelledAnswers]:
    """Whether a scorer of the study labelled, so that whatever is answered later can be scored by the same."""
    return isinstance(spec, LabelledAnswers) and not spec.is_compared


def choose(
    grid: PreferenceGrid, runs: Sequence[RunRow], read: Callable[[str], Answers], human: str, tuning_set: str
) -> list[Chosen]:
    """The reported point of every base, source and method; the first of equal ones.

    Args:
        grid: the design.
        runs: all runs of the study.
        read: answers of a predictions artifact.
        human: scorer that stands for labels that no scorer made.
        tuning_set: evaluation set to choose by.
    """
    tuned: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        if run.evaluation_set == tuning_set:
            tuned.setdefault((run.base_model, run.arm), []).append(run.predictions_key)
    found = []
    for base_model in dict.fromkeys(base for base, _ in tuned):
        for source, spec in grid.pairs.items():
            label, bias = label_of(spec, human)
            for method in grid.trained_methods:
                points = grid.points(method)
                arms = [arm_name(method, source, point) for point in points]
                means = [_mean([read(key).labels(label, bias) for key in tuned[base_model, arm]]) for arm in arms]
                best = int(np.argmax([-math.inf if math.isnan(mean) else mean for mean in means]))
                found.append(
                    Chosen(base_model, source, method, arms[best], points[best].label, means[best], tuple(means))
                )
    return found


def _mean(labels: Sequence[Mapping[str, float]]) -> float:
    values = [value for part in labels for value in part.values()]
    return float(np.mean(values)) if values else math.nan
