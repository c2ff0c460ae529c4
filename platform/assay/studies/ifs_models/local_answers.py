"""Responses of the models of an IFS study that run here: bases found or pre-trained, tuned where asked, one engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assay.adapter_files import find_adapter
from assay.errors import ConfigError, StageError
from assay.fingerprint import artifact_key
from assay.generation.spec import KIND as PREDICTIONS_KIND
from assay.generation.spec import PREDICTIONS_FILE, GenerationJob
from assay.hooks import Progress
from assay.ifs.prompts import STYLES, PromptName
from assay.mixtures.designs import Instructions, instructions_alone
from assay.mixtures.sampling import MixtureBuilder, store_mixture
from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.mixtures.spec import mixture_key
from assay.model_folders import find_model, has_chat_template
from assay.records import TEST, TRAIN, Example, Prediction, from_table
from assay.store import Store
from assay.studies.ifs_models.spec import IfsModel, IfsStudy
from assay.studies.resources import check_resources
from assay.studies.spec import TINY
from assay.studies.tiny_bases import BASE_KIND, store_tiny_base, tiny_base_key
from assay.tasks.templates import PromptSpec
from assay.training.spec import ADAPTER_KIND, TrainingJob, adapter_key

EVALUATION_SCHEMA = 1
BARE = PromptSpec(style="bare")
DIALOGUES = "dialogues"
"""What the tuning mixture calls the dataset."""


@dataclass(frozen=True)
class Response:
    """What a model wrote to one prompt; `text` is None where it wrote nothing for a reason that is no model's."""

    example_id: str
    text: str | None
    missing: str = ""


Rendered = Mapping[PromptName, Sequence[Example]]
"""Kind of prompt -> the prompts as models get them."""
Answers = dict[tuple[str, PromptName], list[Response]]
"""(model, kind of prompt) -> responses in the order of the prompts."""


@dataclass(frozen=True)
class _Local:
    """A model that runs here, found."""

    name: str
    key: str
    path: str
    adapter_key: str | None = None
    adapter_dir: str | None = None
    lora_rank: int = 0


def local_answers(
    study: IfsStudy,
    store: Store,
    dataset: str,
    examples: Sequence[Example],
    rendered: Rendered,
    progress: Progress,
) -> Answers:
    """Responses of every model without a base URL, by model and kind of prompt.

    Args:
        study: its models, and how they are made and write.
        store: holds bases, adapters and predictions; what is missing is made.
        dataset: key of the dialogues.
        examples: their rows, for tuning.
        rendered: prompts of each kind as the models get them.
        progress: told of pre-training, tuning and generation.

    Raises:
        InputError: a model or an adapter that cannot be used, or one without a chat template that is asked by one.
        StageError: a model that answers nothing at all.
    """
    local = [model for model in study.models if model.base_url is None]
    if not local:
        return {}
    with ExitStack() as stack:
        found = _find_models(study, local, store, dataset, examples, progress, stack)
        if "chat" in rendered:
            _check_templates(found)
        specs = {name: study.generation.replace(prompt=STYLES["chat"] if name == "chat" else BARE) for name in rendered}
        sets = {_evaluation_key(rows): rows for rows in rendered.values()}
        jobs = {
            (model.name, name): GenerationJob(
                key="",
                base_path=model.path,
                evaluation_key=_evaluation_key(rows),
                max_new_tokens=study.max_new_tokens,
                adapter_key=model.adapter_key,
                adapter_dir=model.adapter_dir,
                lora_rank=model.lora_rank,
                base_key=model.key,
            ).keyed(specs[name])
            for model in found
            for name, rows in rendered.items()
        }
        for spec in dict.fromkeys(specs.values()):
            asked = [job for (_, name), job in jobs.items() if specs[name] == spec]
            if all(store.exists(PREDICTIONS_KIND, job.key) for job in asked):
                continue
            from assay.generation.ray_generate import run_generation

            _join_ray(study, stack)
            report = run_generation(store, asked, sets, spec, study.resources.generation, progress)
            if report.failed:
                key, reason = next(iter(report.failed.items()))
                who = next(name for (name, _), job in jobs.items() if job.key == key)
                raise StageError(f"generation: {who} answers nothing ({reason}); fix it and run the same command again")
    return {
        place: _responses(rendered[place[1]], from_table(_table(store, job.key), Prediction))
        for place, job in jobs.items()
    }


