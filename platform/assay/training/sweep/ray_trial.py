"""A trial of the sweep: a resident Ray Tune trainable that trains one adapter after the other in one process.

The trial's configuration is a job's number; what the job is, and the tokenized rows, come through the object store.
The worker publishes the adapter into the store itself, so what is finished survives the driver.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import ray
from ray import tune

from assay.cluster.devices import device_environment
from assay.cluster.ray_models import model_here
from assay.errors import InputError
from assay.hooks import EvalHook
from assay.preference.rows import PreferenceRow
from assay.preference.rows import read_rows as read_pairs
from assay.records import TRAIN, VALIDATION, Example, MixtureRow, from_table
from assay.store import Store
from assay.training.batching import TrainingRows
from assay.training.checkpoints import Checkpoints
from assay.training.encoding import EncodedRows, encoding_key, left_out, row_groups
from assay.training.references import SharedReferences, StoredReferences
from assay.training.spec import (
    ADAPTER_KIND,
    StepMetrics,
    TrainingJob,
    TrainResources,
    stopped_adapter_key,
)
from assay.training.sweep.ray_claims import Claim

if TYPE_CHECKING:
    from assay.training.engine.lora_engine import LoraTrainer

LoadRows = Callable[[Store, TrainingJob], tuple[Sequence[MixtureRow], Sequence[MixtureRow]]]
"""Training and validation rows of a job's mixture."""
LoadExamples = Callable[[Store, str], Sequence[Example]]
"""All examples of a dataset, by its key."""
MakeHooks = Callable[[TrainingJob], Sequence[EvalHook]]
EncodingId = tuple[str, str, str]
"""Base key, dataset key, encoding key: what tokenized rows follow from."""
NEVER_USED = ("mlflow", "sklearn")
READERS = 8
"""Threads that read mixtures: on a remote store each is a request."""
INDEXES_KEPT = 16
"""Datasets whose id index a worker keeps."""


@dataclass(frozen=True)
class SweepInputs:
    """What every worker of a sweep gets, once, through the object store."""

    store: Store
    jobs: Sequence[TrainingJob]
    encodings: Mapping[EncodingId, Any]
    """Object references of `EncodedRows`."""
    resources: TrainResources
    load_rows: LoadRows
    make_hooks: MakeHooks | None
    holder: str = ""
    """The sweep, as claims on adapters know it: a new attempt of a job takes up the claim of the one that died."""


@ray.remote(num_cpus=0)
class Encoder:
    """Tokenizes datasets, one after the other in one process, while the trials' workers import their engines.

    It takes no CPU of its own, so it can never wait for one that a trial holds.
    """

    def encode(
        self,
        store: Store,
        dataset_key: str,
        job: TrainingJob,
        load_examples: LoadExamples,
        named: Collection[str] | None = None,
    ) -> EncodedRows:
        """A dataset for a base model: once per sweep, not once per trial. Test rows are never trained on.

        Args:
            store: holds the dataset, and bases that a study made.
            dataset_key: of its rows, or of pairs.
            job: any training of the base whose recipe encodes alike.
            load_examples: reads a dataset.
            named: ids of the rows that mixtures name; None takes all.
        """
        with without_modules(*NEVER_USED):
            from transformers import AutoTokenizer

            folder = model_here(store, job.base_path, job.base_key, job.base_source)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        objective = job.spec.objective
        rows = read_pairs(store, dataset_key) if objective.learns_from_pairs else load_examples(store, dataset_key)
        wanted = [row for row in rows if row.split != "test"]
        if named is not None and not objective.learns_from_pairs:
            wanted = [row for row in wanted if row.example_id in named]
        return objective.encode(wanted, tokenizer, job.spec)


def read_mixture_rows(store: Store, job: TrainingJob) -> tuple[list[MixtureRow], list[MixtureRow]]:
    """Training and validation rows of a stored mixture. A key of pairs stands for all of them, by their splits."""
    if job.spec.objective.learns_from_pairs and not store.exists("mixture", job.mixture_key):
        rows = read_pairs(store, job.mixture_key)
        return _split_of(rows, TRAIN, job.mixture_key), _split_of(rows, VALIDATION, job.mixture_key)
    train, validation = (
        from_table(store.read_table("mixture", job.mixture_key, f"{name}.parquet"), MixtureRow)
        for name in ("train", "validation")
    )
    return train, validation


def named_rows(store: Store, mixtures: Collection[str]) -> dict[str, set[str]]:
    """Ids of the rows that stored mixtures name, by the key of their dataset."""

    def read(key: str) -> list[tuple[str, list[str]]]:
        found = []
        for name in ("train", "validation"):
            table = store.read_table("mixture", key, f"{name}.parquet").select(["dataset", "example_id"])
            distinct = table.group_by("dataset").aggregate([("example_id", "distinct")])
            found += zip(distinct["dataset"].to_pylist(), distinct["example_id_distinct"].to_pylist(), strict=True)
        return found

    named: dict[str, set[str]] = {}
    with ThreadPoolExecutor(READERS) as pool:
        for parts in pool.map(read, sorted(mixtures)):
            for dataset, ids in parts:
                named.setdefault(dataset, set()).update(ids)
    return named


