"""The composition root: runs a study from its data to its tables, doing only what the store does not hold.

Stages follow each other: data, mixtures, base, then wave by wave training, generation and scoring, then tables; what
each does lies in `running/`. Every stage reads and writes the store by key, so the same call after a kill at any point
continues. What can be refused is refused before the first stage that takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from assay.errors import ConfigError
from assay.studies.artifacts import EvaluationSet, StudyArtifacts
from assay.studies.costs import Costs
from assay.studies.deciding.rounds import families_of
from assay.studies.deciding.study_rounds import forgetting_sets, replayed
from assay.studies.exits.wording import exits_table
from assay.studies.folder import DECISIONS, EXITS, StudyFolder
from assay.studies.garbage import ARTIFACTS, references
from assay.studies.inputs import (
    Datasets,
    check_evaluation,
    check_items,
    check_labels,
    instruction_categories,
    item_counts,
    store_datasets,
)
from assay.studies.inside_trials import InsideTrials, prepare_inside
from assay.studies.lengths import KIND as LENGTHS_KIND
from assay.studies.preferences.steps import PreferenceSteps
from assay.studies.results.row_figures import RowFigures
from assay.studies.running.engines import Engines
from assay.studies.running.exits import run_exits
from assay.studies.running.judge import StudyJudge
from assay.studies.running.material import Material
from assay.studies.running.opened import OpenedStudy
from assay.studies.running.rounds import run_rounds
from assay.studies.running.tables import result_tables
from assay.studies.running.waves import Waves
from assay.studies.scores import ScoreJobs, check_judged, score_jobs
from assay.studies.spec import TINY, Study
from assay.studies.tiny_bases import BASE_KIND

if TYPE_CHECKING:
    import pyarrow as pa

STAGES = ("data", "base", "train", "generate", "score")
"""What `--until` may name, in order."""


@dataclass(frozen=True)
class Results:
    """A study whose artifacts are all there."""

    study: Study
    folder: StudyFolder
    datasets: Datasets
    sets: Mapping[str, EvaluationSet]
    wanted: StudyArtifacts
    scoring: ScoreJobs
    tables: Mapping[str, pa.Table]
    costs: Costs
    decisions: Mapping[str, Any] | None = None
    """What the rounds of a study with `decide` saw, dropped and answered; None: it has none."""
    errors: Sequence[Mapping[str, Any]] = ()
    """What the judge saw in low-scoring answers, see `error_analysis`."""
    rows: Sequence[RowFigures] = ()
    """Rows asked for, trained and cut, by dataset and base."""
    exits: Mapping[str, Any] | None = None
    """What the barriers of a study with `exits` saw, and whom they ended; None: it has none."""


@dataclass
class Pipeline(OpenedStudy):
    """An opened study that can be run."""

    make_engines: Callable[[OpenedStudy], Engines] = Engines
    """What trains, generates and scores."""

    @cached_property
    def engines(self) -> Engines:
        """Of this study."""
        return self.make_engines(self)

    @property
    def judge(self) -> StudyJudge:
        """Of this study."""
        return StudyJudge(self)

    def run(self, folder: StudyFolder, until: str | None = None) -> Results | None:
        """All stages; None where `until` ends the run before there are tables.

        Raises:
            LimitReached: the budget stopped the judge; everything paid for is kept.
            StageError: something failed after its retries.
        """
        self.read_costs(folder)
        try:
            return self._run(folder, until)
        finally:
            self.save_costs(folder)

    def stored(self, folder: StudyFolder) -> Results:
        """What a finished study left, read and not made again.

        Raises:
            ConfigError: the study is not finished.
        """
        self.read_costs(folder)
        exits = self._kept(folder, EXITS, self.study.exits)
        prepared = self.prepared if exits is None else self.ended(exits["ended"])
        datasets = Datasets(self.store, prepared.datasets)
        tables = folder.read_tables()
        sets, plan, scoring = prepared.sets, prepared.artifacts, prepared.scoring
        if self.study.decide is not None:
            rounds = replayed(prepared, item_counts(prepared.sets, datasets), self.store)
            sets, plan, scoring = rounds.seen_sets, rounds.plan, rounds.scoring
        decisions = self._kept(folder, DECISIONS, self.study.decide)
        return Results(self.study, folder, datasets, sets, plan, scoring, tables, self.costs, decisions, exits=exits)

    def answered(self, plan: StudyArtifacts, sets: Mapping[str, EvaluationSet], datasets: Datasets) -> ScoreJobs:
        """Generate and score what a plan of models that are there lacks, as a wave of the study would be.

        Raises:
            LimitReached: the budget stopped the judge.
            StageError: something failed after its retries.
        """
        scoring = score_jobs(self.study, plan, self.prepared.endpoint)
        self._waves(datasets).make(self.placed(plan), sets, scoring)
        return scoring

    def _run(self, folder: StudyFolder, until: str | None) -> Results | None:
        self._refuse_early(until)
        with self.costs.stage("data"):
            datasets, sets = store_datasets(self.study, self.store, self.prepared.datasets), self.prepared.sets
            check_evaluation(self.study, sets, datasets, before_deriving=True)
            for sentence in check_labels(self.study, datasets):
                self.costs.note("data", sentence)
            material = Material(self, datasets)
            material.read_pairs()
            material.derive(self.judge.writer(self.study.writer or self.study.judge))
        if until == "data":
            return None
        check_evaluation(self.study, sets, datasets)
        check_items(self.study, sets, item_counts(sets, datasets))
        with ExitStack() as stack:
            if self.study.wants_gpu:  # a cluster without one says so before the base is trained
                self.engines.join(stack)
            if until in (None, "score"):
                self.judge.check()
            if TINY in self.prepared.bases and not self.store.exists(BASE_KIND, self.prepared.bases[TINY].key):
                material.draw(stored=False)  # more rows than there are: refused before a base is trained
            with self.costs.stage("base"):
                plan = self.engines.with_tiny_base(datasets)
            if until == "base":
                return None
            with self.costs.stage("lengths"):
                if material.count():
                    plan = self.engines.with_tiny_base(datasets)
            with self.costs.stage("mixtures"):
                material.draw()
            rows = material.tell_rows(folder)
            scoring, steps = self.prepared.scoring, self._steps(datasets, sets)
            with self.costs.stage("tone"):
                inside = prepare_inside(self.study, self.store)
            used = self._used(plan, scoring, datasets, inside, steps)
            if self.study.decide is None:
                self.store.write_study_json(folder.name, ARTIFACTS, used)
                if self.study.exits is not None:
                    left = run_exits(self._waves(datasets), folder, used, stack)
                    plan, scoring = self.placed(left.artifacts), left.scoring
                self._waves(datasets).make(plan, sets, scoring, inside, until, steps)
            else:
                rounds = run_rounds(self._waves(datasets), folder)
                sets, plan, scoring = rounds.seen_sets, rounds.plan, rounds.scoring
            if until is None:
                with self.costs.stage("objecqa"):
                    self.judge.label_answers()
        if until in ("train", "generate", "score"):
            return None
        check_judged(self.store, scoring)
        with self.costs.stage("tables"):
            tables = result_tables(self, plan, scoring, instruction_categories(sets, datasets), inside, steps)
        with self.costs.stage("rank"):
            tables |= self.judge.ranked(plan, sets, datasets)
        with self.costs.stage("errors"):
            errors = self.judge.read_errors(plan, scoring, datasets, sets)
        exits = self._kept(folder, EXITS, self.study.exits)
        if exits is not None:
            tables["exits"] = exits_table(exits)
        known = self._kept(folder, DECISIONS, self.study.decide), errors, rows, exits
        return Results(self.study, folder, datasets, sets, plan, scoring, tables, self.costs, *known)

    def _refuse_early(self, until: str | None) -> None:
        """Refuse a question that rounds cannot answer before anything is made."""
        if (by := self.study.decided_by) is not None:
            if until in ("train", "generate"):
                raise ConfigError(f"--until {until}: a study with decide trains on by its scores; leave it out")
            families_of(self.prepared.artifacts.runs, by, forgetting_sets(self.prepared.sets))

    def _used(
        self,
        plan: StudyArtifacts,
        scoring: ScoreJobs,
        datasets: Datasets,
        inside: InsideTrials | None,
        steps: PreferenceSteps | None,
    ) -> dict[str, list[str]]:
        """Keys of all that the study wants, by kind, for `assay gc` and `assay status`."""
        read = [*datasets.keys.values(), *(inside.datasets if inside is not None else ())]
        used = references(plan, scoring.keys, read, self.prepared.own_bases)
        used[LENGTHS_KIND] = list(self.prepared.counts.keys)
        if steps is not None:
            steps.add_wanted(plan, scoring, used)
        if inside is not None:
            used |= inside.references(self.prepared.objecqa)
        return used

    def _steps(self, datasets: Datasets, sets: Mapping[str, EvaluationSet]) -> PreferenceSteps | None:
        """What a study of preferences does beside; None: it is another study."""
        grid = self.study.grid.preferences
        if grid is None:
            return None
        beside = (self.embedded, self.budget_usd)
        return PreferenceSteps(self.study, grid, self.store, self.progress, datasets, sets, *beside)

    def _waves(self, datasets: Datasets) -> Waves:
        return Waves(self, self.engines, self.judge, datasets)

    def _kept(self, folder: StudyFolder, name: str, asked: object) -> Mapping[str, Any] | None:
        """A record that the study's folder has where its field is asked for."""
        return None if asked is None else self.store.read_study_json(folder.name, name)
