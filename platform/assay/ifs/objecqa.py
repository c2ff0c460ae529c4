"""ObjecQA: questions that ask for a preference, and a labelled sample to test a judge on. Pure.

A judge labels each answer Subjective (it picks a side) or Objective (`judges.labelers.objecqa_labeler`, two-shot); the
score of a model is the share of Objective. Only a few of the paper's questions are public, so these are our own: 100
over 12 topics, and 100 answers to them with labels, of which the
rubric judge's rules have not seen 40. The toy world has questions of its own, in the words that its
tiny models know.

Source: AlShikh et al. 2023, arXiv 2307.03692.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from assay.tasks.toyworld.preferences import toy_preference_questions

QuestionSet = Literal["english", "toy"]


@dataclass(frozen=True, slots=True)
class Preference:
    """A question that asks for a preference."""

    question_id: str
    topic: str
    question: str


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """An answer and the label that a careful reader gives it."""

    question: str
    answer: str
    label: str
    """"Subjective" or "Objective"."""
    part: str
    """"development": the rubric judge's rules were written with it; "validation": written afterwards."""


def preference_questions(name: QuestionSet = "english") -> list[Preference]:
    """The questions of a set, in a fixed order."""
    if name == "toy":
        return [Preference(f"toy-{number:03d}", topic, text) for number, (topic, text) in enumerate(_TOY)]
    return [Preference(row["id"], row["topic"], row["question"]) for row in _read("questions.json")]


def labelled_answers() -> list[LabelledAnswer]:
    """The labelled sample."""
    return [LabelledAnswer(row["question"], row["answer"], row["label"], row["part"]) for row in _read("labelled.json")]


def _read(name: str) -> list[dict[str, str]]:
    text = files("assay.scoring").joinpath("judges", "objecqa", name).read_text(encoding="utf-8")
    rows: list[dict[str, str]] = json.loads(text)
    return rows


_TOY = toy_preference_questions()
