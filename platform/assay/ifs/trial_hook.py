"""IFS and ObjecQA inside a trial: what the hook asks, remembers and says, and how a trial gets it.

The trial's own model answers; there is no second copy of it. A response is labelled at once, since the rule needs it;
ObjecQA's answers are kept and judged after the trial, so that no trial waits for a judge. Records lie with the
adapter: `ifs.parquet` (a line per evaluation and prompt) and `objecqa.parquet` (a line per evaluation and question).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.errors import DataError
from assay.hooks import EvalHook, Generate
from assay.ifs.objecqa import preference_questions
from assay.ifs.prompts import STYLES, ifs_prompts, is_partial
from assay.ifs.trial_spec import TrialIfsSpec
from assay.metaeval.statistics.ifs import ifs
from assay.metaeval.statistics.ifs_stopping import decide
from assay.records import INSTRUCTIONS, TEST, Example
from assay.store import Store
from assay.tasks.datasets.loaders import read_dataset
from assay.tasks.templates import render_prompt, truncate_output
from assay.tone.artifact import load_tone
from assay.tone.model import ToneModel
from assay.tone.texts import dialogues_of

if TYPE_CHECKING:
    import pyarrow as pa

    from assay.training.spec import TrainingJob

IFS_FILE, OBJECQA_FILE = "ifs.parquet", "objecqa.parquet"


@dataclass
class Evaluation:
    """One evaluation: what the model wrote at a step."""

    step: int
    responses: list[str]
    labels: list[bool]
    """Whether each is answer-like."""
    answers: list[str]
    """To the preference questions."""


class IfsHook:
    """A `RecordingHook`: IFS on a fixed prompt set, and answers to preference questions."""

    name = "ifs"

    def __init__(self, spec: TrialIfsSpec, prompts: Sequence[Example], tone: ToneModel, *, stops: bool) -> None:
        """Bind to a trial.

        Args:
            spec: what is evaluated.
            prompts: rows of `ifs_prompts`, the same ones in every trial.
            tone: the classifier.
            stops: whether the rule ends the trial.
        """
        self.every_steps = spec.every_steps
        self._spec, self._tone, self._stops = spec, tone, stops
        self._prompts = prompts
        self._partial_N = np.array([is_partial(prompt) for prompt in prompts], dtype=bool)
        self._texts = [render_prompt(prompt, STYLES[spec.prompt]) for prompt in prompts]
        self._questions = [] if spec.objecqa is None else preference_questions(spec.objecqa)
        self.evaluations: list[Evaluation] = []

    def begin(self, generate: Generate, state: Mapping[str, Any] | None) -> None:
        """The untrained model's evaluation, or those of the process that was stopped."""
        if state is None:
            self._evaluate(generate, 0)
        else:
            self.evaluations = [Evaluation(**row) for row in state["evaluations"]]

    def __call__(self, generate: Generate, step: int) -> Mapping[str, float]:
        """IFS by kind of prompt, corrected IFS with its interval, gain over the window, and whether to stop."""
        self._evaluate(generate, step)
        labels_EN = np.array([row.labels for row in self.evaluations], dtype=bool)
        labels_N = labels_EN[-1]
        decision = decide(labels_EN, self._tone.sensitivity, self._tone.specificity, self._spec.rule)
        found = {
            "ifs": ifs(labels_N).value,
            "ifs_partial": ifs(labels_N[self._partial_N]).value,
            "ifs_full": ifs(labels_N[~self._partial_N]).value,
            "corrected": decision.corrected.value,
            "corrected_low": decision.corrected.low,
            "corrected_high": decision.corrected.high,
            "gain": decision.gain.value,
            "gain_upper": decision.gain.high,
            "infused": float(decision.is_infused),
            "stop": float(decision.is_infused and self._stops),
        }
        return {name: value for name, value in found.items() if value == value}

    def state(self) -> dict[str, Any]:
        """All evaluations so far."""
        return {"evaluations": [vars(row) for row in self.evaluations]}

    def write(self, folder: Path) -> None:
        """`ifs.parquet` and `objecqa.parquet`."""
        import pyarrow.parquet as pq

        pq.write_table(self.ifs_table(), folder / IFS_FILE, compression="zstd")
        if self._questions:
            pq.write_table(self.objecqa_table(), folder / OBJECQA_FILE, compression="zstd")

    def ifs_table(self) -> pa.Table:
        """step, prompt_id, is_partial, answer_like, response."""
        import pyarrow as pa

        rows = [
            {
                "step": row.step,
                "prompt_id": prompt.example_id,
                "is_partial": bool(partial),
                "answer_like": label,
                "response": response,
            }
            for row in self.evaluations
            for prompt, partial, label, response in zip(
                self._prompts, self._partial_N, row.labels, row.responses, strict=True
            )
        ]
        return pa.Table.from_pylist(rows)

    def objecqa_table(self) -> pa.Table:
        """step, question_id, topic, question, answer."""
        import pyarrow as pa

        rows = [
            {
                "step": row.step,
                "question_id": question.question_id,
                "topic": question.topic,
                "question": question.question,
                "answer": answer,
            }
            for row in self.evaluations
            for question, answer in zip(self._questions, row.answers, strict=True)
        ]
        return pa.Table.from_pylist(rows)

    def _evaluate(self, generate: Generate, step: int) -> None:
        responses = [truncate_output(text, "strict") for text in generate(self._texts, self._spec.max_new_tokens)]
        asked = [
            render_prompt(Example(q.question_id, INSTRUCTIONS, TEST, q.question, "", ""), STYLES[self._spec.prompt])
            for q in self._questions
        ]
        answers = generate(asked, self._spec.objecqa_max_new_tokens) if asked else []
        labels = self._tone.answer_like(responses)
        kept = [truncate_output(text, "strict") for text in answers]
        self.evaluations.append(Evaluation(step, responses, labels, kept))


@dataclass(frozen=True)
class IfsHooks:
    """Makes the hooks of a trial, in its worker: `make_hooks` of a sweep."""

    store: Store
    spec: TrialIfsSpec
    tone: str
    """Key of the stored classifier."""
    prompts: str
    """Key of the stored dialogues."""
    stops_by_key: Mapping[str, bool] = field(default_factory=dict)
    """Evaluation key -> whether the rule ends the trial."""

    def __call__(self, job: TrainingJob) -> Sequence[EvalHook]:
        """The hook that this job asks for; none where it asks for none."""
        if job.evaluation_key is None:
            return ()
        prompts = prompt_set(self.store, self.spec, self.prompts)
        tone = load_tone(self.store, self.tone)
        return (IfsHook(self.spec, prompts, tone, stops=self.stops_by_key[job.evaluation_key]),)


def prompt_set(store: Store, spec: TrialIfsSpec, dataset: str) -> list[Example]:
    """The fixed prompts, from a stored dataset's test rows.

    Raises:
        DataError: it has too few.
    """
    test = [row for row in read_dataset(store, dataset) if row.split == TEST]
    if not test:
        raise DataError(
            f"ifs.prompts: saw no test rows in {spec.prompts.label!r}; expected dialogues to cut prompts from"
        )
    return ifs_prompts(dialogues_of(test), spec.num_prompts, spec.prompt_seed)
