"""Given models found and checked, and what each of them has to answer: jobs with keys. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from assay.adapter_files import FoundAdapter, find_adapter
from assay.config import validate
from assay.errors import InputError
from assay.file_hashes import known_file_hash
from assay.fingerprint import artifact_key
from assay.generation.spec import KIND, GenerationJob, GenerationSpec
from assay.llm.endpoint import EndpointSpec
from assay.llm.requests import Sampling
from assay.studies.given.model import GivenModel

GIVEN_SCHEMA = 1
"""Raised whenever other predictions come of the same answers."""


@dataclass(frozen=True)
class FoundGiven:
    """A given model whose files are there."""

    spec: GivenModel
    adapter: FoundAdapter | None = None
    endpoint: EndpointSpec | None = None
    answers: Path | None = None
    answers_hash: str = ""

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.spec.name

    @property
    def content(self) -> str:
        """What names it beside its base: the content of its adapter or answers, or whom is asked."""
        if self.endpoint is not None:
            return f"{self.endpoint.endpoint_name}/{self.endpoint.model}"
        return self.answers_hash or ("" if self.adapter is None else self.adapter.key)


@dataclass(frozen=True)
class FileAnswers:
    """Predictions to be read out of a file of answers."""

    key: str
    evaluation_key: str
    model: FoundGiven


@dataclass(frozen=True)
class EndpointAnswers:
    """Predictions to be asked of an endpoint."""

    key: str
    evaluation_key: str
    model: FoundGiven
    sampling: Sampling


Given = FileAnswers | EndpointAnswers


def find_given(models: Iterable[GivenModel], root: str | None = None) -> dict[str, FoundGiven]:
    """Models by name; bases are found by whoever loads them.

    Args:
        models: names differ.
        root: folder that files of answers are relative to; None: where the command runs.

    Raises:
        InputError: an adapter or a file of answers is missing.
        ConfigError: an endpoint that cannot be.
    """
    return {model.name: _found(model, root) for model in models}


def find_endpoints(models: Iterable[GivenModel]) -> dict[str, EndpointSpec]:
    """The endpoints of those models that are asked, by the model's name.

    Raises:
        ConfigError: one that cannot be.
    """
    found = {}
    for model in models:
        if model.is_asked:
            told = {**model.reach(), "model": model.model, "name": model.endpoint, **model.reply_settings()}
            found[model.name] = validate(EndpointSpec, told, f"model {model.name!r}")
    return found


def _found(model: GivenModel, root: str | None) -> FoundGiven:
    if model.is_asked:
        return FoundGiven(model, endpoint=find_endpoints([model])[model.name])
    if model.answers is not None:
        path = Path(root or ".").expanduser() / Path(model.answers).expanduser()
        try:
            return FoundGiven(model, answers=path, answers_hash=known_file_hash(path))
        except OSError as error:
            raise InputError(
                f"model {model.name!r}: cannot read its answers {path} ({error.strerror}); expected JSON lines of "
                "response and id; check the path and data.root"
            ) from None
    adapter = None if model.adapter is None else find_adapter(Path(model.adapter).expanduser())
    return FoundGiven(model, adapter=adapter)


@dataclass(frozen=True)
class Place:
    """Where an engine finds a model's base."""

    key: str
    path: str
    source: str = ""


def answers_job(
    model: FoundGiven, base: Place | None, spec: GenerationSpec, *, evaluation_key: str, max_new_tokens: int
) -> GenerationJob | Given:
    """What makes a model's answers to one evaluation set.

    Args:
        model: found.
        base: of a model that an engine loads.
        spec: how engines write; of an endpoint its temperature and seed alone.
        evaluation_key: names the rows.
        max_new_tokens: of an answer.
    """
    if model.answers is not None:
        said = {"model": model.spec.model}
        inputs = {"answers": model.answers_hash, "evaluation": evaluation_key}
        return FileAnswers(artifact_key(KIND, GIVEN_SCHEMA, said, inputs), evaluation_key, model)
    if model.endpoint is not None:
        limit = model.endpoint.max_reply_tokens or max_new_tokens
        sampling = Sampling(temperature=spec.temperature, max_tokens=limit, seed=spec.seed or None)
        asked = {
            "endpoint": model.endpoint.endpoint_name,
            "model": model.endpoint.model,
            "sampling": sampling.body,
            **model.spec.reply_settings(),
        }
        key = artifact_key(KIND, GIVEN_SCHEMA, asked, {"evaluation": evaluation_key})
        return EndpointAnswers(key, evaluation_key, model, sampling)
    assert base is not None
    adapter = model.adapter
    return GenerationJob(
        key="",
        base_path=base.path,
        base_source=base.source,
        base_key=base.key,
        evaluation_key=evaluation_key,
        max_new_tokens=max_new_tokens,
        adapter_key=None if adapter is None else adapter.key,
        adapter_dir=None if adapter is None else adapter.path,
        lora_rank=0 if adapter is None else adapter.rank,
    ).keyed(spec)
