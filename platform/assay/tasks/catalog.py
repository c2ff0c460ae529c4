"""The tasks that Assay knows: what is asked, what shape the answer has, and which scorers fit it.

Instruction sentences are those of Faysse et al. 2023 (arXiv 2310.14103), section A.1. Pure data. What ships is one
immutable value, `SHIPPED_TASKS`; a study's own tasks make another one of it, which travels with the study, so that two
studies may mean different things by one name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from assay.config import Config
from assay.errors import ConfigError
from assay.records import INSTRUCTIONS
from assay.tasks.correct_if import CorrectIf
from assay.tasks.toyworld.world import TOY_TASKS

INSTRUCTION_CATEGORIES = (
    "Classify",
    "Code",
    "ContextAnswer",
    "Create",
    "Extract",
    "Logic",
    "MemoryAnswer",
    "MemorySummarize",
    "Rewrite",
    "Summarize",
    "Translate",
    "Write",
)
"""The 12 categories that are mixed."""

OTHER = "Other"
"""The 13th tag: rows that fit no category; kept out of mixtures."""

LOADERS = ("toyworld", "jsonl", "alpaca", "sharegpt", "messages", "openassistant", "hub")
"""How sources may be read without a plug-in."""
AnswerFormat = Literal["label", "integer", "number", "json", "span", "code_block", "free"]


class Task(Config):
    """One benchmark: its instruction, the shape of its answers, and the scorers that suit it."""

    name: str = Field(min_length=1)
    """As it stands in an example's `task` field."""
    instruction: str
    """The sentence put before every input; empty where each row brings its own."""
    answer_format: AnswerFormat
    """Shape of a reference. "integer" is a whole number, "number" may have decimals, "span" is cut from the input."""
    labels: tuple[str, ...] = ()
    """All answers of a "label" task, as references spell them."""
    heuristic: str = ""
    """Name of a function in scoring/heuristics.py; empty where there is none (the scorer then says unscored)."""
    reference_scorer: str = "exact_match"
    """The reference-based scorer that the task is usually reported with."""
    max_new_tokens: int = Field(128, ge=1)
    """Tokens that an answer may take, the end mark included."""
    chance: float | None = None
    """Score of an answer given without reading the input (for labels: one over their number); None where about 0."""
    correct_if: CorrectIf | None = None
    """A rule said as data; it takes the place of `heuristic`."""
    criteria: str = ""
    """What a judge is told to rate answers by, instead of its protocol's own criteria; empty: those."""
    scale: tuple[float, float] = (1.0, 5.0)
    """Lowest and highest rating by `criteria`."""
    is_own: bool = False
    """A study defined or extended it."""

    def scoring_identity(self) -> dict[str, object]:
        """What shapes the numbers of scorers that look at a task, as JSON."""
        fields = {"answer_format", "labels", "heuristic", "correct_if"}
        return self.model_dump(mode="json", include=fields, exclude_defaults=True)


@dataclass(frozen=True)
class FileReader:
    """A form of files that a plug-in reads: a value of a source's `loader`."""

    name: str
    read: Callable[[Path], Iterable[Mapping[str, Any]]]
    """Rows of a file, as `jsonl` would give them."""
    identity: str
    """Part of the keys of what is read by it."""


@dataclass(frozen=True)
class Tasks:
    """Tasks by name, and readers of forms of one's own: what a source may name. Immutable.

    A study with tasks of its own has a value of its own.
    """

    entries: tuple[Task, ...]
    """Each name once."""
    readers: tuple[FileReader, ...] = ()
    """Of plug-ins."""

    def get(self, name: str) -> Task:
        """The task of this name.

        Raises:
            ConfigError: there is none; the message lists those there are.
        """
        if name not in self._by_name:
            raise ConfigError(
                f"task: saw {name!r}; expected one of {', '.join(self.names)}; "
                "take one of these or say what yours is in the study's `tasks`"
            )
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def names(self) -> tuple[str, ...]:
        """Of all tasks, sorted."""
        return tuple(sorted(self._by_name))

    def extended(self, further: Iterable[Task]) -> Tasks:
        """These and further ones; a further one takes the place of one of its name."""
        return replace(self, entries=tuple({**self._by_name, **{task.name: task for task in further}}.values()))

    def reader(self, name: str) -> FileReader:
        """The plug-in's reader of this name.

        Raises:
            ConfigError: there is none.
        """
        for reader in self.readers:
            if reader.name == name:
                return reader
        known = ", ".join([*LOADERS, *(reader.name for reader in self.readers)])
        raise ConfigError(f"loader: saw {name!r}; expected one of {known}; take one of these or name its plug-in")

    @cached_property
    def _by_name(self) -> dict[str, Task]:
        return {task.name: task for task in self.entries}


