"""The composition root: runs a study from its data to its tables, doing only what the store does not hold.

Stages follow each other: data, mixtures, base, then wave by wave training, generation and scoring, then tables.
Every stage reads and writes the store by key, so the same call after a kill at any point continues. What can be
refused is refused before the first stage that takes long.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from assay.errors import ConfigError, StageError
from assay.fingerprint import fingerprint
from assay.hooks import Progress, SilentProgress, log_event
from assay.llm.ledger.tables import ledger_url
from assay.mixtures.sampling import MixtureBuilder, store_mixture
from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.mixtures.spec import MixtureSpec, mixture_key
from assay.model_folders import TRAINED_KIND
from assay.preference.sources import GivenPairs
from assay.scoring.jobs import CallFigures, JudgeSetup, LocalScoring, ScoringBatch, judge_instance
from assay.stoppable import run_stoppable
from assay.store import Store
from assay.studies.artifacts import EvaluationSet, MergedBase, StudyArtifacts, placed
from assay.studies.costs import Costs
from assay.studies.deciding.parts import store_joined
from assay.studies.deciding.prices import planned_prices
from assay.studies.deciding.rounds import families_of
from assay.studies.deciding.study_rounds import StudyRounds, forgetting_sets, replayed
from assay.studies.derived import make_derived
from assay.studies.error_analysis import ask_patterns, low_rows
from assay.studies.exclusions import count_missing, row_tokens, without_template
from assay.studies.folder import DECISIONS, StudyFolder, open_folder
from assay.studies.garbage import ARTIFACTS, references
from assay.studies.given.answers import Booking, store_given
from assay.studies.given.found import Given
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
from assay.studies.judge_endpoint import check_endpoint, endpoint_of
from assay.studies.lengths import KIND as LENGTHS_KIND
from assay.studies.planning.estimate import plan as plan_of
from assay.studies.preferences.steps import AskJudge, PreferenceSteps
from assay.studies.preferences.wanted import asked_with
from assay.studies.prepared import PreparedStudy, prepare_study
from assay.studies.resources import check_resources
from assay.studies.results.row_figures import ROWS, RowFigures, drawn_rows, in_words, row_figures
from assay.studies.scores import (
    ScoreJobs,
    check_judged,
    of_runs,
    repeat_table,
    score_jobs,
    stored_scores,
    study_protocol,
)
from assay.studies.spec import JUDGE, TINY, JudgeConfig, Study
from assay.studies.starts import make_merged_base, make_stacks
from assay.studies.tiny_bases import BASE_KIND, store_tiny_base
from assay.studies.writer import EmbeddedJudge, Writer, make_writer
from assay.tasks.datasets.preferences import materialise_pairs
from assay.training.sweep.twins import copy_twin, twins

if TYPE_CHECKING:
    import pyarrow as pa

    from assay.generation.spec import GenerationJob, GenerationSpec
    from assay.llm.endpoint import EndpointSpec
    from assay.records import Example
    from assay.scoring.protocol import ScorerSpec
    from assay.training.spec import TrainingJob

COSTS = "side/costs.json"
DECIDE = "decide"
"""The stage of that name: rounds, each of which is waves of the others."""
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


@dataclass
class Pipeline:
    """One study on one store."""

    study: Study
    store: Store
    progress: Progress
    embedded: EmbeddedJudge
    max_usd: float | None = None
    retry_failed: bool = False
    """Ask the judge again where a call brought no reply; what it did answer is not asked again."""
    preflight: bool = False
    """Try each base and the judge before the sweep, see `preflight`."""
    costs: Costs = field(default_factory=Costs)
    _builder: MixtureBuilder | None = None
    """Looks for leaks and copies once, though mixtures are drawn for a check before the base and for good after it."""

    @cached_property
    def prepared(self) -> PreparedStudy:
        """What the study wants, from its inputs' content: read once.

        Raises:
            InputError: an input is missing or unreadable.
        """
        return prepare_study(self.study, self.embedded.name, self.store)

    @property
    def budget_usd(self) -> float | None:
        """Dollars that the study may have cost in all, earlier runs included: as the caller says, else the study."""
        if self.max_usd is not None:
            return self.max_usd
        own = [self.study.judge.max_usd, None if self.study.decide is None else self.study.decide.max_usd]
        return min((usd for usd in own if usd is not None), default=None)

    def open(self) -> StudyFolder:
        """The study's folder, by a key over its identity and its inputs' content. Reads inputs, runs nothing.

        Raises:
            InputError: an input is missing or unreadable, or the store cannot be written.
        """
        self.store.check_writable()
        return open_folder(self.store, self.study.name, self.prepared.key, self.study.model_dump(mode="json"))

    def run(self, folder: StudyFolder, until: str | None = None) -> Results | None:
        """All stages; None where `until` ends the run before there are tables.

        Raises:
            LimitReached: the budget stopped the judge; everything paid for is kept.
            StageError: something failed after its retries.
        """
        if self.store.study_has(folder.name, COSTS):
            self.costs.add(self.store.read_study_json(folder.name, COSTS))
        try:
            return self._run(folder, until)
        finally:
            self.save_costs(folder)

    def stored(self, folder: StudyFolder) -> Results:
        """What a finished study left, read and not made again.

        Raises:
            ConfigError: the study is not finished.
        """
        if self.store.study_has(folder.name, COSTS):
            self.costs.add(self.store.read_study_json(folder.name, COSTS))
        prepared = self.prepared
        datasets = Datasets(self.store, prepared.datasets)
        tables = folder.read_tables()
        sets, plan, scoring = prepared.sets, prepared.artifacts, prepared.scoring
        if self.study.decide is not None:
            rounds = replayed(prepared, item_counts(prepared.sets, datasets), self.store)
            sets, plan, scoring = rounds.seen_sets, rounds.plan, rounds.scoring
        decisions = None if self.study.decide is None else self.store.read_study_json(folder.name, DECISIONS)
        return Results(self.study, folder, datasets, sets, plan, scoring, tables, self.costs, decisions)

    def answered(self, plan: StudyArtifacts, sets: Mapping[str, EvaluationSet], datasets: Datasets) -> ScoreJobs:
        """Generate and score what a plan of models that are there lacks, as a wave of the study would be.

        Raises:
            LimitReached: the budget stopped the judge.
            StageError: something failed after its retries.
        """
        scoring = score_jobs(self.study, plan, self.prepared.endpoint)
        self._waves(self._placed(plan), sets, datasets, scoring, None, None)
        return scoring

    def save_costs(self, folder: StudyFolder) -> None:
        """Keep what was spent so far with the study, interrupted or not."""
        self.store.write_study_json(folder.name, COSTS, self.costs.as_dict())

    def _run(self, folder: StudyFolder, until: str | None) -> Results | None:
        if (by := self.study.decided_by) is not None:
            if until in ("train", "generate"):
                raise ConfigError(f"--until {until}: a study with decide trains on by its scores; leave it out")
            # refused before anything is made
            families_of(self.prepared.artifacts.runs, by, forgetting_sets(self.prepared.sets))
        with self.costs.stage("data"):
            datasets, sets = store_datasets(self.study, self.store, self.prepared.datasets), self.prepared.sets
            check_evaluation(self.study, sets, datasets, before_deriving=True)
            for sentence in check_labels(self.study, datasets):
                self.costs.note("data", sentence)
            self._given_pairs()
            self._derive(datasets)
        if until == "data":
            return None
        check_evaluation(self.study, sets, datasets)
        check_items(self.study, sets, item_counts(sets, datasets))
        with ExitStack() as stack:
            if self.study.wants_gpu:  # a cluster without one says so before the base is trained
                self._join_ray(stack)
            if until in (None, "score"):
                self._check_judge()
            if TINY in self.prepared.bases and not self.store.exists(BASE_KIND, self.prepared.bases[TINY].key):
                self._mixtures(datasets, stored=False)  # more rows than there are: refused before a base is trained
            with self.costs.stage("base"):
                plan = self._with_tiny_base(datasets)
            if until == "base":
                return None
            with self.costs.stage("lengths"):
                if self._count(datasets):
                    plan = self._with_tiny_base(datasets)
            with self.costs.stage("mixtures"):
                self._mixtures(datasets)
            rows = self._tell_rows(folder)
            scoring, steps = self.prepared.scoring, self._steps(datasets, sets)
            with self.costs.stage("tone"):
                inside = prepare_inside(self.study, self.store)
            read = [*datasets.keys.values(), *(inside.datasets if inside is not None else ())]
            used = references(plan, scoring.keys, read, self.prepared.own_bases)
            used[LENGTHS_KIND] = list(self.prepared.counts.keys)
            if steps is not None:
                steps.add_wanted(plan, scoring, used)
            if inside is not None:
                used |= inside.references(self.prepared.objecqa)
            if self.study.decide is None:
                self.store.write_study_json(folder.name, ARTIFACTS, used)
                self._waves(plan, sets, datasets, scoring, inside, until, steps)
            else:
                rounds = self._rounds(folder, datasets)
                sets, plan, scoring = rounds.seen_sets, rounds.plan, rounds.scoring
            if until is None:
                with self.costs.stage("objecqa"):
                    self._objecqa()
        if until in ("train", "generate", "score"):
            return None
        check_judged(self.store, scoring)
        with self.costs.stage("tables"):
            categories = instruction_categories(sets, datasets)
            if steps is None:
                tables = self._tables(plan, scoring, inside, folder, categories)
            else:
                from assay.studies.preferences.tables import preference_tables

                after = steps.after(plan, scoring)
                tables = self._tables(steps.shown(after), scoring, inside, folder, categories)
                tables |= preference_tables(after, scoring.infos, scoring.specs)
        with self.costs.stage("rank"):
            tables |= self._ranked(plan, sets, datasets)
        with self.costs.stage("errors"):
            errors = self._errors(plan, scoring, datasets, sets)
        decisions = None if self.study.decide is None else self.store.read_study_json(folder.name, DECISIONS)
        return Results(self.study, folder, datasets, sets, plan, scoring, tables, self.costs, decisions, errors, rows)

    # --- stages ------------------------------------------------------------------------------------------

    def _given_pairs(self) -> None:
        """Read preferences that are given: a file that cannot be read is told before anything is trained."""
        data, grid = self.study.data, self.study.grid.preferences
        for spec in () if grid is None else grid.pairs.values():
            if isinstance(spec, GivenPairs):
                materialise_pairs(self.store, data.sources[spec.dataset], data.root)

    def _derive(self, datasets: Datasets) -> None:
        """Make the datasets that the study makes of its others."""
        writer = self._writer(self.study.writer or self.study.judge)
        derived = self.study.used.derived
        for sentence in make_derived(
            self.store, derived, datasets.keys, datasets.rows, writer, self.progress, self.study.registry.tasks
        ):
            self.costs.note("data", sentence)

    def _writer(self, config: JudgeConfig) -> Writer:
        return make_writer(
            config,
            self.embedded,
            ledger_url=ledger_url(self.store.uri),
            budget_usd=self.budget_usd,
            study=self.study.name,
        )

    def _errors(
        self, plan: StudyArtifacts, scoring: ScoreJobs, datasets: Datasets, sets: Mapping[str, EvaluationSet]
    ) -> list[dict[str, Any]]:
        """What the judge sees in the lowest rated answers of each task."""
        if not self.study.error_rows or JUDGE not in self.study.scorers:
            return []
        import pyarrow as pa

        human = next(info for info in scoring.infos if info.name == self.study.statistics.human)
        examples = {name: datasets.evaluation_rows(part) for name, part in sets.items()}
        scores = pa.concat_tables(stored_scores(self.store, scoring))

        def answers(key: str) -> dict[str, str]:
            table = self.store.read_table("predictions", key, "predictions.parquet")
            return dict(zip(table["example_id"].to_pylist(), table["prediction"].to_pylist(), strict=True))

        found = low_rows(plan.runs, scores, examples, answers, human, self.study.error_rows)
        asked = run_stoppable(ask_patterns(found, self._writer(self.study.judge), self.study.registry.tasks))
        self.costs.note("errors", f"{len(asked)} readings of the lowest rated answers")
        return asked

    def _with_tiny_base(self, datasets: Datasets) -> StudyArtifacts:
        """The artifacts, with the folder of the study's own base where it has one; pre-trained first if need be."""
        base, spec = self.prepared.bases.get(TINY), self.study.tiny_base
        if base is None:
            return self.prepared.artifacts
        assert spec is not None
        name = self.study.data.instructions
        key = datasets.keys.get(name, "")
        read = store_tiny_base(self.store, spec, key, lambda: datasets.rows(name), self.progress)
        if read:
            self.costs.note("base", f"tiny base pre-trained on {read:,} documents, {spec.num_steps:,} steps")
        return self.prepared.artifacts.at({base.key: str(self.store.local_dir(BASE_KIND, base.key))})

    def _count(self, datasets: Datasets) -> bool:
        """Count tokens of rows that nobody counted yet: what is too long leaves the pools before anything is drawn.

        Whether the study's artifacts may be others now.
        """
        if self.prepared.counts.is_whole:
            return False
        for line in without_template(self.study):
            self.costs.note("lengths", line)
        prepared = self.prepared.recounted(self.store)  # the study's own base may have come, and counts with it
        counted = count_missing(self.study, self.store, prepared.counts, prepared.bases, datasets.rows, self.progress)
        if counted:
            self.costs.note("lengths", f"tokens of {counted:,} rows counted, once for each tokenizer")
            prepared = prepared.recounted(self.store)
        self.__dict__["prepared"] = prepared
        return True

    def _tell_rows(self, folder: StudyFolder) -> list[RowFigures]:
        """Keep with the study what is trained of what was asked for; `assay plan` shows it."""
        is_compat = self.study.mode == "compat"  # in strict, rows that leave the pools are never drawn
        drawn = drawn_rows(self.store, self.prepared.artifacts.mixtures) if is_compat else None
        figures = row_figures(self.prepared, drawn)
        kept = {"identity": fingerprint(self.study.identity()), "rows": [row.as_dict() for row in figures]}
        self.store.write_study_json(folder.name, ROWS, kept)
        if (told := in_words(figures)) and told not in self.costs.notes.get("lengths", ""):
            self.costs.note("lengths", told)
        return figures

    def _mixtures(self, datasets: Datasets, *, stored: bool = True) -> None:
        """Draw every mixture that the store lacks; where `stored` is false only to see that its rows are there."""
        # the cells of all bases and seeds share one; in the study's order, so that a complaint names the first
        distinct: dict[int, tuple[MixtureSpec, str]] = {}
        for cell in self.prepared.cells:
            if cell.start is not None:
                distinct.setdefault(id(cell.start.mixture), (cell.start.mixture, "instruction tuning"))
            if cell.is_trained:
                distinct.setdefault(id(cell.mixture), (cell.mixture, cell.arm))
        counts = self.prepared.counts
        known = {"words", *counts.tokenizers.values()} if counts.is_whole else {"words"}
        missing = {
            mixture_key(spec, datasets.keys): (spec, arm)
            for spec, arm in distinct.values()
            if stored or spec.count_by in known  # tokens are counted once there is a base
        }
        for key in self.store.present(MIXTURE_KIND, missing):
            del missing[key]
        if missing:
            if self._builder is None:
                self._builder = MixtureBuilder(datasets.by_name(), datasets.keys)
            self._builder.excluded = self.prepared.exclusions.reasons
            if self.study.grid.shares_tokens:
                self._builder.row_tokens = row_tokens(counts)
            for spec, arm in missing.values():
                mixture = self._builder.build(spec, f"{self.study.name} {arm}")
                if stored:
                    store_mixture(self.store, mixture, spec)
            if stored:
                self.costs.note("mixtures", f"{len(missing)} built")

    def _check_judge(self) -> None:
        """Refuse a judge that cannot be asked before hours of training; not where it has said all already."""
        if not self.study.asks_judge or self.study.judge.is_embedded:
            return
        labels = self.prepared.objecqa
        has_labels = labels is None or labels.is_done(self.store)
        if not has_labels or not self._has_scores(self.prepared.scoring):
            check_endpoint(self.prepared.endpoint)

    def _has_scores(self, scoring: ScoreJobs) -> bool:
        return self.store.present("scores", scoring.keys) == set(scoring.keys)

    def _join_ray(self, stack: ExitStack) -> None:
        from assay.cluster.ray_cluster import check_storage, ray_cluster

        with self.costs.stage("ray"):
            stack.enter_context(ray_cluster(self.study.resources))
            check_resources(self.study.resources, self.study.local_judge)
            check_storage(self.store)

    def _rounds(self, folder: StudyFolder, datasets: Datasets) -> StudyRounds:
        """Waves of what each round wants, until the question is answered or the rounds are over."""
        prepared = self.prepared
        rounds = StudyRounds(prepared, item_counts(prepared.sets, datasets))
        sets = {part.key: part for of_round in rounds.sets for part in of_round.values()}
        items, hour = rounds.num_items, rounds.spec.gpu_hour_usd
        prices = planned_prices(plan_of(self.study.replace(decide=None)), rounds.deciding.seeds, items, hour)
        self.progress.start(DECIDE, len(rounds.spec.rounds), unit="rounds")
        while (work := rounds.begin()) is not None:
            self._list_wanted(folder, rounds, datasets)
            self._waves(self._placed(work.plan), sets, datasets, work.scoring, None, None)
            decision = rounds.learn(self.store)
            decision.store(self.store)
            keys = [one.key for one in rounds.decisions]
            known = {"decisions": keys, "prices": prices.as_dict(), **decision.content}
            self.store.write_study_json(folder.name, DECISIONS, known)
            self.costs.note(DECIDE, rounds.sentence())
            log_event(DECIDE, "decided", round=work.place + 1, key=decision.key, found=rounds.sentence())
            self.progress.advance(DECIDE, 1, found=rounds.sentence())
        self.progress.finish(DECIDE, rounds.sentence())
        store_joined(self.store, rounds.joined.values())
        self._list_wanted(folder, rounds, datasets)
        return rounds

    def _list_wanted(self, folder: StudyFolder, rounds: StudyRounds, datasets: Datasets) -> None:
        """What the rounds so far want, for `assay gc` and `assay status`."""
        used = references(rounds.plan, rounds.scoring.keys, datasets.keys.values(), self.prepared.own_bases)
        used[LENGTHS_KIND] = list(self.prepared.counts.keys)
        self.store.write_study_json(folder.name, ARTIFACTS, _merged_lists(used, rounds.stored_keys))

    def _placed(self, plan: StudyArtifacts) -> StudyArtifacts:
        """The artifacts with the folder of the study's own base, which is there by now."""
        base = self.prepared.bases.get(TINY)
        return plan if base is None else plan.at({base.key: str(self.store.local_dir(BASE_KIND, base.key))})

    def _waves(
        self,
        plan: StudyArtifacts,
        sets: Mapping[str, EvaluationSet],
        datasets: Datasets,
        scoring: ScoreJobs,
        inside: InsideTrials | None,
        until: str | None,
        steps: PreferenceSteps | None = None,
    ) -> None:
        """Train, generate and score what is missing, `wave_size` trainings at a time."""
        if self._has_scores(scoring) and not self.retry_failed and (steps is None or steps.is_whole(plan, scoring)):
            return
        adapters = self.store.present("adapter", [job.key for job in (*plan.tunings, *plan.trainings)])
        predictions = self.store.present("predictions", plan.predictions)
        examples = {part.key: datasets.evaluation_rows(part) for part in sets.values()}
        with ExitStack() as stack:
            self._join_ray(stack)
            endpoint = None
            if self.preflight:
                trained = [job for job in (*plan.tunings, *plan.trainings) if job.key not in adapters]
                asked = [job for job in plan.generations if job.key not in predictions and until != "train"]
                with self.costs.stage("preflight"):
                    self._preflight(trained, asked, examples)
            with self.costs.stage("train"):
                self._train([job for job in plan.tunings if job.key not in adapters], None)
                plan = plan.at(self._merged(plan.merged) | self._whole(plan, plan.tunings))
            if steps is not None:
                endpoint = self._endpoint(stack)
                with self.costs.stage("pairs"):
                    for said in steps.make_pairs(plan, self._asks(endpoint), lambda jobs: self._train(jobs, None)):
                        self.costs.note("pairs", said)
            for wave, batches in zip(plan.waves(self.study.resources.wave_size), scoring.waves, strict=True):
                with self.costs.stage("train"):
                    self._train_wave(plan, [job for job in wave.trainings if job.key not in adapters], inside)
                    make_stacks(
                        self.store, [plan.stacked[job.key] for job in wave.trainings if job.key in plan.stacked]
                    )
                if until == "train":
                    continue
                with self.costs.stage("generate"):
                    todo = [job for job in wave.generations if job.key not in predictions]
                    self._generate_missing(plan, placed(todo, self._whole(plan, wave.trainings)), examples)
                    self._answer_given([job for job in wave.given if job.key not in predictions], examples)
                if until == "generate":
                    continue
                if endpoint is None:
                    endpoint = self._endpoint(stack)
                with self.costs.stage("score"):
                    self._score(scoring, batches, examples, endpoint)
            if endpoint is not None and scoring.judge is not None:
                self._tell_versions()
            if endpoint is not None and steps is not None and until not in ("train", "generate"):
                with self.costs.stage("preferences"):
                    self.costs.note("preferences", steps.finish(plan, scoring, self._asks(endpoint)))

    def _steps(self, datasets: Datasets, sets: Mapping[str, EvaluationSet]) -> PreferenceSteps | None:
        """What a study of preferences does beside; None: it is another study."""
        grid = self.study.grid.preferences
        if grid is None:
            return None
        beside = (self.embedded, self.budget_usd)
        return PreferenceSteps(self.study, grid, self.store, self.progress, datasets, sets, *beside)

    def _merged(self, wanted_bases: Sequence[MergedBase]) -> dict[str, str]:
        """Folder of every merged base, made where it is missing."""
        for merged in wanted_bases:
            if not self.store.exists(BASE_KIND, merged.key):
                make_merged_base(self.store, merged, self.study.train.dtype)
                self.costs.note("train", "instruction adapter written into its base")
        return {merged.key: str(self.store.local_dir(BASE_KIND, merged.key)) for merged in wanted_bases}

    def _preflight(
        self,
        trainings: Sequence[TrainingJob],
        generations: Sequence[GenerationJob],
        examples: Mapping[str, Sequence[Example]],
    ) -> None:
        """Try each base, and the judge, before hours of training."""
        from assay.studies.preflight.ray_preflight import how_it_runs, run_preflight
        from assay.studies.preflight.rehearsal import rehearsals

        resources = self.study.resources
        how = how_it_runs(resources.training, self.study.generation, resources.generation)
        for said in run_preflight(self.store, rehearsals(trainings, generations), examples, how):
            self.costs.note("preflight", said)
        if generations and JUDGE in self.study.scorers and not self.study.judge.is_embedded:
            self._ask_once(next(iter(examples[generations[0].evaluation_key])))

    def _ask_once(self, row: Example) -> None:
        """One call of the judge, over a row's own reference; a local judge is loaded with its first batch.

        Raises:
            EndpointError: it brings no reply.
        """
        from assay.judging.asking import JudgeConnection, Work, ask_judge, calls_of, check_answered

        endpoint = self.prepared.endpoint
        if not endpoint.kind.is_remote:
            return
        ledger = ledger_url(self.store.uri)
        connection = JudgeConnection(endpoint, ledger, self.budget_usd, self.study.name)
        work = Work(study_protocol(self.study), [judge_instance(row, row.reference)], "preflight")
        asked = ask_judge(connection, [work], self.study.mode, SilentProgress())
        calls = calls_of(asked)
        check_answered({**calls, "unanswered": [{**part, "unread": ""} for part in calls["unanswered"]]})
        self.costs.note("preflight", f"the judge {self.study.judge.model} replied")

    def _whole(self, plan: StudyArtifacts, trainings: Sequence[TrainingJob]) -> dict[str, str]:
        """Folder of every model that these trainings trained whole."""
        keys = {job.key for job in trainings} & set(plan.whole)
        return {key: str(self.store.local_dir(TRAINED_KIND, key)) for key in sorted(keys)}

    def _endpoint(self, stack: ExitStack) -> EndpointSpec:
        """The judge's endpoint; starts the embedded server where it is the judge."""
        url = None
        if self.study.judge.is_embedded and (JUDGE in self.study.scorers or self.study.grid.asks_judge):
            url = stack.enter_context(self.embedded.start())
        return endpoint_of(self.study.judge, embedded_url=url, embedded_name=self.embedded.name)

    def _asks(self, endpoint: EndpointSpec) -> AskJudge:
        return lambda spec: self._judge(spec, endpoint)

    def _judge(self, spec: ScorerSpec, endpoint: EndpointSpec) -> JudgeSetup:
        """How the study's judge is asked."""
        protocol, ledger = study_protocol(self.study), ledger_url(self.store.uri)
        return JudgeSetup(spec, protocol, endpoint, ledger, self.budget_usd, self.study.name)

    def _train_wave(self, plan: StudyArtifacts, jobs: Sequence[TrainingJob], inside: InsideTrials | None) -> None:
        """Train what no other training of the same rows has made, or makes now."""
        same = twins(self.store, jobs, plan.trainings, plan.mixtures)
        self._train([job for job in jobs if job.key not in same], inside)
        for job in jobs:
            if job.key in same:
                copy_twin(self.store, job, same[job.key])
        if same:
            self.costs.note("train", f"{len(same)} trainings of the same rows as another's, not trained again")

    def _train(self, jobs: Sequence[TrainingJob], inside: InsideTrials | None) -> None:
        if not jobs:
            return
        from assay.training.sweep.ray_sweep import run_sweep

        hooks = None if inside is None else inside.hooks
        report = run_sweep(self.store, jobs, self.study.resources.training, self.progress, make_hooks=hooks)
        trained = sum(job.status == "trained" for job in report.jobs)
        workers = self.study.resources.training.num_workers
        self.costs.trainings |= {job.key: job.step_s * workers for job in report.jobs if job.status == "trained"}
        shared = f", {len(jobs) - trained} by a study beside this one" if trained < len(jobs) else ""
        self.costs.note(
            "train",
            f"{trained} trainings on {report.slots} slots{shared}, {report.step_s:.0f} s of pure optimizer steps, the "
            f"first step after {report.first_step_s:.0f} s"
            + (
                f", {report.eval_s:.0f} s of evaluations inside trials, {report.eval_s / report.trial_s:.0%} of the "
                "trials' time"
                if report.eval_s
                else ""
            ),
        )

    def _generate_missing(
        self, plan: StudyArtifacts, jobs: Sequence[GenerationJob], examples: Mapping[str, Sequence[Example]]
    ) -> None:
        """Answers, model by model as each is asked."""
        for prefix in sorted({plan.prefixes.get(job.key, "") for job in jobs}):
            own = [job for job in jobs if plan.prefixes.get(job.key, "") == prefix]
            self._generate(own, examples, asked_with(self.study.generation, prefix))

    def _answer_given(self, jobs: Sequence[Given], examples: Mapping[str, Sequence[Example]]) -> None:
        """Answers that lie in files, or that endpoints give."""
        booking = Booking(ledger_url(self.store.uri), self.study.name, self.budget_usd)
        for said in store_given(self.store, jobs, examples, booking, self.progress) if jobs else ():
            self.costs.note("generate", said)

    def _generate(
        self, jobs: Sequence[GenerationJob], examples: Mapping[str, Sequence[Example]], spec: GenerationSpec
    ) -> None:
        if not jobs:
            return
        from assay.generation.ray_generate import run_generation

        report = run_generation(self.store, jobs, examples, spec, self.study.resources.generation, self.progress)
        if report.failed:
            key, reason = next(iter(report.failed.items()))
            raise StageError(
                f"generation: {len(report.failed)} of {len(jobs)} pairs have no answer at all; the first, {key}: "
                f"{reason}; fix it and run the same command again"
            )
        self.costs.note(
            "generate", f"{report.num_rows:,} rows, {report.num_tokens:,} tokens, {report.num_error_rows} error rows"
        )

    def _score(
        self,
        scoring: ScoreJobs,
        batches: Sequence[ScoringBatch],
        examples: Mapping[str, Sequence[Example]],
        endpoint: EndpointSpec,
    ) -> None:
        from assay.scoring.ray_score import run_scoring

        judges = [] if scoring.judge is None else [self._judge(scoring.judge, endpoint)]
        report = run_scoring(
            self.store,
            batches,
            examples,
            LocalScoring(scoring.local, self.study.registry.tasks, self.study.registry.scorers),
            judges,
            self.study.resources.scoring,
            self.progress,
            retry_failed=self.retry_failed,
        )
        for name, calls in report.calls.items():
            usd = "price unknown" if calls.usd is None else f"{calls.usd:.4f} dollars"
            self.costs.note(
                "score",
                f"{name}: {calls.done:,} judgements, {calls.cached:,} from the ledger, {calls.attempts:,} calls, "
                f"{calls.prompt_tokens + calls.completion_tokens:,} tokens, {_cached(calls)}{usd}",
            )

    def _tell_versions(self) -> None:
        """Say where the judge changed under the study: its numbers are then of two instruments."""
        from assay.llm.ledger.report import changed_versions, versions_text

        told = versions_text(changed_versions(ledger_url(self.store.uri), self.study.name))
        if told and told not in self.costs.notes.get("score", ""):
            self.costs.note("score", told)
            logging.getLogger(__name__).warning("%s", told)

    def _objecqa(self) -> None:
        """Have the judge label the preference answers that the trials left; no trial waits for it."""
        from assay.ifs.objecqa_labels import judge_answers
        from assay.judging.asking import JudgeConnection

        asked = self.prepared.objecqa
        if asked is None or asked.is_done(self.store):
            return
        with ExitStack() as stack:
            url = stack.enter_context(self.embedded.start()) if self.study.judge.is_embedded else None
            ledger = ledger_url(self.store.uri)
            endpoint = endpoint_of(self.study.judge, embedded_url=url, embedded_name=self.embedded.name)
            connection = JudgeConnection(endpoint, ledger, self.budget_usd, self.study.name)
            stats = judge_answers(self.store, asked, connection, self.study.mode, self.progress)
        if stats is not None:
            self.costs.note("objecqa", f"{stats.done:,} labels, {stats.cached:,} from the ledger")

    def _ranked(
        self, plan: StudyArtifacts, sets: Mapping[str, EvaluationSet], datasets: Datasets
    ) -> dict[str, pa.Table]:
        """All models ranked over the prompts that they share, where the design asks for it; replies are kept."""
        how = self.study.grid.ranking
        if how is None:
            return {}
        from assay.judging.asking import JudgeConnection
        from assay.studies.given.ranking import RankedBy, rank_models, shared_prompts

        by = RankedBy(how, self.study.baseline or "", self.study.mode)
        shared = shared_prompts(
            self.store, plan.runs, {name: datasets.evaluation_rows(part) for name, part in sets.items()}
        )
        with ExitStack() as stack:
            judge, ledger = self.study.judge, ledger_url(self.store.uri)
            connection = JudgeConnection(
                self._endpoint(stack), ledger, self.budget_usd, self.study.name, judge.retry_unreadable
            )
            ranked = rank_models(shared, by, self.study.grid.test_losses, connection, self.progress)
        calls = ranked.calls
        usd = "price unknown" if calls["usd"] is None else f"{calls['usd']:.4f} dollars"
        self.costs.note("rank", f"{calls['calls']:,} calls, {calls['from_ledger']:,} from the ledger, {usd}")
        return dict(ranked.tables)

    def _tables(
        self,
        plan: StudyArtifacts,
        scoring: ScoreJobs,
        inside: InsideTrials | None,
        folder: StudyFolder,
        categories: Mapping[str, str],
    ) -> dict[str, pa.Table]:
        from assay.metaeval.study_tables.build import build_study_tables

        scores = of_runs(stored_scores(self.store, scoring), plan.runs)
        tables = build_study_tables(
            plan.runs,
            scores,
            scoring.infos,
            self.study.table_options(folder.key),
            categories=categories,
            repeats=repeat_table(self.store, scores, self.study.judge.repeats),
        )
        if plan.mixtures and self.study.objective is not None:
            from assay.studies.results.shares_table import shares_table

            tables["shares"] = shares_table(self.store, plan)
        if inside is None:
            return dict(tables)
        from assay.studies.trial_tables import ifs_tables

        return {**tables, **ifs_tables(self.store, inside.spec, plan, inside.tone, self.prepared.objecqa, scores)}


def _cached(calls: CallFigures) -> str:
    share = calls.cached_tokens / calls.prompt_tokens if calls.prompt_tokens else 0.0
    return f"{share:.0%} of the prompts' cached by the endpoint, " if share else ""


def _merged_lists(first: Mapping[str, Sequence[str]], second: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {kind: sorted({*first.get(kind, ()), *second.get(kind, ())}) for kind in {**first, **second}}
