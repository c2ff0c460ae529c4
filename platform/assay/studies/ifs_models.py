"""Measures IFS of a study's models: classifier, prompts, answers, table. What the store holds is not done again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from assay.config import validate
from assay.errors import InputError, StageError
from assay.fingerprint import artifact_key, file_hash
from assay.generation.spec import KIND as PREDICTIONS_KIND
from assay.generation.spec import PREDICTIONS_FILE, GenerationJob, predictions_key
from assay.hooks import Progress
from assay.llm.endpoint import EndpointSpec, with_told_name
from assay.llm.requests import Answer, ChatRequest, Message, Reply, Sampling
from assay.metaeval.ifs import corrected_difference, ifs, ifs_report, paired_difference
from assay.mixtures.designs import Instructions, instructions_alone
from assay.mixtures.sampling import MixtureBuilder, store_mixture
from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.mixtures.spec import mixture_key
from assay.records import TEST, TRAIN, Example, Prediction, from_table
from assay.scoring.ifs_prompts import STYLES, PromptName, ifs_prompts, is_partial
from assay.scoring.tone import THRESHOLD, ToneModel, load_tone_model
from assay.scoring.tone_data import case_rule, dialogues_of, normalise, split_dialogues
from assay.store import Store
from assay.studies.ifs_spec import IfsModel, IfsStudy
from assay.studies.spec import TINY
from assay.studies.tiny_bases import BASE_KIND, store_tiny_base, tiny_base_key
from assay.studies.tone import load_tone, store_tone, tone_report
from assay.tasks.loaders import materialise_dataset, read_dataset
from assay.tasks.templates import PromptSpec, render_prompt
from assay.training.base_models import resolve_base
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


@dataclass(frozen=True)
class Measured:
    """One model under one kind of prompt."""

    model: str
    prompt: PromptName
    responses: tuple[Response, ...]
    """In the order of the prompts."""
    probabilities: tuple[float, ...]
    """Of answer-like; NaN where a response is missing."""


@dataclass(frozen=True)
class IfsResult:
    """A study measured."""

    report: dict[str, Any]
    """All figures as JSON."""
    prompts: tuple[Example, ...]
    measured: tuple[Measured, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Every response with its probability, for people."""
        return [
            {
                "model": part.model,
                "prompt": part.prompt,
                "id": example.example_id,
                "partial": is_partial(example),
                "text": example.instruction,
                "response": response.text,
                "missing": response.missing or None,
                "answer_like": None if response.text is None else round(probability, 6),
            }
            for part in self.measured
            for example, response, probability in zip(self.prompts, part.responses, part.probabilities, strict=True)
        ]


def measure_ifs(study: IfsStudy, store: Store, progress: Progress, ledger_url: str) -> IfsResult:
    """All figures of a study.

    Raises:
        InputError: data, a model or an endpoint that cannot be used.
        StageError: a model that answers nothing.
    """
    dataset = materialise_dataset(store, study.dialogues, study.root).key
    examples = read_dataset(store, dataset)
    tone, told = _tone(study, store)
    prompts = _prompts(study, store, examples)
    rendered = {name: [_as_seen(row, name) for row in prompts] for name in study.prompts}
    answers = _local_answers(study, store, dataset, examples, rendered, progress)
    answers |= _endpoint_answers(study, rendered, ledger_url, progress)
    measured = [
        _measured(model.name, name, answers[model.name, name], tone) for model in study.models for name in study.prompts
    ]
    report = {
        "study": study.name,
        "prompts": {
            "n": len(prompts),
            "fragments": sum(map(is_partial, prompts)),
            "seed": study.seed,
            "dialogues": study.dialogues.label,
        },
        "tone": told,
        "rows": [_row(part, measured, prompts, tone) for part in measured],
    }
    return IfsResult(report, tuple(prompts), tuple(measured))


# --- classifier and prompts ------------------------------------------------------------------------------------------


def _tone(study: IfsStudy, store: Store) -> tuple[ToneModel, dict[str, Any]]:
    if study.tone_folder is not None:
        model = load_tone_model(Path(study.tone_folder).expanduser())
        known: dict[str, Any] = {"validation": None}
    else:
        key = store_tone(store, study.tone_config, study.root)
        model = load_tone(store, key)
        known = {"key": key, "validation": tone_report(store, key)}
    rates = {name: {"num_right": c.num_right, "n": c.n} for name, c in _counts(model).items()}
    return model, {"kind": model.spec.kind, **rates, **known}


