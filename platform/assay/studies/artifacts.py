"""Which artifacts a study wants: cells in, keys out. Pure; equal artifacts are one artifact.

The pipeline makes what this page lists and the store does not have. Nothing else decides what is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from assay.errors import ConfigError
from assay.fingerprint import artifact_key, fingerprint
from assay.generation.spec import GenerationJob
from assay.ifs.trial_spec import evaluation_keys
from assay.metaeval.study_tables.build import RunRow
from assay.mixtures.spec import MixtureSpec, mixture_key
from assay.model_folders import model_type
from assay.preference.sources import START, PairsAsked, StrongerPairs
from assay.studies.designs.asked import AskedSet
from assay.studies.designs.cell import Cell
from assay.studies.designs.models import AS_GIVEN
from assay.studies.given.found import FoundGiven, Given, Place, answers_job
from assay.studies.preferences.wanted import PreferenceInputs, Sampler, WantedPairs, asked_with, wanted_pairs
from assay.studies.spec import Study
from assay.training.spec import TrainingJob, TrainSpec, adapter_key
from assay.training.targets import FAMILY_TARGETS

EVALUATION_SCHEMA = 1
MERGED_SCHEMA = 1
STACKED_SCHEMA = 1
Job = TypeVar("Job", TrainingJob, GenerationJob)


@dataclass(frozen=True)
class Base:
    """A base model that is at hand."""

    name: str
    """What tables and reports call it: its hub id or its folder's name, never a path of this machine."""
    key: str
    path: str
    source: str = ""
    """Where another machine finds the same model, see `FoundModel.source`."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSet(AskedSet):
    """Test rows that adapters answer, of a dataset whose content is known."""

    key: str
    dataset_key: str
    places: tuple[int, int] | None = None
    """Only the rows from one place up to another, in an order by hash; None: all of them."""


@dataclass(frozen=True)
class MergedBase:
    """A base model with an instruction adapter written into it: an artifact that is a base of its own."""

    base: Base
    adapter_key: str

    @property
    def key(self) -> str:
        """Of the base artifact."""
        inputs = {"base": self.base.key, "adapter": self.adapter_key}
        return artifact_key("base", MERGED_SCHEMA, {"merged": True}, inputs)


@dataclass(frozen=True)
class StackedAdapter:
    """Two adapters of one base served as one, whose rank is the sum of theirs."""

    parts: tuple[str, str]
    rank: int

    @property
    def key(self) -> str:
        """Of the adapter artifact."""
        return artifact_key("adapter", STACKED_SCHEMA, {"stacked": True}, {"adapters": list(self.parts)})


@dataclass(frozen=True)
class Wave:
    """What is trained, then generated and scored, before the next wave begins; see `overlap` for its judge."""

    trainings: tuple[TrainingJob, ...]
    generations: tuple[GenerationJob, ...]
    given: tuple[Given, ...] = ()
    """Answers that no engine writes."""

    @property
    def answers(self) -> list[tuple[str, str]]:
        """Keys of predictions and of the rows that they answer."""
        return [(job.key, job.evaluation_key) for job in (*self.generations, *self.given)]


@dataclass(frozen=True)
class StudyArtifacts:
    """All artifacts of a study, each once."""

    mixtures: Mapping[str, MixtureSpec]
    """Key -> spec."""
    trainings: tuple[TrainingJob, ...]
    generations: tuple[GenerationJob, ...]
    runs: tuple[RunRow, ...]
    """One per predictions artifact, in key order."""
    cells: tuple[tuple[Cell, str], ...]
    """Every cell with the key of its adapter (of a cell that is not trained: of its starting point)."""
    tunings: tuple[TrainingJob, ...] = ()
    """Instruction tunings that other trainings start from; done before them all."""
    merged: tuple[MergedBase, ...] = ()
    """Made after the tunings."""
    stacked: Mapping[str, StackedAdapter] = field(default_factory=dict)
    """Training's key -> the stack that serves its adapter, made after it."""
    trained_by: Mapping[str, str] = field(default_factory=dict)
    """Predictions key -> key of the training that they wait for; absent where they wait for none."""
    pairs: tuple[WantedPairs, ...] = ()
    """Preferences that trainings read; made after the starting points."""
    rounds: tuple[tuple[WantedPairs, TrainingJob], ...] = ()
    """Of expert iteration: pairs and the training on them, whose answers the next round samples; earlier ones first."""
    prefixes: Mapping[str, str] = field(default_factory=dict)
    """Predictions key -> what stands before the questions, where a model was trained on conditions."""
    given: tuple[Given, ...] = ()
    """Answers of models that no engine here loads."""

    @property
    def predictions(self) -> list[str]:
        """Keys of all predictions."""
        return [job.key for job in (*self.generations, *self.given)]

    @property
    def whole(self) -> tuple[str, ...]:
        """Keys of the trainings whose artifacts are models of their own, not adapters."""
        return tuple(job.key for job in (*self.tunings, *self.trainings) if job.spec.method == "full")

    def waves(self, size: int) -> list[Wave]:
        """Trainings in waves of at most `size` with what their adapters answer; what waits for none comes first."""
        by_training: dict[str, list[GenerationJob]] = {}
        for job in self.generations:
            by_training.setdefault(self.trained_by.get(job.key, ""), []).append(job)
        waves = []
        for start in range(0, max(1, len(self.trainings)), size):
            trainings = self.trainings[start : start + size]
            first = by_training.get("", []) if start == 0 else []
            own = [job for training in trainings for job in by_training.get(training.key, [])]
            waves.append(Wave(trainings, (*first, *own), self.given if start == 0 else ()))
        return waves

    def at(self, paths: Mapping[str, str]) -> StudyArtifacts:
        """The same with the folders, by key, of bases that have none before the study makes them. No key changes."""
        return replace(
            self,
            trainings=placed(self.trainings, paths),
            generations=placed(self.generations, paths),
            tunings=placed(self.tunings, paths),
            merged=tuple(
                replace(part, base=replace(part.base, path=paths.get(part.base.key, part.base.path)))
                for part in self.merged
            ),
            pairs=tuple(part.at(paths) for part in self.pairs),
            rounds=tuple((part.at(paths), placed([job], paths)[0]) for part, job in self.rounds),
        )


