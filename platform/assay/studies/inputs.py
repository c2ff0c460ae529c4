"""What a study starts from, found and checked before any work: datasets, base models, and the study's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from assay.errors import DataError, InputError
from assay.fingerprint import fingerprint
from assay.ifs.trial_spec import evaluation_keys
from assay.metaeval.sequential.order import hashed_order
from assay.mixtures.designs import cross_category_rows
from assay.mixtures.spec import DRAW_VERSION, POOL_VERSION
from assay.model_folders import FoundModel, find_model, num_parameters
from assay.records import INSTRUCTIONS, Example
from assay.store import Store
from assay.studies.artifacts import Base, EvaluationSet
from assay.studies.derived import derived_keys
from assay.studies.judge_endpoint import writer_endpoint
from assay.studies.scores import content_keys
from assay.studies.spec import TINY, Study
from assay.studies.tiny_bases import tiny_base_key
from assay.tasks.datasets.loaders import KIND as DATASET_KIND
from assay.tasks.datasets.loaders import dataset_key, materialise_dataset, read_dataset
from assay.training.spec import check_size

STUDY_SCHEMA = 2
"""Raised whenever numbers in the result tables of an unchanged study change. New tables and rows leave it as it is: a
study that was finished before has none of them, and its report leaves them out."""
STRICT_RULES: Mapping[str, int] = {"draws": DRAW_VERSION, "rows": POOL_VERSION, "statistics": 2}
"""The same of studies in `strict`: which rows a draw takes, and how intervals are made. A finished study in
`compat` keeps its key."""
SERIES_SCHEMA = 3
"""The same of studies whose curves come in several series: their TFA was a mixture of them up to 2."""

MOST_STRAY = 0.01
"""Share of a dataset's rows whose answer may be none of their task's labels."""


@dataclass
class Datasets:
    """The datasets of a study, stored; rows are read once, when they are wanted."""

    store: Store
    keys: Mapping[str, str]
    _rows: dict[str, list[Example]] = field(default_factory=dict)

    def rows(self, name: str) -> list[Example]:
        """All rows of a dataset by the study's name for it."""
        if name not in self._rows:
            self._rows[name] = read_dataset(self.store, self.keys[name])
        return self._rows[name]

    def name_of(self, wanted: EvaluationSet) -> str:
        """The study's name for the dataset of an evaluation set."""
        return next(name for name, key in self.keys.items() if key == wanted.dataset_key)

    def evaluation_rows(self, wanted: EvaluationSet) -> list[Example]:
        """The rows of an evaluation set, in id order."""
        rows = self.rows(self.name_of(wanted))
        if wanted.per_category:
            return sorted(cross_category_rows(rows, wanted.per_category), key=lambda row: row.example_id)
        test = [row for row in rows if row.split == wanted.split and wanted.category in ("", row.category)]
        test = test[: wanted.rows]
        if wanted.places is not None:
            order = hashed_order((row.example_id for row in test), wanted.dataset_key)
            kept = set(order[slice(*wanted.places)])
            test = [row for row in test if row.example_id in kept]
        return sorted(test, key=lambda row: row.example_id)

    def by_name(self) -> dict[str, list[Example]]:
        """Rows of all datasets."""
        return {name: self.rows(name) for name in self.keys}


def dataset_keys(study: Study, embedded_name: str | None = None) -> dict[str, str]:
    """Key of every dataset in use, from its files' content; of a derived one from what it is made of, and by whom.

    Raises:
        DataError: a file is missing or unreadable.
    """
    data = study.used
    keys = {name: dataset_key(source, data.root, study.registry.tasks) for name, source in sorted(data.sources.items())}
    return derived_keys(data.derived, keys, writer_endpoint(study, embedded_name=embedded_name))


def store_datasets(study: Study, store: Store, keys: Mapping[str, str]) -> Datasets:
    """Every dataset in use as an artifact; those in the store already are not read again. Derived ones come later."""
    data = study.used
    for name, source in sorted(data.sources.items()):
        if not store.exists(DATASET_KIND, keys[name]):
            materialise_dataset(store, source, data.root, study.registry.tasks)
    return Datasets(store, keys)


def check_evaluation(
    study: Study, sets: Mapping[str, EvaluationSet], datasets: Datasets, *, before_deriving: bool = False
) -> None:
    """Every evaluation set has the rows that the study asks for; one of a category has up to as many.

    Args:
        study: whose sets.
        sets: by name.
        datasets: stored.
        before_deriving: look only at the sets that are there before any LLM is paid for making others.

    Raises:
        InputError: a split holds fewer, or none.
    """
    derived = study.used.derived
    for name, wanted in sets.items():
        if before_deriving and datasets.name_of(wanted) in derived:
            continue
        found = len(datasets.evaluation_rows(wanted))
        if found < (1 if wanted.category else wanted.rows or 1):
            raise InputError(
                f"{wanted.field}: asks for {wanted.rows or 'the'} {name!r} {wanted.split} rows but the {wanted.split} "
                f"split holds {found}; ask for fewer, or give the dataset more"
            )


