"""From what a study of preferences stored to its tables: reads artifacts, decides nothing."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.metaeval.preference.answers import ArmAnswers, Label, RunAnswers, scored_by
from assay.metaeval.preference.columns import COLUMNS
from assay.metaeval.preference.equal_cost import Spent, equal_cost_rows
from assay.metaeval.preference.frontier import Frontier, frontier_rows
from assay.metaeval.preference.measures import LABEL, WORDS, Reported, measure_rows, preferences
from assay.metaeval.statistics.estimate import FloatArray
from assay.metaeval.statistics.win_rate import win_rate
from assay.metaeval.study_tables.build import RunRow, ScorerInfo
from assay.metaeval.study_tables.columns import make_table
from assay.preference.comparing import OrderedVerdicts
from assay.preference.labelling import label_score, num_words
from assay.preference.sources import REPORTED_SET, START, LabelledAnswers
from assay.scoring.jobs import scores_key
from assay.scoring.protocol import ScorerSpec
from assay.studies.designs.preference import TUNING_SET, arm_name
from assay.studies.preferences.chosen import Chosen, has_scorer, label_of
from assay.studies.preferences.divergence import FILE, KIND, divergence_key
from assay.studies.preferences.label_rows import label_rows
from assay.studies.preferences.making import stored_answers, stored_ratings
from assay.studies.preferences.refereed import read_verdicts
from assay.studies.preferences.spent import paid_for_pairs, spent_on_pairs
from assay.studies.preferences.stage import AfterScores
from assay.studies.preferences.wanted import Samples, answer_id

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


def preference_tables(
    after: AfterScores, infos: Sequence[ScorerInfo], specs: Sequence[ScorerSpec]
) -> dict[str, pa.Table]:
    """Every table of `metaeval.preference.columns`.

    Args:
        after: the study with everything made.
        infos: its scorers, as tables know them.
        specs: the same, as scores are keyed by them.
    """
    made = _Made(after, infos, specs)
    rows: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    for base_model in dict.fromkeys(part.base_model for part in made.chosen):
        for source in after.grid.pairs:
            reported = made.reported(base_model, source)
            rows["preference_measures"] += measure_rows(reported)
            rows["preference_equal_cost"] += equal_cost_rows(reported, made.spent(source))
            if reported.frontier is not None:
                rows["preference_frontier"] += frontier_rows(base_model, source, reported.frontier)
            rows["preference_wins"] += _win_rows(reported)
            rows["preference_labels"] += made.labels(base_model, source)
    for part in made.chosen:
        rows["preference_arms"].append(made.arm_row(part))
        rows["preference_points"] += made.point_rows(part)
        rows["preference_training"] += made.training_rows(part)
    return {name: make_table(name, part, COLUMNS) for name, part in rows.items()}


@dataclass(frozen=True)
class _Sampled:
    """The start's answers to the reported prompts, and what every scorer says of them."""

    num: int
    """Answers to a prompt."""
    texts: Mapping[str, str]
    """By `answer_id`; what failed is absent."""
    ratings: Mapping[str, Mapping[str, float]]
    """Scorer -> rating by `answer_id`; what is unscored is absent."""


