"""IFS inside a trial, as a study states it, and the key of what is evaluated there. Pure.

Every training of such a study is done twice by the same seed: in full, and ended by the rule on its own curve. The
two share their prefix, so what stopping saved and lost is a paired difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from assay.config import Config
from assay.fingerprint import artifact_key, fingerprint
from assay.ifs.objecqa import preference_questions
from assay.ifs.prompts import TextPrompt
from assay.metaeval.statistics.ifs_stopping import StoppingRule
from assay.tasks.datasets.loaders import dataset_key
from assay.tasks.datasets.sources import SourceSpec, toy_source
from assay.tasks.templates import HEADINGS, PromptSpec
from assay.tone.artifact import TOY_TONE, ToneConfig, tone_key

EVALUATION_KIND = "trial_evaluation"
EVALUATION_SCHEMA = 1
"""Raised whenever the hook records something else for the same spec."""
CHAT_SCHEMA = 2
"""The same of trainings with a chat template in `strict`: 2 ends an answer at the template's end of a turn as well."""

TOY_PROMPTS = toy_source(name="toy prompts", seed=7, train=0, validation=0, test=600)
"""Dialogues of the toy world's test split, of no split that anything is trained on."""


class TrialIfsSpec(Config):
    """What is evaluated while a model trains, and when its training ends. Every field is identity."""

    every_steps: int = Field(ge=1)
    """Optimizer steps between evaluations. There is one before the first step and one after the last, too."""
    num_prompts: int = Field(300, ge=2)
    """Prompts, half of them fragments; fewer than 300 cannot tell a plateau from a slope of two points."""
    prompts: SourceSpec = TOY_PROMPTS
    """Dialogues that the prompts are cut from: the test split."""
    prompt: TextPrompt = "assay"
    """What the model sees around a prompt: A, B, C, or the headings that it is trained with."""
    prompt_seed: int = 0
    """Of the choice of prompts and their cuts."""
    max_new_tokens: int = Field(64, ge=1)
    """Of a response; the classifier reads no more than its first words."""
    tone: ToneConfig = TOY_TONE
    """The classifier that calls a response answer-like."""
    rule: StoppingRule = StoppingRule()
    """When the format counts as infused."""
    objecqa: Literal["english", "toy"] | None = "english"
    """Preference questions answered at every evaluation and judged after the trial; None: none."""
    objecqa_max_new_tokens: int = Field(64, ge=1)


def trial_tone_key(spec: TrialIfsSpec, data_root: str | None) -> str:
    """Key of the tone classifier.

    Raises:
        DataError: its dialogues cannot be found.
    """
    return tone_key(spec.tone.spec, dataset_key(spec.tone.source, data_root))


def evaluation_keys(
    spec: TrialIfsSpec, data_root: str | None, trained_with: PromptSpec = HEADINGS
) -> Mapping[bool, str]:
    """Keys of what a trial evaluates: `True` where the rule ends it.

    Args:
        spec: what is evaluated.
        data_root: folder of the dialogues.
        trained_with: prompts of the training; a chat template says what ends an answer inside the trial.

    Raises:
        DataError: dialogues cannot be found.
    """
    questions = [] if spec.objecqa is None else [row.question for row in preference_questions(spec.objecqa)]
    identity = {name: value for name, value in spec.identity().items() if name not in ("tone", "prompts")}
    inputs = {"tone": trial_tone_key(spec, data_root), "prompts": dataset_key(spec.prompts, data_root)}
    is_chat = trained_with.style == "chat" and trained_with.rules == "strict"
    return {
        stops: artifact_key(
            EVALUATION_KIND,
            CHAT_SCHEMA if is_chat else EVALUATION_SCHEMA,
            {**identity, "questions": fingerprint(questions), "stops": stops},
            inputs,
        )
        for stops in (False, True)
    }