def _counts(model: ToneModel) -> dict[str, Any]:
    return {"sensitivity": model.sensitivity, "specificity": model.specificity}


def _prompts(study: IfsStudy, store: Store, examples: Sequence[Example]) -> list[Example]:
    """Prompts whose questions neither the classifier nor a tuned model has learned from."""
    kept = [row for row in examples if row.split == TEST] if study.is_tuning else list(examples)
    seen: set[str] = set()
    if study.tone_folder is None:
        config = study.tone_config
        texts = dialogues_of(read_dataset(store, materialise_dataset(store, config.source, study.root).key))
        learned, _ = split_dialogues(texts, config.spec.held_out, config.spec.seed)
        seen = {normalise(dialogue.question) for dialogue in learned}
    if study.is_tuning:
        seen |= {normalise(d.question) for d in dialogues_of(row for row in examples if row.split == TRAIN)}
    free = [dialogue for dialogue in dialogues_of(kept) if normalise(dialogue.question) not in seen]
    return ifs_prompts(free, study.num_prompts, study.seed)


def _as_seen(row: Example, name: PromptName) -> Example:
    """The prompt as the model gets it: rendered, so that all kinds are one stream through one engine."""
    return replace(row, instruction=render_prompt(row, STYLES[name]))


# --- models that run here --------------------------------------------------------------------------------------------

Rendered = Mapping[PromptName, Sequence[Example]]
Answers = dict[tuple[str, PromptName], list[Response]]


@dataclass(frozen=True)
class _Local:
    """A model that runs here, found."""

    name: str
    key: str
    path: str
    adapter_key: str | None = None
    adapter_dir: str | None = None
    lora_rank: int = 0


def _local_answers(
    study: IfsStudy,
    store: Store,
    dataset: str,
    examples: Sequence[Example],
    rendered: Rendered,
    progress: Progress,
) -> Answers:
    local = [model for model in study.models if model.base_url is None]
    if not local:
        return {}
    with ExitStack() as stack:
        found = _find_models(study, local, store, dataset, examples, progress, stack)
        spec = study.generation.replace(prompt=BARE)
        sets = {_evaluation_key(rows): rows for rows in rendered.values()}
        jobs = {
            (model.name, name): GenerationJob(
                key=predictions_key(
                    spec,
                    base_key=model.key,
                    adapter_key=model.adapter_key,
                    evaluation_key=_evaluation_key(rows),
                    max_new_tokens=study.max_new_tokens,
                ),
                base_path=model.path,
                evaluation_key=_evaluation_key(rows),
                max_new_tokens=study.max_new_tokens,
                adapter_key=model.adapter_key,
                adapter_dir=model.adapter_dir,
                lora_rank=model.lora_rank,
                base_key=model.key,
            )
            for model in found
            for name, rows in rendered.items()
        }
        if not all(store.exists(PREDICTIONS_KIND, job.key) for job in jobs.values()):
            from assay.generation.ray_generate import run_generation

            _join_ray(study, stack)
            resources = study.resources.generation
            report = run_generation(store, list(jobs.values()), sets, spec, resources, progress)
            if report.failed:
                key, reason = next(iter(report.failed.items()))
                who = next(name for (name, _), job in jobs.items() if job.key == key)
                raise StageError(
                    f"generation: {who} answers nothing ({reason}); mend it and run the same command again"
                )
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
    from assay.studies.ray_cluster import ray_cluster

    stack.enter_context(ray_cluster(study.resources))


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
            base = replace(base, adapter_key=job.key, lora_rank=study.train.lora_rank)
        elif model.adapter is not None:
            base = _with_adapter(base, Path(model.adapter).expanduser())
        found.append(base)
    missing = [job for job in jobs if not store.exists(ADAPTER_KIND, job.key)]
    if missing:
        from assay.training.ray_sweep import run_sweep

        _join_ray(study, stack)
        run_sweep(store, missing, study.resources.training, progress)
    return found


def _find_base(name: str) -> _Local:
    base = resolve_base(name)
    return _Local(base.name, base.key, base.path)