def _split_of(rows: Sequence[PreferenceRow], split: str, key: str) -> list[MixtureRow]:
    ids = [row.id for row in rows if row.split == split]
    return [MixtureRow(place, key, name, "pairs") for place, name in enumerate(ids)]


def read_dataset_examples(store: Store, dataset_key: str) -> list[Example]:
    """All examples of a stored dataset."""
    return from_table(store.read_table("dataset", dataset_key, "examples.parquet"), Example)


@contextmanager
def without_modules(*names: str) -> Iterator[None]:
    """Imports inside see these packages as not installed.

    DeepSpeed imports MLflow for its autotuner, and transformers imports scikit-learn for assisted generation: a
    third of a worker's start and 200 MB, for what no trial uses.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


class TrainedElsewhere(Exception):
    """Another study of the cluster trains this adapter now."""


class JobRows:
    """Tokenized rows of jobs, out of the object store. One per process: it keeps what the next job may use."""

    def __init__(self, inputs: SweepInputs) -> None:
        self._inputs = inputs
        self._indexes: OrderedDict[EncodingId, tuple[EncodedRows, dict[str, int]]] = OrderedDict()

    def of(self, job: TrainingJob) -> TrainingRows:
        """Training and validation rows of a job, in the mixture's order.

        Raises:
            InputError: a row that its dataset does not hold.
        """
        train, validation = self._inputs.load_rows(self._inputs.store, job)
        train_set, validation_set = self._encoded(job, train), self._encoded(job, validation)
        missing = Counter(left_out(*train_set)) + Counter(left_out(*validation_set))
        return TrainingRows(row_groups(*train_set), row_groups(*validation_set), dict(missing))

    def _encoded(
        self, job: TrainingJob, rows: Sequence[MixtureRow]
    ) -> tuple[list[EncodedRows], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Tables, and of each row the place of its table and its place within it."""
        datasets = sorted({row.dataset for row in rows})
        tables, indexes = [], {}
        for number, dataset in enumerate(datasets):
            table, index = self._indexed((job.base_key, dataset, encoding_key(job.spec)))
            tables.append(table)
            indexes[dataset] = (number, index)
        ordered = sorted(rows, key=lambda row: row.position)
        try:
            sources = np.array([indexes[row.dataset][0] for row in ordered], dtype=np.int64)
            places = np.array([indexes[row.dataset][1][row.example_id] for row in ordered], dtype=np.int64)
        except KeyError as error:
            raise InputError(
                f"mixture {job.mixture_key}: row {error} is not among the train or validation rows of its dataset"
            ) from None
        return tables, sources, places

    def _indexed(self, encoding: EncodingId) -> tuple[EncodedRows, dict[str, int]]:
        if encoding not in self._indexes:
            table: EncodedRows = ray.get(self._inputs.encodings[encoding])
            self._indexes[encoding] = (table, {name: place for place, name in enumerate(table.example_ids)})
            if len(self._indexes) > INDEXES_KEPT:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(encoding)
        return self._indexes[encoding]


def open_trainer(inputs: SweepInputs, job: TrainingJob, rows: JobRows) -> LoraTrainer:
    """The job's trainer in this process; where it has checkpoints it stands at the newest one.

    Raises:
        InputError: the base model, the rows or the recipe do not fit together.
    """
    os.environ.update(device_environment(inputs.resources.gpus_per_worker))
    with without_modules(*NEVER_USED):
        from assay.training.engine.lora_engine import LoraTrainer
        from assay.training.engine.resident_engine import device_of, resident_base

    training_rows = rows.of(job)
    start_dir = None
    if job.start_adapter_key is not None:
        start_dir = str(inputs.store.local_dir(ADAPTER_KIND, job.start_adapter_key))
    device = device_of(inputs.resources.gpus_per_worker)
    folder = model_here(inputs.store, job.base_path, job.base_key, job.base_source)
    base = resident_base(folder, dtype=job.spec.dtype, device=device, start_adapter_dir=start_dir)
    hooks = inputs.make_hooks(job) if inputs.make_hooks is not None else ()
    stored = StoredReferences(inputs.store, job.base_key, job.spec.dtype, job.start_adapter_key)
    with closing(SharedReferences(stored, lambda key: Claim(inputs.store.uri, key, uuid.uuid4().hex))) as references:
        return LoraTrainer(
            job.spec, base, training_rows, inputs.resources, hooks, checkpoints_of(inputs, job), references
        )


def checkpoints_of(inputs: SweepInputs, job: TrainingJob) -> Checkpoints:
    """Where the job keeps its checkpoints, if it keeps any, and finds those of an earlier part of its training."""
    return Checkpoints(inputs.store, job.key, job.hold_at)


def is_kept(store: Store, job: TrainingJob) -> bool:
    """Whether there is nothing left to train."""
    return any(store.exists(ADAPTER_KIND, key) for key in job.kept_under)


