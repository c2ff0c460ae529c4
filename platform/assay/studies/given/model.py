"""One model as it is: a base, a base with a LoRA folder, a model behind an endpoint, or a file of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from assay.config import NOT_IDENTITY, Config
from assay.errors import ConfigError
from assay.llm.endpoint import Reach, ReplySettings


class GivenModel(Reach, ReplySettings):
    """A model whose answers are compared. With `base_url` it is asked there; with `answers` it has answered."""

    name: str = Field(min_length=1, max_length=100)
    """What tables call it."""
    model: str = ""
    """A local folder, a Hugging Face id (`owner/model`, `@revision` allowed), or "tiny"; with `base_url` its name at
    that endpoint; with `answers` the rows of the file whose `model` this is (empty: all of them)."""
    adapter: str | None = None
    """Folder of a LoRA adapter on top of it."""
    answers: str | None = None
    """File of answers (JSON lines, or a list): `response`, and `id` or the prompt's text. Below the data root."""
    endpoint: str | None = None
    """Name of the endpoint in the ledger; default: the host of `base_url`."""
    max_concurrency: Annotated[int, NOT_IDENTITY] = Field(32, ge=1)
    """Requests in flight."""

    @model_validator(mode="after")
    def _one_kind(self) -> GivenModel:
        is_asked = self.base_url is not None or not self.kind.is_remote
        if self.answers is not None and (is_asked or self.adapter is not None):
            raise ValueError(f"model {self.name!r}: a file of answers has neither a base_url nor an adapter")
        if is_asked and self.adapter is not None:
            raise ValueError(
                f"model {self.name!r}: behind an endpoint there is no adapter; serve it under a name there"
            )
        if self.answers is None and not self.model:
            raise ValueError(f"model {self.name!r}: expected model, or answers")
        return self

    @property
    def is_asked(self) -> bool:
        """Whether it is asked by chat, and not by an engine that loads it here."""
        return self.answers is None and (self.base_url is not None or not self.kind.is_remote)

    @property
    def base(self) -> str | None:
        """Name of the base model that an engine here must load; None: there is none."""
        return None if self.answers is not None or self.is_asked else self.model

    def identity(self) -> dict[str, Any]:
        """What it is beside the content of its files: what it is called, and of an endpoint whom is asked what."""
        asked = {"model": self.model, "endpoint": self.endpoint, **self.reply_settings()} if self.is_asked else {}
        rows = {"rows": self.model} if self.answers is not None else {}
        return {"name": self.name, **asked, **rows}


def read_reference(text: str) -> tuple[str, str, str | None]:
    """Name, model and adapter of `NAME=MODEL`, `MODEL` or `MODEL + ADAPTER`, as a command line names a model.

    Raises:
        ConfigError: nothing stands where a model is expected.
    """
    named, equals, rest = text.partition("=")
    name, place = (named.strip(), rest.strip()) if equals else ("", text.strip())
    model, adapter = place, None
    if "+" in place and not Path(place).expanduser().exists():
        model, _, after = place.partition("+")
        model, adapter = model.strip(), after.strip()
    if not model or adapter == "" or (equals and not name):
        raise ConfigError(f"--model {text!r}: expected NAME=MODEL, MODEL or MODEL+ADAPTER; give a folder or a hub id")
    return name or Path(adapter or model).name, model, adapter


class Ranking(Config):
    """How a judge ranks the models of a study."""

    protocol: str = "joint"
    """"joint": all models' answers to a prompt in one call, the mean over orders. Else a pairwise strategy: each model
    against the baseline, in both orders."""
    repeats: int = Field(2, ge=1)
    """Joint: calls per prompt, each in another order; an even number balances the places."""
    max_models: int = Field(12, ge=2, le=26)
    """Joint: most answers in a call; more models than that are shown in blocks that share some."""
    structured: bool = False
    """Joint: ask for a JSON schema."""

    @property
    def is_joint(self) -> bool:
        """Whether all models stand in one call."""
        return self.protocol == "joint"

    def calls_per_prompt(self, num_models: int) -> int:
        """Judge calls for one prompt, at least."""
        if not self.is_joint:
            return 2 * (num_models - 1)
        blocks = 1 if num_models <= self.max_models else -(-num_models // max(1, self.max_models - 2))
        return blocks * self.repeats