def placed(jobs: Sequence[Job], paths: Mapping[str, str]) -> tuple[Job, ...]:
    """Jobs with the folders of their bases, by the bases' keys, where these are known."""
    return tuple(replace(job, base_path=paths.get(job.base_key, job.base_path)) for job in jobs)


def evaluation_sets(study: Study, dataset_keys: Mapping[str, str]) -> dict[str, EvaluationSet]:
    """The evaluation sets of a study by name."""
    return {part.name: _evaluation_set(part, dataset_keys) for part in study.grid.evaluation_sets(study)}


def _evaluation_set(asked: AskedSet, dataset_keys: Mapping[str, str]) -> EvaluationSet:
    spec: dict[str, object] = {"split": asked.split, "rows": asked.rows}
    if asked.per_category:
        spec = {"split": asked.split, "per_category": asked.per_category}
    elif asked.category:
        spec["category"] = asked.category
    dataset_key = dataset_keys[asked.dataset]
    key = artifact_key("evaluation", EVALUATION_SCHEMA, spec, {"dataset": dataset_key})
    return EvaluationSet(**vars(asked), key=key, dataset_key=dataset_key)


def study_artifacts(
    study: Study,
    cells: Sequence[Cell],
    bases: Mapping[str, Base],
    dataset_keys: Mapping[str, str],
    preferences: PreferenceInputs | None = None,
    sets: Mapping[str, EvaluationSet] | None = None,
    given: Mapping[str, FoundGiven] | None = None,
) -> StudyArtifacts:
    """The artifacts of these cells.

    Args:
        study: the study.
        cells: its cells, see `cells.expand`.
        bases: base models by the study's name for them.
        dataset_keys: key of each dataset by the study's name for it.
        preferences: what cells that learn from preferences rest on beside that.
        sets: evaluation sets by name, where they are not the study's own; cells do not answer those left out.
        given: models that cells name to be compared as they are.
    """
    asked = evaluation_sets(study, dataset_keys) if sets is None else sets
    made = _Collected(study, bases, dataset_keys, asked, preferences, given or {})
    for cell in cells:
        made.add(cell)
    return StudyArtifacts(
        mixtures=dict(sorted(made.mixtures.items())),
        trainings=tuple(made.trainings.values()),
        generations=tuple(made.generations.values()),
        runs=tuple(made.runs[key] for key in sorted(made.runs)),
        cells=tuple(made.placed),
        tunings=tuple(made.tunings.values()),
        merged=tuple(made.merged.values()),
        stacked=made.stacked,
        trained_by=made.trained_by,
        pairs=tuple(made.pairs.values()),
        prefixes=made.prefixes,
        rounds=tuple(made.rounds.values()),
        given=tuple(made.given_jobs.values()),
    )


