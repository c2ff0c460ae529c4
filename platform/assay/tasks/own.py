"""Tasks that a study file defines, or extends: what is asked, what an answer looks like, and when it is right. Pure.

A name of the catalogue extends that task, and what is not said stays; any other name is a task of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from assay.config import Config
from assay.tasks.catalog import AnswerFormat, Task, Tasks
from assay.tasks.correct_if import CorrectIf

MAX_CRITERIA = 20_000
"""Characters of criteria: they stand in every call to the judge."""
_RULES: Mapping[AnswerFormat, str] = {
    "label": "label_in_text",
    "integer": "number",
    "number": "number",
    "json": "json_equal",
    "span": "contains_reference",
    "code_block": "none",
    "free": "none",
}
"""`correct_if` of a task that says none."""
_SCORERS: Mapping[AnswerFormat, str] = {"span": "token_f1", "free": "rouge1"}
"""`scorer` of a task that says none; else exact_match."""


class Answer(Config):
    """The shape of a task's answers."""

    format: AnswerFormat = "free"
    """"integer" is a whole number, "number" may have decimals, "span" is cut from the input, "code_block" stands
    between fences."""
    labels: tuple[str, ...] = ()
    """All answers of format "label", as references spell them."""

    @model_validator(mode="after")
    def _labels_fit(self) -> Answer:
        folded = [label.strip().casefold() for label in self.labels]
        if self.format == "label" and len(folded) < 2:
            raise ValueError(f"labels: saw {len(folded)}; expected two or more, as in [billing, shipping]")
        if self.labels and self.format not in ("label", "integer"):
            raise ValueError(f"labels are for the format label; saw {self.format}; leave them out")
        if not all(folded) or len(set(folded)) != len(folded):
            raise ValueError(f"labels: saw {list(self.labels)}; expected texts that differ in more than case")
        return self


class OwnTask(Config):
    """A task of a study file. A field that says nothing leaves a catalogued task's as it is."""

    instruction: str | None = None
    """Put before every input; empty where each row brings its own."""
    answer: Answer | None = None
    """None: of a task that is not in the catalogue, free text."""
    scorer: str | None = None
    """The scorer that the task is usually reported with; None: exact_match, of spans token_f1, of free text rouge1."""
    correct_if: CorrectIf | None = None
    """The rule of the scorer `heuristic`; None: what suits the format. See `tasks.correct_if`."""
    heuristic: str | None = None
    """Instead of `correct_if`: a rule of the catalogue or of a plug-in, by name."""
    max_new_tokens: int | None = Field(None, ge=1)
    """Tokens that an answer may take, the end mark included; None: 128."""
    criteria: str = Field("", max_length=MAX_CRITERIA)
    """What the judge is told to rate by, in a protocol of its own; empty: the study's protocol."""
    scale: tuple[float, float] = (1.0, 5.0)
    """Lowest and highest rating by the criteria."""
    chance: float | None = Field(None, ge=0, le=1)
    """Score of an answer given without reading the input; None: one over the number of labels."""

    @field_validator("scale")
    @classmethod
    def _rises(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not scale[0] < scale[1]:
            raise ValueError("expected the lowest rating before the highest, as in [1, 5]")
        return scale

    @model_validator(mode="after")
    def _one_rule(self) -> OwnTask:
        if self.heuristic is not None and self.correct_if is not None:
            raise ValueError("saw correct_if and heuristic; expected one of them")
        return self

    def identity(self) -> dict[str, Any]:
        """Only what it says: every field, and every field to come, is `Later` with its default."""
        plain: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        return plain


def with_own(shipped: Tasks, own: Mapping[str, OwnTask]) -> Tasks:
    """The table with a study's own tasks in it.

    Raises:
        ValueError: a task does not hang together; names it.
    """
    return shipped.extended(_task(name, given, shipped) for name, given in own.items())


def _task(name: str, given: OwnTask, shipped: Tasks) -> Task:
    shape = given.answer.format if given.answer is not None else "free"
    if name in shipped:
        fields = shipped.get(name).model_dump()
    else:
        fields = {"name": name, "instruction": "", "reference_scorer": _SCORERS.get(shape, "exact_match")}
    if given.answer is not None or name not in shipped:
        labels = given.answer.labels if given.answer is not None else ()
        fields |= {"answer_format": shape, "labels": labels, "chance": None, "correct_if": _RULES[shape]}
    if given.correct_if is not None or given.heuristic is not None:
        fields |= {"correct_if": given.correct_if, "heuristic": given.heuristic or ""}
    for field, value in (
        ("instruction", given.instruction),
        ("reference_scorer", given.scorer),
        ("max_new_tokens", given.max_new_tokens),
        ("chance", given.chance),
    ):
        if value is not None:
            fields[field] = value
    if fields.get("chance") is None and fields.get("labels"):
        fields["chance"] = 1 / len(fields["labels"])
    fields |= {"criteria": given.criteria, "scale": given.scale, "is_own": True}
    task = Task.model_validate(fields)
    if task.correct_if is not None and task.correct_if.kind == "label_in_text" and not task.labels:
        raise ValueError(f"tasks.{name}: correct_if label_in_text needs answer: {{format: label, labels: [...]}}")
    return task
