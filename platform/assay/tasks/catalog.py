"""The tasks that Assay knows: what is asked, what shape the answer has, and which scorers fit it.

Instruction sentences are those of Faysse et al. 2023 (arXiv 2310.14103), section A.1. Pure data; a study or a
plug-in adds a task with `register_task`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from assay.config import Config
from assay.errors import ConfigError
from assay.records import INSTRUCTIONS
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

AnswerFormat = Literal["label", "integer", "number", "json", "span", "free"]


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


_CONLL = (
    "Extract locations, persons, and organizations from the text. The output should be formatted as a JSON object "
    "with three keys: LOC (locations), PER (persons), and ORG (organizations). Each key should have a value that is "
    "a list of strings. If the text contains no entities of a given type, the corresponding list should be empty."
)
_SUMMARY = "Summarize the following article in a few words."

_TASKS: dict[str, Task] = {}


def register_task(task: Task) -> Task:
    """Add a task to the catalog; the same task twice does no harm.

    Raises:
        ConfigError: another task has this name already.
    """
    known = _TASKS.setdefault(task.name, task)
    if known != task:
        raise ConfigError(f"task {task.name!r}: saw a second definition; expected one; give yours another name")
    return task


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    if name not in _TASKS:
        raise ConfigError(
            f"task: saw {name!r}; expected one of {', '.join(task_names())}; "
            "take one of these or add yours with register_task"
        )
    return _TASKS[name]


def task_names() -> tuple[str, ...]:
    """Names of all tasks, sorted."""
    return tuple(sorted(_TASKS))


for _task in (
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
):
    register_task(_task)

_TOY_SCORERS = {
    "toy_sentiment": ("sst2", "exact_match"),
    "toy_arithmetic": ("first_number", "exact_match"),
    "toy_entities": ("mentions", "exact_match"),
    "toy_question": ("contains_span", "token_f1"),
}
"""Heuristic and reference scorer of each toy task; all else is the toy world's to say."""

for _toy in TOY_TASKS.values():
    _heuristic, _reference_scorer = _TOY_SCORERS[_toy.name]
    register_task(
        Task(
            name=_toy.name,
            instruction=_toy.instruction,
            answer_format=_toy.answer_format,
            labels=_toy.labels,
            heuristic=_heuristic,
            reference_scorer=_reference_scorer,
            max_new_tokens=_toy.max_new_tokens,
            chance=_toy.chance,
        )
    )
