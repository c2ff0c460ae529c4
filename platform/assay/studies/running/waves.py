"""Training, generation and scoring of what the store does not hold, `wave_size` trainings at a time.

Stages follow each other, but for the judge: where there is room for both it works while the next wave trains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from assay.model_folders import TRAINED_KIND
from assay.scoring.jobs import KIND as SCORES
from assay.scoring.jobs import JudgeSetup, ScoringBatch, scores_key
from assay.studies.artifacts import EvaluationSet, StudyArtifacts, Wave, placed
from assay.studies.given.answers import Booking, store_given
from assay.studies.inputs import Datasets
from assay.studies.inside_trials import InsideTrials
from assay.studies.preferences.steps import PreferenceSteps
from assay.studies.preferences.wanted import asked_with
from assay.studies.running.engines import Engines
from assay.studies.running.judge import StudyJudge
from assay.studies.running.opened import OpenedStudy
from assay.studies.running.overlap import Stop, StoppableProgress, may_overlap, run_beside
from assay.studies.scores import ScoreJobs
from assay.studies.spec import JUDGE
from assay.studies.starts import make_stacks
from assay.training.sweep.twins import copy_twin, twins

if TYPE_CHECKING:
    from assay.generation.spec import GenerationJob
    from assay.records import Example
    from assay.studies.given.found import Given
    from assay.training.spec import TrainingJob


@dataclass(frozen=True)
class Judging:
    """The judge's part of a wave's scores."""

    scoring: ScoreJobs
    """Without local scorers."""
    batches: Sequence[ScoringBatch]
    examples: Mapping[str, Sequence[Example]]
    judge: JudgeSetup


@dataclass(frozen=True)
class Waves:
    """The waves of one study; a study in rounds goes through them once a round."""

    opened: OpenedStudy
    engines: Engines
    judge: StudyJudge
    datasets: Datasets

    def make(
        self,
        plan: StudyArtifacts,
        sets: Mapping[str, EvaluationSet],
        scoring: ScoreJobs,
        inside: InsideTrials | None = None,
        until: str | None = None,
        steps: PreferenceSteps | None = None,
    ) -> None:
        """Train, generate and score what is missing.

        Args:
            plan: the artifacts, with the folder of each base that is there already.
            sets: evaluation sets by name.
            scoring: the scores of these artifacts.
            inside: what trials evaluate themselves by.
            until: stage to end with.
            steps: what a study of preferences makes beside.

        Raises:
            LimitReached: the budget stopped the judge.
            StageError: something failed after its retries.
        """
        opened, store, costs = self.opened, self.opened.store, self.opened.costs
        if opened.has_scores(scoring) and not opened.retry_failed and (steps is None or steps.is_whole(plan, scoring)):
            return
        adapters = store.present("adapter", [job.key for job in (*plan.tunings, *plan.trainings)])
        predictions = store.present("predictions", plan.predictions)
        examples = {part.key: self.datasets.evaluation_rows(part) for part in sets.values()}
        with ExitStack() as stack:
            self.engines.join(stack)
            endpoint = None
            if opened.preflight:
                trained = [job for job in (*plan.tunings, *plan.trainings) if job.key not in adapters]
                asked = [job for job in plan.generations if job.key not in predictions and until != "train"]
                with costs.stage("preflight"):
                    self.rehearse(trained, asked, sets)
            with costs.stage("train"):
                self._train([job for job in plan.tunings if job.key not in adapters])
                plan = plan.at(self.engines.merged(plan.merged) | self._whole(plan, plan.tunings))
            if steps is not None:
                endpoint = self.judge.endpoint(stack)
                with costs.stage("pairs"):
                    for said in steps.make_pairs(plan, self.judge.asks(endpoint), self._train):
                        costs.note("pairs", said)
            waves = plan.waves(opened.study.resources.wave_size)
            missing = [[job for job in wave.trainings if job.key not in adapters] for wave in waves]
            judging: Judging | None = None
            for place, (wave, batches) in enumerate(zip(waves, scoring.waves, strict=True)):
                self._beside(judging, partial(self._train_wave, plan, wave, missing[place], inside))
                judging = None
                if until == "train":
                    continue
                with costs.stage("generate"):
                    todo = [job for job in wave.generations if job.key not in predictions]
                    self._generate(plan, placed(todo, self._whole(plan, wave.trainings)), examples)
                    self._answer_given([job for job in wave.given if job.key not in predictions], examples)
                if until == "generate":
                    continue
                if endpoint is None:
                    endpoint = self.judge.endpoint(stack)
                judge = None if scoring.judge is None else self.judge.setup(scoring.judge, endpoint)
                if judge is not None and any(missing[place + 1 : place + 2]) and self._can_wait(judge, batches):
                    judging, judge = Judging(replace(scoring, local=()), batches, examples, judge), None
                with costs.stage("score"):
                    self.engines.score(scoring, batches, examples, [] if judge is None else [judge])
            if endpoint is not None and scoring.judge is not None:
                self.judge.tell_versions()
            if endpoint is not None and steps is not None and until not in ("train", "generate"):
                with costs.stage("preferences"):
                    costs.note("preferences", steps.finish(plan, scoring, self.judge.asks(endpoint)))

    def rehearse(
        self,
        trainings: Sequence[TrainingJob],
        generations: Sequence[GenerationJob],
        sets: Mapping[str, EvaluationSet],
    ) -> None:
        """Try each base, and the judge, before hours of training."""
        examples = {part.key: self.datasets.evaluation_rows(part) for part in sets.values()}
        self.engines.rehearse(trainings, generations, examples)
        if generations and JUDGE in self.opened.study.scorers and not self.opened.study.judge.is_embedded:
            self.judge.ask_once(next(iter(examples[generations[0].evaluation_key])))

    def _whole(self, plan: StudyArtifacts, trainings: Sequence[TrainingJob]) -> dict[str, str]:
        """Folder of every model that these trainings trained whole."""
        keys = {job.key for job in trainings} & set(plan.whole)
        return {key: str(self.opened.store.local_dir(TRAINED_KIND, key)) for key in sorted(keys)}

    def _train(self, jobs: Sequence[TrainingJob], inside: InsideTrials | None = None, stop: Stop | None = None) -> None:
        if jobs:
            self.engines.train(jobs, inside, stop)

    def _beside(self, judging: Judging | None, train: Callable[[Stop | None], None]) -> None:
        """Train a wave; the judging that the one before has left goes on beside it, or before it."""
        if judging is None:
            train(None)
            return
        with self.engines.room_beside(judging.judge) as placed:
            if placed is not None:
                run_beside(train, partial(self._judge, replace(judging, judge=placed)))
                self.opened.costs.note("score", "judged while the next wave trained")
                return
        self._judge(judging)
        train(None)

    def _judge(self, judging: Judging, stop: Stop | None = None) -> None:
        progress = self.opened.progress if stop is None else StoppableProgress(self.opened.progress, stop)
        with self.opened.costs.stage("score"):
            self.engines.score(judging.scoring, judging.batches, judging.examples, [judging.judge], progress)

    def _can_wait(self, judge: JudgeSetup, batches: Sequence[ScoringBatch]) -> bool:
        """Whether a judge has something to do with these which may be done while the next wave trains."""
        keys = {scores_key(judge.spec, batch) for batch in batches}
        is_asked = self.opened.retry_failed or self.opened.store.present(SCORES, keys) != keys
        return is_asked and may_overlap(self.opened.study, judge.endpoint) and self.engines.num_beside(judge) > 0

    def _train_wave(
        self,
        plan: StudyArtifacts,
        wave: Wave,
        jobs: Sequence[TrainingJob],
        inside: InsideTrials | None,
        stop: Stop | None,
    ) -> None:
        """Train what of a wave is missing and no other training of the same rows has made, or makes now."""
        store = self.opened.store
        with self.opened.costs.stage("train"):
            same = twins(store, jobs, plan.trainings, plan.mixtures)
            self._train([job for job in jobs if job.key not in same], inside, stop)
            for job in jobs:
                if job.key in same:
                    copy_twin(store, job, same[job.key])
            if same:
                said = f"{len(same)} trainings of the same rows as another's, not trained again"
                self.opened.costs.note("train", said)
            make_stacks(store, [plan.stacked[job.key] for job in wave.trainings if job.key in plan.stacked])

    def _generate(
        self, plan: StudyArtifacts, jobs: Sequence[GenerationJob], examples: Mapping[str, Sequence[Example]]
    ) -> None:
        """Answers, model by model as each is asked."""
        for prefix in sorted({plan.prefixes.get(job.key, "") for job in jobs}):
            own = [job for job in jobs if plan.prefixes.get(job.key, "") == prefix]
            self.engines.generate(own, examples, asked_with(self.opened.study.generation, prefix))

    def _answer_given(self, jobs: Sequence[Given], examples: Mapping[str, Sequence[Example]]) -> None:
        """Answers that lie in files, or that endpoints give."""
        opened = self.opened
        booking = Booking(opened.ledger, opened.study.name, opened.budget_usd)
        for said in store_given(opened.store, jobs, examples, booking, opened.progress) if jobs else ():
            opened.costs.note("generate", said)
