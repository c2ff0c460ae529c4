"""Judges that choose a class: ObjecQA's Subjective or Objective, and the 13 categories of instructions.

Sources: AlShikh et al. 2023 (arXiv 2307.03692); Faysse et al. 2023 (arXiv 2310.14103), A.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assay.llm.requests import Message, Sampling
from assay.records import Mode
from assay.scoring.judges.asking import read_step
from assay.scoring.judges.calls import JudgeCall, Steps
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.parsing import parse_class
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.protocols.prompted import StructuredJudge
from assay.scoring.judges.structured import MORE_TOKENS, class_format
from assay.tasks.catalog import INSTRUCTION_CATEGORIES, OTHER


@dataclass(frozen=True, kw_only=True)
class Labeler(StructuredJudge):
    """Chooses one of `classes` for an instance: `run` takes a `PointwiseInstance`, returns a `PointwiseJudgement`.

    `label` is the class; `score` is 1.0 for the classes in `positive` and 0.0 for the others, so that a mean of
    scores is a share.
    """

    shipped = "labelers"
    published = False

    name: str
    file: str
    classes: tuple[str, ...]
    positive: frozenset[str]
    prompt_slot: str
    """Slot that takes the instance's prompt."""
    response_slot: str
    """Slot that takes the instance's response."""
    max_tokens: int = 16

    def settings(self) -> dict[str, object]:
        """Classes and the prompt."""
        return {
            "classes": list(self.classes),
            "positive": sorted(self.positive),
            "max_tokens": self.max_tokens,
            "prompt": self.prompt(self.file, self._slots).identity,
        }

    @property
    def _slots(self) -> frozenset[str]:
        return frozenset({self.prompt_slot, self.response_slot})

    def messages(self, instance: PointwiseInstance) -> tuple[Message, ...]:
        """What is sent."""
        values = {self.prompt_slot: instance.prompt, self.response_slot: instance.response}
        return self.filled(self.prompt(self.file, self._slots), values, self._slots)

    def run(self, instance: PointwiseInstance) -> Steps[PointwiseJudgement]:
        sampling = Sampling(
            temperature=0.0,
            max_tokens=self.max_tokens + MORE_TOKENS * self.structured,
            response_format=class_format(self.classes) if self.structured else None,
        )
        call = JudgeCall("label", self.messages(instance), sampling)
        (reading,) = yield from read_step([call], self._parse, self.reasks, mode=self.mode)
        if reading.value is None:
            return PointwiseJudgement(None, 0.0, 1.0, reading.status, reading.exchanges)
        score = 1.0 if reading.value in self.positive else 0.0
        return PointwiseJudgement(score, 0.0, 1.0, reading.status, reading.exchanges, {}, reading.value)

    def _parse(self, text: str) -> str | None:
        return parse_class(text, self.classes)


def objecqa_labeler(mode: Mode = "strict", prompts_dir: Path | None = None, structured: bool = False) -> Labeler:
    """ObjecQA: prompt = question, response = the model's answer; score 1 is Objective."""
    return Labeler(
        name="objecqa",
        file="ObjecQA.txt",
        classes=("Subjective", "Objective"),
        positive=frozenset({"Objective"}),
        prompt_slot="question",
        response_slot="answer",
        mode=mode,
        prompts_dir=prompts_dir,
        structured=structured,
    )


def category_labeler(mode: Mode = "strict", prompts_dir: Path | None = None, structured: bool = False) -> Labeler:
    """Instruction categories: prompt = instruction, response = its input; `label` is the category."""
    return Labeler(
        name="category",
        file="Category.txt",
        classes=(*INSTRUCTION_CATEGORIES, OTHER),
        positive=frozenset(INSTRUCTION_CATEGORIES),
        prompt_slot="instruction",
        response_slot="input",
        mode=mode,
        prompts_dir=prompts_dir,
        structured=structured,
    )