def _table(store: Store, key: str) -> Any:
    return store.read_table(PREDICTIONS_KIND, key, PREDICTIONS_FILE)


def _responses(rows: Sequence[Example], predictions: Sequence[Prediction]) -> list[Response]:
    by_id = {prediction.example_id: prediction for prediction in predictions}
    found = []
    for row in rows:
        prediction = by_id[row.example_id]
        missing = f"error: {prediction.error.split(':')[0]}" if prediction.error else ""
        found.append(Response(row.example_id, None if missing else prediction.prediction, missing))
    return found


def _evaluation_key(rows: Sequence[Example]) -> str:
    texts = [[row.example_id, row.instruction] for row in rows]
    return artifact_key("evaluation", EVALUATION_SCHEMA, {"ifs": texts}, {})


def _join_ray(study: IfsStudy, stack: ExitStack) -> None:
    from assay.cluster.ray_cluster import ray_cluster

    stack.enter_context(ray_cluster(study.resources))
    check_resources(study.resources)


def _find_models(
    study: IfsStudy,
    models: Sequence[IfsModel],
    store: Store,
    dataset: str,
    examples: Sequence[Example],
    progress: Progress,
    stack: ExitStack,
) -> list[_Local]:
    """Models with their keys and folders; a tiny base is pre-trained and a tuned model tuned where missing."""
    bases = {model.model: _find_base(model.model) for model in models if model.model != TINY}  # refused before any work
    if any(model.model == TINY for model in models):
        assert study.tiny_base is not None
        store_tiny_base(store, study.tiny_base, dataset, lambda: examples, progress)
        key = tiny_base_key(study.tiny_base, dataset)
        bases[TINY] = _Local(TINY, key, str(store.local_dir(BASE_KIND, key)))
    found, jobs = [], []
    for model in models:
        base = replace(bases[model.model], name=model.name)
        if model.tuned:
            job = _tuning_job(study, store, base, dataset, examples)
            jobs.append(job)
            if study.train.method == "full":  # a base of its own, whose folder comes with its training
                base = replace(base, key=job.key)
            else:
                base = replace(base, adapter_key=job.key, lora_rank=study.train.lora_rank)
        elif model.adapter is not None:
            adapter = find_adapter(Path(model.adapter).expanduser())
            base = replace(base, adapter_key=adapter.key, adapter_dir=adapter.path, lora_rank=adapter.rank)
        found.append(base)
    missing = [job for job in jobs if not store.exists(ADAPTER_KIND, job.key)]
    if missing:
        from assay.training.sweep.ray_sweep import run_sweep

        _join_ray(study, stack)
        run_sweep(store, missing, study.resources.training, progress)
    trained = {job.key for job in jobs}
    return [
        replace(model, path=str(store.local_dir(ADAPTER_KIND, model.key))) if model.key in trained else model
        for model in found
    ]


def _check_templates(models: Sequence[_Local]) -> None:
    for model in models:
        if not has_chat_template(Path(model.path)):
            raise ConfigError(
                f"prompts: saw chat for model {model.name!r}, which has no chat template; expected one that has; "
                "leave chat out of the prompts"
            )


def _find_base(name: str) -> _Local:
    base = find_model(name, "base model")
    return _Local(base.name, base.key, base.path)


def _tuning_job(study: IfsStudy, store: Store, base: _Local, dataset: str, examples: Sequence[Example]) -> TrainingJob:
    """Instruction tuning on the train rows of the dialogues."""
    keys = {DIALOGUES: dataset}
    has_validation = any(row.split not in (TRAIN, TEST) for row in examples)
    mixture = instructions_alone(Instructions(DIALOGUES, validation_rows=None if has_validation else 0))
    key = mixture_key(mixture, keys)
    if not store.exists(MIXTURE_KIND, key):
        store_mixture(store, MixtureBuilder({DIALOGUES: examples}, keys).build(mixture, study.name), mixture)
    return TrainingJob(
        key=adapter_key(study.train, base_key=base.key, mixture_key=key),
        base_key=base.key,
        base_path=base.path,
        mixture_key=key,
        spec=study.train,
        base_name=base.name,
        dataset_keys=(dataset,),
        labels={"study": study.name, "model": base.name},
    )
