"""What protocols share whose prompts are files: mode and version, further questions, the prompt folder, identity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from assay.errors import ConfigError
from assay.llm.requests import Message
from assay.records import Mode
from assay.scoring.judges.asking import readers_version
from assay.scoring.judges.prompting import SHIPPED, Prompt, fill, load_prompt


@dataclass(frozen=True, kw_only=True)
class PromptedJudge(ABC):
    """Asks by prompt files. `compat` asks and reads as published: once, without fences."""

    shipped: ClassVar[str]
    """Folder of its prompts among those that ship."""
    published: ClassVar[bool] = True
    """Whether it was published with its reader; False: its readers are ours in both modes."""

    mode: Mode = "strict"
    prompts_dir: Path | None = None
    """A folder with files of the same names; None: those that ship."""
    max_reasks: int = 1
    """In `strict`: how often an unreadable reply is asked for again."""

    if TYPE_CHECKING:  # a field of some protocols, a property of others

        @property
        def name(self) -> str:
            """See `JudgeProtocol`."""

    @abstractmethod
    def settings(self) -> dict[str, object]:
        """What shapes the judgement beside mode, readers and further questions: settings, and prompts by their hash."""

    def identity(self) -> dict[str, object]:
        """All that shapes the judgement apart from the model."""
        asked = {"protocol": self.name, "mode": self.mode, "version": self.version, "max_reasks": self.reasks}
        return {**asked, **self.settings()}

    @property
    def is_published(self) -> bool:
        """Whether `compat` reads by a published parser, which never changes."""
        return self.published

    @property
    def version(self) -> int:
        """Of what reads the replies."""
        return readers_version(self.mode, is_published=self.is_published)

    @property
    def reasks(self) -> int:
        """How often an unreadable reply is asked for again in this mode."""
        return self.max_reasks if self.mode == "strict" else 0

    def prompt(self, file: str, slots: frozenset[str]) -> Prompt:
        """A prompt of its folder.

        Raises:
            ConfigError: the file is missing, is no prompt, or lacks one of `slots`.
        """
        return load_prompt(self.prompts_dir or SHIPPED / self.shipped, file, slots)

    def filled(self, prompt: Prompt, values: Mapping[str, str], untrusted: frozenset[str]) -> tuple[Message, ...]:
        """The prompt's turns; in `strict` what stands in `untrusted` slots is fenced."""
        return fill(prompt, values, fenced=untrusted if self.mode == "strict" else frozenset())


@dataclass(frozen=True, kw_only=True)
class StructuredJudge(PromptedJudge):
    """One that can ask for a reply by a JSON schema, in `strict`: the published request had none."""

    structured: bool = False
    """Ask for a JSON schema (endpoints with structured output, `strict` only); the same parser reads the reply."""

    def __post_init__(self) -> None:
        if self.structured and self.mode == "compat":
            raise ConfigError(
                f"judge protocol {self.name!r}: saw structured in compat mode; expected it in strict alone, since the "
                "published request has none; drop one of them"
            )

    def identity(self) -> dict[str, object]:
        """As of each prompted judge; nothing of the schema where none is asked for, so that older keys hold."""
        return {**super().identity(), **({"structured": True} if self.structured else {})}
