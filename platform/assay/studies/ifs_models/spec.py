"""What an IFS study is: models side by side on one set of prompts, one tone classifier for all of them.

name: ifs_mine
kind: ifs_models
models:
- {name: base, model: Qwen/Qwen2.5-0.5B}
- {name: instruct, model: Qwen/Qwen2.5-0.5B-Instruct}
dialogues: {loader: openassistant, path: oasst.trees.jsonl.gz, split_rule: strict, turns: first}
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from assay.config import NOT_IDENTITY, Config
from assay.generation.spec import GenerationSpec
from assay.ifs.prompts import PromptName
from assay.llm.endpoint import Reach
from assay.studies.resources import StudyResources
from assay.studies.spec import TINY
from assay.studies.tracking_config import TrackingConfig
from assay.tasks.datasets.sources import SourceSpec
from assay.tone.artifact import ToneConfig
from assay.tone.model import ToneSpec
from assay.training.spec import TrainSpec
from assay.training.tiny_base.spec import TinyBaseSpec


class IfsModel(Reach):
    """One model of the comparison. The first of a study is the one that the others are compared with."""

    name: str = Field(min_length=1)
    """What tables call it."""
    model: str = Field(min_length=1)
    """A local folder, a Hugging Face id (`owner/model`, `@revision` allowed), "tiny", or with `base_url` the model's
    name at that endpoint."""
    adapter: str | None = None
    """Folder of a LoRA adapter on top of it."""
    tuned: bool = False
    """Tune it first, as the study's `train` says, on the train rows of `dialogues`."""
    base_url: str | None = None
    """An OpenAI-compatible endpoint, asked by chat: one user turn that holds the prompt. Not for base models behind a
    chat template, which is a wrapper of its own."""
    max_concurrency: Annotated[int, NOT_IDENTITY] = Field(32, ge=1)
    """Requests in flight."""

    @model_validator(mode="after")
    def _one_kind(self) -> IfsModel:
        if self.base_url is not None and (self.tuned or self.adapter is not None):
            raise ValueError(f"model {self.name!r}: behind a base_url there is neither an adapter nor tuning")
        if self.tuned and self.adapter is not None:
            raise ValueError(f"model {self.name!r}: expected an adapter or tuned, not both")
        return self


class IfsStudy(Config):
    """Instruction following of several models, measured alike."""

    kind: Literal["ifs_models"] = "ifs_models"
    """Tells this schema from a study of mixtures."""
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    description: Annotated[str, NOT_IDENTITY] = ""
    models: tuple[IfsModel, ...] = Field(min_length=1)
    root: Annotated[str | None, NOT_IDENTITY] = None
    """Folder that paths in `dialogues` and `tone` start from; those of models start where the command runs."""
    dialogues: SourceSpec
    """Where prompts come from (test rows, where a model is tuned on the train rows), and the classifier's texts."""
    tone: ToneConfig | None = None
    """The classifier; None: the default one, trained on `dialogues`."""
    tone_folder: Annotated[str | None, NOT_IDENTITY] = None
    """A saved classifier instead."""
    prompts: tuple[PromptName, ...] = Field(("A", "B", "C"), min_length=1)
    """How the models see each prompt."""
    num_prompts: int = Field(300, ge=2)
    """Half of them fragments."""
    seed: int = 0
    """Of the prompt set."""
    max_new_tokens: int = Field(64, ge=1)
    generation: GenerationSpec = GenerationSpec()
    """How models that run here write; its `prompt` is not used."""
    train: TrainSpec = TrainSpec()
    """How `tuned` models are made."""
    tiny_base: TinyBaseSpec | None = None
    """The base called "tiny"."""
    resources: Annotated[StudyResources, NOT_IDENTITY] = StudyResources()
    tracking: Annotated[TrackingConfig, NOT_IDENTITY] = TrackingConfig()

    @field_validator("models")
    @classmethod
    def _names_differ(cls, models: tuple[IfsModel, ...]) -> tuple[IfsModel, ...]:
        names = [model.name for model in models]
        if len(set(names)) != len(names):
            raise ValueError(f"saw the models {', '.join(names)}; expected a name of its own for each")
        return models

    @field_validator("prompts")
    @classmethod
    def _prompts_differ(cls, prompts: tuple[PromptName, ...]) -> tuple[PromptName, ...]:
        return tuple(dict.fromkeys(prompts))

    @model_validator(mode="after")
    def _hangs_together(self) -> IfsStudy:
        if self.tiny_base is None and any(model.model == TINY and not model.base_url for model in self.models):
            raise ValueError("models names 'tiny', which needs the field tiny_base")
        if self.tone is not None and self.tone_folder is not None:
            raise ValueError("expected tone or tone_folder, not both")
        return self

    @property
    def tone_config(self) -> ToneConfig:
        """The classifier that is trained where no folder is given."""
        return self.tone or ToneConfig(spec=ToneSpec(), source=self.dialogues)

    @property
    def is_tuning(self) -> bool:
        """Whether the study trains a model."""
        return any(model.tuned for model in self.models)