def _with_adapter(base: _Local, folder: Path) -> _Local:
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    try:
        rank = int(json.loads(config.read_text(encoding="utf-8"))["r"])
        key = artifact_key("adapter-folder", 1, {}, {"config": file_hash(config), "weights": file_hash(weights)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"adapter {folder}: saw no LoRA adapter ({type(error).__name__}); expected adapter_config.json with r and "
            "adapter_model.safetensors; check the path"
        ) from None
    return replace(base, adapter_key=key, adapter_dir=str(folder.resolve()), lora_rank=rank)


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


# --- models behind endpoints -----------------------------------------------------------------------------------------


def _endpoint_answers(study: IfsStudy, rendered: Rendered, ledger_url: str, progress: Progress) -> Answers:
    remote = [model for model in study.models if model.base_url is not None]
    found: Answers = {}
    for model in remote:
        found |= asyncio.run(_ask(study, model, rendered, ledger_url, progress))
    return found


async def _ask(study: IfsStudy, model: IfsModel, rendered: Rendered, ledger_url: str, progress: Progress) -> Answers:
    from assay.llm.gateway import open_gateway

    fields = {
        "base_url": model.base_url,
        "model": model.model,
        "api_key_env": model.api_key_env,
        "requests_per_min": model.requests_per_min,
        "max_concurrency": model.max_concurrency,
    }
    endpoint = with_told_name(validate(EndpointSpec, fields, f"model {model.name!r}"))
    places = [(name, place) for name, rows in rendered.items() for place in range(len(rows))]
    sampling = Sampling(temperature=study.generation.temperature, max_tokens=study.max_new_tokens)
    requests = [
        ChatRequest(model.model, (Message("user", rendered[name][place].instruction),), sampling, protocol="ifs")
        for name, place in places
    ]
    stage = f"answers of {model.name}"
    progress.start(stage, len(requests), unit="prompts")
    found: Answers = {(model.name, name): [Response("", None)] * len(rows) for name, rows in rendered.items()}
    async with open_gateway(
        endpoint, ledger_url=ledger_url, study=study.name, judge=model.model, limiter="process"
    ) as gateway:
        async for number, reply in gateway.ask_many(requests):
            name, place = places[number]
            found[model.name, name][place] = _reply_response(rendered[name][place].example_id, reply)
            progress.advance(stage)
    progress.finish(stage)
    return found


def _reply_response(example_id: str, reply: Reply) -> Response:
    if isinstance(reply, Answer):
        return Response(example_id, reply.text)
    if reply.reason == "empty":  # a model that writes nothing has not answered; the endpoint worked
        return Response(example_id, "")
    return Response(example_id, None, f"error: {reply.reason}")


# --- figures ---------------------------------------------------------------------------------------------------------


def _measured(model: str, prompt: PromptName, responses: Sequence[Response], tone: ToneModel) -> Measured:
    texts = [response.text or "" for response in responses]
    missing = np.array([response.text is None for response in responses])
    probabilities = np.where(missing, np.nan, tone.probabilities(texts))
    return Measured(model, prompt, tuple(responses), tuple(probabilities.tolist()))


def _row(part: Measured, measured: Sequence[Measured], prompts: Sequence[Example], tone: ToneModel) -> dict[str, Any]:
    labels = _labels(part, tone)
    there = [place for place, response in enumerate(part.responses) if response.text is not None]
    texts = [part.responses[place].text or "" for place in there]
    report = ifs_report(
        [bool(labels[place]) for place in there],
        [is_partial(prompts[place]) for place in there],
        tone.sensitivity,
        tone.specificity,
        Counter(response.missing for response in part.responses if response.text is None),
    )
    row = {
        "model": part.model,
        "prompt": part.prompt,
        **report.as_json(),
        "num_empty": sum(not text.strip() for text in texts),
        "case_rule": ifs([case_rule(text) for text in texts]).as_json(),
    }
    first = next(other for other in measured if other.prompt == part.prompt)
    if first is not part:
        row["versus_first"] = _versus(labels, _labels(first, tone), tone) | {"model": first.model}
    return row


def _labels(part: Measured, tone: ToneModel) -> np.ndarray:
    """1, 0, or NaN where a response is missing."""
    probabilities = np.array(part.probabilities)
    return np.where(np.isnan(probabilities), np.nan, probabilities >= THRESHOLD)


def _versus(labels: np.ndarray, others: np.ndarray, tone: ToneModel) -> dict[str, Any]:
    both = ~np.isnan(labels) & ~np.isnan(others)
    later, earlier = labels[both] == 1, others[both] == 1
    return {
        "raw": paired_difference(later, earlier).as_json(),
        "corrected": corrected_difference(later, earlier, tone.sensitivity, tone.specificity).as_json(),
    }
