"""Measures IFS of a study's models: classifier, prompts, answers, table. What the store holds is not done again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from assay.hooks import Progress
from assay.ifs.prompts import STYLES, PromptName, ifs_prompts, is_partial
from assay.metaeval.statistics.ifs import corrected_difference, ifs, ifs_report, paired_difference
from assay.records import TEST, TRAIN, Example
from assay.store import Store
from assay.studies.ifs_models.endpoint_answers import endpoint_answers
from assay.studies.ifs_models.local_answers import Response, local_answers
from assay.studies.ifs_models.spec import IfsStudy
from assay.tasks.datasets.loaders import materialise_dataset, read_dataset
from assay.tasks.templates import render_prompt
from assay.tone.artifact import load_tone, store_tone, tone_report
from assay.tone.model import THRESHOLD, ToneModel
from assay.tone.texts import case_rule, dialogues_of, normalise, split_dialogues
from assay.tone.training import load_tone_model


@dataclass(frozen=True)
class Measured:
    """One model under one kind of prompt."""

    model: str
    prompt: PromptName
    responses: tuple[Response, ...]
    """In the order of the prompts."""
    probabilities: tuple[float, ...]
    """Of answer-like; NaN where a response is missing."""


@dataclass(frozen=True)
class IfsResult:
    """A study measured."""

    report: dict[str, Any]
    """All figures as JSON."""
    prompts: tuple[Example, ...]
    measured: tuple[Measured, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Every response with its probability, for people."""
        return [
            {
                "model": part.model,
                "prompt": part.prompt,
                "id": example.example_id,
                "partial": is_partial(example),
                "text": example.instruction,
                "response": response.text,
                "missing": response.missing or None,
                "answer_like": None if response.text is None else round(probability, 6),
            }
            for part in self.measured
            for example, response, probability in zip(self.prompts, part.responses, part.probabilities, strict=True)
        ]


def measure_ifs(study: IfsStudy, store: Store, progress: Progress, ledger_url: str) -> IfsResult:
    """All figures of a study.

    Raises:
        InputError: data, a model or an endpoint that cannot be used.
        StageError: a model that answers nothing.
    """
    dataset = materialise_dataset(store, study.dialogues, study.root).key
    examples = read_dataset(store, dataset)
    tone, told = _tone(study, store)
    prompts = _prompts(study, store, examples)
    rendered = {name: [_as_seen(row, name) for row in prompts] for name in study.prompts}
    answers = local_answers(study, store, dataset, examples, rendered, progress)
    answers |= endpoint_answers(study, rendered, ledger_url, progress)
    measured = [
        _measured(model.name, name, answers[model.name, name], tone) for model in study.models for name in study.prompts
    ]
    report = {
        "study": study.name,
        "prompts": {
            "n": len(prompts),
            "fragments": sum(map(is_partial, prompts)),
            "seed": study.seed,
            "dialogues": study.dialogues.label,
        },
        "tone": told,
        "rows": [_row(part, measured, prompts, tone) for part in measured],
    }
    return IfsResult(report, tuple(prompts), tuple(measured))


# --- classifier and prompts ------------------------------------------------------------------------------------------


def _tone(study: IfsStudy, store: Store) -> tuple[ToneModel, dict[str, Any]]:
    if study.tone_folder is not None:
        model = load_tone_model(Path(study.tone_folder).expanduser())
        known: dict[str, Any] = {"validation": None}
    else:
        key = store_tone(store, study.tone_config, study.root)
        model = load_tone(store, key)
        known = {"key": key, "validation": tone_report(store, key)}
    rates = {name: {"num_right": c.num_right, "n": c.n} for name, c in _counts(model).items()}
    return model, {"kind": model.spec.kind, **rates, **known}


def _counts(model: ToneModel) -> dict[str, Any]:
    return {"sensitivity": model.sensitivity, "specificity": model.specificity}


def _prompts(study: IfsStudy, store: Store, examples: Sequence[Example]) -> list[Example]:
    """Prompts whose questions neither the classifier nor a tuned model has learned from."""
    kept = [row for row in examples if row.split == TEST] if study.is_tuning else list(examples)
    seen: set[str] = set()
    if study.tone_folder is None:
        config = study.tone_config
        texts = dialogues_of(read_dataset(store, materialise_dataset(store, config.source, study.root).key))
        learned, _ = split_dialogues(texts, config.spec.held_out, config.spec.seed)
        seen = {normalise(dialogue.question) for dialogue in learned}
    if study.is_tuning:
        seen |= {normalise(d.question) for d in dialogues_of(row for row in examples if row.split == TRAIN)}
    free = [dialogue for dialogue in dialogues_of(kept) if normalise(dialogue.question) not in seen]
    return ifs_prompts(free, study.num_prompts, study.seed)


def _as_seen(row: Example, name: PromptName) -> Example:
    """The prompt as the model gets it: rendered, but for a chat template, which is put around it where the model is."""
    return row if name == "chat" else replace(row, instruction=render_prompt(row, STYLES[name]))


# --- figures ---------------------------------------------------------------------------------------------------------


def _measured(model: str, prompt: PromptName, responses: Sequence[Response], tone: ToneModel) -> Measured:
    texts = [response.text or "" for response in responses]
    missing = np.array([response.text is None for response in responses])
    probabilities = np.where(missing, np.nan, tone.probabilities(texts))
    return Measured(model, prompt, tuple(responses), tuple(probabilities.tolist()))


def _row(part: Measured, measured: Sequence[Measured], prompts: Sequence[Example], tone: ToneModel) -> dict[str, Any]:
    labels = _labels(part, tone)
    there = [place for place, response in enumerate(part.responses) if response.text is not None]
    texts = [part.responses[place].text or "" for place in there]
    report = ifs_report(
        [bool(labels[place]) for place in there],
        [is_partial(prompts[place]) for place in there],
        tone.sensitivity,
        tone.specificity,
        Counter(response.missing for response in part.responses if response.text is None),
    )
    row = {
        "model": part.model,
        "prompt": part.prompt,
        **report.as_json(),
        "num_empty": sum(not text.strip() for text in texts),
        "case_rule": ifs([case_rule(text) for text in texts]).as_json(),
    }
    first = next(other for other in measured if other.prompt == part.prompt)
    if first is not part:
        row["versus_first"] = _versus(labels, _labels(first, tone), tone) | {"model": first.model}
    return row


def _labels(part: Measured, tone: ToneModel) -> np.ndarray:
    """1, 0, or NaN where a response is missing."""
    probabilities = np.array(part.probabilities)
    return np.where(np.isnan(probabilities), np.nan, probabilities >= THRESHOLD)


def _versus(labels: np.ndarray, others: np.ndarray, tone: ToneModel) -> dict[str, Any]:
    both = ~np.isnan(labels) & ~np.isnan(others)
    later, earlier = labels[both] == 1, others[both] == 1
    return {
        "raw": paired_difference(later, earlier).as_json(),
        "corrected": corrected_difference(later, earlier, tone.sensitivity, tone.specificity).as_json(),
    }
