"""The rounds of a study as waves of the ordinary pipeline: what each adds, and what all of them wanted.

Nothing is started here. The pipeline makes what `begin` names and calls `learn`; whoever reads a finished study calls
`replayed`, which finds the same rounds in the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assay.fingerprint import artifact_key, fingerprint
from assay.generation.spec import GenerationJob
from assay.metaeval.study_tables.frame import RunRow
from assay.store import Store
from assay.studies.artifacts import EvaluationSet, StudyArtifacts, study_artifacts
from assay.studies.deciding.evidence import ratings_by_predictions
from assay.studies.deciding.parts import JoinedPredictions, part_of, sets_of_rounds
from assay.studies.deciding.rounds import Asked, Deciding, families_of
from assay.studies.deciding.spec import DecideSpec
from assay.studies.prepared import PreparedStudy
from assay.studies.scores import ScoreJobs, score_jobs, stored_scores

KIND = "decision"
DECISION_FILE = "decision.json"
DECISION_SCHEMA = 1


@dataclass(frozen=True)
class RoundWork:
    """What a round adds to those before it."""

    place: int
    """Of the round, from 0."""
    plan: StudyArtifacts
    scoring: ScoreJobs


@dataclass(frozen=True)
class Decision:
    """What was known and dropped after a round, as an artifact."""

    key: str
    content: Mapping[str, Any]

    def store(self, store: Store) -> None:
        """Keep it; one that is there already says the same."""
        if not store.exists(KIND, self.key):
            with store.writing(KIND, self.key, {"round": self.content["round"]}) as writer:
                writer.json(DECISION_FILE, self.content)


@dataclass
class StudyRounds:
    """The rounds of one study so far."""

    prepared: PreparedStudy
    num_items: Mapping[str, int]
    """Rows of each whole evaluation set."""
    decisions: list[Decision] = field(default_factory=list)
    asked: dict[str, GenerationJob] = field(default_factory=dict)
    """Predictions that rounds wanted so far, by key."""
    _adapters: set[str] = field(default_factory=set)
    _waves: list[Any] = field(default_factory=list)
    _open: RoundWork | None = None

    def __post_init__(self) -> None:
        prepared, items = self.prepared, self.spec.spend.items
        self.sets: list[dict[str, EvaluationSet]] = sets_of_rounds(prepared.sets, items, len(self.spec.rounds))
        if items is None:
            self._wholes = [prepared.artifacts]
        else:
            self._wholes = [self._artifacts(sets, None) for sets in self.sets]
        self._parts = self._parts_of_runs() if items is not None else {}
        families = families_of(self._wholes[0].runs, self.spec, forgetting_sets(prepared.sets))
        runs = [run for family in families for draws in family.arms.values() for draw in draws for run in draw]
        self._candidates = {(run.adapter_key, run.evaluation_set) for run in runs}
        self.deciding = Deciding(self.spec, families, self._parts, self.num_items)

    @property
    def spec(self) -> DecideSpec:
        """What is asked."""
        spec = self.prepared.study.decided_by
        assert spec is not None
        return spec

    def begin(self) -> RoundWork | None:
        """What the next round adds; None where the question is answered or the rounds are over."""
        place = len(self.decisions)
        if place == len(self.spec.rounds) or (place and self.deciding.is_answered):
            return None
        wanted = self.deciding.wanted(place)
        before, self._adapters = self._adapters, self._adapters | {adapter for adapter, _ in wanted}
        new = {
            job.key: job
            for plan in self._wholes[: place + 1]
            for job, run in _jobs_of_runs(plan)
            if job.key not in self.asked and self._is_wanted(run, wanted)
        }
        self.asked |= new
        plan = self._plan(self._adapters - before, new)
        jobs = score_jobs(self.prepared.study, plan, self.prepared.endpoint)
        # a round's batches are its own: what a later one wants changes none of them
        self._waves.extend(jobs.waves)
        self._open = RoundWork(place, plan, jobs)
        return self._open

    def learn(self, store: Store) -> Decision:
        """Read the scores of the round that was begun, and decide.

        Raises:
            StageError: a run has no score at all.
        """
        assert self._open is not None, "begin comes first"
        work, self._open = self._open, None
        self.deciding.learn(ratings_by_predictions(stored_scores(store, work.scoring), self.spec.scorer))
        record = self.deciding.record()
        content = {"round": work.place, "asked": self.spec.identity(), **record}
        before = [self.decisions[-1].key] if self.decisions else []
        inputs = {"scores": sorted(work.scoring.keys), "before": before}
        key = artifact_key(KIND, DECISION_SCHEMA, {"record": fingerprint(content)}, inputs)
        self.decisions.append(Decision(key, content))
        return self.decisions[-1]

    def sentence(self) -> str:
        """The last round in one line."""
        all_adapters = {key for cell, key in self.prepared.artifacts.cells if cell.is_trained}
        return self.deciding.sentence(len(self.decisions) - 1, len(self._adapters), len(all_adapters))

    @property
    def joined(self) -> dict[Asked, JoinedPredictions]:
        """The answers of each adapter on each evaluation set over all rounds."""
        keys: dict[Asked, list[str]] = {}
        for plan in self._wholes:
            for job, run in _jobs_of_runs(plan):
                if job.key in self.asked:
                    keys.setdefault((run.adapter_key, run.evaluation_set), []).append(job.key)
        return {asked: JoinedPredictions(tuple(parts)) for asked, parts in keys.items()}

    @property
    def plan(self) -> StudyArtifacts:
        """All that the rounds wanted, each adapter's answers on an evaluation set as one run."""
        plan = self._plan(self._adapters, self.asked)
        joined = self.joined
        runs: dict[str, RunRow] = {}
        for run in plan.runs:
            key = joined[run.adapter_key, run.evaluation_set].key
            runs.setdefault(key, replace(run, predictions_key=key))
        return replace(plan, runs=tuple(runs[key] for key in sorted(runs)))

    @property
    def scoring(self) -> ScoreJobs:
        """All scores that the rounds wanted, named as the runs of `plan` are."""
        names = {part: one.key for one in self.joined.values() for part in one.parts if part != one.key}
        return replace(self.prepared.scoring, waves=tuple(self._waves), joined=names)

    @property
    def seen_sets(self) -> dict[str, EvaluationSet]:
        """Evaluation sets as far as rounds asked for them."""
        items = self.spec.spend.items
        if items is None or not self.decisions:
            return dict(self.prepared.sets)
        last = items[len(self.decisions) - 1]
        return {
            name: part_of(part, 0, last) if part.purpose == "target" else part
            for name, part in self.prepared.sets.items()
        }

    @property
    def stored_keys(self) -> dict[str, list[str]]:
        """Keys of further artifacts that the rounds want, by kind."""
        joined = {one.key for one in self.joined.values()}
        return {KIND: [one.key for one in self.decisions], "predictions": sorted(joined | set(self.asked))}

    def _is_wanted(self, run: RunRow, wanted: set[Asked]) -> bool:
        """What no question is about (forgetting, other tasks, untrained models) is asked of every model at hand."""
        asked = (run.adapter_key, run.evaluation_set)
        if asked in self._candidates:
            return asked in wanted
        return run.adapter_key in self._adapters or not run.is_trained

    def _plan(self, adapters: set[str], jobs: Mapping[str, GenerationJob]) -> StudyArtifacts:
        """The trainings of these adapters, and these generations."""
        cells = [cell for cell, key in self.prepared.artifacts.cells if key in self._adapters or not cell.is_trained]
        plans = [self._artifacts(sets, cells) for sets in self.sets if sets]
        first = plans[0]
        trainings = tuple(job for job in first.trainings if job.key in adapters)
        trained = {job.key for job in trainings}
        waits = {key: by for plan in plans for key, by in plan.trained_by.items() if key in jobs and by in trained}
        runs = {run.predictions_key: run for plan in plans for run in plan.runs if run.predictions_key in jobs}
        found = {job.key: job for plan in plans for job in plan.generations if job.key in jobs}
        return replace(
            first,
            trainings=trainings,
            generations=tuple(found.values()),
            runs=tuple(runs[key] for key in sorted(runs)),
            trained_by=waits,
        )

    def _artifacts(self, sets: Mapping[str, EvaluationSet], cells: Sequence[Any] | None) -> StudyArtifacts:
        prepared = self.prepared
        chosen = prepared.cells if cells is None else cells
        return study_artifacts(prepared.study, chosen, prepared.bases, prepared.datasets, prepared.preferences, sets)

    def _parts_of_runs(self) -> dict[Asked, list[str]]:
        found: dict[Asked, list[str]] = {}
        for place, plan in enumerate(self._wholes):
            for run in plan.runs:
                keys = found.setdefault((run.adapter_key, run.evaluation_set), [""] * len(self._wholes))
                keys[place] = run.predictions_key
        return found


def forgetting_sets(sets: Mapping[str, EvaluationSet]) -> set[str]:
    """Names of the evaluation sets that show what was lost."""
    return {name for name, part in sets.items() if part.purpose != "target"}


def replayed(prepared: PreparedStudy, num_items: Mapping[str, int], store: Store) -> StudyRounds:
    """The rounds of a study as far as the store holds all that they want; equal to those that its run went through."""
    rounds = StudyRounds(prepared, num_items)
    while (work := rounds.begin()) is not None:
        if store.present("scores", work.scoring.keys) != set(work.scoring.keys):
            break
        rounds.learn(store)
    return rounds


def _jobs_of_runs(plan: StudyArtifacts) -> list[tuple[GenerationJob, RunRow]]:
    jobs = {job.key: job for job in plan.generations}
    return [(jobs[run.predictions_key], run) for run in plan.runs]
