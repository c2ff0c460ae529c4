"""What follows the scores of a study of preferences: the arms that are reported, best of n of the start, divergences.

Making the latter two needs a started Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from assay.generation.spec import GenerationJob
from assay.metaeval.study_tables.build import RunRow
from assay.preference.sources import REPORTED_SET
from assay.records import Example
from assay.scoring.protocol import ScorerSpec
from assay.store import Store
from assay.studies.artifacts import EvaluationSet, StudyArtifacts
from assay.studies.designs.preference import TUNING_SET, PreferenceGrid
from assay.studies.preferences.chosen import Answers, Chosen, choose
from assay.studies.preferences.making import PairMaker, stored_answers
from assay.studies.preferences.refereed import KIND as VERDICTS
from assay.studies.preferences.refereed import Match, Texts
from assay.studies.preferences.wanted import Sampler, Samples, answer_id, sampled
from assay.studies.spec import Study


@dataclass(frozen=True)
class AfterScores:
    """What is made once all answers are scored."""

    study: Study
    grid: PreferenceGrid
    store: Store
    plan: StudyArtifacts
    sets: Mapping[str, EvaluationSet]
    examples: Callable[[EvaluationSet], Sequence[Example]]
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Predictions key -> scorer -> rating by example."""
    referee: ScorerSpec | None = None
    """Who compares answers with the start's, as verdicts are keyed by it."""

    def read(self, key: str) -> Answers:
        """Answers of a predictions artifact of the study."""
        return Answers(stored_answers(self.store, key), self.scores.get(key, {}))

    def chosen(self) -> list[Chosen]:
        """The arms that are reported."""
        return self._chosen

    @cached_property
    def _chosen(self) -> list[Chosen]:
        return choose(self.grid, self.plan.runs, self.read, self.study.statistics.human, TUNING_SET)

    def frontiers(self) -> dict[str, Samples]:
        """The start's answers to the reported prompts, by the base model's name in tables."""
        reported = self.sets[REPORTED_SET]
        starts = {run.predictions_key: run.base_model for run in self.plan.runs if not run.is_trained}
        jobs = {starts[job.key]: job for job in self.plan.generations if job.key in starts}
        return {
            name: sampled(
                self.study.generation,
                Sampler(job.base_key, job.base_path, job.adapter_key, job.lora_rank),
                reported.key,
                num=self.grid.frontier,
                max_new_tokens=reported.max_new_tokens,
            )
            for name, job in jobs.items()
        }

    def make_frontiers(self, maker: PairMaker, scorers: Sequence[ScorerSpec]) -> None:
        """Sample and score them where they are missing."""
        rows = self.examples(self.sets[REPORTED_SET])
        frontiers = list(self.frontiers().values())
        maker.answer(frontiers, lambda _: rows)
        for samples in frontiers:
            maker.score(samples, rows, scorers)

    def make_divergences(self, maker: PairMaker, chosen: Sequence[Chosen]) -> int:
        """Log-probabilities of what the reported arms answered; how many were made."""
        from assay.studies.preferences.ray_divergence import DivergenceJob, run_divergence

        rows, prefixes = tuple(self.examples(self.sets[REPORTED_SET])), self.plan.prefixes
        stacks = {stack.key: stack.parts for stack in self.plan.stacked.values()}
        jobs = [
            DivergenceJob(
                job, rows, stacks.get(str(job.adapter_key), (str(job.adapter_key),)), prefixes.get(job.key, "")
            )
            for job in self.reported_jobs(chosen)
        ]
        return run_divergence(self.store, jobs, self.study.train, self.study.resources.training, maker.progress)

    def match(self, run: RunRow) -> Match | None:
        """A reported run's answers against the start's: each seed meets another of the start's answers."""
        samples = self.frontiers().get(run.base_model)
        if samples is None:
            return None
        return Match(run.predictions_key, samples.job.key, run.training_seed % samples.num)

    def unplayed(self, chosen: Sequence[Chosen]) -> dict[str, Match]:
        """Matches of the reported arms that have no verdicts yet, by key."""
        if self.referee is None:
            return {}
        jobs = {job.key for job in self.reported_jobs(chosen)}
        matches = [self.match(run) for run in self.plan.runs if run.predictions_key in jobs]
        by_key = {match.key(self.referee): match for match in matches if match is not None}
        there = self.store.present(VERDICTS, list(by_key))
        return {key: match for key, match in by_key.items() if key not in there}

    def sides(self, match: Match) -> Texts:
        """What both sides of a match answered to the reported prompts."""
        start = stored_answers(self.store, match.start)
        ids = {answer_id(row.example_id, match.place): row.example_id for row in self.examples(self.sets[REPORTED_SET])}
        return Texts(self.read(match.answers).texts, {ids[name]: text for name, text in start.items() if name in ids})

    def shown(self, chosen: Sequence[Chosen]) -> list[RunRow]:
        """Runs of the start and of the reported arms, answers by which points were chosen left out."""
        arms = {(part.base_model, part.arm) for part in chosen}
        return [
            run
            for run in self.plan.runs
            if run.evaluation_set != TUNING_SET and (not run.is_trained or (run.base_model, run.arm) in arms)
        ]

    def reported_jobs(self, chosen: Sequence[Chosen]) -> list[GenerationJob]:
        """What the reported arms answer to the reported prompts."""
        arms = {(part.base_model, part.arm) for part in chosen}
        keys = {
            run.predictions_key
            for run in self.plan.runs
            if run.evaluation_set == REPORTED_SET and (run.base_model, run.arm) in arms
        }
        return [job for job in self.plan.generations if job.key in keys]
