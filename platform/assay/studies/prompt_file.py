"""A judge's prompt from a file beside the study: read when the study is loaded, and part of it from then on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field, model_validator

from assay.config import Config
from assay.errors import ConfigError
from assay.scoring.judges.prompting import MAX_PROMPT_BYTES
from assay.scoring.judges.protocols.criteria import CriteriaJudge


class PromptFile(Config):
    """What a prompt file holds. The name is no part of the identity."""

    file: str
    """As the study names it."""
    text: str = Field(max_length=MAX_PROMPT_BYTES)
    """ChatML text with the slots {prompt} and {response}; {reference}, {low} and {high} where wished."""

    @model_validator(mode="after")
    def _has_its_slots(self) -> PromptFile:
        CriteriaJudge("", prompt_text=self.text, name=self.file)  # refuses it
        return self


def with_prompt_read(study: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A study's fields with the text of `judge.prompt` where that is a path.

    Raises:
        ConfigError: the path leads out of the folder, or the file cannot be read.
    """
    judge = study.get("judge")
    if not isinstance(judge, Mapping) or not isinstance(judge.get("prompt"), str):
        return study
    return {**study, "judge": {**judge, "prompt": read_prompt_file(judge["prompt"], folder)}}


def read_prompt_file(name: str, folder: Path) -> dict[str, str]:
    """The fields of a `PromptFile`.

    Raises:
        ConfigError: the path leads out of the folder, or the file cannot be read.
    """
    pure = PurePosixPath(name)
    path = folder / name
    if pure.is_absolute() or ".." in pure.parts or not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"judge.prompt: saw {name!r}; expected a file in the study's folder ({folder}), by a path without '..'"
        )
    try:
        raw = path.read_bytes()
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"judge.prompt: cannot read {path} ({error.strerror if isinstance(error, OSError) else 'no UTF-8'}); "
            "expected a prompt in ChatML text; see docs/judges.md"
        ) from None
    if len(raw) > MAX_PROMPT_BYTES:
        raise ConfigError(f"judge.prompt: saw {len(raw):,} bytes in {path}; expected at most {MAX_PROMPT_BYTES:,}")
    return {"file": name, "text": text}