class _Made:
    """What was made, read where it is wanted."""

    def __init__(self, after: AfterScores, infos: Sequence[ScorerInfo], specs: Sequence[ScorerSpec]) -> None:
        self.after, self.infos, self.specs = after, infos, specs
        self.chosen = after.chosen()
        self.examples = {name: [row.example_id for row in after.examples(part)] for name, part in after.sets.items()}
        self._sampled = {name: self._read(samples) for name, samples in after.frontiers().items()}
        self._by_arm: dict[tuple[str, str], dict[tuple[int, str], RunRow]] = {}
        for run in after.plan.runs:
            self._by_arm.setdefault((run.base_model, run.arm), {})[run.training_seed, run.evaluation_set] = run
        self._jobs = {job.key: job for job in after.plan.trainings}
        self._generations = {job.key: job for job in after.plan.generations}

    def label(self, source: str) -> Label:
        """Who labelled a source."""
        spec = self.after.grid.pairs[source]
        named = "" if has_scorer(spec) else spec.scorer if isinstance(spec, LabelledAnswers) else spec.kind
        return Label(*label_of(spec, self.after.study.statistics.human), named)

    def reported(self, base_model: str, source: str) -> Reported:
        """The arms of one base model and source."""
        plain = self._arm(base_model, "", START, START, is_start=True)
        sampled = self._sampled.get(base_model)
        start = plain if sampled is None else self._sampled_start(base_model, sampled)
        arms = [
            self._arm(base_model, source, part.method, part.arm)
            for part in self.chosen
            if (part.base_model, part.source) == (base_model, source)
        ]
        label = self.label(source)
        others = {name: rows for name, rows in self.examples.items() if name not in (REPORTED_SET, TUNING_SET)}
        return Reported(
            start,
            plain,
            arms,
            label,
            self.infos,
            self.after.study.statistics.human,
            self.examples[REPORTED_SET],
            others,
            None if sampled is None else self._frontier(sampled, label),
            "" if self.after.referee is None else str(self.after.referee.params["model"]),
        )

    def _arm(self, base_model: str, source: str, method: str, arm: str, *, is_start: bool = False) -> ArmAnswers:
        found = self._by_arm[base_model, arm]
        seeds = sorted({seed for seed, _ in found})
        runs = tuple(
            self._run(seed, {name: run for (other, name), run in found.items() if other == seed}) for seed in seeds
        )
        return ArmAnswers(base_model, source, method, arm, runs, is_start)

    def _run(self, seed: int, runs: Mapping[str, RunRow]) -> RunAnswers:
        own = runs[REPORTED_SET]
        answers = self.after.read(own.predictions_key)
        others = {
            name: self.after.scores.get(run.predictions_key, {})
            for name, run in runs.items()
            if name not in (REPORTED_SET, TUNING_SET)
        }
        return RunAnswers(seed, answers.texts, answers.scores, self._log_ratios(own), others, self._verdicts(own))

    def _verdicts(self, run: RunRow) -> dict[str, OrderedVerdicts]:
        match, referee = self.after.match(run), self.after.referee
        if match is None or referee is None or not run.is_trained:
            return {}
        return read_verdicts(self.after.store, match.key(referee))

    def _log_ratios(self, run: RunRow) -> dict[str, float]:
        key = divergence_key(self._generations[run.predictions_key])
        if not self.after.store.exists(KIND, key):
            return {}
        rows = self.after.store.read_table(KIND, key, FILE).to_pylist()
        return {row["example_id"]: row["log_prob"] - row["start_log_prob"] for row in rows}

    def _read(self, samples: Samples) -> _Sampled:
        store = self.after.store
        ratings = {spec.name: stored_ratings(store, scores_key(spec, samples.batch)) for spec in self.specs}
        return _Sampled(samples.num, stored_answers(store, samples.job.key), ratings)

    def _sampled_start(self, base_model: str, sampled: _Sampled) -> ArmAnswers:
        """The start by all its answers to the reported prompts: less noise than one answer each."""
        examples = self.examples[REPORTED_SET]

        def at(place: int, known: Mapping[str, Any]) -> dict[str, Any]:
            ids = {name: answer_id(name, place) for name in examples}
            return {name: known[row] for name, row in ids.items() if row in known}

        runs = tuple(
            RunAnswers(
                place, at(place, sampled.texts), {name: at(place, known) for name, known in sampled.ratings.items()}
            )
            for place in range(sampled.num)
        )
        return ArmAnswers(base_model, "", START, START, runs, is_start=True)

    def _frontier(self, sampled: _Sampled, label: Label) -> Frontier:
        examples, texts, human = self.examples[REPORTED_SET], sampled.texts, self.after.study.statistics.human
        ids = [[answer_id(name, place) for place in range(sampled.num)] for name in examples]

        def values(name: str, bias: float = 0.0) -> FloatArray:
            known = sampled.ratings[name]
            return np.array(
                [
                    [label_score(known[i], texts[i], bias) if i in known and i in texts else math.nan for i in row]
                    for row in ids
                ]
            )

        by_label = values(label.scorer, label.length_bias)
        lengths = np.array([[num_words(texts[i]) if i in texts else math.nan for i in row] for row in ids], dtype=float)
        return Frontier(examples, by_label, {LABEL: by_label, human: values(human), WORDS: lengths})

    def labels(self, base_model: str, source: str) -> list[Row]:
        """How a source's labels follow length."""
        asked = [
            (cell.pairs.rounds, self._jobs[key].mixture_key)
            for cell, key in self.after.plan.cells
            if cell.pairs is not None and cell.pairs.name == source and self._jobs[key].base_name == base_model
        ]
        _, key = min(asked, key=lambda part: part[0])
        wanted = next(part for part in self.after.plan.pairs if part.key == key)
        return label_rows(self.after.store, wanted, base_model, source, self.label(source))

    def spent(self, source: str) -> dict[str, Spent]:
        """What the pairs of one training of each method cost."""
        grid = self.after.grid
        return {method: spent_on_pairs(grid, source, method) for method in grid.trained_methods}

    def arm_row(self, part: Chosen) -> Row:
        """What an arm is and what its method cost."""
        grid = self.after.grid
        arms = {arm_name(part.method, part.source, point) for point in grid.points(part.method)}
        keys = {
            run.adapter_key for run in self.after.plan.runs if run.base_model == part.base_model and run.arm in arms
        }
        paid = paid_for_pairs(grid, part.source, part.method)
        return {
            "base_model": part.base_model,
            "pairs": part.source,
            "method": part.method,
            "arm": part.arm,
            "point": part.point,
            "tuning_score": part.tuning_score,
            "num_points": grid.num_points,
            "num_runs": grid.seeds,
            "trained_tokens": sum(self._trained_tokens(key) for key in keys),
            "sampled_answers": paid.answers,
            "judge_verdicts": paid.judge_verdicts,
            "start_verdicts": paid.start_verdicts,
        }

    def _trained_tokens(self, adapter: str) -> int:
        return int(self.after.store.read_json("adapter", adapter, "summary.json")["num_trained_tokens"])

    def point_rows(self, part: Chosen) -> list[Row]:
        """Every tuning point of a method."""
        points = self.after.grid.points(part.method)
        return [
            {
                "base_model": part.base_model,
                "pairs": part.source,
                "method": part.method,
                "point": point.label,
                "tuning_score": score,
                "is_reported": point.label == part.point,
            }
            for point, score in zip(points, part.tuning_scores, strict=True)
        ]

    def training_rows(self, part: Chosen) -> list[Row]:
        """Means over seeds of the reported arm's history, at each step."""
        keys = {run.adapter_key for run in self._by_arm[part.base_model, part.arm].values()}
        sums: dict[int, Counter[str]] = {}
        counts: dict[int, Counter[str]] = {}
        for key in sorted(keys):
            for step in self.after.store.read_table("adapter", key, "history.parquet").to_pylist():
                watched = json.loads(step["hooks_json"] or "{}")
                known = {
                    "loss": step["loss"],
                    "chosen_log_p": watched.get("objective/chosen_log_prob"),
                    "rejected_log_p": watched.get("objective/rejected_log_prob"),
                }
                for name, value in known.items():
                    if value is not None:
                        sums.setdefault(step["step"], Counter())[name] += value
                        counts.setdefault(step["step"], Counter())[name] += 1
        return [
            {
                "base_model": part.base_model,
                "pairs": part.source,
                "method": part.method,
                "step": step,
                **{
                    name: sums[step][name] / counts[step][name] if counts[step][name] else math.nan
                    for name in ("loss", "chosen_log_p", "rejected_log_p")
                },
                "num_runs": max(counts[step].values()),
            }
            for step in sorted(sums)
        ]


def _win_rows(reported: Reported) -> list[Row]:
    """Every arm against every other and the start, by the human column."""
    by = scored_by(reported.human)
    rows = []
    for arm in reported.arms:
        for other in (*reported.arms, reported.start):
            if other is arm:
                continue
            found = win_rate(preferences(arm, other, by, reported.examples))
            rows.append(
                {
                    "base_model": arm.base_model,
                    "pairs": arm.pairs,
                    "method": arm.method,
                    "other": other.method,
                    "by": reported.human,
                    "rate": found.rate,
                    "low": found.low,
                    "high": found.high,
                    "num_items": found.num_items,
                    "num_missing": found.num_missing,
                }
            )
    return rows