def keep(inputs: SweepInputs, job: TrainingJob, trainer: LoraTrainer) -> None:
    """Publish what the trainer made: the whole training, or where it is held what stands there, beside its checkpoint.

    All workers of a training call it.
    """
    if trainer.is_held:
        publish(inputs.store, job, stopped_adapter_key(job.key, trainer.run.step), trainer)
        return
    publish(inputs.store, job, job.key, trainer)
    if trainer.workers.is_first:
        checkpoints_of(inputs, job).clear()


def publish(store: Store, job: TrainingJob, key: str, trainer: LoraTrainer) -> None:
    """The trainer's adapter as an artifact. All workers of a training call it, the first one writes."""
    with TemporaryDirectory(prefix="assay-adapter-") as folder:
        trainer.write(Path(folder), job.base_name or f"assay-base-{job.base_key}")
        if not trainer.workers.is_first:
            return
        spec = {"train": job.spec, "base": job.base_key, "mixture": job.mixture_key}
        if job.evaluation_key is not None:
            spec["evaluation"] = job.evaluation_key
        with store.writing(ADAPTER_KIND, key, spec) as writer:
            writer.folder(Path(folder))


def trial_report(
    job: TrainingJob, last: StepMetrics | None, *, step_s: float = 0.0, eval_s: float = 0.0, wall_s: float = 0.0
) -> dict[str, Any]:
    """What a trial tells Tune: how far it is.

    Args:
        job: the trial's.
        last: its last optimizer step; None before the first.
        step_s: seconds of this process in optimizer steps.
        eval_s: seconds of this process in evaluation hooks.
        wall_s: seconds since it took the job up.
    """
    return {
        "job": job.key,
        "loss": last.loss if last else float("nan"),
        "validation_loss": last.validation_loss if last and last.validation_loss is not None else float("nan"),
        "step": last.step if last else 0,
        "total_steps": last.total_steps if last else 0,
        "step_s": step_s,
        "eval_s": eval_s,
        "wall_s": wall_s,
    }


class ResidentTrial(tune.Trainable):
    """One job after the other in one process: the base model stays, adapters come and go."""

    def setup(self, config: dict[str, Any], inputs: SweepInputs) -> None:
        """First job of this process; engines are imported here, in the worker."""
        warnings.simplefilter("ignore")
        self._inputs, self._rows = inputs, JobRows(inputs)
        self._trainer: LoraTrainer | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Next job of this process."""
        self._publish_what_was_cut_short()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train for about `report_every_s` seconds, so that the scheduler sees and can stop the trial."""
        try:
            self._generator = self._generator or self._train()
            until = time.monotonic() + self._inputs.resources.report_every_s
            while time.monotonic() < until:
                self._last = next(self._generator)
                self._pure_s += self._last.step_s
                self._eval_s += self._last.eval_s
                self._metrics |= self._last.metrics
                if self._last.metrics:  # a stopper must see every evaluation, at its own step
                    break
            return self._report(done=False)
        except StopIteration:
            return self._report(done=True)
        except TrainedElsewhere:  # the sweep comes back to it
            return {**self._report(done=True), "deferred": True}
        except InputError as error:  # bad input stays bad: no new attempt
            return {**self._report(done=True), "refused": f"{type(error).__name__}: {error}"}

    def cleanup(self) -> None:
        """The process ends: leave what a scheduler cut short under a key of its own."""
        self._publish_what_was_cut_short()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: trials keep their checkpoints in the store, by key."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see `save_checkpoint`."""

    # --- one job -----------------------------------------------------------------------------------------

    def _begin(self, config: Mapping[str, Any]) -> None:
        self._job = self._inputs.jobs[int(config["job"])]
        self._began_s = time.monotonic()
        self._generator: Generator[StepMetrics, None, Any] | None = None
        self._last: StepMetrics | None = None
        self._pure_s = self._eval_s = 0.0
        self._metrics: dict[str, float] = {}
        self._found = self._held = False

    def _train(self) -> Generator[StepMetrics, None, None]:
        job, inputs = self._job, self._inputs
        with closing(Claim(inputs.store.uri, job.key, inputs.holder)) as claim:
            if not claim.held:
                raise TrainedElsewhere
            self._found = is_kept(inputs.store, job)  # by an attempt that died then, or another sweep
            if self._found:
                return
            self._trainer = open_trainer(inputs, job, self._rows)
            try:
                yield from self._trainer.steps(job.hold_at)
                keep(inputs, job, self._trainer)
                self._held = self._trainer.is_held
            finally:
                self._trainer.close()
                self._trainer = None

    def _publish_what_was_cut_short(self) -> None:
        if self._trainer is not None and self._generator is not None and self._last is not None:
            key = stopped_adapter_key(self._job.key, self._last.step)
            publish(self._inputs.store, self._job, key, self._trainer)
        if self._generator is not None:
            self._generator.close()

    def _report(self, *, done: bool) -> dict[str, Any]:
        """What Tune sees: a hook's metrics stay at their last values, so a scheduler can go by them at any report."""
        report = trial_report(
            self._job, self._last, step_s=self._pure_s, eval_s=self._eval_s, wall_s=time.monotonic() - self._began_s
        )
        # Tune sets `done` by itself where a scheduler stops a trial
        return {**report, **self._metrics, "done": done, "finished": done, "found": self._found, "held": self._held}
