"""What the pipeline does for a study of preferences beside the stages of every study; needs a started Ray.

Before trainings: pairs, and rounds of expert iteration. After scores: best of n of the start, and divergences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from assay.generation.spec import KIND as PREDICTIONS
from assay.hooks import Progress
from assay.judging.asking import JudgeConnection
from assay.llm.ledger.tables import ledger_url
from assay.preference.rows import KIND as PAIRS
from assay.preference.sources import REPORTED_SET
from assay.records import Example
from assay.scoring.jobs import KIND as SCORES
from assay.scoring.jobs import JudgeSetup, scores_key
from assay.scoring.protocol import ScorerSpec
from assay.store import Store
from assay.studies.artifacts import EvaluationSet, StudyArtifacts
from assay.studies.designs.preference import PreferenceGrid
from assay.studies.inputs import Datasets
from assay.studies.judge_endpoint import endpoint_of
from assay.studies.preferences.divergence import KIND as DIVERGENCE
from assay.studies.preferences.divergence import divergence_key
from assay.studies.preferences.making import PairMaker
from assay.studies.preferences.refereed import play, referee_protocol, referee_spec
from assay.studies.preferences.rounds import rounds_of
from assay.studies.preferences.stage import AfterScores
from assay.studies.scores import ScoreJobs, ratings_by_run, stored_scores
from assay.studies.spec import Study
from assay.studies.starts import make_stacks
from assay.studies.writer import EmbeddedJudge
from assay.training.spec import TrainingJob

AskJudge = Callable[[ScorerSpec], JudgeSetup]
"""How a judge is asked that labels or scores."""


@dataclass(frozen=True)
class PreferenceSteps:
    """One study on one store; its artifacts are told to each step, since they gain folders on the way."""

    study: Study
    grid: PreferenceGrid
    store: Store
    progress: Progress
    datasets: Datasets
    sets: Mapping[str, EvaluationSet]
    embedded: EmbeddedJudge
    budget_usd: float | None = None

    def make_pairs(
        self, plan: StudyArtifacts, judge: AskJudge, train: Callable[[Sequence[TrainingJob]], None]
    ) -> list[str]:
        """The pairs that trainings read, where they are missing; what was made, in words."""
        maker, said = self._maker(judge), []
        for wanted, jobs in rounds_of(plan.rounds, {key: stack.key for key, stack in plan.stacked.items()}):
            said.append(maker.make(wanted))
            there = self.store.present("adapter", [job.key for job in jobs])
            train([job for job in jobs if job.key not in there])
            make_stacks(self.store, [plan.stacked[job.key] for job in jobs if job.key in plan.stacked])
        said.append(maker.make(plan.pairs))
        return [part for part in said if part]

    def finish(self, plan: StudyArtifacts, scoring: ScoreJobs, judge: AskJudge) -> str:
        """Best of n, and divergences of what is reported, where they are missing; what was made, in words."""
        after, maker = self.after(plan, scoring), self._maker(judge)
        after.make_frontiers(maker, scoring.specs)
        said = f"divergences of {after.make_divergences(maker, after.chosen())} models"
        pairs = self._play(after)
        return f"{said}; {pairs:,} pairs of answers put before the referee" if pairs else said

    def _play(self, after: AfterScores) -> int:
        """Have the referee compare what was not compared."""
        unplayed, config = after.unplayed(after.chosen()), self.study.referee
        if not unplayed or config is None:
            return 0
        with ExitStack() as stack:
            url = stack.enter_context(self.embedded.start()) if config.is_embedded else None
            endpoint = endpoint_of(config, embedded_url=url, embedded_name=self.embedded.name)
            return play(
                self.store,
                {key: after.sides(match) for key, match in unplayed.items()},
                after.examples(self.sets[REPORTED_SET]),
                referee_protocol(config.protocol, self.study.mode),
                JudgeConnection(endpoint, ledger_url(self.store.uri), self.budget_usd, self.study.name),
                self.progress,
            )

    @property
    def _referee(self) -> ScorerSpec | None:
        config = self.study.referee
        if config is None:
            return None
        endpoint = endpoint_of(config, embedded_name=self.embedded.name)
        return referee_spec(config.protocol, self.study.mode, endpoint)

    def after(self, plan: StudyArtifacts, scoring: ScoreJobs) -> AfterScores:
        """The study with its stored scores."""
        scores = ratings_by_run(stored_scores(self.store, scoring))
        return AfterScores(
            self.study, self.grid, self.store, plan, self.sets, self.datasets.evaluation_rows, scores, self._referee
        )

    def is_whole(self, plan: StudyArtifacts, scoring: ScoreJobs) -> bool:
        """Whether all of this is there; to be asked once every score of the study is."""
        after = self.after(plan, scoring)
        answers, scores = self._frontiers(after, scoring)
        read = [divergence_key(job) for job in after.reported_jobs(after.chosen())]
        wanted = {PAIRS: [part.key for part in plan.pairs], PREDICTIONS: answers, SCORES: scores, DIVERGENCE: read}
        there = all(self.store.present(kind, keys) == set(keys) for kind, keys in wanted.items())
        return there and not after.unplayed(after.chosen())

    def add_wanted(self, plan: StudyArtifacts, scoring: ScoreJobs, used: dict[str, list[str]]) -> None:
        """Put the start's answers for best of n and their scores on the list of what the study wants."""
        after = AfterScores(self.study, self.grid, self.store, plan, self.sets, self.datasets.evaluation_rows, {})
        answers, scores = self._frontiers(after, scoring)
        used[PREDICTIONS] += answers
        used[SCORES] += scores

    def shown(self, after: AfterScores) -> StudyArtifacts:
        """The artifacts with the runs that tables of every study are made of."""
        return replace(after.plan, runs=tuple(after.shown(after.chosen())))

    def _frontiers(self, after: AfterScores, scoring: ScoreJobs) -> tuple[list[str], list[str]]:
        """Keys of the start's answers for best of n, and of their scores."""
        samples = after.frontiers().values()
        scores = [scores_key(spec, part.batch) for part in samples for spec in scoring.specs]
        return [part.job.key for part in samples], scores

    def _maker(self, judge: AskJudge) -> PairMaker:
        def rows() -> dict[str, list[Example]]:
            return {key: self.datasets.rows(name) for name, key in self.datasets.keys.items()}

        return PairMaker(self.study, self.store, self.progress, rows, judge)