@dataclass(frozen=True)
class _Point:
    """What a cell's training starts from, and what answers for it."""

    base: Base
    start_adapter: str | None = None
    start_rank: int = 0


@dataclass
class _Collected:
    """Artifacts as they are found, cell by cell."""

    study: Study
    bases: Mapping[str, Base]
    dataset_keys: Mapping[str, str]
    sets: Mapping[str, EvaluationSet]
    preferences: PreferenceInputs | None = None
    given: Mapping[str, FoundGiven] = field(default_factory=dict)
    given_jobs: dict[str, Given] = field(default_factory=dict)
    pairs: dict[str, WantedPairs] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)
    rounds: dict[str, tuple[WantedPairs, TrainingJob]] = field(default_factory=dict)
    mixtures: dict[str, MixtureSpec] = field(default_factory=dict)
    trainings: dict[str, TrainingJob] = field(default_factory=dict)
    tunings: dict[str, TrainingJob] = field(default_factory=dict)
    merged: dict[str, MergedBase] = field(default_factory=dict)
    stacked: dict[str, StackedAdapter] = field(default_factory=dict)
    generations: dict[str, GenerationJob] = field(default_factory=dict)
    trained_by: dict[str, str] = field(default_factory=dict)
    runs: dict[str, RunRow] = field(default_factory=dict)
    placed: list[tuple[Cell, str]] = field(default_factory=list)
    _mixture_keys: dict[int, str] = field(default_factory=dict)
    _evaluation_keys: dict[bool, str] = field(default_factory=dict)

    def add(self, cell: Cell) -> None:
        """What one cell wants."""
        if cell.given:
            self._answer(cell, self.given[cell.given])
            return
        point = self._starting_point(cell)
        if not cell.is_trained:
            key = point.start_adapter or point.base.key
            self.placed.append((cell, key))
            self._evaluate(cell, point, "", point.start_adapter, point.start_rank, key, training="")
            return
        mixture = self._mixture(cell.mixture)
        recipe, evaluation = self._recipe(cell.train, cell), self._evaluation(cell)
        rows = mixture if cell.pairs is None else self._pairs(cell, cell.pairs, recipe, point, mixture)
        key = adapter_key(
            recipe,
            base_key=point.base.key,
            mixture_key=rows,
            start_adapter_key=point.start_adapter,
            evaluation_key=evaluation,
        )
        self.placed.append((cell, key))
        if key in self.trainings and cell.num_target:
            return
        labels = {"arm": cell.arm, "draw": str(cell.draw), "seed": str(cell.training_seed), "base": point.base.name}
        job = self._training(key, point.base, mixture, recipe, point.start_adapter, labels)
        job = replace(job, evaluation_key=evaluation)
        if cell.pairs is not None:
            job = _on_pairs(job, rows, cell)
        self.trainings.setdefault(key, job)
        if recipe.method == "full":
            whole = _Point(Base(point.base.name, key, ""))
            self._evaluate(cell, whole, rows, None, 0, key, training=key)
            return
        adapter, rank = self._served(point, key, cell.train.lora_rank)
        self._evaluate(cell, point, rows, adapter, rank, key, training=key)

    def _served(self, point: _Point, key: str, rank: int) -> tuple[str, int]:
        """What a training's adapter is served as, and its rank: itself, or stacked on the one that it started from."""
        if point.start_adapter is None:
            return key, rank
        stack = self.stacked[key] = StackedAdapter((point.start_adapter, key), point.start_rank + rank)
        return stack.key, stack.rank

    def _answer(self, cell: Cell, model: FoundGiven) -> None:
        """Answers of a model as it is. One board holds all of them, so they bear one base's name."""
        base = self.bases.get(model.spec.base or "")
        identity = fingerprint([model.name, model.content, "" if base is None else base.key])
        self.placed.append((cell, identity))
        place = None if base is None else Place(base.key, base.path, base.source)
        for name in cell.evaluates:
            rows = self.sets[name]
            job = answers_job(
                model, place, self.study.generation, evaluation_key=rows.key, max_new_tokens=rows.max_new_tokens
            )
            if isinstance(job, GenerationJob):
                self.generations.setdefault(job.key, job)
            else:
                self.given_jobs.setdefault(job.key, job)
            if job.key in self.runs:
                raise ConfigError(
                    f"grid.models: saw {model.name!r} and {self.runs[job.key].arm!r}, whose files or endpoint are the "
                    "same; expected models to differ; leave one out"
                )
            self.runs[job.key] = RunRow(
                predictions_key=job.key,
                adapter_key=identity,
                mixture_key="",
                base_model=AS_GIVEN,
                trained_task="",
                evaluation_set=name,
                num_target=0,
                draw=-1,
                training_seed=cell.training_seed,
                arm=cell.arm,
                purpose=rows.purpose,
                is_trained=False,
                is_given=True,
            )

    def _pairs(self, cell: Cell, asked: PairsAsked, recipe: TrainSpec, point: _Point, prompts: str) -> str:
        """Key of the preferences that a cell learns from; of expert iteration those of its last round."""
        assert self.preferences is not None
        start, tuned = point.base, point.start_adapter
        first = sampler = Sampler(start.key, start.path, tuned, point.start_rank)
        for number in range(1, asked.rounds):
            wanted = wanted_pairs(self.study, asked, sampler, prompts, self.preferences, first)
            key = adapter_key(recipe, base_key=start.key, mixture_key=wanted.key, start_adapter_key=tuned)
            labels = {"arm": f"{cell.arm}, round {number}", "seed": str(cell.training_seed), "base": start.name}
            job = self._training(key, start, prompts, recipe, tuned, labels)
            self.rounds.setdefault(key, (wanted, _on_pairs(job, wanted.key, cell)))
            adapter, rank = self._served(point, key, cell.train.lora_rank)
            sampler = replace(sampler, adapter_key=adapter, lora_rank=rank)
        wanted = wanted_pairs(self.study, asked, sampler, prompts, self.preferences, first, self._winner(asked))
        self.pairs.setdefault(wanted.key, wanted)
        return wanted.key

    def _winner(self, asked: PairsAsked) -> Sampler | None:
        """The stronger model that a source names."""
        if not isinstance(asked.spec, StrongerPairs) or asked.spec.winner == START:
            return None
        base = self.bases[asked.spec.winner]
        return Sampler(base.key, base.path)

    def _evaluation(self, cell: Cell) -> str | None:
        if cell.stops is None or self.study.ifs is None:
            return None
        if not self._evaluation_keys:
            self._evaluation_keys = dict(evaluation_keys(self.study.ifs, self.study.data.root, self.study.train.prompt))
        return self._evaluation_keys[cell.stops]

    def _recipe(self, train: TrainSpec, cell: Cell) -> TrainSpec:
        """The recipe with the layers that "auto" means for the cell's base, where they are not told by names alone."""
        if self.study.mode == "compat" or train.target_modules != "auto":
            return train
        layers = FAMILY_TARGETS.get(model_type(self.bases[cell.base_model].path))
        return train if layers is None else train.replace(target_modules=layers)

    def _starting_point(self, cell: Cell) -> _Point:
        base = self.bases[cell.base_model]
        if cell.start is None:
            return _Point(base)
        tuned = cell.start
        mixture = self._mixture(tuned.mixture)
        recipe = self._recipe(tuned.train, cell)
        key = adapter_key(recipe, base_key=base.key, mixture_key=mixture)
        if key not in self.tunings:
            labels = {"arm": "instruction tuning", "seed": str(tuned.train.seed), "base": base.name}
            self.tunings[key] = self._training(key, base, mixture, recipe, None, labels)
        if recipe.method == "full":
            return _Point(Base(base.name, key, ""))
        if tuned.is_stacked:
            return _Point(base, key, tuned.train.lora_rank)
        merged = MergedBase(base, key)
        self.merged.setdefault(merged.key, merged)
        return _Point(Base(base.name, merged.key, ""))

    def _mixture(self, spec: MixtureSpec) -> str:
        key = self._mixture_keys.get(id(spec))
        if key is None:
            key = self._mixture_keys[id(spec)] = mixture_key(spec, self.dataset_keys)
            self.mixtures[key] = spec
        return key

    def _training(
        self,
        key: str,
        base: Base,
        mixture: str,
        recipe: TrainSpec,
        start_adapter: str | None,
        labels: Mapping[str, str],
    ) -> TrainingJob:
        spec = self.mixtures[mixture]
        return TrainingJob(
            key=key,
            base_key=base.key,
            base_path=base.path,
            base_source=base.source,
            mixture_key=mixture,
            spec=recipe,
            base_name=base.name,
            dataset_keys=tuple(sorted({self.dataset_keys[name] for name in spec.datasets})),
            start_adapter_key=start_adapter,
            num_rows=sum(part.count or 0 for part in spec.train),
            labels=labels,
        )

    def _evaluate(
        self,
        cell: Cell,
        point: _Point,
        mixture: str,
        adapter: str | None,
        rank: int,
        identity: str,
        *,
        training: str,
    ) -> None:
        """Generation jobs and runs of the cell's model on every evaluation set that it answers."""
        for name in cell.evaluates:
            rows = self.sets.get(name)
            if rows is None:
                continue
            prefix = cell.train.objective.best_prefix if training else ""
            job = GenerationJob(
                key="",
                base_path=point.base.path,
                base_source=point.base.source,
                evaluation_key=rows.key,
                max_new_tokens=rows.max_new_tokens,
                adapter_key=adapter,
                lora_rank=rank,
                base_key=point.base.key,
            ).keyed(asked_with(self.study.generation, prefix))
            self.generations.setdefault(job.key, job)
            if prefix:
                self.prefixes[job.key] = prefix
            if training:
                self.trained_by.setdefault(job.key, training)
            self.runs.setdefault(job.key, self._run(job.key, cell, identity, mixture, name))

    def _run(self, key: str, cell: Cell, identity: str, mixture: str, evaluation_set: str) -> RunRow:
        at_zero = cell.num_target == 0
        return RunRow(
            predictions_key=key,
            adapter_key=identity,
            mixture_key=mixture,
            base_model=self.bases[cell.listed_under or cell.base_model].name,
            trained_task="" if at_zero and not cell.owns_zero else cell.task,
            evaluation_set=evaluation_set,
            num_target=cell.num_target,
            draw=-1 if at_zero else cell.draw,
            training_seed=cell.training_seed,
            arm=cell.arm,
            series=cell.series,
            repeats=cell.repeats,
            purpose=self.sets[evaluation_set].purpose,
            is_trained=cell.is_trained,
        )


def _on_pairs(job: TrainingJob, pairs: str, cell: Cell) -> TrainingJob:
    """A training on preferences instead of the rows that their prompts come from."""
    return replace(job, mixture_key=pairs, dataset_keys=(pairs,), num_rows=cell.num_target)