def check_labels(study: Study, datasets: Datasets) -> list[str]:
    """What there is to say of rows whose answer is none of the labels of the study's own task.

    Raises:
        DataError: more than 1 % of a dataset's rows are such.
    """
    said = []
    for name, source in study.used.sources.items():
        if source.task is None or source.task not in study.tasks:
            continue
        task = study.registry.tasks.get(source.task)
        labels = {label.casefold() for label in task.labels}
        rows = datasets.rows(name)
        stray = [row for row in rows if row.reference.strip().casefold() not in labels] if labels else []
        if not stray:
            continue
        shown = ", ".join(f"{row.reference[:40]!r} in row {row.example_id[:40]}" for row in stray[:3])
        found = f"{len(stray):,} of {len(rows):,} rows of {name} have an answer that is none of the labels ({shown})"
        if len(stray) > MOST_STRAY * len(rows):
            raise DataError(
                f"data.sources.{name}: {found}; expected {', '.join(task.labels)} in at least 99 % of the rows; fix "
                "them, map them (values: {output: {theirs: ours}}) or add the label to the task"
            )
        said.append(found)
    return said


def item_counts(sets: Mapping[str, EvaluationSet], datasets: Datasets) -> dict[str, int]:
    """Rows of each evaluation set."""
    return {name: len(datasets.evaluation_rows(part)) for name, part in sets.items()}


def check_items(study: Study, sets: Mapping[str, EvaluationSet], num_items: Mapping[str, int]) -> None:
    """The rounds of `decide` ask for no more rows of a target than there are.

    Raises:
        InputError: they do.
    """
    items = None if study.decide is None else study.decide.spend.items
    for name, wanted in sets.items():
        if items is not None and wanted.purpose == "target" and items[-1] > num_items[name]:
            raise InputError(
                f"decide.spend.items: the last asks for {items[-1]} {name!r} test rows but the study evaluates "
                f"{num_items[name]}; ask for fewer, or raise {wanted.field}"
            )


def instruction_categories(sets: Mapping[str, EvaluationSet], datasets: Datasets) -> dict[str, str]:
    """Category of each evaluated row of the instruction set that carries one, by its id."""
    if INSTRUCTIONS not in sets:
        return {}
    return {row.example_id: row.category for row in datasets.evaluation_rows(sets[INSTRUCTIONS]) if row.category}


def find_bases(study: Study) -> dict[str, FoundModel]:
    """Base models that are not the study's own, checked.

    Raises:
        InputError: a folder without a tokenizer, an unknown hub id, ...
    """
    return {name: find_model(name, "base model") for name in study.all_models if name != TINY}


def tiny_key(study: Study, keys: Mapping[str, str]) -> str:
    """Key of the base that the study trains itself: on the toy world's documents, or on its instruction set's text."""
    assert study.tiny_base is not None
    return tiny_base_key(study.tiny_base, keys.get(study.data.instructions, ""))


def study_bases(study: Study, keys: Mapping[str, str]) -> dict[str, Base]:
    """Base models by the study's name for them; its own has no folder before it is made.

    Raises:
        InputError: see `find_bases`; or a base is too large to be trained whole.
    """
    bases = {name: Base(base.name, base.key, base.path, base.source) for name, base in find_bases(study).items()}
    if any(recipe.method == "full" for recipe in study.grid.recipes(study.train)):
        for base in bases.values():
            check_size(base.name, num_parameters(Path(base.path)))
    if TINY in study.all_models:
        bases[TINY] = Base(TINY, tiny_key(study, keys), "")
    return bases


def study_key(study: Study, keys: Mapping[str, str], bases: Mapping[str, str], judge_endpoint: str) -> str:
    """Names the study's results: its identity and the content of all its inputs."""
    content: dict[str, object] = {
        "schema": SERIES_SCHEMA if study.has_series else STUDY_SCHEMA,
        "study": study.identity(),
        **(STRICT_RULES if study.mode == "strict" else {}),
        "datasets": dict(keys),
        "bases": [bases[name] for name in study.all_models],
        "judge_endpoint": judge_endpoint if study.asks_judge else "",
    }
    if study.ifs is not None:  # covers the dialogues that prompts and tone classifier come from
        content["inside_trials"] = evaluation_keys(study.ifs, study.data.root, study.train.prompt)[True]
    if behind := content_keys(study):
        content["scorers"] = behind
    return fingerprint(content)