_CONLL = (
    "Extract locations, persons, and organizations from the text. The output should be formatted as a JSON object "
    "with three keys: LOC (locations), PER (persons), and ORG (organizations). Each key should have a value that is "
    "a list of strings. If the text contains no entities of a given type, the corresponding list should be empty."
)
_SUMMARY = "Summarize the following article in a few words."

_SHIPPED: tuple[Task, ...] = (
    Task(
        name=INSTRUCTIONS,
        instruction="",
        answer_format="free",
        reference_scorer="rouge1",
        max_new_tokens=256,
    ),
    Task(
        name="sst2",
        instruction="Classify the following sentence as negative or positive.",
        answer_format="label",
        labels=("negative", "positive"),
        heuristic="sst2",
        chance=1 / 2,
    ),
    Task(name="conll", instruction=_CONLL, answer_format="json", heuristic="conll"),
    Task(
        name="mnli",
        instruction=(
            "Classify the following relationship between the Hypothesis sentence and the Premise sentence, "
            "as either Entailment, Contradiction or Neutral."
        ),
        answer_format="label",
        labels=("Entailment", "Contradiction", "Neutral"),
        heuristic="mnli",
        chance=1 / 3,
    ),
    Task(
        name="qnli",
        instruction=(
            "Classify whether the given context contains enough information to answer the question (answerable) "
            "or not (unanswerable)."
        ),
        answer_format="label",
        labels=("answerable", "unanswerable"),
        heuristic="qnli",
        chance=1 / 2,
    ),
    Task(
        name="stsb",
        instruction=(
            "Give an integer score between 1 and 5, describing how similar sentence1 and sentence2 are. "
            "5 means they are very similar, 1 means they are nothing alike."
        ),
        answer_format="integer",
        labels=("1", "2", "3", "4", "5"),
        heuristic="stsb",
        chance=1 / 5,
    ),
    Task(
        name="squadv2",
        instruction=(
            "Answer the question depending on the context. You must only answer with one excerpt from the text."
        ),
        answer_format="span",
        heuristic="squadv2",
        reference_scorer="token_f1",
    ),
    Task(name="xsum", instruction=_SUMMARY, answer_format="free", heuristic="xsum", reference_scorer="rouge2"),
    Task(name="scitldr", instruction=_SUMMARY, answer_format="free", heuristic="xsum", reference_scorer="rouge2"),
)

_TOY_SCORERS = {
    "toy_sentiment": ("sst2", "exact_match"),
    "toy_arithmetic": ("first_number", "exact_match"),
    "toy_entities": ("mentions", "exact_match"),
    "toy_question": ("contains_span", "token_f1"),
}
"""Heuristic and reference scorer of each toy task; all else is the toy world's to say."""

SHIPPED_TASKS = Tasks(
    (
        *_SHIPPED,
        *(
            Task(
                name=toy.name,
                instruction=toy.instruction,
                answer_format=toy.answer_format,
                labels=toy.labels,
                heuristic=_TOY_SCORERS[toy.name][0],
                reference_scorer=_TOY_SCORERS[toy.name][1],
                max_new_tokens=toy.max_new_tokens,
                chance=toy.chance,
            )
            for toy in TOY_TASKS.values()
        ),
    )
)
"""What Assay knows without being told."""
